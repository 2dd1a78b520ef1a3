//! How wasmtime is set up: everything that a skill does not need is off, everything that bounds it is on.

use crate::SandboxError;
use crate::limits::{Limits, PoolLimits};
use sophon_skill::Preset;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use wasmtime::{Config, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig, Strategy};

/// How often running code is looked at: an endless loop yields to other calls this often, and is ended at most this
/// much late.
pub(super) const EPOCH: Duration = Duration::from_millis(10);

/// Native stack that WebAssembly code may use, in bytes. Deep recursion traps.
const WASM_STACK: usize = 512 << 10;
/// The fiber's stack: the above plus what host calls need.
const FIBER_STACK: usize = 2 << 20;

/// Bytes of a fiber's stack that stay resident between calls.
const STACK_KEPT: usize = 32 << 10;
/// Memories, tables and stacks that are given back to the system at one time.
const DECOMMITS: usize = 32;

/// The engine and the thread that moves its epoch; the thread ends when this is dropped.
pub(super) struct Ticking {
    pub(super) engine: Engine,
    stop: Arc<AtomicBool>,
}

impl Ticking {
    /// Starts the engine.
    pub(super) fn start(pool: &PoolLimits) -> Result<Self, SandboxError> {
        let refused = |error: wasmtime::Error| SandboxError::Engine(format!("{error:#}"));
        let engine = Engine::new(&config(pool)).map_err(|error| {
            let calls = pool.concurrent_calls.max(1);
            refused(error.context(format!("a pool for {calls} calls at the same time does not fit this machine")))
        })?;
        let stop = Arc::new(AtomicBool::new(false));
        let (weak, stopped) = (engine.weak(), Arc::clone(&stop));
        std::thread::Builder::new()
            .name("sophon-epoch".into())
            .spawn(move || {
                while !stopped.load(Ordering::Relaxed) {
                    std::thread::sleep(EPOCH);
                    let Some(engine) = weak.upgrade() else { return };
                    engine.increment_epoch();
                }
            })
            .map_err(|error| SandboxError::Engine(format!("no thread for the epoch: {error}")))?;
        Ok(Self { engine, stop })
    }
}

impl Drop for Ticking {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// An engine that only compiles: the same code as for the pool, without setting aside the pool's address space.
pub(crate) fn compiler_engine() -> Result<Engine, SandboxError> {
    Engine::new(&compilation()).map_err(|error| SandboxError::Engine(format!("{error:#}")))
}

fn config(pool: &PoolLimits) -> Config {
    let mut config = compilation();
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pooling(pool)));
    config
}

/// All that decides how code is compiled.
fn compilation() -> Config {
    let mut config = Config::new();
    // Bounds.
    config.consume_fuel(true);
    config.epoch_interruption(true);
    config.max_wasm_stack(WASM_STACK);
    config.async_stack_size(FIBER_STACK);
    // Zeroed before it is used again, so that nothing crosses calls on a reused fiber stack.
    config.async_stack_zeroing(true);
    // Features: what compilers emit for WebAssembly 2.0 and components, and nothing that only adds surface.
    config.strategy(Strategy::Cranelift);
    config.cranelift_opt_level(OptLevel::Speed);
    config.wasm_component_model(true);
    config.wasm_relaxed_simd(false);
    config.wasm_multi_memory(false);
    config.wasm_memory64(false);
    config.wasm_tail_call(false);
    config.wasm_extended_const(false);
    config.wasm_custom_page_sizes(false);
    config.wasm_wide_arithmetic(false);
    config.shared_memory(false);
    config.concurrency_support(false);
    // Copy-on-write images of initial memory, mapped anew for each instance.
    config.memory_init_cow(true);
    config
}

fn pooling(pool: &PoolLimits) -> PoolingAllocationConfig {
    let calls = pool.concurrent_calls.max(1);
    // No preset and no operator gives a component more than this; see `WasmRuntime::start_compiling`.
    let most = Limits::of(Preset::Minimal);
    let each = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let all = |count: usize| calls.saturating_mul(each(count));
    let mut config = PoolingAllocationConfig::new();
    // As many of everything as so many of the largest components have: a call that has its place always fits. Slots
    // that nobody uses cost address space only.
    config.total_component_instances(calls);
    config.total_core_instances(all(most.instances));
    config.total_memories(all(most.memories));
    config.total_tables(all(most.tables));
    config.total_stacks(calls);
    config.max_core_instances_per_component(each(most.instances));
    config.max_memories_per_component(each(most.memories));
    config.max_tables_per_component(each(most.tables));
    config.max_tables_per_module(each(most.tables));
    config.table_elements(most.table_elements);
    config.max_core_instance_size(8 << 20);
    config.max_component_instance_size(8 << 20);
    config.max_memory_size(pool.memory);
    config.linear_memory_keep_resident(pool.keep_resident);
    config.table_keep_resident(64 << 10);
    // The part of a fiber's stack that calls touch is zeroed in place; the rest is given back untouched.
    config.async_stack_keep_resident(STACK_KEPT);
    // Memories are given back in batches: each time costs an interrupt of every processor that this process runs on. None
    // is used again before, and where slots run out the batch is given back at once.
    config.decommit_batch_size(DECOMMITS);
    config
}
