//! API keys. The key itself is never stored, only its digest.

use crate::engine::{Row, conflict};
use crate::row::{all, column, digest, one, parsed, time, time_opt};
use crate::writer::Scope;
use crate::{Store, StoreError};
use sophon_types::{Digest, KeyId, Role, TenantId, Timestamp, UserId};

/// One API key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    /// The key's public name.
    pub id: KeyId,
    /// Whose tenant it acts in.
    pub tenant: TenantId,
    /// The person behind it.
    pub user: UserId,
    /// What it may do.
    pub role: Role,
    /// What its owner calls it.
    pub label: String,
    /// SHA-256 of the key.
    pub secret_digest: Digest,
    /// In which form results may leave to its owner, in the gateway's words.
    pub results: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Since when it is refused.
    pub revoked_at: Option<Timestamp>,
}

/// API keys.
#[derive(Debug, Clone, Copy)]
pub struct Keys<'s> {
    store: &'s Store,
}

impl<'s> Keys<'s> {
    pub(crate) fn new(store: &'s Store) -> Self {
        Self { store }
    }

    /// Adds a key.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where the id or the digest exists.
    pub async fn insert(&self, key: KeyRow) -> Result<(), StoreError> {
        self.store
            .writer()
            .run(Scope::Statement, move |connection| {
                Box::pin(async move {
                    sqlx::query(
                        "INSERT INTO api_keys (id, tenant, user_id, role, label, secret_digest, results, created_at, revoked_at) \
                         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
                    )
                    .bind(key.id.to_string())
                    .bind(key.tenant.as_str())
                    .bind(key.user.as_str())
                    .bind(key.role.as_str())
                    .bind(key.label)
                    .bind(key.secret_digest.as_bytes().as_slice())
                    .bind(key.results)
                    .bind(key.created_at.as_micros())
                    .bind(key.revoked_at.map(Timestamp::as_micros))
                    .execute(connection)
                    .await
                    .map_err(|error| conflict(&error, "a key with this id or secret exists already"))?;
                    Ok(())
                })
            })
            .await
    }

    /// The key whose SHA-256 this is, revoked or not.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub async fn by_digest(&self, secret: &Digest) -> Result<Option<KeyRow>, StoreError> {
        let found = sqlx::query("SELECT * FROM api_keys WHERE secret_digest = $1")
            .bind(secret.as_bytes().as_slice())
            .fetch_optional(self.store.readers())
            .await;
        one(found, read)
    }

    /// The keys of a tenant, oldest first.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub async fn list(&self, tenant: &TenantId) -> Result<Vec<KeyRow>, StoreError> {
        let found = sqlx::query("SELECT * FROM api_keys WHERE tenant = $1 ORDER BY created_at, id")
            .bind(tenant.as_str())
            .fetch_all(self.store.readers())
            .await;
        all(found, read)
    }

    /// Refuses a key from now on. Returns the key, or `None` where the tenant has no such key; a key that was
    /// revoked before keeps its first time.
    ///
    /// # Errors
    /// [`StoreError`] where the change cannot be made durable.
    pub async fn revoke(&self, tenant: &TenantId, id: KeyId, at: Timestamp) -> Result<Option<KeyRow>, StoreError> {
        let tenant = tenant.clone();
        self.store
            .writer()
            .run(Scope::Several, move |connection| {
                Box::pin(async move {
                    let found = sqlx::query(
                        "UPDATE api_keys SET revoked_at = COALESCE(revoked_at, $1) WHERE tenant = $2 AND id = $3 \
                         RETURNING *",
                    )
                    .bind(at.as_micros())
                    .bind(tenant.as_str())
                    .bind(id.to_string())
                    .fetch_optional(connection)
                    .await;
                    one(found, read)
                })
            })
            .await
    }
}

fn read(row: &Row) -> Result<KeyRow, StoreError> {
    Ok(KeyRow {
        id: parsed(row, "id")?,
        tenant: parsed(row, "tenant")?,
        user: parsed(row, "user_id")?,
        role: parsed(row, "role")?,
        label: column(row, "label")?,
        secret_digest: digest(row, "secret_digest")?,
        results: column(row, "results")?,
        created_at: time(row, "created_at")?,
        revoked_at: time_opt(row, "revoked_at")?,
    })
}
