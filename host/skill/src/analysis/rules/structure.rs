//! SA007: the component has no more parts than compilers make. Each part costs time to compile and a slot to run.

use super::{Check, Context, Findings, Rule};
use crate::analysis::facts::MAX_SEGMENTS;
use crate::analysis::report::Severity;
use crate::ceilings;

pub(super) const RULE: Rule = Rule {
    id: "SA007",
    title: "too many parts",
    severity: Severity::Error,
    what: "The component, with everything nested in it, has more than 64 core modules or components, 40 core \
           instances, 20 tables, 4 memories, 100,000 functions, 5 million locals, 32 MiB of code, 50,000 types, 20,000 globals, data segments, core \
           imports, core exports or definitions of the component model, 10,000 element segments, or 200,000 elements \
           in them; or its components, instantiated within one another, could come to more than 1,000 instances, \
           or one of them imports a component.",
    why: "Each part costs time to compile and memory to run. The bounds of tables, memories and core instances are \
          those of the sandbox; the others are several times what whole language interpreters need, so only what was made \
          to exhaust a host reaches them.",
    advice: "link the parts into fewer before packaging, or build without what is not used",
    check: Check::Component(check),
};

fn check(context: &Context<'_>, findings: &mut Findings) {
    let totals = &context.facts.totals;
    // A Python interpreter has about 31 core instances and 12,000 functions; a Rust program four and 500.
    for (count, max, what) in [
        (totals.modules, 64, "core modules"),
        (totals.components, 64, "components"),
        (totals.functions, 100_000, "functions"),
        (totals.locals, 5_000_000, "locals"),
        (totals.code, 32 << 20, "bytes of code"),
        (totals.types, 50_000, "types"),
        (totals.instances, ceilings::INSTANCES.into(), "core instances"),
        (totals.component_instances(), 1_000, "component instances"),
        (totals.component_imports, 0, "components that are imported by others"),
        (totals.tables, ceilings::TABLES.into(), "tables"),
        (totals.memories, ceilings::MEMORIES.into(), "memories"),
        (totals.globals, 20_000, "globals"),
        (totals.data_segments, MAX_SEGMENTS, "data segments"),
        (totals.element_segments, 10_000, "element segments"),
        (totals.elements, 200_000, "elements in segments"),
        (totals.imports, 20_000, "imports of core modules"),
        (totals.exports, 20_000, "exports of core modules"),
        (totals.component_items, 20_000, "definitions of the component model"),
    ] {
        if count > max {
            findings.error("component", format!("it holds {count} {what}, at most {max} are allowed"), RULE.advice);
        }
    }
}
