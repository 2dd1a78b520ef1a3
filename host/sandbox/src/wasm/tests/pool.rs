//! The pool holds what the permits promise: as many calls as it says, of whatever skills.

use super::*;
use crate::compile::tests::leb;
use crate::{StateDoor, StateError};
use async_trait::async_trait;
use sophon_store::Quota;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

/// `component` with `count` more instances of `module`, which imports nothing.
fn with_instances(component: &[u8], module: &str, count: usize) -> Vec<u8> {
    let mut at = 8;
    let mut modules = 0;
    while at < component.len() {
        let (id, mut size, mut shift) = (component[at], 0usize, 0);
        loop {
            at += 1;
            size |= usize::from(component[at] & 0x7f) << shift;
            shift += 7;
            if component[at] & 0x80 == 0 {
                break;
            }
        }
        at += 1 + size;
        modules += usize::from(id == 1);
    }
    let module = wat::parse_str(module).unwrap();
    // `instantiate module with nothing`, as often as wanted.
    let one: Vec<u8> = [vec![0], leb(modules), vec![0]].concat();
    let instances = [leb(count), one.repeat(count)].concat();
    [component.to_vec(), vec![1], leb(module.len()), module, vec![2], leb(instances.len()), instances].concat()
}

/// Comes back when `concurrent_calls` calls are here together.
struct Meeting(Barrier);

#[async_trait]
impl StateDoor for Meeting {
    async fn read(&self, _key: &str) -> Result<Option<Vec<u8>>, StateError> {
        Ok(None)
    }

    async fn write(&self, _key: &str, _value: Vec<u8>, _quota: Quota) -> Result<(), StateError> {
        Ok(())
    }

    async fn delete(&self, _key: &str) -> Result<(), StateError> {
        self.0.wait().await;
        Ok(())
    }

    async fn keys(&self, _prefix: &str, _after: Option<&str>, _limit: u32) -> Result<Vec<String>, StateError> {
        Ok(Vec::new())
    }

    async fn compare_and_set(
        &self,
        _key: &str,
        _expected: Option<Vec<u8>>,
        _value: Vec<u8>,
        _quota: Quota,
    ) -> Result<(), StateError> {
        Ok(())
    }
}

/// The largest component that is admitted, and that one instance more is not.
fn maximal(lab: &Lab) -> Vec<u8> {
    let imports = r#"(import "sophon:skill/state@1.0.0" "delete" (func $delete (param i32 i32 i32)))"#;
    let body = "(call $delete (i32.const 600) (i32.const 1) (i32.const 704)) (i32.const 1024)";
    let small = lift(&module(imports, r#"(data (i32.const 600) "k")"#, body));
    let demand = |component: &[u8]| {
        Component::new(&lab.runtime.inner.ticking.engine, component).unwrap().resources_required().unwrap()
    };
    let memories = lab.limits.memories - demand(&small).num_memories as usize;
    let component = with_instances(&small, "(module (memory 1))", memories);
    let tables = lab.limits.tables - demand(&component).num_tables as usize;
    let component = with_instances(&component, "(module (table 10 funcref))", tables);
    let grown = |more: usize| with_instances(&component, "(module)", more);
    let more = (0..lab.limits.instances)
        .find(|more| lab.compile(&manifest(""), &grown(more + 1)).is_err())
        .expect("there is no bound on instances");
    assert!(more > 0, "memories and tables alone are too many instances");
    for (what, over) in [
        ("instances", grown(more + 1)),
        ("memories", with_instances(&small, "(module (memory 1))", memories + 1)),
        ("tables", with_instances(&component, "(module (table 1 funcref))", 1)),
    ] {
        let error = lab.compile(&manifest(""), &over).err().unwrap_or_else(|| panic!("too many {what} are admitted"));
        assert!(matches!(error, SandboxError::TooDemanding { .. }), "{what}: {error}");
    }
    grown(more)
}

#[tokio::test]
async fn attack_20_as_many_calls_as_promised_fit_whatever_their_skills_need() {
    let pool = PoolLimits::default();
    let calls = pool.concurrent_calls as usize;
    let lab = Lab { runtime: WasmRuntime::start(&pool, small()).unwrap(), limits: small() };
    let lab = Arc::new(lab);
    let skill = Arc::new(lab.compile(&manifest(""), &maximal(&lab)).unwrap_or_else(|error| panic!("{error}")));
    let meeting = Arc::new(Meeting(Barrier::new(calls)));
    let mut running = JoinSet::new();
    for _ in 0..calls {
        let (lab, skill, meeting) = (Arc::clone(&lab), Arc::clone(&skill), Arc::clone(&meeting));
        running.spawn(async move {
            let doors = Doors { state: meeting, ..doors() };
            lab.run_with(&skill, doors).await.output
        });
    }
    while let Some(output) = running.join_next().await {
        let output = output.unwrap();
        assert!(output.is_ok(), "{output:?}");
    }
}

#[test]
fn a_pool_that_does_not_fit_the_machine_is_refused_with_its_size() {
    let pool = PoolLimits { concurrent_calls: 1_000_000, ..PoolLimits::default() };
    let error = WasmRuntime::start(&pool, small()).err().expect("16 PiB of address space");
    assert!(matches!(&error, SandboxError::Engine(cause) if cause.contains("1000000 calls")), "{error}");
}
