//! The log through its public face, on real files; tampering is done behind its back, with SQL.

#![expect(clippy::unwrap_used, reason = "helpers of tests: what cannot be set up has failed")]

mod breakage;
mod chain;
mod content;
mod tampering;

use serde_json::json;
use sophon_audit::{
    Action, AuditConfig, AuditError, AuditKeys, AuditLog, AuditReader, ExportScope, Order, Outcome, OutcomeKind, Query,
    Record, Verification, verify_export,
};
use sophon_store::{Store, StoreConfig};
use sophon_types::{CallId, Clock, CorrelationId, Fault, KeyId, Principal, Risk, Role, Timestamp};
use sqlx::{AssertSqlSafe, Connection as _};
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tempfile::TempDir;

/// A clock that goes its step (forwards or backwards) at each reading.
struct Steps {
    now: AtomicI64,
    step: i64,
}

impl Clock for Steps {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.now.fetch_add(self.step, Ordering::Relaxed))
    }
}

fn clock(step: i64) -> Arc<Steps> {
    Arc::new(Steps { now: AtomicI64::new(1_769_850_000_000_000), step })
}

fn name<T: FromStr<Err: Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

fn keys() -> AuditKeys {
    AuditKeys::new([7; 32], [8; 32])
}

fn config(checkpoint_every: u64) -> AuditConfig {
    AuditConfig { writer: "host".into(), keys: keys(), checkpoint_every }
}

async fn store(folder: &Path) -> Store {
    let config = StoreConfig { database: folder.join("sophon.db"), blobs: folder.join("blobs") };
    Store::open(config).await.unwrap()
}

async fn open(folder: &Path, checkpoint_every: u64) -> Result<AuditLog, AuditError> {
    AuditLog::open(config(checkpoint_every), store(folder).await, clock(1)).await
}

fn record(n: u8) -> Record {
    let tenant = if n.is_multiple_of(2) { "default" } else { "other" };
    let principal =
        Principal { tenant: name(tenant), user: name("ann"), key: KeyId::from_bytes([1; 16]), role: Role::Agent };
    Record::new(Action::CallIntent, Outcome::Intent)
        .principal(&principal)
        .tool(&name("github-issues.list"))
        .call(CallId::from_bytes([n; 16]))
        .correlation(CorrelationId::from_bytes([n; 16]))
        .risk(Risk::Low)
        .duration(Duration::from_millis(3))
        .detail("n", n)
}

/// A home with ten records and checkpoints at one (the first is signed at once), at six, and at ten, by close().
async fn ten(folder: &Path) {
    let log = open(folder, 5).await.unwrap();
    for n in 1..=10 {
        log.append(record(n)).await.unwrap();
    }
    log.close().await.unwrap();
}

/// A connection to the log's database that the log knows nothing of.
async fn aside(folder: &Path) -> sqlx::SqliteConnection {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(folder.join("sophon.db"));
    sqlx::SqliteConnection::connect_with(&options).await.unwrap()
}

async fn sql(folder: &Path, statements: &str) {
    let mut connection = aside(folder).await;
    sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

async fn verify(folder: &Path) -> Verification {
    verify_expecting(folder, 5).await
}

async fn verify_expecting(folder: &Path, checkpoint_every: u64) -> Verification {
    let reader = AuditReader::new(store(folder).await, keys().public_key());
    reader.expecting(checkpoint_every, clock(0)).verify().await.unwrap()
}

async fn export(folder: &Path, scope: ExportScope) -> String {
    let reader = AuditReader::with_keys(store(folder).await, &keys()).expecting(5, clock(0));
    let mut export = reader.export(scope, Timestamp::from_micros(0));
    let mut lines = String::new();
    while let Some(chunk) = export.next_chunk().await.unwrap() {
        lines.push_str(&chunk);
    }
    lines
}

fn copy(original: &TempDir) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for file in ["sophon.db", "sophon.db-wal"] {
        let from = original.path().join(file);
        if from.exists() {
            std::fs::copy(from, folder.path().join(file)).unwrap();
        }
    }
    folder
}
