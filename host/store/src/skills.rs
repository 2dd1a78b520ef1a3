//! Installed skills, and which versions a name ever had.

use crate::engine::{Row, classify};
use crate::row::{all, column, corrupt, digest, json, one, parsed, time};
use crate::writer::Scope;
use crate::{Store, StoreError};
use serde_json::Value;
use sophon_types::{Digest, SkillName, TenantId, Timestamp, Trust, UserId, Version};

/// Whether an installed skill may be called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// Its tools are listed and run.
    Enabled,
    /// It stays installed; its tools are neither listed nor run.
    Disabled,
}

/// One installed skill of one tenant.
#[derive(Debug, Clone, PartialEq)]
pub struct SkillRow {
    /// Whose it is.
    pub tenant: TenantId,
    /// Its name, unique within the tenant.
    pub name: SkillName,
    /// Its version.
    pub version: Version,
    /// SHA-256 of the whole package, which is the blob's name too.
    pub digest: Digest,
    /// How far it was trusted when it was installed.
    pub trust: Trust,
    /// Fingerprint of the key that signed it.
    pub publisher: Option<String>,
    /// The signature (a DSSE envelope, JSON), so that it can be checked again.
    pub envelope: Option<String>,
    /// What a person granted, as the executor writes it.
    pub grants: Value,
    /// Its settings, as the executor writes them.
    pub settings: Value,
    /// Whether it may be called.
    pub activation: Activation,
    /// Who installed it.
    pub installed_by: UserId,
    /// When.
    pub installed_at: Timestamp,
}

/// Installed skills.
#[derive(Debug, Clone, Copy)]
pub struct Skills<'s> {
    store: &'s Store,
}

impl<'s> Skills<'s> {
    pub(crate) fn new(store: &'s Store) -> Self {
        Self { store }
    }

    /// Installs, or replaces what the tenant has under this name, and remembers the version for ever, with the
    /// digest that it was first installed with.
    ///
    /// # Errors
    /// [`StoreError`] where the change cannot be made durable.
    pub async fn put(&self, skill: SkillRow) -> Result<(), StoreError> {
        self.store
            .writer()
            .run(Scope::Several, move |connection| {
                Box::pin(async move {
                    sqlx::query(
                        "INSERT INTO skills (tenant, name, version, digest, trust, publisher, envelope, grants, \
                         settings, enabled, installed_by, installed_at) \
                         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
                         ON CONFLICT (tenant, name) DO UPDATE SET version = excluded.version, \
                         digest = excluded.digest, trust = excluded.trust, publisher = excluded.publisher, \
                         envelope = excluded.envelope, \
                         grants = excluded.grants, settings = excluded.settings, enabled = excluded.enabled, \
                         installed_by = excluded.installed_by, installed_at = excluded.installed_at",
                    )
                    .bind(skill.tenant.as_str())
                    .bind(skill.name.as_str())
                    .bind(skill.version.to_string())
                    .bind(skill.digest.as_bytes().as_slice())
                    .bind(skill.trust.as_str())
                    .bind(skill.publisher)
                    .bind(skill.envelope)
                    .bind(skill.grants.to_string())
                    .bind(skill.settings.to_string())
                    .bind(flag(skill.activation))
                    .bind(skill.installed_by.as_str())
                    .bind(skill.installed_at.as_micros())
                    .execute(&mut *connection)
                    .await
                    .map_err(|error| classify(&error))?;
                    sqlx::query(
                        "INSERT INTO skill_versions (tenant, name, version, digest) VALUES ($1, $2, $3, $4) \
                         ON CONFLICT DO NOTHING",
                    )
                    .bind(skill.tenant.as_str())
                    .bind(skill.name.as_str())
                    .bind(skill.version.to_string())
                    .bind(skill.digest.as_bytes().as_slice())
                    .execute(connection)
                    .await
                    .map_err(|error| classify(&error))?;
                    Ok(())
                })
            })
            .await
    }

    /// The skill of this name.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub async fn get(&self, tenant: &TenantId, name: &SkillName) -> Result<Option<SkillRow>, StoreError> {
        let found = sqlx::query("SELECT * FROM skills WHERE tenant = $1 AND name = $2")
            .bind(tenant.as_str())
            .bind(name.as_str())
            .fetch_optional(self.store.readers())
            .await;
        one(found, read)
    }

    /// The skills of a tenant, by name.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub async fn list(&self, tenant: &TenantId) -> Result<Vec<SkillRow>, StoreError> {
        let found = sqlx::query("SELECT * FROM skills WHERE tenant = $1 ORDER BY name")
            .bind(tenant.as_str())
            .fetch_all(self.store.readers())
            .await;
        all(found, read)
    }

    /// The skills of all tenants.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub async fn list_all(&self) -> Result<Vec<SkillRow>, StoreError> {
        let found = sqlx::query("SELECT * FROM skills ORDER BY tenant, name").fetch_all(self.store.readers()).await;
        all(found, read)
    }

    /// Switches a skill on or off. Returns the skill as it now is, or `None` where there is none.
    ///
    /// # Errors
    /// [`StoreError`] where the change cannot be made durable.
    pub async fn activate(
        &self,
        tenant: &TenantId,
        name: &SkillName,
        activation: Activation,
    ) -> Result<Option<SkillRow>, StoreError> {
        let (tenant, name) = (tenant.clone(), name.clone());
        self.store
            .writer()
            .run(Scope::Several, move |connection| {
                Box::pin(async move {
                    let found =
                        sqlx::query("UPDATE skills SET enabled = $1 WHERE tenant = $2 AND name = $3 RETURNING *")
                            .bind(flag(activation))
                            .bind(tenant.as_str())
                            .bind(name.as_str())
                            .fetch_optional(connection)
                            .await;
                    one(found, read)
                })
            })
            .await
    }

    /// Removes a skill together with what it remembered ([`crate::State`]). Returns what was removed. Its versions
    /// and the publisher its name belongs to stay known.
    ///
    /// # Errors
    /// [`StoreError`] where the change cannot be made durable.
    pub async fn remove(&self, tenant: &TenantId, name: &SkillName) -> Result<Option<SkillRow>, StoreError> {
        let (tenant, name) = (tenant.clone(), name.clone());
        self.store
            .writer()
            .run(Scope::Several, move |connection| {
                Box::pin(async move {
                    for sql in [
                        "DELETE FROM state WHERE tenant = $1 AND skill = $2",
                        "DELETE FROM state_usage WHERE tenant = $1 AND skill = $2",
                    ] {
                        sqlx::query(sql)
                            .bind(tenant.as_str())
                            .bind(name.as_str())
                            .execute(&mut *connection)
                            .await
                            .map_err(|error| classify(&error))?;
                    }
                    let found = sqlx::query("DELETE FROM skills WHERE tenant = $1 AND name = $2 RETURNING *")
                        .bind(tenant.as_str())
                        .bind(name.as_str())
                        .fetch_optional(connection)
                        .await;
                    one(found, read)
                })
            })
            .await
    }

    /// The highest version (by SemVer precedence) that was ever installed under this name.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub async fn highest_version(&self, tenant: &TenantId, name: &SkillName) -> Result<Option<Version>, StoreError> {
        let rows = sqlx::query("SELECT version FROM skill_versions WHERE tenant = $1 AND name = $2")
            .bind(tenant.as_str())
            .bind(name.as_str())
            .fetch_all(self.store.readers())
            .await
            .map_err(|error| classify(&error))?;
        let mut highest: Option<Version> = None;
        for row in &rows {
            let version: Version = parsed(row, "version")?;
            if highest.as_ref().is_none_or(|known| version.cmp_precedence(known).is_gt()) {
                highest = Some(version);
            }
        }
        Ok(highest)
    }

    /// The digest of the package that was first installed as this version; `None` where the version never was.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub async fn versions_digest(
        &self,
        tenant: &TenantId,
        name: &SkillName,
        version: &Version,
    ) -> Result<Option<Digest>, StoreError> {
        sqlx::query("SELECT digest FROM skill_versions WHERE tenant = $1 AND name = $2 AND version = $3")
            .bind(tenant.as_str())
            .bind(name.as_str())
            .bind(version.to_string())
            .fetch_optional(self.store.readers())
            .await
            .map_err(|error| classify(&error))?
            .map(|row| digest(&row, "digest"))
            .transpose()
    }
}

fn flag(activation: Activation) -> i64 {
    match activation {
        Activation::Enabled => 1,
        Activation::Disabled => 0,
    }
}

fn read(row: &Row) -> Result<SkillRow, StoreError> {
    // Trust has no reader of its own on purpose: it is evidence, and only a record of it comes from here.
    let trust =
        serde_json::from_value(Value::String(column(row, "trust")?)).map_err(|error| corrupt("trust", error))?;
    let activation = match column::<i64>(row, "enabled")? {
        0 => Activation::Disabled,
        1 => Activation::Enabled,
        other => return Err(corrupt("enabled", other)),
    };
    Ok(SkillRow {
        tenant: parsed(row, "tenant")?,
        name: parsed(row, "name")?,
        version: parsed(row, "version")?,
        digest: digest(row, "digest")?,
        trust,
        publisher: column(row, "publisher")?,
        envelope: column(row, "envelope")?,
        grants: json(row, "grants")?,
        settings: json(row, "settings")?,
        activation,
        installed_by: parsed(row, "installed_by")?,
        installed_at: time(row, "installed_at")?,
    })
}
