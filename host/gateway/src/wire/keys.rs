//! API keys.

use crate::extract::WireBody;
use serde::{Deserialize, Serialize};
use sophon_store::KeyRow;
use sophon_types::{Role, TenantId, UserId};
use utoipa::ToSchema;

/// A key to make.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct KeyBody {
    /// agent, approver, publisher or admin.
    #[schema(value_type = String, example = "agent")]
    pub(crate) role: Role,
    /// The person behind the key.
    #[schema(value_type = String, example = "ann")]
    pub(crate) user: UserId,
    /// The tenant; the caller's own where nothing is said.
    #[schema(value_type = Option<String>)]
    pub(crate) tenant: Option<TenantId>,
    /// What its owner calls it.
    #[serde(default)]
    pub(crate) label: String,
    /// Whether results may leave as data beside the wrapped text; false where nothing is said.
    #[serde(default)]
    pub(crate) structured_results: bool,
}

impl WireBody for KeyBody {}

/// A key that was made. The only answer that ever holds the key itself.
#[derive(Serialize, ToSchema)]
pub(crate) struct KeyMade {
    /// The key: `sk_` and 43 characters.
    pub(crate) key: String,
    /// The rest.
    #[serde(flatten)]
    pub(crate) view: KeyView,
}

/// A key without its secret.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyView {
    /// Its public name.
    id: String,
    /// Its tenant.
    tenant: String,
    /// The person behind it.
    user: String,
    /// What it may do.
    role: String,
    /// What its owner calls it.
    label: String,
    /// Whether results may leave as data.
    structured_results: bool,
    /// When it was made.
    created_at: String,
    /// Since when it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<String>,
}

impl From<KeyRow> for KeyView {
    fn from(row: KeyRow) -> Self {
        Self {
            structured_results: crate::key::results_named(&row.results) == sophon_executor::Results::Structured,
            id: row.id.to_string(),
            tenant: row.tenant.to_string(),
            user: row.user.to_string(),
            role: row.role.to_string(),
            label: row.label,
            created_at: row.created_at.to_string(),
            revoked_at: row.revoked_at.map(|at| at.to_string()),
        }
    }
}

/// The keys of a tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyList {
    /// Oldest first.
    pub(crate) keys: Vec<KeyView>,
}
