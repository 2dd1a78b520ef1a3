//! What was noticed in a text: a kind, the rule that noticed it, and where.

use serde::{Deserialize, Serialize};

/// What was noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FindingKind {
    /// A secret that the host knows was there, and was replaced. `rule` is its label.
    SecretRedacted,
    /// Something that looks like a secret; the text is unchanged.
    PossibleSecret,
    /// A forged marker of an external-content block; its `<` was replaced.
    BoundaryForgery,
    /// Characters that a person does not see but a model or a terminal obeys; removed or made visible.
    HiddenUnicode,
    /// Terminal control sequences; the control characters were replaced by visible symbols.
    TerminalEscape,
    /// Markers by which chat formats separate speakers; the text is unchanged.
    RoleMarker,
    /// Phrases that address the model instead of the reader; the text is unchanged.
    PromptInjection,
}

/// How much a finding matters. Nothing is blocked by it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth a note: what ordinary text has too.
    Low,
    /// Worth a look.
    #[default]
    Medium,
    /// Worth it now: text that gives the model orders, or was made so that nobody sees what it says.
    High,
}

impl FindingKind {
    /// How much a finding of `rule` matters, where nothing else is configured.
    fn severity(self, rule: &str) -> Severity {
        match self {
            Self::SecretRedacted | Self::BoundaryForgery => Severity::High,
            Self::PossibleSecret | Self::RoleMarker => Severity::Medium,
            Self::TerminalEscape => Severity::Low,
            Self::HiddenUnicode if rule == "unicode-tags" => Severity::High,
            Self::HiddenUnicode => Severity::Low,
            Self::PromptInjection => match rule.split_once(':') {
                Some(("disguised" | "encoded" | "hidden", _)) => Severity::High,
                _ => match rule {
                    "override-instructions" | "prompt-extraction" | "credential-request" | "exfiltration" => {
                        Severity::High
                    }
                    "smuggled-order" | "encoded-order" => Severity::High,
                    _ => Severity::Medium,
                },
            },
        }
    }
}

/// One thing that was noticed.
///
/// `start..end` are byte offsets: into the wrapped content where the finding comes from [`crate::sanitise`] or
/// [`crate::wrap`], into the given text where it comes from [`crate::scan_secrets`]. They are equal where something was
/// removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// What was noticed.
    pub kind: FindingKind,
    /// The rule that noticed it, such as `github-token`; never the text itself.
    pub rule: String,
    /// Where it begins, in bytes.
    pub start: usize,
    /// Where it ends, in bytes.
    pub end: usize,
    /// How much it matters.
    #[serde(default)]
    pub severity: Severity,
}

impl Finding {
    pub(crate) fn new(kind: FindingKind, rule: impl Into<String>, start: usize, end: usize) -> Self {
        let rule = rule.into();
        let severity = kind.severity(&rule);
        Self { kind, rule, start, end, severity }
    }

    pub(crate) fn moved(mut self, by: usize) -> Self {
        self.start += by;
        self.end += by;
        self
    }
}

/// Most findings that one text may give of one kind: an attacker must not turn annotation into a flood.
pub(crate) const MAX_FINDINGS: usize = 64;
