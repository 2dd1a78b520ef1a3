//! wasmtime by itself: the same component, called with nothing around it.

use bindings::CallerPre;
use bindings::exports::sophon::skill::tools::CallContext;
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Result, Store, UpdateDeadline};

mod bindings {
    wasmtime::component::bindgen!({
        inline: "
            package sophon:bench;
            world caller { export sophon:skill/tools@1.0.0; }
        ",
        path: "../../wit",
        exports: { default: async },
    });
}

/// What is switched on besides the pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metering {
    /// Fuel and epochs, as the host has them.
    FuelAndEpochs,
    /// Nothing: what a server without controls does.
    Off,
}

/// A component ready to be instantiated from a pool.
#[derive(Clone)]
pub struct Raw {
    engine: Engine,
    pre: CallerPre<()>,
    metering: Metering,
}

/// Fuel of one call; the host's usual allowance.
const FUEL: u64 = 2_000_000_000;

impl Raw {
    /// Compiles `component`, which imports nothing, for a pool of `concurrent` instances.
    ///
    /// # Errors
    /// wasmtime's.
    pub fn new(component: &[u8], concurrent: u32, metering: Metering) -> Result<Self> {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(concurrent);
        pool.total_core_instances(concurrent * 4);
        pool.total_memories(concurrent);
        pool.total_tables(concurrent * 4);
        pool.total_stacks(concurrent);
        pool.max_memory_size(64 << 20);
        // Tables are small: to zero them is quicker than to give them back.
        pool.table_keep_resident(64 << 10);
        let mut config = Config::new();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        config.memory_init_cow(true);
        config.concurrency_support(false);
        if metering == Metering::FuelAndEpochs {
            config.consume_fuel(true);
            config.epoch_interruption(true);
        }
        let engine = Engine::new(&config)?;
        let component = Component::new(&engine, component)?;
        let linker: Linker<()> = Linker::new(&engine);
        let pre = CallerPre::new(linker.instantiate_pre(&component)?)?;
        Ok(Self { engine, pre, metering })
    }

    /// Moves the epoch every 10 ms for as long as the process lives, as the host does.
    ///
    /// # Errors
    /// Where there is no thread for it.
    pub fn tick(&self) -> std::io::Result<()> {
        let engine = self.engine.weak();
        std::thread::Builder::new()
            .spawn(move || {
                while let Some(engine) = engine.upgrade() {
                    std::thread::sleep(std::time::Duration::from_millis(10));
                    engine.increment_epoch();
                }
            })
            .map(drop)
    }

    /// One call in a fresh instance.
    ///
    /// # Errors
    /// wasmtime's, and the tool's own as text.
    pub async fn call(&self, tool: &str, arguments: &str) -> Result<std::result::Result<String, String>> {
        let mut store = Store::new(&self.engine, ());
        if self.metering == Metering::FuelAndEpochs {
            store.set_fuel(FUEL)?;
            store.set_epoch_deadline(1);
            store.epoch_deadline_callback(|_context| Ok(UpdateDeadline::Yield(1)));
        }
        let skill = self.pre.instantiate_async(&mut store).await?;
        let context = CallContext {
            call_id: "call_00000000000000000000000000000000".into(),
            correlation_id: "00000000000000000000000000000000".into(),
            session: None,
            deadline_ms: 30_000,
        };
        let result = skill.sophon_skill_tools().call_call_tool(&mut store, tool, arguments, &context).await?;
        Ok(result.map_err(|error| format!("{error:?}")))
    }
}
