//! The trust store.

use crate::extract::WireBody;
use serde::{Deserialize, Serialize};
use sophon_executor::PublisherView;
use sophon_skill::{PublicKey, PublisherRole};
use sophon_store::PublisherRow;
use utoipa::ToSchema;

/// A publisher to trust.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PublisherBody {
    /// The name to know it by.
    pub(crate) name: String,
    /// The public key (Ed25519) as `sophon key identity` prints it.
    pub(crate) public_key: String,
    /// Whose key it is; a publisher's where nothing is said.
    #[serde(default)]
    pub(crate) role: PublisherRoleName,
}

/// Whose key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum PublisherRoleName {
    /// Another's: what it signs is `trusted`.
    #[default]
    Publisher,
    /// An identity of this home: what it signs is `local-dev`.
    Local,
}

impl From<PublisherRoleName> for PublisherRole {
    fn from(name: PublisherRoleName) -> Self {
        match name {
            PublisherRoleName::Publisher => Self::Publisher,
            PublisherRoleName::Local => Self::Local,
        }
    }
}

impl WireBody for PublisherBody {}

/// The publishers whose signatures the tenant trusts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PublisherList {
    /// Revoked ones too.
    pub(crate) publishers: Vec<PublisherItem>,
}

/// A publisher.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PublisherItem {
    /// SHA-256 of the public key, in hexadecimal.
    fingerprint: String,
    /// The public key.
    public_key: String,
    /// publisher, or local: an identity of this home.
    role: String,
    /// The name it is known by.
    name: String,
    /// The skills whose name is pinned to this key.
    skills: Vec<String>,
    /// When it was trusted.
    added_at: String,
    /// When that was taken back.
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<String>,
}

impl PublisherItem {
    /// A publisher as the executor sees it, and its key as the store has it.
    pub(crate) fn of(view: PublisherView, row: Option<&PublisherRow>) -> Self {
        let key = row.and_then(|row| PublicKey::from_bytes(&row.public_key).ok());
        Self {
            fingerprint: view.fingerprint,
            public_key: key.map(|key| key.to_string()).unwrap_or_default(),
            role: row.map(|row| row.role.clone()).unwrap_or_default(),
            name: view.name,
            skills: view.skills.iter().map(ToString::to_string).collect(),
            added_at: view.added_at.to_string(),
            revoked_at: view.revoked_at.map(|at| at.to_string()),
        }
    }
}
