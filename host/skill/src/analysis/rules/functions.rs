//! SA013: no single function is larger or more deeply nested than what people write. Compilers spend more than linear
//! time on one function, and that time is the host's.

use super::{Check, Context, Findings, Rule};
use crate::analysis::report::Severity;

pub(super) const RULE: Rule = Rule {
    id: "SA013",
    title: "function too large",
    severity: Severity::Error,
    what: "One function has more than 1 MiB of code, 10,000 locals, 4,000 nested blocks, or a jump table of 16 KiB.",
    why: "Compiling takes more than linear time and memory in each of these, so a small file can keep a compiler busy \
          for minutes. The largest functions of interpreters and parsers stay far below.",
    advice: "split the function; where a tool generated it, have it generate data instead of code",
    check: Check::Component(check),
};

/// Bytes of a body. The largest of CPython has about 100 KB, the largest lexers of tree-sitter about 500 KB.
const MAX_SIZE: u64 = 1 << 20;
/// The validator's own bound is 50,000.
const MAX_LOCALS: u64 = 10_000;
/// A `switch` becomes one block a case.
const MAX_DEPTH: u64 = 4_000;
/// Bytes of one `br_table`; a target takes one to three.
const MAX_BRANCHES: u64 = 16 << 10;

fn check(context: &Context<'_>, findings: &mut Findings) {
    let bodies = &context.facts.bodies;
    for (most, max, what) in [
        (bodies.size, MAX_SIZE, "bytes of code"),
        (bodies.locals, MAX_LOCALS, "locals"),
        (bodies.nesting, MAX_DEPTH, "nested blocks"),
        (bodies.branches, MAX_BRANCHES, "bytes in one jump table"),
    ] {
        if most.value > max {
            findings.error(
                &format!("component, byte {:#x}", most.offset),
                format!("a function has {} {what}, at most {max} are allowed", most.value),
                RULE.advice,
            );
        }
    }
}
