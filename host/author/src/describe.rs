//! Asks a skill's code what its tools are: the SDK's export `sophon_describe_v1` (see `sophon_sdk::describe`).
//!
//! Promises: the module runs alone: every import traps, fuel and memory are limited, and nothing of the machine is linked.

use crate::AuthorError;
use crate::component::module_exporting;
use serde_json::{Map, Value};
use sophon_types::{CanonicalJson, SkillName};
use wasmtime::{Config, Engine, Linker, Module, OptLevel, Store, StoreLimits, StoreLimitsBuilder};

/// The export, version 1.
const EXPORT: &str = "sophon_describe_v1";
/// About a second; the schemas of fifty tools take a hundredth of it.
const FUEL: u64 = 1_000_000_000;
/// Bytes of linear memory.
const MEMORY: usize = 64 << 20;
/// Bytes of the description; a manifest has at most 512 KiB.
const DESCRIPTION: usize = 512 << 10;

/// One tool as the code describes it: the keys of the manifest.
pub(crate) type Described = Map<String, Value>;

/// The tools of the code in `binary` (a core module or a component); nothing where the code does not describe itself.
pub(crate) fn describe(skill: &SkillName, binary: &[u8]) -> Result<Option<Vec<Described>>, AuthorError> {
    let failed = |cause: String| AuthorError::Describe { skill: skill.clone(), cause };
    let module = module_exporting(binary, EXPORT).map_err(|error| failed(error.to_string()))?;
    let Some(module) = module else { return Ok(None) };
    let json = ask(module).map_err(|error| failed(format!("{error:#}")))?;
    parse(&json).map(Some).map_err(failed)
}

/// Reads a list of tools: of the export, or of the section `sophon:tools`.
pub(crate) fn parse(json: &[u8]) -> Result<Vec<Described>, String> {
    let value = CanonicalJson::parse(json).map_err(|error| error.to_string())?.into_value();
    let Value::Array(items) = value else { return Err("the description is not a list".into()) };
    if items.is_empty() {
        return Err("the description lists no tool".into());
    }
    let tool = |item: Value| match item {
        Value::Object(tool) if tool.get("name").is_some_and(Value::is_string) => Ok(tool),
        _ => Err("a tool of the description has no name".to_owned()),
    };
    items.into_iter().map(tool).collect()
}

fn ask(module: &[u8]) -> wasmtime::Result<Vec<u8>> {
    let engine = engine()?;
    let module = Module::from_binary(&engine, module)?;
    let mut linker: Linker<StoreLimits> = Linker::new(&engine);
    linker.define_unknown_imports_as_traps(&module)?;
    let limits = StoreLimitsBuilder::new().memory_size(MEMORY).memories(1).tables(4).instances(1).build();
    let mut store = Store::new(&engine, limits);
    store.limiter(|limits| limits);
    store.set_fuel(FUEL)?;
    let instance = linker.instantiate(&mut store, &module)?;
    if let Ok(initialize) = instance.get_typed_func::<(), ()>(&mut store, "_initialize") {
        initialize.call(&mut store, ())?;
    }
    let found = instance.get_typed_func::<(), u64>(&mut store, EXPORT)?.call(&mut store, ())?;
    let memory =
        instance.get_memory(&mut store, "memory").ok_or_else(|| wasmtime::Error::msg("there is no export `memory`"))?;
    // `(address << 32) | length`.
    let (address, length) = ((found >> 32) as usize, (found & u64::from(u32::MAX)) as usize);
    if length > DESCRIPTION {
        return Err(wasmtime::Error::msg(format!("the description has {length} bytes, at most {DESCRIPTION}")));
    }
    let range = address..address.saturating_add(length);
    let json =
        memory.data(&store).get(range).ok_or_else(|| wasmtime::Error::msg("the description is outside the memory"))?;
    Ok(json.to_vec())
}

fn engine() -> wasmtime::Result<Engine> {
    let mut config = Config::new();
    config.consume_fuel(true);
    config.max_wasm_stack(512 << 10);
    // Runs once: compiling quickly counts for more.
    config.cranelift_opt_level(OptLevel::None);
    config.wasm_relaxed_simd(false);
    config.wasm_multi_memory(false);
    config.wasm_memory64(false);
    config.shared_memory(false);
    Engine::new(&config)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(wat: &str) -> Result<Option<Vec<Described>>, AuthorError> {
        describe(&"weather".parse().unwrap(), &wat::parse_str(wat).unwrap())
    }

    /// A module whose description is `json`, with `extra` before the export.
    fn module(json: &str, extra: &str) -> String {
        let data: String = json.bytes().map(|byte| format!("\\{byte:02x}")).collect();
        let answer = (16_u64 << 32) | json.len() as u64;
        format!(
            r#"(module (import "host" "now" (func $now (result i64))) (memory (export "memory") 1)
                (data (i32.const 16) "{data}")
                (func (export "sophon_describe_v1") (result i64) {extra} (i64.const {answer})))"#
        )
    }

    #[test]
    fn reads_what_the_code_says_and_survives_what_it_does() {
        let good = r#"[{"name":"today","description":"Today's weather."}]"#;
        let tools = ask(&module(good, "")).unwrap().unwrap();
        assert_eq!(tools[0]["name"], "today");
        assert!(ask("(module)").unwrap().is_none());

        #[track_caller]
        fn check(wat: &str, want: &str) {
            let error = ask(wat).unwrap_err().to_string();
            assert!(error.contains(want), "{error}");
        }
        check(&module(good, "(drop (call $now))"), "host");
        check(&module(good, "(loop $l (br $l))"), "fuel");
        check(&module(good, "(drop (memory.grow (i32.const 60000))) unreachable"), "unreachable");
        check(&module("", ""), "JSON");
        check(&module("{}", ""), "not a list");
        check(&module("[]", ""), "no tool");
        check(&module("[{}]", ""), "no name");
        check(&module(r#"[{"name":"a","name":"b"}]"#, ""), "twice");
        check(r#"(module (func (export "sophon_describe_v1") (result i64) (i64.const 5)))"#, "memory");
        check(
            r#"(module (memory (export "memory") 1) (func (export "sophon_describe_v1") (result i64) (i64.const -4294967295)))"#,
            "outside",
        );
        check(
            r#"(module (memory (export "memory") 1) (func (export "sophon_describe_v1") (result i64) (i64.const -1)))"#,
            "at most",
        );
        check(r#"(module (memory 2000) (func (export "sophon_describe_v1") (result i64) (i64.const 0)))"#, "memory");
        check(r#"(module (func (export "sophon_describe_v1") (result i32) (i32.const 0)))"#, "type");
    }
}
