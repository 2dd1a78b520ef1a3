//! One table for every limit of a run, by preset, and what a manifest may ask for within it.

use serde::{Deserialize, Serialize};
use sophon_skill::{Manifest, Preset, ceilings};
use std::time::Duration;

const MIB: usize = 1 << 20;
const KIB: usize = 1 << 10;

/// Units of fuel that count as one second of CPU where a manifest bounds its CPU time (`permissions.maxCpuSeconds`).
/// Compiled loops burned 1.9 (an empty loop) to 15 thousand million units a second where we measured, code that waits
/// for memory far fewer; taken low, so that the bound is also one on slower machines. Time itself is the wall clock's.
pub(crate) const FUEL_PER_SECOND: u64 = 1_000_000_000;

/// What one call may use. Sizes in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Units of wasmtime fuel: about one an instruction.
    pub fuel: u64,
    /// Wall clock for the whole call, waiting included.
    pub wall: Duration,
    /// Linear memory, summed over all memories of the store.
    pub memory: usize,
    /// Table elements, summed over all tables of the store.
    pub table_elements: usize,
    /// Core instances in the store.
    pub instances: usize,
    /// Linear memories in the store. Rust, Go and Python components have one; each composed part adds one.
    pub memories: usize,
    /// Tables in the store.
    pub tables: usize,
    /// Resource handles at one time.
    pub handles: usize,
    /// Bytes that one host call may carry from the guest to the host.
    pub hostcall_bytes: usize,
    /// Bytes that all host calls of a call may carry together, from the guest to the host and back.
    pub hostcall_total_bytes: u64,
    /// Host calls in all, those of WASI included.
    pub hostcalls: u64,
    /// Bytes of log lines, stdout and stderr together.
    pub log_bytes: usize,
    /// Progress reports that are kept.
    pub progress_reports: u32,
    /// Random bytes that one WASI call may ask for.
    pub random_bytes: u64,
    /// Bytes of the tool's result.
    pub result_bytes: usize,
    /// HTTP requests, redirects not counted.
    pub http_requests: u32,
    /// Requests on their way at one time. Each may hold one answer of the size that egress allows.
    pub http_in_flight: u32,
    /// Bytes of the request bodies and answers that the host holds for the call at one time.
    pub http_bytes: usize,
    /// Bytes in the workspace.
    pub workspace_bytes: u64,
    /// Files and folders in the workspace.
    pub workspace_files: u64,
    /// Bytes of one value in `state`.
    pub state_value_bytes: usize,
    /// What a skill may keep in `state` for one tenant: bytes of keys and values.
    pub state_total_bytes: u64,
    /// The same: number of keys.
    pub state_keys: u64,
}

impl Limits {
    /// The limits of a preset.
    #[must_use]
    pub fn of(preset: Preset) -> Self {
        let whole = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        let standard = Self {
            // Up to about a second of computation; the wall clock is longer because calls wait for others.
            fuel: 2 * FUEL_PER_SECOND,
            wall: Duration::from_secs(preset.wall_seconds().into()),
            memory: whole(preset.memory_mb()) * MIB,
            table_elements: whole(ceilings::TABLE_ELEMENTS),
            instances: whole(ceilings::INSTANCES),
            memories: whole(ceilings::MEMORIES),
            tables: whole(ceilings::TABLES),
            handles: 1_000,
            hostcall_bytes: 12 * MIB,
            hostcall_total_bytes: 128 * MIB as u64,
            hostcalls: 100_000,
            log_bytes: 64 * KIB,
            progress_reports: 1_000,
            random_bytes: 64 * KIB as u64,
            result_bytes: 4 * MIB,
            http_requests: 100,
            http_in_flight: 4,
            http_bytes: 16 * MIB,
            workspace_bytes: 64 * MIB as u64,
            workspace_files: 1_000,
            state_value_bytes: 256 * KIB,
            state_total_bytes: 4 * MIB as u64,
            state_keys: 10_000,
        };
        match preset {
            Preset::Minimal => Self { fuel: 20 * FUEL_PER_SECOND, ..standard },
            Preset::Standard => standard,
            Preset::Restricted => Self {
                fuel: FUEL_PER_SECOND / 2,
                hostcalls: 10_000,
                http_requests: 10,
                workspace_bytes: 8 * MIB as u64,
                workspace_files: 100,
                ..standard
            },
            Preset::LockedDown => Self { http_requests: 0, workspace_bytes: 0, workspace_files: 0, ..standard },
        }
    }

    /// The limits for a skill: those of its preset, with the memory and wall clock that its manifest asks for (up to
    /// the `minimal` preset's) and no more CPU time than that, and never above `ceiling`, the operator's.
    #[must_use]
    pub fn for_skill(manifest: &Manifest, ceiling: &Self) -> Self {
        let mut limits = Self::of(manifest.preset());
        let most = Self::of(Preset::Minimal);
        let memory_mb = [manifest.permissions.max_memory_mb, manifest.sandbox.max_memory_mb];
        if let Some(mb) = memory_mb.into_iter().flatten().min() {
            limits.memory = usize::try_from(mb).unwrap_or(usize::MAX).saturating_mul(MIB).min(most.memory);
        }
        if let Some(seconds) = manifest.sandbox.timeout_seconds {
            limits.wall = Duration::from_secs(seconds.into()).min(most.wall);
        }
        if let Some(seconds) = manifest.permissions.max_cpu_seconds {
            limits.fuel = limits.fuel.min(u64::from(seconds).saturating_mul(FUEL_PER_SECOND));
        }
        limits.capped(ceiling)
    }

    /// The lower of each limit.
    #[must_use]
    pub fn capped(&self, ceiling: &Self) -> Self {
        Self {
            fuel: self.fuel.min(ceiling.fuel),
            wall: self.wall.min(ceiling.wall),
            memory: self.memory.min(ceiling.memory),
            table_elements: self.table_elements.min(ceiling.table_elements),
            instances: self.instances.min(ceiling.instances),
            memories: self.memories.min(ceiling.memories),
            tables: self.tables.min(ceiling.tables),
            handles: self.handles.min(ceiling.handles),
            hostcall_bytes: self.hostcall_bytes.min(ceiling.hostcall_bytes),
            hostcall_total_bytes: self.hostcall_total_bytes.min(ceiling.hostcall_total_bytes),
            hostcalls: self.hostcalls.min(ceiling.hostcalls),
            log_bytes: self.log_bytes.min(ceiling.log_bytes),
            progress_reports: self.progress_reports.min(ceiling.progress_reports),
            random_bytes: self.random_bytes.min(ceiling.random_bytes),
            result_bytes: self.result_bytes.min(ceiling.result_bytes),
            http_requests: self.http_requests.min(ceiling.http_requests),
            http_in_flight: self.http_in_flight.min(ceiling.http_in_flight),
            http_bytes: self.http_bytes.min(ceiling.http_bytes),
            workspace_bytes: self.workspace_bytes.min(ceiling.workspace_bytes),
            workspace_files: self.workspace_files.min(ceiling.workspace_files),
            state_value_bytes: self.state_value_bytes.min(ceiling.state_value_bytes),
            state_total_bytes: self.state_total_bytes.min(ceiling.state_total_bytes),
            state_keys: self.state_keys.min(ceiling.state_keys),
        }
    }
}

/// How much the process sets aside for all calls together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolLimits {
    /// Calls that may run at one time. For each the pool has all the core instances, memories and tables that one
    /// component may have, so this many calls always fit, whatever skills they are of. That costs about 16 GiB of
    /// address space a call (not of memory): some 7,000 calls on x86-64 with 47 bits of it.
    pub concurrent_calls: u32,
    /// The largest linear memory any skill can have, in bytes.
    pub memory: usize,
    /// Bytes of a linear memory that stay resident in a slot between calls: they are zeroed, not given back. A Rust skill's
    /// stack alone is 1 MiB, of which a call touches a few pages; to zero it all takes longer than to fault those in
    /// again (81 µs a call against 49 µs where we measured). Finding the few by `PAGEMAP_SCAN` would be quicker, but wasmtime
    /// looks for pages that are present only: one that is swapped out, or on its way to another place in memory, would keep
    /// what one tenant wrote for the next.
    pub keep_resident: usize,
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self { concurrent_calls: 64, memory: Limits::of(Preset::Minimal).memory, keep_resident: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(extra: &str) -> Manifest {
        let text = format!(
            r#"{{"name": "probe", "version": "1.0.0", "author": "A", "license": "Apache-2.0", "description": "d",
                "category": "utility", "runtime": "wasm", "entrypoint": "skill.wasm",
                "tools": [{{"name": "go", "description": "d", "riskLevel": "none", "parameters": {{"type": "object"}}}}],
                {extra}}}"#
        );
        Manifest::parse(text.as_bytes()).unwrap_or_else(|errors| panic!("{errors}"))
    }

    #[test]
    fn a_manifest_bounds_its_own_cpu_time() {
        let open = Limits::of(Preset::Minimal);
        let fuel = |extra: &str| Limits::for_skill(&manifest(extra), &open).fuel;
        assert_eq!(fuel(r#""permissions": {}"#), 2_000_000_000);
        assert_eq!(fuel(r#""permissions": {"maxCpuSeconds": 1}"#), 1_000_000_000);
        // It lowers, and never raises.
        assert_eq!(fuel(r#""permissions": {"maxCpuSeconds": 60}"#), 2_000_000_000);
        assert_eq!(fuel(r#""permissions": {"maxCpuSeconds": 10}, "sandbox": {"preset": "minimal"}"#), 10_000_000_000);
        let strict = Limits { fuel: 7, ..open };
        assert_eq!(Limits::for_skill(&manifest(r#""permissions": {"maxCpuSeconds": 1}"#), &strict).fuel, 7);
    }

    #[test]
    fn presets_only_close() {
        let order = [Preset::Minimal, Preset::Standard, Preset::Restricted];
        for pair in order.windows(2) {
            let (open, closed) = (Limits::of(pair[0]), Limits::of(pair[1]));
            assert_eq!(closed.capped(&open), closed, "{:?} opens something over {:?}", pair[1], pair[0]);
        }
        let locked = Limits::of(Preset::LockedDown);
        assert_eq!((locked.http_requests, locked.workspace_bytes, locked.workspace_files), (0, 0, 0));
    }
}
