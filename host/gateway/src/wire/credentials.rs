//! Credentials. Values go in and never come out.

use super::oauth::GrantBody;
use crate::extract::{Quote, WireBody};
use serde::{Deserialize, Serialize};
use sophon_vault::{Attach, ConnectionInfo, Owner, Placing, PlacingError};
use std::collections::BTreeMap;
use std::fmt;
use utoipa::ToSchema;
use zeroize::Zeroizing;

/// A secret value on its way in.
pub(crate) struct SecretValue(pub(crate) Zeroizing<String>);

impl<'de> Deserialize<'de> for SecretValue {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Zeroizing::new(String::deserialize(deserializer)?)))
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(..)")
    }
}

/// The credentials of a service.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CredentialBody {
    /// Field by field, such as `token`, or `username` and `password`. Replaces all fields of before.
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub(crate) fields: BTreeMap<String, SecretValue>,
    /// The only hosts that they may travel to: `host[:port]`. Where nothing is said, the hosts of the manifest decide.
    pub(crate) hosts: Option<Vec<String>>,
    /// How they are attached to a request; a bearer token where nothing is said.
    pub(crate) attach: Option<AttachBody>,
    /// Fields that are not secret, such as a user's name.
    #[serde(default)]
    pub(crate) plain: Vec<String>,
    /// Of fields that reach native skills as placeholders: how those look, and where they may stand besides header fields
    /// that are made for credentials.
    #[serde(default)]
    pub(crate) placeholders: BTreeMap<String, PlacingBody>,
    /// Whose they are; the user's where nothing is said.
    #[serde(default)]
    pub(crate) owner: OwnerName,
}

impl WireBody for CredentialBody {
    const QUOTE: Quote = Quote::Never;
}

/// How the placeholder of a field looks, and where it may stand.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PlacingBody {
    /// What stands around it, such as `{}:fx`: `{}` once, and at most 32 letters, digits and `.:_~-`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) shape: Option<String>,
    /// `header:NAME`, `path`, `query:NAME`, `form:NAME`, `json:KEY.KEY`, or `url`: the field is a URL as a whole.
    #[serde(default)]
    #[schema(example = json!(["query:api_key"]))]
    pub(crate) positions: Vec<String>,
}

impl PlacingBody {
    pub(crate) fn read(&self) -> Result<Placing, PlacingError> {
        Ok(Placing {
            shape: self.shape.as_deref().map(str::parse).transpose()?,
            positions: self.positions.iter().map(|at| at.parse()).collect::<Result<_, _>>()?,
        })
    }
}

impl From<Placing> for PlacingBody {
    fn from(placing: Placing) -> Self {
        Self {
            shape: placing.shape.map(|shape| shape.to_string()),
            positions: placing.positions.iter().map(ToString::to_string).collect(),
        }
    }
}

/// Whose credentials.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum OwnerName {
    /// The caller's own.
    #[default]
    User,
    /// The tenant's: for all its users that have none of their own. Admins only.
    Tenant,
}

/// Whose credentials, in a query string.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OwnerQuery {
    #[serde(default)]
    pub(crate) owner: OwnerName,
}

/// How credentials are attached to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub(crate) enum AttachBody {
    /// `Authorization: Bearer` and a field.
    Bearer {
        /// The field; `token`, or the only one, where nothing is said.
        field: Option<String>,
    },
    /// A header of its own.
    Header {
        /// The header.
        name: String,
        /// What stands before the value, such as `Token `.
        #[serde(default)]
        prefix: String,
        /// The field.
        field: String,
    },
    /// HTTP Basic (RFC 7617).
    Basic {
        /// The field with the user's name.
        user_field: String,
        /// The field with the password.
        password_field: String,
    },
    /// Not by a header: the fields are used where the skill's requests hold their placeholders.
    Placeholders,
}

impl From<OwnerName> for Owner {
    fn from(name: OwnerName) -> Self {
        match name {
            OwnerName::User => Self::User,
            OwnerName::Tenant => Self::Tenant,
        }
    }
}

impl From<AttachBody> for Option<Attach> {
    fn from(body: AttachBody) -> Self {
        match body {
            // Which field is the vault's to find out.
            AttachBody::Bearer { field: None } => None,
            AttachBody::Bearer { field: Some(field) } => Some(Attach::Bearer { field }),
            AttachBody::Header { name, prefix, field } => Some(Attach::Header { name, prefix, field }),
            AttachBody::Basic { user_field, password_field } => Some(Attach::Basic { user_field, password_field }),
            AttachBody::Placeholders => Some(Attach::Placeholders),
        }
    }
}

impl From<Attach> for AttachBody {
    fn from(attach: Attach) -> Self {
        match attach {
            Attach::Bearer { field } => Self::Bearer { field: Some(field) },
            Attach::Header { name, prefix, field } => Self::Header { name, prefix, field },
            Attach::Basic { user_field, password_field } => Self::Basic { user_field, password_field },
            Attach::Placeholders => Self::Placeholders,
        }
    }
}

/// The connections that the caller can see.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConnectionList {
    pub(crate) connections: Vec<ConnectionBody>,
}

/// A connected account, without any of its values.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConnectionBody {
    /// The service.
    pub(crate) service: String,
    /// Whose it is.
    pub(crate) owner: OwnerName,
    /// The names of its fields.
    pub(crate) fields: Vec<String>,
    /// The only hosts that it may travel to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) hosts: Option<Vec<String>>,
    /// How it is attached to a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) attach: Option<AttachBody>,
    /// Fields that are not secret.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) plain: Vec<String>,
    /// How placeholders look, and where they may stand.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) placeholders: BTreeMap<String, PlacingBody>,
    /// The authorisation behind it, where it was connected by OAuth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) oauth: Option<GrantBody>,
    /// Raised with each change.
    pub(crate) version: u64,
    /// When it was last changed.
    pub(crate) updated_at: String,
}

impl From<ConnectionInfo> for ConnectionBody {
    fn from(info: ConnectionInfo) -> Self {
        let owner = match info.owner {
            Owner::User => OwnerName::User,
            Owner::Tenant => OwnerName::Tenant,
        };
        Self {
            service: info.service.to_string(),
            owner,
            fields: info.fields,
            hosts: info.binding.hosts.map(|hosts| hosts.iter().map(ToString::to_string).collect()),
            attach: info.binding.attach.map(AttachBody::from),
            plain: info.binding.plain.into_iter().collect(),
            placeholders: info.binding.placeholders.into_iter().map(|(field, at)| (field, at.into())).collect(),
            oauth: info.oauth.map(GrantBody::from),
            version: info.version,
            updated_at: info.updated_at.to_string(),
        }
    }
}
