//! Whom this home trusts: plain data, filled by whoever keeps it.

use crate::signature::{Fingerprint, PublicKey};
use serde::{Deserialize, Serialize};
use sophon_types::SkillName;
use std::collections::BTreeMap;

/// The keys that count, and which name belongs to which key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustStore {
    /// All keys that are or were trusted. A revoked one stays, so that its signatures are refused by name.
    pub publishers: Vec<Publisher>,
    /// Skill names and the one key that may sign them.
    pub pins: BTreeMap<SkillName, Fingerprint>,
}

impl TrustStore {
    /// The entry of a key.
    #[must_use]
    pub fn publisher(&self, fingerprint: &Fingerprint) -> Option<&Publisher> {
        self.publishers.iter().find(|publisher| publisher.key.fingerprint() == *fingerprint)
    }
}

/// A key and what it is to this home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publisher {
    /// The key.
    pub key: PublicKey,
    /// Whose it is, in the words of whoever trusted it.
    pub name: String,
    /// Whether it is a developer of this home or somebody else.
    pub role: PublisherRole,
    /// Whether it still counts.
    pub standing: Standing,
}

impl Publisher {
    /// The key's fingerprint.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.key.fingerprint()
    }
}

/// What a key is to this home.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PublisherRole {
    /// An identity of this home: what it signs is `local-dev`.
    Local,
    /// A publisher: what it signs is `trusted`.
    Publisher,
}

/// Whether a key still counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// It does.
    Trusted,
    /// It was taken back; nothing that it ever signed is accepted any more.
    Revoked,
}
