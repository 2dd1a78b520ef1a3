//! Authorisations that are under way: begun by a person, to be finished once or never. What is secret of them is sealed
//! by the vault; here are bytes.

use crate::engine::{Row, classify};
use crate::row::{column, count, digest, one, parsed, signed, time};
use crate::writer::Scope;
use crate::{Store, StoreError};
use sophon_types::{Digest, ServiceName, TenantId, Timestamp, UserId};

/// An authorisation that was begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowRow {
    /// The digest of its state: the state itself is kept by whoever finishes it.
    pub state: Digest,
    /// The tenant.
    pub tenant: TenantId,
    /// Who began it.
    pub user: UserId,
    /// For which service.
    pub service: ServiceName,
    /// Whose connection it will be, in the vault's words.
    pub owner: String,
    /// How it comes back, in the vault's words.
    pub way: String,
    /// What is needed to finish it, sealed.
    pub sealed: Vec<u8>,
    /// Seconds between two questions whether it is done, where questions are asked.
    pub interval: u64,
    /// When the next question may be asked.
    pub not_before: Timestamp,
    /// Since when.
    pub created_at: Timestamp,
    /// Until when.
    pub expires_at: Timestamp,
}

/// Authorisations under way.
#[derive(Debug, Clone, Copy)]
pub struct Flows<'s> {
    store: &'s Store,
}

impl<'s> Flows<'s> {
    pub(crate) fn new(store: &'s Store) -> Self {
        Self { store }
    }

    /// Begins one. Those that have expired by its beginning are removed, and of its user's the oldest, so that no more
    /// than `most` stay.
    ///
    /// # Errors
    /// [`StoreError`] where the change cannot be made durable.
    pub async fn begin(&self, flow: FlowRow, most: u32) -> Result<(), StoreError> {
        self.store
            .writer()
            .run(Scope::Several, move |database| {
                Box::pin(async move {
                    sqlx::query("DELETE FROM oauth_flows WHERE expires_at < $1")
                        .bind(flow.created_at.as_micros())
                        .execute(&mut *database)
                        .await
                        .map_err(|error| classify(&error))?;
                    sqlx::query(
                        "DELETE FROM oauth_flows WHERE tenant = $1 AND user_id = $2 AND state_digest NOT IN \
                         (SELECT state_digest FROM oauth_flows WHERE tenant = $1 AND user_id = $2 \
                         ORDER BY created_at DESC LIMIT $3)",
                    )
                    .bind(flow.tenant.as_str())
                    .bind(flow.user.as_str())
                    .bind(i64::from(most.saturating_sub(1)))
                    .execute(&mut *database)
                    .await
                    .map_err(|error| classify(&error))?;
                    sqlx::query(
                        "INSERT INTO oauth_flows (state_digest, tenant, user_id, service, owner, way, sealed, \
                         interval_s, not_before, created_at, expires_at) \
                         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
                    )
                    .bind(flow.state.as_bytes().as_slice())
                    .bind(flow.tenant.as_str())
                    .bind(flow.user.as_str())
                    .bind(flow.service.as_str())
                    .bind(flow.owner.as_str())
                    .bind(flow.way.as_str())
                    .bind(flow.sealed.as_slice())
                    .bind(signed(flow.interval))
                    .bind(flow.not_before.as_micros())
                    .bind(flow.created_at.as_micros())
                    .bind(flow.expires_at.as_micros())
                    .execute(database)
                    .await
                    .map_err(|error| classify(&error))?;
                    Ok(())
                })
            })
            .await
    }

    /// Takes one away to finish it: of several that ask for the same, one gets it.
    ///
    /// # Errors
    /// [`StoreError`] where the change cannot be made durable.
    pub async fn take(&self, state: Digest) -> Result<Option<FlowRow>, StoreError> {
        self.store
            .writer()
            .run(Scope::Several, move |database| {
                Box::pin(async move {
                    let found = sqlx::query("DELETE FROM oauth_flows WHERE state_digest = $1 RETURNING *")
                        .bind(state.as_bytes().as_slice())
                        .fetch_optional(database)
                        .await;
                    one(found, read)
                })
            })
            .await
    }

    /// One that is under way.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub async fn get(&self, state: Digest) -> Result<Option<FlowRow>, StoreError> {
        let found = sqlx::query("SELECT * FROM oauth_flows WHERE state_digest = $1")
            .bind(state.as_bytes().as_slice())
            .fetch_optional(self.store.readers())
            .await;
        one(found, read)
    }

    /// Claims the next question of one: only where nobody has since it was read.
    ///
    /// # Errors
    /// [`StoreError`] where the change cannot be made durable.
    pub async fn ask(&self, flow: &FlowRow, interval: u64, not_before: Timestamp) -> Result<bool, StoreError> {
        let (state, before) = (flow.state, flow.not_before);
        self.store
            .writer()
            .run(Scope::Statement, move |database| {
                Box::pin(async move {
                    let done = sqlx::query(
                        "UPDATE oauth_flows SET interval_s = $1, not_before = $2 \
                         WHERE state_digest = $3 AND not_before = $4",
                    )
                    .bind(signed(interval))
                    .bind(not_before.as_micros())
                    .bind(state.as_bytes().as_slice())
                    .bind(before.as_micros())
                    .execute(database)
                    .await
                    .map_err(|error| classify(&error))?;
                    Ok(done.rows_affected() == 1)
                })
            })
            .await
    }
}

fn read(row: &Row) -> Result<FlowRow, StoreError> {
    Ok(FlowRow {
        state: digest(row, "state_digest")?,
        tenant: parsed(row, "tenant")?,
        user: parsed(row, "user_id")?,
        service: parsed(row, "service")?,
        owner: column(row, "owner")?,
        way: column(row, "way")?,
        sealed: column(row, "sealed")?,
        interval: count(row, "interval_s")?,
        not_before: time(row, "not_before")?,
        created_at: time(row, "created_at")?,
        expires_at: time(row, "expires_at")?,
    })
}
