//! Sessions of agents, and what a person has allowed in advance. A grant's terms are sealed by the vault; here are bytes.

use crate::engine::{Engine, Row, classify, conflict};
use crate::row::{all, column, count, one, parsed, time, time_opt};
use crate::writer::Scope;
use crate::{Store, StoreError};
use sophon_types::{GrantId, KeyId, Risk, SessionId, TenantId, Timestamp, ToolName, UserId};
use sqlx::QueryBuilder;
use std::fmt::Display;

/// An agent's session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// Its id.
    pub id: SessionId,
    /// The caller's tenant.
    pub tenant: TenantId,
    /// The person behind the caller.
    pub user: UserId,
    /// The key that it is bound to.
    pub key: KeyId,
    /// The highest risk that passes by itself in it, where a person has raised it.
    pub ceiling: Option<Raised>,
    /// When it was begun.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// A ceiling that a person has raised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Raised {
    /// The highest risk that passes.
    pub to: Risk,
    /// Until when.
    pub until: Timestamp,
    /// Who did it.
    pub by: UserId,
}

/// Which sessions to list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sessions {
    /// All.
    All,
    /// Those whose ceiling a person has raised, while that holds.
    Raised,
}

/// A standing yes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantRow {
    /// Its id.
    pub id: GrantId,
    /// In which tenant.
    pub tenant: TenantId,
    /// For whose calls.
    pub user: UserId,
    /// In this session only.
    pub session: Option<SessionId>,
    /// Of which tool.
    pub tool: ToolName,
    /// The sealed terms.
    pub terms: Vec<u8>,
    /// Who gave it.
    pub created_by: UserId,
    /// When it was given.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When it was taken back.
    pub revoked_at: Option<Timestamp>,
    /// How many calls it has let pass.
    pub uses: u64,
}

/// Which part of a list that has the newest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part<Id> {
    /// What comes behind the one that was made then and has this id; the list's beginning, where nothing is named.
    pub after: Option<(Timestamp, Id)>,
    /// At most so many.
    pub limit: u32,
}

impl<Id: Display + Copy> Part<Id> {
    /// The rest of a query whose rows have `created_at` and `id`.
    fn order(self, query: &mut QueryBuilder<Engine>) {
        if let Some((at, id)) = self.after {
            query.push(" AND (created_at < ").push_bind(at.as_micros());
            query.push(" OR (created_at = ").push_bind(at.as_micros());
            query.push(" AND id > ").push_bind(id.to_string()).push("))");
        }
        query.push(" ORDER BY created_at DESC, id LIMIT ").push_bind(i64::from(self.limit));
    }
}

/// Sessions and grants.
#[derive(Debug, Clone, Copy)]
pub struct Grants<'s> {
    store: &'s Store,
}

impl<'s> Grants<'s> {
    pub(crate) fn new(store: &'s Store) -> Self {
        Self { store }
    }

    /// Begins a session; nothing where the user has `most` that have not ended.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where the id exists.
    pub async fn begin_session(&self, row: SessionRow, most: u32) -> Result<bool, StoreError> {
        self.store
            .writer()
            .run(Scope::Statement, move |connection| {
                Box::pin(async move {
                    let done = sqlx::query(
                        "INSERT INTO sessions (id, tenant, user_id, key_id, created_at, expires_at) \
                         SELECT $1, $2, $3, $4, $5, $6 WHERE (SELECT COUNT(*) FROM sessions \
                         WHERE tenant = $2 AND user_id = $3 AND expires_at > $5) < $7",
                    )
                    .bind(row.id.to_string())
                    .bind(row.tenant.as_str())
                    .bind(row.user.as_str())
                    .bind(row.key.to_string())
                    .bind(row.created_at.as_micros())
                    .bind(row.expires_at.as_micros())
                    .bind(i64::from(most))
                    .execute(connection)
                    .await
                    .map_err(|error| conflict(&error, "a session with this id exists already"))?;
                    Ok(done.rows_affected() == 1)
                })
            })
            .await
    }

    /// A session.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub async fn session(&self, id: SessionId) -> Result<Option<SessionRow>, StoreError> {
        let found = sqlx::query("SELECT * FROM sessions WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(self.store.readers())
            .await;
        one(found, read_session)
    }

    /// Raises what passes by itself in a session, or takes that back.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where there is no such session.
    pub async fn raise(&self, id: SessionId, ceiling: Option<Raised>) -> Result<(), StoreError> {
        self.store
            .writer()
            .run(Scope::Statement, move |connection| {
                Box::pin(async move {
                    let done = sqlx::query(
                        "UPDATE sessions SET ceiling = $1, ceiling_until = $2, ceiling_by = $3 WHERE id = $4",
                    )
                    .bind(ceiling.as_ref().map(|raised| raised.to.as_str()))
                    .bind(ceiling.as_ref().map(|raised| raised.until.as_micros()))
                    .bind(ceiling.as_ref().map(|raised| raised.by.to_string()))
                    .bind(id.to_string())
                    .execute(connection)
                    .await
                    .map_err(|error| classify(&error))?;
                    if done.rows_affected() == 1 {
                        return Ok(());
                    }
                    Err(StoreError::Conflict { what: format!("{id} is not known") })
                })
            })
            .await
    }

    /// Sessions of one user (or of the whole tenant) that have not ended, the newest first.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub async fn sessions(
        &self,
        tenant: &TenantId,
        user: Option<&UserId>,
        which: Sessions,
        now: Timestamp,
        part: Part<SessionId>,
    ) -> Result<Vec<SessionRow>, StoreError> {
        let mut query = QueryBuilder::new("SELECT * FROM sessions WHERE tenant = ");
        query.push_bind(tenant.to_string()).push(" AND expires_at > ").push_bind(now.as_micros());
        if let Some(user) = user {
            query.push(" AND user_id = ").push_bind(user.to_string());
        }
        if which == Sessions::Raised {
            query.push(" AND ceiling IS NOT NULL AND ceiling_until > ").push_bind(now.as_micros());
        }
        part.order(&mut query);
        all(query.build().fetch_all(self.store.readers()).await, read_session)
    }

    /// Ends a session, and takes back what was granted for it alone. What has ended keeps its time.
    ///
    /// # Errors
    /// [`StoreError`] where the change cannot be made durable.
    pub async fn end_session(&self, id: SessionId, at: Timestamp) -> Result<(), StoreError> {
        self.store
            .writer()
            .run(Scope::Several, move |connection| {
                Box::pin(async move {
                    for statement in [
                        "UPDATE sessions SET expires_at = $1, ceiling = NULL, ceiling_until = NULL, ceiling_by = NULL \
                         WHERE id = $2 AND expires_at > $1",
                        "UPDATE grants SET revoked_at = $1 WHERE session = $2 AND revoked_at IS NULL",
                    ] {
                        sqlx::query(statement)
                            .bind(at.as_micros())
                            .bind(id.to_string())
                            .execute(&mut *connection)
                            .await
                            .map_err(|error| classify(&error))?;
                    }
                    Ok(())
                })
            })
            .await
    }

    /// Adds a grant; nothing where the user has `most` that have not ended.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where the id exists.
    pub async fn add(&self, row: GrantRow, most: u32) -> Result<bool, StoreError> {
        self.store
            .writer()
            .run(Scope::Statement, move |connection| {
                Box::pin(async move {
                    let done = sqlx::query(
                        "INSERT INTO grants (id, tenant, user_id, session, tool, terms, created_by, created_at, expires_at, \
                         uses) SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, 0 WHERE (SELECT COUNT(*) FROM grants \
                         WHERE tenant = $2 AND user_id = $3 AND expires_at > $8 AND revoked_at IS NULL) < $10",
                    )
                    .bind(row.id.to_string())
                    .bind(row.tenant.as_str())
                    .bind(row.user.as_str())
                    .bind(row.session.map(|session| session.to_string()))
                    .bind(row.tool.as_str())
                    .bind(row.terms)
                    .bind(row.created_by.as_str())
                    .bind(row.created_at.as_micros())
                    .bind(row.expires_at.as_micros())
                    .bind(i64::from(most))
                    .execute(connection)
                    .await
                    .map_err(|error| conflict(&error, "a grant with this id exists already"))?;
                    Ok(done.rows_affected() == 1)
                })
            })
            .await
    }

    /// Grants of one user (or of the whole tenant), the newest first, also those that are over.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub async fn list(
        &self,
        tenant: &TenantId,
        user: Option<&UserId>,
        part: Part<GrantId>,
    ) -> Result<Vec<GrantRow>, StoreError> {
        let mut query = QueryBuilder::new("SELECT * FROM grants WHERE tenant = ");
        query.push_bind(tenant.to_string());
        if let Some(user) = user {
            query.push(" AND user_id = ").push_bind(user.to_string());
        }
        part.order(&mut query);
        all(query.build().fetch_all(self.store.readers()).await, read_grant)
    }

    /// The grants for one tool that one user has and that are not over, the newest first. [`Self::add`] bounds how many
    /// they are.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub async fn live(
        &self,
        (tenant, user): (&TenantId, &UserId),
        tool: &ToolName,
        now: Timestamp,
    ) -> Result<Vec<GrantRow>, StoreError> {
        let found = sqlx::query(
            "SELECT * FROM grants WHERE tenant = $1 AND user_id = $2 AND tool = $3 AND revoked_at IS NULL \
             AND expires_at > $4 ORDER BY created_at DESC, id",
        )
        .bind(tenant.as_str())
        .bind(user.as_str())
        .bind(tool.as_str())
        .bind(now.as_micros())
        .fetch_all(self.store.readers())
        .await;
        all(found, read_grant)
    }

    /// A grant.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub async fn get(&self, id: GrantId) -> Result<Option<GrantRow>, StoreError> {
        let found = sqlx::query("SELECT * FROM grants WHERE id = $1")
            .bind(id.to_string())
            .fetch_optional(self.store.readers())
            .await;
        one(found, read_grant)
    }

    /// Takes a grant back. One that was taken back before keeps its first time.
    ///
    /// # Errors
    /// [`StoreError`] where the change cannot be made durable.
    pub async fn revoke(&self, id: GrantId, at: Timestamp) -> Result<(), StoreError> {
        self.store
            .writer()
            .run(Scope::Statement, move |connection| {
                Box::pin(async move {
                    sqlx::query("UPDATE grants SET revoked_at = COALESCE(revoked_at, $1) WHERE id = $2")
                        .bind(at.as_micros())
                        .bind(id.to_string())
                        .execute(connection)
                        .await
                        .map_err(|error| classify(&error))?;
                    Ok(())
                })
            })
            .await
    }

    /// Deletes sessions and grants that ended before `before`.
    ///
    /// # Errors
    /// [`StoreError`] where the change cannot be made durable.
    pub async fn sweep(&self, before: Timestamp) -> Result<(), StoreError> {
        self.store
            .writer()
            .run(Scope::Several, move |connection| {
                Box::pin(async move {
                    for statement in [
                        "DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE expires_at <= $1 LIMIT 500)",
                        "DELETE FROM grants WHERE id IN (SELECT id FROM grants WHERE expires_at <= $1 LIMIT 500)",
                    ] {
                        sqlx::query(statement)
                            .bind(before.as_micros())
                            .execute(&mut *connection)
                            .await
                            .map_err(|error| classify(&error))?;
                    }
                    Ok(())
                })
            })
            .await
    }
}

fn read_session(row: &Row) -> Result<SessionRow, StoreError> {
    let ceiling = match column::<Option<&str>>(row, "ceiling")? {
        None => None,
        Some(_risk) => Some(Raised {
            to: parsed(row, "ceiling")?,
            until: time(row, "ceiling_until")?,
            by: parsed(row, "ceiling_by")?,
        }),
    };
    Ok(SessionRow {
        id: parsed(row, "id")?,
        tenant: parsed(row, "tenant")?,
        user: parsed(row, "user_id")?,
        key: parsed(row, "key_id")?,
        ceiling,
        created_at: time(row, "created_at")?,
        expires_at: time(row, "expires_at")?,
    })
}

fn read_grant(row: &Row) -> Result<GrantRow, StoreError> {
    let session = column::<Option<&str>>(row, "session")?.map(|_text| parsed(row, "session")).transpose()?;
    Ok(GrantRow {
        id: parsed(row, "id")?,
        tenant: parsed(row, "tenant")?,
        user: parsed(row, "user_id")?,
        session,
        tool: parsed(row, "tool")?,
        terms: column(row, "terms")?,
        created_by: parsed(row, "created_by")?,
        created_at: time(row, "created_at")?,
        expires_at: time(row, "expires_at")?,
        revoked_at: time_opt(row, "revoked_at")?,
        uses: count(row, "uses")?,
    })
}
