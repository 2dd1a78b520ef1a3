//! Messages to the operator's webhooks, until they are delivered or no longer worth it.

use crate::engine::{Row, classify};
use crate::row::{all, column, count, one, parsed, time};
use crate::writer::Scope;
use crate::{Store, StoreError};
use sophon_types::{TenantId, Timestamp};

/// One message for one webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebhookMessage {
    /// The webhook's name.
    pub hook: String,
    /// The message's id; the same message is kept once.
    pub id: String,
    /// Of whose tenant it tells.
    pub tenant: TenantId,
    /// What happened.
    pub event: String,
    /// What it is about.
    pub subject: String,
    /// The JSON body.
    pub body: String,
    /// How often it was tried.
    pub attempts: u32,
    /// When it is tried next.
    pub due_at: Timestamp,
    /// From when on it is not worth telling.
    pub expires_at: Timestamp,
}

/// What became of a message that was to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It is kept.
    New,
    /// It was before.
    Known,
    /// Too many wait.
    Full,
}

/// Messages to webhooks.
#[derive(Debug, Clone, Copy)]
pub struct WebhookMessages<'s> {
    store: &'s Store,
}

impl<'s> WebhookMessages<'s> {
    pub(crate) fn new(store: &'s Store) -> Self {
        Self { store }
    }

    /// Keeps a message, unless it is known, or `of_hook` wait already for its webhook or `of_tenant` of these for its tenant.
    ///
    /// # Errors
    /// [`StoreError`] where the change cannot be made durable.
    pub async fn push(&self, message: WebhookMessage, of_hook: u32, of_tenant: u32) -> Result<Kept, StoreError> {
        self.store
            .writer()
            .run(Scope::Several, move |connection| {
                Box::pin(async move {
                    let known = sqlx::query("SELECT 1 FROM webhook_messages WHERE hook = $1 AND id = $2")
                        .bind(message.hook.clone())
                        .bind(message.id.clone())
                        .fetch_optional(&mut *connection)
                        .await
                        .map_err(|error| classify(&error))?;
                    if known.is_some() {
                        return Ok(Kept::Known);
                    }
                    let done = sqlx::query(
                        "INSERT INTO webhook_messages (hook, id, tenant, event, subject, body, attempts, due_at, \
                         expires_at) SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9 WHERE \
                         (SELECT COUNT(*) FROM webhook_messages WHERE done_at IS NULL AND hook = $1) < $10 AND \
                         (SELECT COUNT(*) FROM webhook_messages WHERE done_at IS NULL AND hook = $1 AND tenant = $3) < $11",
                    )
                    .bind(message.hook)
                    .bind(message.id)
                    .bind(message.tenant.as_str())
                    .bind(message.event)
                    .bind(message.subject)
                    .bind(message.body)
                    .bind(i64::from(message.attempts))
                    .bind(message.due_at.as_micros())
                    .bind(message.expires_at.as_micros())
                    .bind(i64::from(of_hook))
                    .bind(i64::from(of_tenant))
                    .execute(connection)
                    .await
                    .map_err(|error| classify(&error))?;
                    Ok(if done.rows_affected() == 1 { Kept::New } else { Kept::Full })
                })
            })
            .await
    }

    /// Messages of a webhook that are due at `now`, at most `limit`, those first that have waited longest.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub async fn due(&self, hook: &str, now: Timestamp, limit: u32) -> Result<Vec<WebhookMessage>, StoreError> {
        let found = sqlx::query(
            "SELECT * FROM webhook_messages WHERE done_at IS NULL AND hook = $1 AND due_at <= $2 ORDER BY due_at LIMIT $3",
        )
        .bind(hook)
        .bind(now.as_micros())
        .bind(i64::from(limit))
        .fetch_all(self.store.readers())
        .await;
        all(found, read)
    }

    /// When its next message is due.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub async fn next_due(&self, hook: &str) -> Result<Option<Timestamp>, StoreError> {
        let found = sqlx::query(
            "SELECT due_at FROM webhook_messages WHERE done_at IS NULL AND hook = $1 ORDER BY due_at LIMIT 1",
        )
        .bind(hook)
        .fetch_optional(self.store.readers())
        .await;
        one(found, |row| time(row, "due_at"))
    }

    /// The message is delivered, or given up.
    ///
    /// # Errors
    /// [`StoreError`] where the change cannot be made durable.
    pub async fn done(&self, message: &WebhookMessage, at: Timestamp) -> Result<(), StoreError> {
        let (hook, id) = (message.hook.clone(), message.id.clone());
        self.change("UPDATE webhook_messages SET done_at = $3 WHERE hook = $1 AND id = $2", hook, id, at).await
    }

    /// The message is tried again at `due`.
    ///
    /// # Errors
    /// [`StoreError`] where the change cannot be made durable.
    pub async fn again(&self, message: &WebhookMessage, due: Timestamp) -> Result<(), StoreError> {
        let (hook, id) = (message.hook.clone(), message.id.clone());
        let sql = "UPDATE webhook_messages SET attempts = attempts + 1, due_at = $3 WHERE hook = $1 AND id = $2";
        self.change(sql, hook, id, due).await
    }

    /// Webhooks for which messages wait.
    ///
    /// # Errors
    /// [`StoreError`] where the database cannot be read.
    pub async fn hooks(&self) -> Result<Vec<String>, StoreError> {
        let found = sqlx::query("SELECT DISTINCT hook FROM webhook_messages WHERE done_at IS NULL ORDER BY hook")
            .fetch_all(self.store.readers())
            .await;
        all(found, |row| column(row, "hook"))
    }

    /// The messages that wait for a webhook are given up; says how many.
    ///
    /// # Errors
    /// [`StoreError`] where the change cannot be made durable.
    pub async fn abandon(&self, hook: &str, at: Timestamp) -> Result<u64, StoreError> {
        let hook = hook.to_owned();
        self.store
            .writer()
            .run(Scope::Statement, move |connection| {
                Box::pin(async move {
                    let done =
                        sqlx::query("UPDATE webhook_messages SET done_at = $1 WHERE hook = $2 AND done_at IS NULL")
                            .bind(at.as_micros())
                            .bind(hook)
                            .execute(connection)
                            .await
                            .map_err(|error| classify(&error))?;
                    Ok(done.rows_affected())
                })
            })
            .await
    }

    /// Messages of this event about this subject that are not delivered yet are no longer worth it.
    ///
    /// # Errors
    /// [`StoreError`] where the change cannot be made durable.
    pub async fn cancel(&self, event: &str, subject: &str, at: Timestamp) -> Result<(), StoreError> {
        let sql = "UPDATE webhook_messages SET done_at = $3 WHERE event = $1 AND subject = $2 AND done_at IS NULL";
        self.change(sql, event.to_owned(), subject.to_owned(), at).await
    }

    /// Forgets messages that expired before `before`.
    ///
    /// # Errors
    /// [`StoreError`] where the change cannot be made durable.
    pub async fn sweep(&self, before: Timestamp) -> Result<(), StoreError> {
        self.store
            .writer()
            .run(Scope::Statement, move |connection| {
                Box::pin(async move {
                    sqlx::query("DELETE FROM webhook_messages WHERE expires_at < $1")
                        .bind(before.as_micros())
                        .execute(connection)
                        .await
                        .map_err(|error| classify(&error))?;
                    Ok(())
                })
            })
            .await
    }

    async fn change(&self, sql: &'static str, first: String, second: String, at: Timestamp) -> Result<(), StoreError> {
        self.store
            .writer()
            .run(Scope::Statement, move |connection| {
                Box::pin(async move {
                    let query = sqlx::query(sql).bind(first).bind(second).bind(at.as_micros());
                    query.execute(connection).await.map_err(|error| classify(&error))?;
                    Ok(())
                })
            })
            .await
    }
}

fn read(row: &Row) -> Result<WebhookMessage, StoreError> {
    Ok(WebhookMessage {
        hook: column(row, "hook")?,
        id: column(row, "id")?,
        tenant: parsed(row, "tenant")?,
        event: column(row, "event")?,
        subject: column(row, "subject")?,
        body: column(row, "body")?,
        attempts: u32::try_from(count(row, "attempts")?).unwrap_or(u32::MAX),
        due_at: time(row, "due_at")?,
        expires_at: time(row, "expires_at")?,
    })
}
