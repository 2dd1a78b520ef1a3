//! Static analysis: what a component is, what it imports and exports, and whether that agrees with its manifest.
//!
//! Nothing is run and nothing is compiled. Bytes are bounded, then validated with only the WebAssembly features that
//! compilers emit for skills; then each rule looks at the facts. A new rule is one file in `rules/` and one line in
//! its table.

mod facts;
mod offered;
mod report;
mod rules;
#[cfg(test)]
mod tests;

pub(crate) use facts::check_frame;
pub use facts::{Flaw, MAX_COMPONENT};
pub use offered::{Need, OFFERED, Offer};
pub use report::{Report, RuleFinding, Severity, Verdict};

use crate::manifest::{Manifest, Runtime};
use facts::Facts;
use rules::{Context, Findings, MALFORMED, RULES, RUNTIME};

/// Analyses an entrypoint against its manifest. Never fails: what cannot be read is a finding that rejects.
#[must_use]
pub fn analyse(component: &[u8], manifest: &Manifest) -> Report {
    let mut findings = Findings::new(RUNTIME);
    if manifest.runtime != Runtime::Wasm {
        findings.error(
            "manifest.json: runtime",
            format!("the runtime {} is not one that this host can run", manifest.runtime),
            "build the skill as a WebAssembly component (runtime wasm)",
        );
        return Report::new(findings.into_list(), Vec::new());
    }
    let facts = match Facts::of(component) {
        Ok(facts) => facts,
        Err(flaw) => {
            let mut findings = Findings::new(MALFORMED);
            findings.error(&flaw.place(), flaw.message().to_owned(), flaw.advice());
            return Report::new(findings.into_list(), Vec::new());
        }
    };
    let context = Context { facts: &facts, manifest };
    let mut list = Vec::new();
    for rule in RULES {
        let mut findings = Findings::new(rule.id);
        (rule.check)(&context, &mut findings);
        list.append(&mut findings.into_list());
    }
    let imports = facts.imports.iter().map(|import| import.name.clone()).collect();
    Report::new(list, imports)
}
