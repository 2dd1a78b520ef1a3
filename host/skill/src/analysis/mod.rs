//! Static analysis: what a component is, what it carries, what it imports and exports, and whether that agrees with its
//! manifest. Of a native skill, what its files hold and, where it is written in Python, what its sources name.
//!
//! Nothing is run and nothing is compiled. Bytes are bounded, then validated with only the WebAssembly features that
//! compilers emit for skills, and what the rules need is noted in the same pass; then each rule looks at the facts. A
//! new rule is one file in `rules/`, one line in its table, and one section of the manual.

mod assembly;
mod document;
mod facts;
mod flaw;
mod hosts;
mod magic;
mod offered;
mod python;
mod report;
mod rules;
mod sarif;
mod strings;
mod subject;
#[cfg(test)]
mod tests;

pub use facts::MAX_COMPONENT;
pub use flaw::Flaw;
pub(crate) use flaw::check_frame;
pub use offered::{Need, OFFERED, Offer};
pub use report::{Placement, Report, RuleFinding, Severity, Verdict, Wish};
pub use rules::{RULES, Rule};
pub use subject::Subject;

use crate::manifest::Manifest;

/// Analyses an entrypoint against its manifest. Never fails: what cannot be read is a finding that rejects.
///
/// Where the whole package is at hand, [`Package::analyse`](crate::Package::analyse) also looks at its other files.
#[must_use]
pub fn analyse(component: &[u8], manifest: &Manifest) -> Report {
    Subject::new(component, manifest).analyse()
}
