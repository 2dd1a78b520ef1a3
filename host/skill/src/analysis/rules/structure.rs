//! SA007: the component has no more parts than compilers make. Each part costs time to compile and a slot to run.

use super::{Context, Findings};

/// A Python interpreter has about 31 core instances; a Rust program has four.
const MAX_MODULES: usize = 64;
const MAX_COMPONENTS: usize = 64;

pub(super) fn check(context: &Context<'_>, findings: &mut Findings) {
    for (count, max, what) in
        [(context.facts.modules, MAX_MODULES, "core modules"), (context.facts.components, MAX_COMPONENTS, "components")]
    {
        if count > max {
            findings.error(
                "component",
                format!("it holds {count} {what}, at most {max} are allowed"),
                "link the parts into fewer before packaging",
            );
        }
    }
}
