//! Connected accounts: what is public about them, and their sealed fields. Sealing is the vault's; here are bytes.

use crate::engine::{Connection as Database, Row, classify};
use crate::row::{all, column, count, json, one, parsed, signed, time};
use crate::writer::Scope;
use crate::{Store, StoreError};
use serde_json::Value;
use sophon_types::{ServiceName, TenantId, Timestamp, UserId};

/// What is public about a connected account.
#[derive(Debug, Clone, PartialEq)]
pub struct ConnectionRow {
    /// The tenant.
    pub tenant: TenantId,
    /// Whose account it is; `None`: the tenant's.
    pub user: Option<UserId>,
    /// Which service.
    pub service: ServiceName,
    /// Counts the times the fields were replaced; it never falls, not even when the account is deleted and
    /// connected again, so that no two sealings share it.
    pub version: u64,
    /// Hosts, attachment, names of fields, as the vault writes them.
    pub meta: Value,
    /// When the fields were last replaced.
    pub updated_at: Timestamp,
}

/// One sealed field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedField {
    /// The field's name.
    pub field: String,
    /// Its ciphertext.
    pub sealed: Vec<u8>,
}

/// A connected account with its fields.
#[derive(Debug, Clone, PartialEq)]
pub struct Connection {
    /// What is public about it.
    pub row: ConnectionRow,
    /// Its fields, by name.
    pub fields: Vec<SealedField>,
}

/// Connected accounts.
#[derive(Debug, Clone, Copy)]
pub struct Connections<'s> {
    store: &'s Store,
}

impl<'s> Connections<'s> {
    pub(crate) fn new(store: &'s Store) -> Self {
        Self { store }
    }

    /// The version that the next [`Connections::put`] has to carry.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub async fn next_version(
        &self,
        tenant: &TenantId,
        user: Option<&UserId>,
        service: &ServiceName,
    ) -> Result<u64, StoreError> {
        let row =
            sqlx::query("SELECT version FROM connection_versions WHERE tenant = $1 AND user_id = $2 AND service = $3")
                .bind(tenant.as_str())
                .bind(owner(user))
                .bind(service.as_str())
                .fetch_optional(self.store.readers())
                .await
                .map_err(|error| classify(&error))?;
        row.map_or(Ok(1), |row| Ok(count(&row, "version")? + 1))
    }

    /// Replaces an account and all its fields.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where its version is not the next one: somebody else has replaced it meanwhile.
    pub async fn put(&self, connection: Connection) -> Result<(), StoreError> {
        self.store
            .writer()
            .run(Scope::Several, move |database| {
                Box::pin(async move {
                    let row = &connection.row;
                    // Matches only where the version before is the highest there ever was.
                    let claimed = sqlx::query(
                        "INSERT INTO connection_versions (tenant, user_id, service, version) VALUES ($1, $2, $3, $4) \
                         ON CONFLICT (tenant, user_id, service) DO UPDATE SET version = excluded.version \
                         WHERE connection_versions.version = excluded.version - 1",
                    )
                    .bind(row.tenant.as_str())
                    .bind(owner(row.user.as_ref()))
                    .bind(row.service.as_str())
                    .bind(signed(row.version))
                    .execute(&mut *database)
                    .await
                    .map_err(|error| classify(&error))?;
                    if claimed.rows_affected() != 1 {
                        let what = format!("the connection to {} was changed meanwhile", row.service);
                        return Err(StoreError::Conflict { what });
                    }
                    write(database, &connection).await
                })
            })
            .await
    }

    /// An account with its fields.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub async fn get(
        &self,
        tenant: &TenantId,
        user: Option<&UserId>,
        service: &ServiceName,
    ) -> Result<Option<Connection>, StoreError> {
        // One statement, so that the row and its fields are of one version.
        let rows = sqlx::query(
            "SELECT c.*, f.field, f.sealed FROM connections c LEFT JOIN credentials f \
             ON f.tenant = c.tenant AND f.user_id = c.user_id AND f.service = c.service \
             WHERE c.tenant = $1 AND c.user_id = $2 AND c.service = $3 ORDER BY f.field",
        )
        .bind(tenant.as_str())
        .bind(owner(user))
        .bind(service.as_str())
        .fetch_all(self.store.readers())
        .await
        .map_err(|error| classify(&error))?;
        Ok(gather(&rows)?.pop())
    }

    /// The accounts of one user, or those of the tenant itself, by service.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub async fn list(&self, tenant: &TenantId, user: Option<&UserId>) -> Result<Vec<ConnectionRow>, StoreError> {
        let found = sqlx::query("SELECT * FROM connections WHERE tenant = $1 AND user_id = $2 ORDER BY service")
            .bind(tenant.as_str())
            .bind(owner(user))
            .fetch_all(self.store.readers())
            .await;
        all(found, read)
    }

    /// Removes an account and its fields. Returns what was public about it.
    ///
    /// # Errors
    /// [`StoreError`] where the change cannot be made durable.
    pub async fn delete(
        &self,
        tenant: &TenantId,
        user: Option<&UserId>,
        service: &ServiceName,
    ) -> Result<Option<ConnectionRow>, StoreError> {
        let (tenant, user, service) = (tenant.clone(), owner(user).to_owned(), service.clone());
        self.store
            .writer()
            .run(Scope::Several, move |database| {
                Box::pin(async move {
                    let found = sqlx::query(
                        "DELETE FROM connections WHERE tenant = $1 AND user_id = $2 AND service = $3 RETURNING *",
                    )
                    .bind(tenant.as_str())
                    .bind(user)
                    .bind(service.as_str())
                    .fetch_optional(database)
                    .await;
                    one(found, read)
                })
            })
            .await
    }

    /// Every account of every tenant with its fields, for a change of key.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub async fn all(&self) -> Result<Vec<Connection>, StoreError> {
        let rows = sqlx::query(
            "SELECT c.*, f.field, f.sealed FROM connections c LEFT JOIN credentials f \
             ON f.tenant = c.tenant AND f.user_id = c.user_id AND f.service = c.service \
             ORDER BY c.tenant, c.user_id, c.service, f.field",
        )
        .fetch_all(self.store.readers())
        .await
        .map_err(|error| classify(&error))?;
        gather(&rows)
    }

    /// Replaces the fields of every account and the named values of [`VaultMeta`] in one step: the change of the
    /// vault's key. Versions stay.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where `connections` are not exactly those stored now, version by version; read
    /// them again with [`Connections::all`] and repeat.
    pub async fn reseal_all(
        &self,
        connections: Vec<Connection>,
        meta: Vec<(String, Vec<u8>)>,
    ) -> Result<(), StoreError> {
        self.store
            .writer()
            .run(Scope::Several, move |database| {
                Box::pin(async move {
                    let rows = sqlx::query("SELECT * FROM connections ORDER BY tenant, user_id, service")
                        .fetch_all(&mut *database)
                        .await
                        .map_err(|error| classify(&error))?;
                    let mut stored = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
                    let mut given: Vec<_> = connections.iter().map(|connection| connection.row.clone()).collect();
                    for rows in [&mut stored, &mut given] {
                        rows.sort_by(|a, b| (&a.tenant, &a.user, &a.service).cmp(&(&b.tenant, &b.user, &b.service)));
                    }
                    if stored != given {
                        return Err(StoreError::Conflict { what: "connections were changed meanwhile".into() });
                    }
                    for connection in &connections {
                        write(database, connection).await?;
                    }
                    for (name, value) in meta {
                        put_meta(database, &name, value).await?;
                    }
                    Ok(())
                })
            })
            .await
    }
}

/// What the vault keeps about itself: salts, parameters, a canary. Small named values.
#[derive(Debug, Clone, Copy)]
pub struct VaultMeta<'s> {
    store: &'s Store,
}

impl<'s> VaultMeta<'s> {
    pub(crate) fn new(store: &'s Store) -> Self {
        Self { store }
    }

    /// A value.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        sqlx::query("SELECT value FROM vault_meta WHERE name = $1")
            .bind(name)
            .fetch_optional(self.store.readers())
            .await
            .map_err(|error| classify(&error))?
            .map(|row| column(&row, "value"))
            .transpose()
    }

    /// Sets a value.
    ///
    /// # Errors
    /// [`StoreError`] where the change cannot be made durable.
    pub async fn put(&self, name: &str, value: Vec<u8>) -> Result<(), StoreError> {
        let name = name.to_owned();
        self.store
            .writer()
            .run(Scope::Statement, move |database| Box::pin(async move { put_meta(database, &name, value).await }))
            .await
    }
}

async fn put_meta(database: &mut Database, name: &str, value: Vec<u8>) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO vault_meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
    )
    .bind(name)
    .bind(value)
    .execute(database)
    .await
    .map_err(|error| classify(&error))?;
    Ok(())
}

/// Writes the row, and exactly these fields.
async fn write(database: &mut Database, connection: &Connection) -> Result<(), StoreError> {
    let row = &connection.row;
    sqlx::query(
        "INSERT INTO connections (tenant, user_id, service, version, meta, updated_at) VALUES ($1, $2, $3, $4, $5, $6) \
         ON CONFLICT (tenant, user_id, service) DO UPDATE SET version = excluded.version, meta = excluded.meta, \
         updated_at = excluded.updated_at",
    )
    .bind(row.tenant.as_str())
    .bind(owner(row.user.as_ref()))
    .bind(row.service.as_str())
    .bind(signed(row.version))
    .bind(row.meta.to_string())
    .bind(row.updated_at.as_micros())
    .execute(&mut *database)
    .await
    .map_err(|error| classify(&error))?;
    sqlx::query("DELETE FROM credentials WHERE tenant = $1 AND user_id = $2 AND service = $3")
        .bind(row.tenant.as_str())
        .bind(owner(row.user.as_ref()))
        .bind(row.service.as_str())
        .execute(&mut *database)
        .await
        .map_err(|error| classify(&error))?;
    for field in &connection.fields {
        sqlx::query("INSERT INTO credentials (tenant, user_id, service, field, sealed) VALUES ($1, $2, $3, $4, $5)")
            .bind(row.tenant.as_str())
            .bind(owner(row.user.as_ref()))
            .bind(row.service.as_str())
            .bind(field.field.as_str())
            .bind(field.sealed.as_slice())
            .execute(&mut *database)
            .await
            .map_err(|error| classify(&error))?;
    }
    Ok(())
}

/// The owner's column: '' is the tenant itself, which no user can be called.
fn owner(user: Option<&UserId>) -> &str {
    user.map_or("", UserId::as_str)
}

fn read(row: &Row) -> Result<ConnectionRow, StoreError> {
    let user = match column::<&str>(row, "user_id")? {
        "" => None,
        _named => Some(parsed(row, "user_id")?),
    };
    Ok(ConnectionRow {
        tenant: parsed(row, "tenant")?,
        user,
        service: parsed(row, "service")?,
        version: count(row, "version")?,
        meta: json(row, "meta")?,
        updated_at: time(row, "updated_at")?,
    })
}

/// Joins rows of one account each with one field, which come in order, into accounts.
fn gather(rows: &[Row]) -> Result<Vec<Connection>, StoreError> {
    let mut connections: Vec<Connection> = Vec::new();
    for row in rows {
        let next = read(row)?;
        if connections.last().is_none_or(|last| last.row != next) {
            connections.push(Connection { row: next, fields: Vec::new() });
        }
        if let (Some(field), Some(last)) = (column::<Option<String>>(row, "field")?, connections.last_mut()) {
            last.fields.push(SealedField { field, sealed: column(row, "sealed")? });
        }
    }
    Ok(connections)
}
