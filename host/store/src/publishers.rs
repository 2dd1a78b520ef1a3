//! Trusted publishers, and the pin of each skill's name to the key that first signed it.

use crate::engine::{Row, classify, conflict};
use crate::row::{all, bytes, column, one, parsed, time, time_opt};
use crate::writer::Scope;
use crate::{Store, StoreError};
use sophon_types::{SkillName, TenantId, Timestamp};

/// A publisher that a tenant trusts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublisherRow {
    /// Who trusts it.
    pub tenant: TenantId,
    /// SHA-256 of the public key, in hexadecimal digits.
    pub fingerprint: String,
    /// The ed25519 public key.
    pub public_key: [u8; 32],
    /// What the tenant calls it.
    pub name: String,
    /// What its signature means, in the executor's words.
    pub role: String,
    /// Since when.
    pub added_at: Timestamp,
    /// Since when no longer.
    pub revoked_at: Option<Timestamp>,
}

/// Trusted publishers.
#[derive(Debug, Clone, Copy)]
pub struct Publishers<'s> {
    store: &'s Store,
}

impl<'s> Publishers<'s> {
    pub(crate) fn new(store: &'s Store) -> Self {
        Self { store }
    }

    /// Trusts a publisher.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where the tenant has this key already, revoked or not: what was revoked is not
    /// quietly trusted again.
    pub async fn insert(&self, publisher: PublisherRow) -> Result<(), StoreError> {
        self.store
            .writer()
            .run(Scope::Statement, move |connection| {
                Box::pin(async move {
                    sqlx::query(
                        "INSERT INTO publishers (tenant, fingerprint, public_key, name, role, added_at, revoked_at) \
                         VALUES ($1, $2, $3, $4, $5, $6, $7)",
                    )
                    .bind(publisher.tenant.as_str())
                    .bind(publisher.fingerprint)
                    .bind(publisher.public_key.as_slice())
                    .bind(publisher.name)
                    .bind(publisher.role)
                    .bind(publisher.added_at.as_micros())
                    .bind(publisher.revoked_at.map(Timestamp::as_micros))
                    .execute(connection)
                    .await
                    .map_err(|error| conflict(&error, "this publisher is known already, trusted or revoked"))?;
                    Ok(())
                })
            })
            .await
    }

    /// Trusts a publisher, also one that was revoked before: name, role and time become those given, and the
    /// revocation ends. For a person who says so; what only adds is [`Publishers::insert`].
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where the fingerprint is stored with another key.
    pub async fn trust(&self, publisher: PublisherRow) -> Result<(), StoreError> {
        self.store
            .writer()
            .run(Scope::Statement, move |connection| {
                Box::pin(async move {
                    let done = sqlx::query(
                        "INSERT INTO publishers (tenant, fingerprint, public_key, name, role, added_at, revoked_at) \
                         VALUES ($1, $2, $3, $4, $5, $6, NULL) \
                         ON CONFLICT (tenant, fingerprint) DO UPDATE SET name = excluded.name, role = excluded.role, \
                         added_at = excluded.added_at, revoked_at = NULL \
                         WHERE publishers.public_key = excluded.public_key",
                    )
                    .bind(publisher.tenant.as_str())
                    .bind(publisher.fingerprint)
                    .bind(publisher.public_key.as_slice())
                    .bind(publisher.name)
                    .bind(publisher.role)
                    .bind(publisher.added_at.as_micros())
                    .execute(connection)
                    .await
                    .map_err(|error| classify(&error))?;
                    if done.rows_affected() == 1 {
                        return Ok(());
                    }
                    Err(StoreError::Conflict { what: "the fingerprint is stored with another key".into() })
                })
            })
            .await
    }

    /// The publishers of a tenant, revoked ones too.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub async fn list(&self, tenant: &TenantId) -> Result<Vec<PublisherRow>, StoreError> {
        let found = sqlx::query("SELECT * FROM publishers WHERE tenant = $1 ORDER BY added_at, fingerprint")
            .bind(tenant.as_str())
            .fetch_all(self.store.readers())
            .await;
        all(found, read)
    }

    /// Trusts a publisher no longer. Returns it, or `None` where the tenant has no such publisher; one that was
    /// revoked before keeps its first time.
    ///
    /// # Errors
    /// [`StoreError`] where the change cannot be made durable.
    pub async fn revoke(
        &self,
        tenant: &TenantId,
        fingerprint: &str,
        at: Timestamp,
    ) -> Result<Option<PublisherRow>, StoreError> {
        let (tenant, fingerprint) = (tenant.clone(), fingerprint.to_owned());
        self.store
            .writer()
            .run(Scope::Several, move |connection| {
                Box::pin(async move {
                    let found = sqlx::query(
                        "UPDATE publishers SET revoked_at = COALESCE(revoked_at, $1) \
                         WHERE tenant = $2 AND fingerprint = $3 RETURNING *",
                    )
                    .bind(at.as_micros())
                    .bind(tenant.as_str())
                    .bind(fingerprint)
                    .fetch_optional(connection)
                    .await;
                    one(found, read)
                })
            })
            .await
    }

    /// Pins a skill's name to the key that signed it; pinning it again to the same key changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where the name belongs to another key.
    pub async fn pin(&self, tenant: &TenantId, skill: &SkillName, fingerprint: &str) -> Result<(), StoreError> {
        let (tenant, skill, fingerprint) = (tenant.clone(), skill.clone(), fingerprint.to_owned());
        self.store
            .writer()
            .run(Scope::Several, move |connection| {
                Box::pin(async move {
                    sqlx::query(
                        "INSERT INTO skill_pins (tenant, skill, fingerprint) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
                    )
                    .bind(tenant.as_str())
                    .bind(skill.as_str())
                    .bind(fingerprint.as_str())
                    .execute(&mut *connection)
                    .await
                    .map_err(|error| classify(&error))?;
                    let row = sqlx::query("SELECT fingerprint FROM skill_pins WHERE tenant = $1 AND skill = $2")
                        .bind(tenant.as_str())
                        .bind(skill.as_str())
                        .fetch_one(connection)
                        .await
                        .map_err(|error| classify(&error))?;
                    if column::<&str>(&row, "fingerprint")? == fingerprint {
                        return Ok(());
                    }
                    Err(StoreError::Conflict { what: format!("the skill name {skill} belongs to another publisher's key") })
                })
            })
            .await
    }

    /// Every pinned name of a tenant with the fingerprint it belongs to.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub async fn pins(&self, tenant: &TenantId) -> Result<Vec<(SkillName, String)>, StoreError> {
        let rows = sqlx::query("SELECT skill, fingerprint FROM skill_pins WHERE tenant = $1 ORDER BY skill")
            .bind(tenant.as_str())
            .fetch_all(self.store.readers())
            .await
            .map_err(|error| classify(&error))?;
        rows.iter().map(|row| Ok((parsed(row, "skill")?, column(row, "fingerprint")?))).collect()
    }
}

fn read(row: &Row) -> Result<PublisherRow, StoreError> {
    Ok(PublisherRow {
        tenant: parsed(row, "tenant")?,
        fingerprint: column(row, "fingerprint")?,
        public_key: bytes(row, "public_key")?,
        name: column(row, "name")?,
        role: column(row, "role")?,
        added_at: time(row, "added_at")?,
        revoked_at: time_opt(row, "revoked_at")?,
    })
}
