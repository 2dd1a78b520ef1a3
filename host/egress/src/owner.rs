//! On whose behalf a connection is made: what no pool, ticket or bound may mix up.

use crate::credential::Mark;
use crate::error::HttpError;
use sophon_types::{ServiceName, SkillName, TenantId, UserId};

/// Who is behind a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Owner {
    pub(crate) tenant: TenantId,
    pub(crate) user: UserId,
    pub(crate) party: Party,
}

impl Owner {
    /// The host itself, on behalf of a tenant, to a place that the operator configured; no skill.
    pub(crate) fn operator(tenant: &TenantId) -> Result<Self, HttpError> {
        let unfit = || HttpError::InvalidRequest("no name for the sender".into());
        let user: UserId = "operator".parse().map_err(|_name| unfit())?;
        Ok(Self { tenant: tenant.clone(), user, party: Party::Operator })
    }
}

/// What sends: a skill, or the host itself for a connection that it keeps. No name of the one is a name of the other.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Party {
    /// A skill that runs.
    Skill(SkillName),
    /// The host, to an endpoint of the operator.
    Operator,
    /// The vault, to the provider of this service.
    Vault(ServiceName),
}

/// Who is behind a connection, and with whose credential. A server may tie what it knows of a client to the connection
/// or the TLS session, so a connection of one bearer never carries the request of another; a credential that was
/// replaced is another one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Bearer {
    owner: Owner,
    credential: Option<Mark>,
}

impl Bearer {
    pub(crate) fn new(owner: &Owner, credential: Option<Mark>) -> Self {
        Self { owner: owner.clone(), credential }
    }

    pub(crate) fn tenant(&self) -> &TenantId {
        &self.owner.tenant
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn owner(tenant: &str, user: &str, skill: &str) -> Owner {
        Owner {
            tenant: tenant.parse().unwrap(),
            user: user.parse().unwrap(),
            party: Party::Skill(skill.parse().unwrap()),
        }
    }

    pub(crate) fn bearer(tenant: &str, user: &str, skill: &str) -> Bearer {
        Bearer::new(&owner(tenant, user, skill), None)
    }
}
