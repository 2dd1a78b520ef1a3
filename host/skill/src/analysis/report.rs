//! What the analysis found, for people and for programs.

use crate::network::{HostPattern, Scheme};
use serde::{Deserialize, Serialize};
use sophon_types::ServiceName;
use std::fmt;

/// One thing that a rule found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuleFinding {
    /// The rule's stable id, such as `SA003`.
    pub rule: String,
    /// How much it weighs.
    pub severity: Severity,
    /// Where, such as `import wasi:sockets/tcp@0.2.0` or `manifest.json: tools[2]`.
    pub place: String,
    /// What is so. Text from the package is quoted and cut.
    pub message: String,
    /// What to do about it.
    pub advice: String,
}

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know.
    Note,
    /// A person should look at it.
    Warning,
    /// The skill is not accepted.
    Error,
}

impl Severity {
    /// All of them, the least first.
    pub(super) const ALL: [Self; 3] = [Self::Note, Self::Warning, Self::Error];
}

/// What follows from all findings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Nothing speaks against it.
    Admit,
    /// A person should look at it first.
    Review,
    /// It is not accepted.
    Reject,
}

/// The outcome of an analysis.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Report {
    /// What follows.
    pub verdict: Verdict,
    /// What was found, the gravest first.
    pub findings: Vec<RuleFinding>,
    /// The names of everything the component imports.
    pub imports: Vec<String>,
    /// The hosts that a native skill's sources name: what a person may grant it.
    #[serde(default)]
    pub hosts: Vec<Wish>,
    /// Where the secrets of its connection go in requests, as far as its sources show it: what whoever connects the account may
    /// let their placeholders stand in, besides header fields that are made for credentials.
    #[serde(default)]
    pub positions: Vec<Placement>,
}

/// A host that the source of a native skill names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wish {
    /// The host; `*.example.com` where a part of the name is filled in when the skill runs.
    pub host: HostPattern,
    /// How it is spoken to.
    pub scheme: Scheme,
    /// The port, where the source names one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub port: Option<u16>,
    /// Where, such as `main.py, line 12`.
    pub place: String,
}

/// A place in requests into which a secret field goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The service that is connected.
    pub service: ServiceName,
    /// The field's key in `integration`.
    pub field: String,
    /// The place, as `sophon credential set --place` has it: `query:NAME`, `path`, `header:NAME`, `form:NAME`, `json:KEY.KEY`.
    pub position: String,
    /// Where in the source, such as `main.py, line 12`.
    pub place: String,
}

impl Report {
    pub(super) fn new(mut findings: Vec<RuleFinding>, imports: Vec<String>) -> Self {
        findings.sort_by(|a, b| (b.severity, &a.rule).cmp(&(a.severity, &b.rule)));
        let verdict = match findings.first().map(|finding| finding.severity) {
            Some(Severity::Error) => Verdict::Reject,
            Some(Severity::Warning) => Verdict::Review,
            Some(Severity::Note) | None => Verdict::Admit,
        };
        Self { verdict, findings, imports, hosts: Vec::new(), positions: Vec::new() }
    }

    pub(super) fn with_hosts(self, hosts: Vec<Wish>) -> Self {
        Self { hosts, ..self }
    }

    pub(super) fn with_positions(self, positions: Vec<Placement>) -> Self {
        Self { positions, ..self }
    }

    /// The advice of the gravest finding.
    #[must_use]
    pub fn first_advice(&self) -> Option<&str> {
        self.findings.first().map(|finding| finding.advice.as_str())
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Admit => "admit",
            Self::Review => "review",
            Self::Reject => "reject",
        })
    }
}

impl fmt::Display for RuleFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rule, severity, place, message, advice } = self;
        write!(f, "{severity} {rule}: {place}: {message}\n  hint: {advice}")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.findings.iter().try_for_each(|finding| writeln!(f, "{finding}"))?;
        write!(f, "verdict: {}", self.verdict)
    }
}
