//! SA008: what the component takes from the start fits into what it may have; else every call would fail.

use super::{Context, Findings};

/// Where the manifest says nothing: what the sandbox's default preset (`standard`) gives.
const DEFAULT_MEMORY_MB: u32 = 64;
/// Elements of all tables together.
const MAX_TABLE: u64 = 100_000;

pub(super) fn check(context: &Context<'_>, findings: &mut Findings) {
    let facts = context.facts;
    let limit = context.manifest.max_memory_mb().unwrap_or(DEFAULT_MEMORY_MB);
    if facts.initial_memory > u64::from(limit) << 20 {
        findings.error(
            "memory",
            format!("it starts with {} MiB, and the limit is {limit} MiB", facts.initial_memory >> 20),
            r#"raise "permissions": {"maxMemoryMb": …} (up to 4096), or start with less memory"#,
        );
    }
    if facts.initial_table > MAX_TABLE {
        findings.error(
            "tables",
            format!("they start with {} elements, at most {MAX_TABLE} are allowed", facts.initial_table),
            "build with smaller tables",
        );
    }
}
