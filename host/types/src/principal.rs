//! Who calls.

use crate::{KeyId, TenantId, UserId};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What a key may do (DESIGN: HTTP API). A role says nothing about risk: that is the gate's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Lists and calls tools, sees its own calls.
    Agent,
    /// Decides on calls of the same user, and keeps that user's credentials.
    Approver,
    /// Uploads skills.
    Publisher,
    /// Everything of its tenant.
    Admin,
}

impl Role {
    /// The role's name as it is written in requests.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Approver => "approver",
            Self::Publisher => "publisher",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Agent, Self::Approver, Self::Publisher, Self::Admin]
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| format!("{text:?} is not a role: agent, approver, publisher or admin"))
    }
}

/// An authenticated caller. Made by the gateway's authentication only.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Principal {
    /// The caller's tenant.
    pub tenant: TenantId,
    /// The person behind the key.
    pub user: UserId,
    /// The key that was shown.
    pub key: KeyId,
    /// What the key may do.
    pub role: Role,
}
