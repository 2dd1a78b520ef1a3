//! SA008: what the component takes from the start fits into what it may have; else every call would fail.

use super::{Check, Context, Findings, Rule};
use crate::analysis::report::Severity;
use crate::ceilings;

pub(super) const RULE: Rule = Rule {
    id: "SA008",
    title: "more memory than allowed",
    severity: Severity::Error,
    what: "The memories or tables of the component start larger than the skill may have: what its manifest asks for, 256 MiB \
           at most, and 20,000 elements.",
    why: "Every call would fail while its instance is made.",
    advice: "start with less memory, or raise permissions.maxMemoryMb",
    check: Check::Component(check),
};

fn check(context: &Context<'_>, findings: &mut Findings) {
    let totals = &context.facts.totals;
    let limit = context.manifest.memory_mb();
    if totals.initial_memory > u64::from(limit) << 20 {
        findings.error(
            "memory",
            format!("it starts with {} MiB, and the limit is {limit} MiB", totals.initial_memory >> 20),
            format!(
                r#"raise "permissions": {{"maxMemoryMb": …}} (up to {}), or start with less memory"#,
                ceilings::MEMORY_MB
            ),
        );
    }
    let most = ceilings::TABLE_ELEMENTS;
    if totals.initial_table > u64::from(most) {
        findings.error(
            "tables",
            format!("they start with {} elements, at most {most} are allowed", totals.initial_table),
            "build with smaller tables",
        );
    }
}
