//! SA008: what the component takes from the start fits into what it may have; else every call would fail.

use super::{Check, Context, Findings, Rule};
use crate::analysis::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "SA008",
    title: "more memory than allowed",
    severity: Severity::Error,
    what: "The memories or tables of the component start larger than the skill may have.",
    why: "Every call would fail while its instance is made.",
    advice: "start with less memory, or raise permissions.maxMemoryMb",
    check: Check::Component(check),
};

/// Where the manifest says nothing: what the sandbox's default preset (`standard`) gives.
const DEFAULT_MEMORY_MB: u32 = 64;
/// Elements of all tables together.
const MAX_TABLE: u64 = 100_000;

fn check(context: &Context<'_>, findings: &mut Findings) {
    let totals = &context.facts.totals;
    let limit = context.manifest.max_memory_mb().unwrap_or(DEFAULT_MEMORY_MB);
    if totals.initial_memory > u64::from(limit) << 20 {
        findings.error(
            "memory",
            format!("it starts with {} MiB, and the limit is {limit} MiB", totals.initial_memory >> 20),
            r#"raise "permissions": {"maxMemoryMb": …} (up to 4096), or start with less memory"#,
        );
    }
    if totals.initial_table > MAX_TABLE {
        findings.error(
            "tables",
            format!("they start with {} elements, at most {MAX_TABLE} are allowed", totals.initial_table),
            "build with smaller tables",
        );
    }
}
