//! What skills remember between calls: small values under names, per tenant and skill, within a quota.

use crate::engine::{Connection, classify};
use crate::row::{column, count, signed};
use crate::writer::Scope;
use crate::{Store, StoreError};
use sophon_types::{SkillName, TenantId};

/// How much one skill may remember for one tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Bytes of all names and values together.
    pub bytes: u64,
    /// Number of entries.
    pub entries: u64,
}

/// What [`State::compare_and_set`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Swap {
    /// The value was as expected and is replaced.
    Swapped,
    /// It was not; this is the present one.
    Differs(Option<Vec<u8>>),
}

/// What skills remember.
#[derive(Debug, Clone, Copy)]
pub struct State<'s> {
    store: &'s Store,
}

impl<'s> State<'s> {
    pub(crate) fn new(store: &'s Store) -> Self {
        Self { store }
    }

    /// A value.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub async fn read(&self, tenant: &TenantId, skill: &SkillName, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let mut connection = self.store.readers().acquire().await.map_err(|error| classify(&error))?;
        Place { tenant: tenant.clone(), skill: skill.clone(), name: name.to_owned() }.read(&mut connection).await
    }

    /// Sets a value.
    ///
    /// # Errors
    /// [`StoreError::Quota`] where the skill would then remember more than `quota`.
    pub async fn write(
        &self,
        tenant: &TenantId,
        skill: &SkillName,
        name: &str,
        value: Vec<u8>,
        quota: Quota,
    ) -> Result<(), StoreError> {
        let place = Place { tenant: tenant.clone(), skill: skill.clone(), name: name.to_owned() };
        self.store
            .writer()
            .run(Scope::Several, move |connection| {
                Box::pin(async move {
                    let before = place.read(connection).await?;
                    place.replace(connection, before.as_deref(), Some(value), quota).await
                })
            })
            .await
    }

    /// Forgets a value. Nothing happens where there is none.
    ///
    /// # Errors
    /// [`StoreError`] where the change cannot be made durable.
    pub async fn delete(&self, tenant: &TenantId, skill: &SkillName, name: &str) -> Result<(), StoreError> {
        let place = Place { tenant: tenant.clone(), skill: skill.clone(), name: name.to_owned() };
        self.store
            .writer()
            .run(Scope::Several, move |connection| {
                Box::pin(async move {
                    let before = place.read(connection).await?;
                    place.replace(connection, before.as_deref(), None, Quota { bytes: 0, entries: 0 }).await
                })
            })
            .await
    }

    /// Sets (`Some`) or forgets (`None`) a value if it is now as `expected`; `None` expects that there is none.
    ///
    /// # Errors
    /// [`StoreError::Quota`] where the skill would then remember more than `quota`.
    pub async fn compare_and_set(
        &self,
        tenant: &TenantId,
        skill: &SkillName,
        name: &str,
        expected: Option<Vec<u8>>,
        value: Option<Vec<u8>>,
        quota: Quota,
    ) -> Result<Swap, StoreError> {
        let place = Place { tenant: tenant.clone(), skill: skill.clone(), name: name.to_owned() };
        self.store
            .writer()
            .run(Scope::Several, move |connection| {
                Box::pin(async move {
                    let before = place.read(connection).await?;
                    if before != expected {
                        return Ok(Swap::Differs(before));
                    }
                    place.replace(connection, before.as_deref(), value, quota).await?;
                    Ok(Swap::Swapped)
                })
            })
            .await
    }

    /// Names that begin with `prefix` and come after `after` (in byte order), at most `limit`.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub async fn names(
        &self,
        tenant: &TenantId,
        skill: &SkillName,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, StoreError> {
        let rows = sqlx::query(
            "SELECT name FROM state WHERE tenant = $1 AND skill = $2 AND name >= $3 AND name > $4 \
             AND substr(name, 1, length($3)) = $3 ORDER BY name LIMIT $5",
        )
        .bind(tenant.as_str())
        .bind(skill.as_str())
        .bind(prefix)
        .bind(after.unwrap_or(""))
        .bind(i64::from(limit))
        .fetch_all(self.store.readers())
        .await
        .map_err(|error| classify(&error))?;
        rows.iter().map(|row| column(row, "name")).collect()
    }
}

/// Where one value is.
struct Place {
    tenant: TenantId,
    skill: SkillName,
    name: String,
}

impl Place {
    async fn read(&self, connection: &mut Connection) -> Result<Option<Vec<u8>>, StoreError> {
        sqlx::query("SELECT value FROM state WHERE tenant = $1 AND skill = $2 AND name = $3")
            .bind(self.tenant.as_str())
            .bind(self.skill.as_str())
            .bind(self.name.as_str())
            .fetch_optional(connection)
            .await
            .map_err(|error| classify(&error))?
            .map(|row| column(&row, "value"))
            .transpose()
    }

    /// Replaces `before` by `after` and keeps the books. Only growth is held against the quota, so that a skill
    /// whose quota was lowered can still tidy up.
    async fn replace(
        &self,
        connection: &mut Connection,
        before: Option<&[u8]>,
        after: Option<Vec<u8>>,
        quota: Quota,
    ) -> Result<(), StoreError> {
        let weigh = |value: &[u8]| (value.len() + self.name.len()) as u64;
        let (old_bytes, old_entries) = before.map_or((0, 0), |value| (weigh(value), 1));
        let (new_bytes, new_entries) = after.as_deref().map_or((0, 0), |value| (weigh(value), 1));
        let used = self.usage(connection).await?;
        let bytes = (used.bytes + new_bytes).saturating_sub(old_bytes);
        let entries = (used.entries + new_entries).saturating_sub(old_entries);
        if new_bytes > old_bytes && bytes > quota.bytes {
            return Err(StoreError::Quota { what: format!("state of {}: {} bytes", self.skill, quota.bytes) });
        }
        if new_entries > old_entries && entries > quota.entries {
            return Err(StoreError::Quota { what: format!("state of {}: {} entries", self.skill, quota.entries) });
        }
        let change = match after {
            Some(value) => sqlx::query(
                "INSERT INTO state (tenant, skill, name, value) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (tenant, skill, name) DO UPDATE SET value = excluded.value",
            )
            .bind(self.tenant.as_str())
            .bind(self.skill.as_str())
            .bind(self.name.as_str())
            .bind(value),
            None => sqlx::query("DELETE FROM state WHERE tenant = $1 AND skill = $2 AND name = $3")
                .bind(self.tenant.as_str())
                .bind(self.skill.as_str())
                .bind(self.name.as_str()),
        };
        change.execute(&mut *connection).await.map_err(|error| classify(&error))?;
        sqlx::query(
            "INSERT INTO state_usage (tenant, skill, bytes, entries) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (tenant, skill) DO UPDATE SET bytes = excluded.bytes, entries = excluded.entries",
        )
        .bind(self.tenant.as_str())
        .bind(self.skill.as_str())
        .bind(signed(bytes))
        .bind(signed(entries))
        .execute(connection)
        .await
        .map_err(|error| classify(&error))?;
        Ok(())
    }

    async fn usage(&self, connection: &mut Connection) -> Result<Quota, StoreError> {
        let row = sqlx::query("SELECT bytes, entries FROM state_usage WHERE tenant = $1 AND skill = $2")
            .bind(self.tenant.as_str())
            .bind(self.skill.as_str())
            .fetch_optional(connection)
            .await
            .map_err(|error| classify(&error))?;
        match row {
            Some(row) => Ok(Quota { bytes: count(&row, "bytes")?, entries: count(&row, "entries")? }),
            None => Ok(Quota { bytes: 0, entries: 0 }),
        }
    }
}
