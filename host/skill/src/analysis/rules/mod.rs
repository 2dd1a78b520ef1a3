//! The rules, one a file. Ids are stable and never reused.

mod addressed;
mod blobs;
mod embedded;
mod exports;
mod functions;
mod hidden_text;
mod hosts;
mod imports;
mod limits;
mod misplaced;
mod names;
mod native_hosts;
mod needs;
mod network;
mod python_dynamic;
mod python_native;
mod python_obfuscation;
mod python_process;
mod python_sockets;
mod python_source;
mod python_tls;
mod requirements;
mod secrets;
mod sections;
mod structure;
mod tools_section;
mod unknown_keys;
mod unused;
mod update;

pub(super) use native_hosts::wishes;
pub(super) use sections::is_known;

use super::document::Noticed;
use super::facts::{Carrier, CarrierKind, Facts};
use super::python::{Source, Unread};
use super::report::{RuleFinding, Severity, Wish};
use super::strings::{Origin, Strings};
use crate::manifest::{Manifest, Runtime};
use crate::text::quote;

/// A rule of the static analysis, as the manual documents it.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Its stable id, such as `SA003`; never given to another rule.
    pub id: &'static str,
    /// Its name, in a few words.
    pub title: &'static str,
    /// The gravest severity that its findings have.
    pub severity: Severity,
    /// What it finds.
    pub what: &'static str,
    /// Why that matters.
    pub why: &'static str,
    /// What to do about it, in general; a finding's own advice is more exact.
    pub advice: &'static str,
    check: Check,
}

/// What a rule does, and which skills it looks at.
#[derive(Debug, Clone, Copy)]
enum Check {
    /// Found before any rule runs.
    Before,
    /// WebAssembly components.
    Component(fn(&Context<'_>, &mut Findings)),
    /// Skills of every other runtime.
    Native(fn(&Context<'_>, &mut Findings)),
    /// Of those, the ones in Python.
    Python(fn(&Context<'_>, &mut Findings)),
    /// All skills.
    Any(fn(&Context<'_>, &mut Findings)),
}

/// The entrypoint cannot be read as a component. Found before any rule runs.
pub(super) const MALFORMED: Rule = Rule {
    id: "SA001",
    title: "not a component",
    severity: Severity::Error,
    what: "The entrypoint is not a WebAssembly component, is damaged, is larger than 48 MiB, nests too deeply, or uses \
           features that are off: threads, memory64, tail calls, exceptions, garbage collection, relaxed SIMD, or what \
           is asynchronous in the component model.",
    why: "What cannot be validated is never compiled. The features are off in the engine as well: each is code that a \
          skill does not need and an attacker may.",
    advice: "build the skill with `cargo build --release --target wasm32-wasip2` and package the .wasm file as it comes \
             out",
    check: Check::Before,
};

/// The manifest's runtime is one whose code the rules cannot read.
const RUNTIME: Rule = Rule {
    id: "SA002",
    title: "code that cannot be analysed",
    severity: Severity::Warning,
    what: "The skill is neither a WebAssembly component nor written in Python.",
    why: "Only the manifest, the texts and the files as such are looked at; what the code does is seen by nobody but the \
          sandbox.",
    advice: "build the skill as a WebAssembly component (runtime wasm), or write it in Python",
    check: Check::Native(unread),
};

fn unread(context: &Context<'_>, findings: &mut Findings) {
    if !context.manifest.runtime.is_python() {
        let message = format!("the code of runtime {} is not analysed", context.manifest.runtime);
        findings.warning("manifest.json: runtime", message, RUNTIME.advice);
    }
}

/// Every rule, by id.
pub const RULES: &[Rule] = &[
    MALFORMED,
    RUNTIME,
    imports::RULE,
    needs::RULE,
    exports::RULE,
    tools_section::RULE,
    structure::RULE,
    limits::RULE,
    hidden_text::RULE,
    unknown_keys::RULE,
    network::RULE,
    unused::RULE,
    functions::RULE,
    misplaced::RULE,
    hosts::RULE,
    embedded::RULE,
    blobs::RULE,
    secrets::RULE,
    addressed::RULE,
    names::RULE,
    sections::RULE,
    update::RULE,
    python_source::RULE,
    python_dynamic::RULE,
    python_process::RULE,
    python_sockets::RULE,
    python_obfuscation::RULE,
    python_native::RULE,
    python_tls::RULE,
    requirements::RULE,
    native_hosts::RULE,
];

/// What a rule looks at.
pub(super) struct Context<'a> {
    pub(super) facts: &'a Facts<'a>,
    pub(super) manifest: &'a Manifest,
    /// The manifest of the version before, where it is at hand.
    pub(super) previous: Option<&'a Manifest>,
    pub(super) readme: Option<&'a str>,
    /// Everything that may hold anything: of the component, and other files of the package.
    pub(super) carriers: &'a [Carrier<'a>],
    /// What can be read in them.
    pub(super) strings: &'a Strings,
    /// What the guard noticed in manifest and README.
    pub(super) noticed: Vec<Noticed>,
    /// Other files that are UTF-8 text. Of native skills only.
    pub(super) texts: Vec<(&'a str, &'a str)>,
    /// The Python sources, and what should have been some. Of native skills in Python only.
    pub(super) python: Vec<Source<'a>>,
    pub(super) unread: Vec<Unread<'a>>,
    /// The hosts that the sources name, and whether there are more.
    pub(super) wishes: (Vec<Wish>, bool),
}

impl Context<'_> {
    /// All findings of all rules.
    pub(super) fn check(&self) -> Vec<RuleFinding> {
        let mut list = Vec::new();
        for rule in RULES {
            let mut findings = Findings::new(rule.id);
            let runtime = &self.manifest.runtime;
            match rule.check {
                Check::Component(check) if *runtime == Runtime::Wasm => check(self, &mut findings),
                Check::Native(check) if *runtime != Runtime::Wasm => check(self, &mut findings),
                Check::Python(check) if runtime.is_python() => check(self, &mut findings),
                Check::Any(check) => check(self, &mut findings),
                Check::Before | Check::Component(_) | Check::Native(_) | Check::Python(_) => {}
            }
            list.append(&mut findings.into_list());
        }
        list
    }

    /// A place in a carrier, for a report.
    fn place(&self, origin: Origin) -> String {
        let Some(carrier) = self.carriers.get(origin.carrier) else { return "component".to_owned() };
        let at = carrier.offset + origin.at;
        match carrier.kind {
            CarrierKind::Segment { .. } => format!("component, byte {at:#x}"),
            CarrierKind::Section(name) => format!("section {}, byte {at:#x}", quote(name)),
            CarrierKind::File(name) => format!("file {}, byte {at:#x}", quote(name)),
        }
    }
}

/// What one rule found; the 50 first of each severity, so that a hostile component can neither make a report of any size nor
/// keep something grave out of it by much that is not.
pub(super) struct Findings {
    rule: &'static str,
    list: Vec<RuleFinding>,
    /// How many there were of each severity, as [`Severity::ALL`] has them.
    seen: [usize; Severity::ALL.len()],
}

const MAX_FINDINGS: usize = 50;
/// Characters of a text in a report: a name out of a package may have a million.
const MAX_SHOWN: usize = 1000;

/// The text as a report shows it: cut, and without what a terminal obeys.
fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(MAX_SHOWN).map(|c| if c.is_control() { '?' } else { c }).collect();
    if text.chars().nth(MAX_SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

impl Findings {
    pub(super) fn new(rule: &'static str) -> Self {
        Self { rule, list: Vec::new(), seen: [0; Severity::ALL.len()] }
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

    /// Whether one more of that severity is only counted, which is done then.
    fn passes_over(&mut self, severity: Severity) -> bool {
        let seen = &mut self.seen[severity as usize];
        let is_full = *seen >= MAX_FINDINGS;
        *seen += usize::from(is_full);
        is_full
    }

    fn push(&mut self, severity: Severity, place: &str, message: String, advice: String) {
        let seen = &mut self.seen[severity as usize];
        *seen += 1;
        if *seen <= MAX_FINDINGS {
            let [place, message, advice] = [place, &message, &advice].map(shown);
            self.list.push(RuleFinding { rule: self.rule.to_owned(), severity, place, message, advice });
        }
    }

    /// What was found, and of each severity how many more there were than are listed.
    pub(super) fn into_list(mut self) -> Vec<RuleFinding> {
        for (severity, seen) in Severity::ALL.into_iter().zip(self.seen) {
            if seen > MAX_FINDINGS {
                let message = format!("{} more of this kind are not listed", seen - MAX_FINDINGS);
                let (rule, place) = (self.rule.to_owned(), "the package".to_owned());
                let advice = "mend those that are listed, and look again".to_owned();
                self.list.push(RuleFinding { rule, severity, place, message, advice });
            }
        }
        self.list
    }
}
