//! SA014: a segment that lies outside of its memory or table traps before any tool can run.

use super::{Check, Context, Findings, Rule};
use crate::analysis::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "SA014",
    title: "segment out of bounds",
    severity: Severity::Error,
    what: "An active data or element segment ends beyond the memory or table that it is written to.",
    why: "Every instance would trap while it starts. No compiler makes such a component; someone who probes a host \
          does.",
    advice: "build the component again, and package it as the compiler made it",
    check: Check::Component(check),
};

fn check(context: &Context<'_>, findings: &mut Findings) {
    for segment in &context.facts.misplaced {
        let (what, unit) = match segment.what {
            "data" => ("the data segment", "bytes"),
            _ => ("the element segment", "elements"),
        };
        findings.error(
            &format!("component, byte {:#x}", segment.offset),
            format!("{what} ends at {}, and there are {} {unit}", segment.end, segment.room),
            RULE.advice,
        );
    }
}
