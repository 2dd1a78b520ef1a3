//! The rules, one a file. Ids are stable and never reused.

mod exports;
mod hidden_text;
mod imports;
mod limits;
mod needs;
mod network;
mod structure;
mod tools_section;
mod unknown_keys;
mod unused;

use super::facts::Facts;
use super::report::{RuleFinding, Severity};
use crate::manifest::Manifest;

/// The entrypoint cannot be read as a component. Found before any rule runs.
pub(super) const MALFORMED: &str = "SA001";
/// The manifest's runtime is not WebAssembly. Found before any rule runs.
pub(super) const RUNTIME: &str = "SA002";

/// What a rule looks at.
pub(super) struct Context<'a> {
    pub(super) facts: &'a Facts,
    pub(super) manifest: &'a Manifest,
}

/// A rule: its id and what it does.
pub(super) struct Rule {
    pub(super) id: &'static str,
    pub(super) check: fn(&Context<'_>, &mut Findings),
}

/// All rules that run on a component that could be read.
pub(super) const RULES: &[Rule] = &[
    Rule { id: "SA003", check: imports::check },
    Rule { id: "SA004", check: needs::check },
    Rule { id: "SA005", check: exports::check },
    Rule { id: "SA006", check: tools_section::check },
    Rule { id: "SA007", check: structure::check },
    Rule { id: "SA008", check: limits::check },
    Rule { id: "SA009", check: hidden_text::check },
    Rule { id: "SA010", check: unknown_keys::check },
    Rule { id: "SA011", check: network::check },
    Rule { id: "SA012", check: unused::check },
];

/// What one rule found; the 50 first, so that a hostile component cannot make a report of any size.
pub(super) struct Findings {
    rule: &'static str,
    list: Vec<RuleFinding>,
}

const MAX_FINDINGS: usize = 50;

impl Findings {
    pub(super) fn new(rule: &'static str) -> Self {
        Self { rule, list: Vec::new() }
    }

    pub(super) fn error(&mut self, place: &str, message: String, advice: impl Into<String>) {
        self.push(Severity::Error, place, message, advice.into());
    }

    fn warning(&mut self, place: &str, message: String, advice: impl Into<String>) {
        self.push(Severity::Warning, place, message, advice.into());
    }

    fn note(&mut self, place: &str, message: String, advice: impl Into<String>) {
        self.push(Severity::Note, place, message, advice.into());
    }

    fn push(&mut self, severity: Severity, place: &str, message: String, advice: String) {
        if self.list.len() < MAX_FINDINGS {
            let (rule, place) = (self.rule.to_owned(), place.to_owned());
            self.list.push(RuleFinding { rule, severity, place, message, advice });
        }
    }

    pub(super) fn into_list(self) -> Vec<RuleFinding> {
        self.list
    }
}
