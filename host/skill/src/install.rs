//! A verified package on a person's terms: what may run, for whom, and what it may reach.

use crate::manifest::{Manifest, Tool};
use crate::network::{HostGrant, StreamGrant};
use crate::verify::VerifiedPackage;
use sophon_types::{Fault, FaultKind, Stage, TenantId, ToolName};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Grants of one skill.
const MAX_GRANTS: usize = 64;
/// Bytes of one setting.
const MAX_SETTING: usize = 4096;

/// What the person who installs decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstallTerms {
    /// For whom.
    pub tenant: TenantId,
    /// Hosts beyond the manifest's, private ones included.
    pub grants: Vec<HostGrant>,
    /// Connections that are no HTTP, of those that the manifest asks for.
    pub streams: Vec<StreamGrant>,
    /// Values for the manifest's settings.
    pub settings: BTreeMap<String, String>,
}

/// A skill that may be called. Cheap to clone.
#[derive(Debug, Clone)]
pub struct InstalledSkill {
    package: Arc<VerifiedPackage>,
    terms: Arc<InstallTerms>,
}

impl InstalledSkill {
    pub(crate) fn new(package: Arc<VerifiedPackage>, terms: InstallTerms) -> Result<Self, TermsError> {
        let granted = terms.grants.len() + terms.streams.len();
        if granted > MAX_GRANTS {
            return Err(TermsError::TooManyGrants(granted));
        }
        let asked = &package.manifest().permissions.streams;
        if let Some(grant) = terms.streams.iter().find(|grant| !asked.iter().any(|wish| wish.admits(grant))) {
            let asked = asked.iter().map(ToString::to_string).collect();
            return Err(TermsError::StreamNotAsked { grant: grant.to_string(), asked });
        }
        for (key, value) in &terms.settings {
            let settings = &package.manifest().settings;
            if !settings.iter().any(|setting| setting.key == *key) {
                let known = settings.iter().map(|setting| setting.key.clone()).collect();
                return Err(TermsError::UnknownSetting { key: key.chars().take(80).collect(), known });
            }
            if value.len() > MAX_SETTING {
                return Err(TermsError::LongSetting { key: key.clone() });
            }
        }
        Ok(Self { package, terms: Arc::new(terms) })
    }

    /// The evidence.
    #[must_use]
    pub fn package(&self) -> &Arc<VerifiedPackage> {
        &self.package
    }

    /// The tenant it is installed for.
    #[must_use]
    pub fn tenant(&self) -> &TenantId {
        &self.terms.tenant
    }

    /// The hosts that a person granted.
    #[must_use]
    pub fn grants(&self) -> &[HostGrant] {
        &self.terms.grants
    }

    /// The connections that are no HTTP and that a person granted.
    #[must_use]
    pub fn streams(&self) -> &[StreamGrant] {
        &self.terms.streams
    }

    /// The settings that a person gave.
    #[must_use]
    pub fn settings(&self) -> &BTreeMap<String, String> {
        &self.terms.settings
    }

    /// The value of a setting: the person's, else the manifest's default.
    #[must_use]
    pub fn setting(&self, key: &str) -> Option<&str> {
        let default = || {
            let setting = self.manifest().settings.iter().find(|setting| setting.key == key)?;
            setting.default.as_deref()
        };
        self.terms.settings.get(key).map(String::as_str).or_else(default)
    }

    /// The manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        self.package.manifest()
    }

    /// The tool of that full name.
    #[must_use]
    pub fn tool(&self, name: &ToolName) -> Option<&Tool> {
        self.manifest().tool(name)
    }
}

/// Why terms do not fit a skill.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TermsError {
    /// More grants than anybody can oversee.
    #[error("{0} hosts are granted, at most {MAX_GRANTS} are allowed")]
    TooManyGrants(usize),
    /// A connection that the manifest does not ask for.
    #[error("the skill does not ask for the connection {grant}")]
    StreamNotAsked {
        /// What was granted.
        grant: String,
        /// What it asks for.
        asked: Vec<String>,
    },
    /// A setting that the manifest does not have.
    #[error("the skill has no setting {key:?}")]
    UnknownSetting {
        /// The key.
        key: String,
        /// The keys that it has.
        known: Vec<String>,
    },
    /// A setting longer than 4096 bytes.
    #[error("the setting {key:?} is longer than {MAX_SETTING} bytes")]
    LongSetting {
        /// The key.
        key: String,
    },
}

impl Fault for TermsError {
    fn stage(&self) -> Stage {
        Stage::Validate
    }
    fn kind(&self) -> FaultKind {
        FaultKind::Unprocessable
    }
    fn code(&self) -> &'static str {
        match self {
            Self::TooManyGrants(_) => "too_many_grants",
            Self::StreamNotAsked { .. } => "stream_not_asked",
            Self::UnknownSetting { .. } => "unknown_setting",
            Self::LongSetting { .. } => "setting_too_long",
        }
    }
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::TooManyGrants(_) => "grant only the hosts that the skill needs".into(),
            Self::StreamNotAsked { asked, .. } if asked.is_empty() => {
                "leave it out; its manifest has no permissions.streams".into()
            }
            Self::StreamNotAsked { asked, .. } => format!("it asks for {}", asked.join(", ")),
            Self::UnknownSetting { known, .. } if known.is_empty() => "leave it out; the skill has no settings".into(),
            Self::UnknownSetting { known, .. } => format!("use one of {}", known.join(", ")),
            Self::LongSetting { .. } => "shorten the value".into(),
        })
    }
}
