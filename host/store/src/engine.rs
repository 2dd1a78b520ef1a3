//! SQLite: how it is opened and what its errors mean. Nothing outside this module knows which engine runs, except
//! through the aliases here.

use crate::StoreError;
use sqlx::error::ErrorKind;
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{Arguments as _, ConnectOptions as _, SqlSafeStr as _};
use std::path::Path;
use std::time::Duration;

/// The engine, for sqlx.
pub(crate) type Engine = sqlx::Sqlite;
/// A connection.
pub(crate) type Connection = sqlx::SqliteConnection;
/// A pool of reading connections.
pub(crate) type Pool = sqlx::SqlitePool;
/// How connections are opened.
pub(crate) type Options = SqliteConnectOptions;
/// A row that came back.
pub(crate) type Row = sqlx::sqlite::SqliteRow;

/// Starts the transaction of one group commit, taking the write lock at once so that no later statement can fail
/// for want of it.
pub(crate) const BEGIN: &str = "BEGIN IMMEDIATE";

/// How long a writer waits for another process to let go.
const BUSY_TIMEOUT: Duration = Duration::from_secs(4);
/// How long a reader waits for a connection of the pool.
const READ_TIMEOUT: Duration = Duration::from_secs(10);
/// Reading connections. Each is a thread; reads are short, and two cores serve no more than this at once.
const READERS: u32 = 4;
/// Connections of their own for reads that may look at every row of the audit log: they take from each other and from
/// nobody else.
const SCANNERS: u32 = 2;
/// How long such a read waits for one that takes long.
const SCAN_TIMEOUT: Duration = Duration::from_secs(60);
/// Pages of write-ahead log before a commit copies them back itself (64 MiB): much more than what is left to it where
/// [`checkpoint`] is called beside it.
const WAL_PAGES: &str = "16384";

/// Bytes of a page; SQLite's own default, stated because limits are counted in it.
const PAGE_SIZE: u32 = 4096;
/// SQLite's largest page count.
const MAX_PAGES: u64 = 4_294_967_294;

/// How long the write-ahead log is, in pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Backlog {
    log: i64,
    copied: i64,
}

impl Backlog {
    /// All of it, with what has been copied back and is not written over yet.
    pub(crate) fn length(self) -> i64 {
        self.log
    }

    /// What has not been copied back.
    pub(crate) fn left(self) -> i64 {
        self.log.saturating_sub(self.copied)
    }
}

/// Copies as much of the write-ahead log as nobody reads any more, without keeping anybody from writing. What is left then;
/// `None` where somebody else copies at this moment.
///
/// Two connections may do so at one time from SQLite 3.51.3 on: before, a log that began anew meanwhile could be damaged
/// ("the WAL-reset bug", <https://www.sqlite.org/releaselog/3_51_3.html>).
pub(crate) async fn checkpoint(connection: &mut Connection) -> Result<Option<Backlog>, sqlx::Error> {
    wal(connection, "PRAGMA wal_checkpoint(PASSIVE)").await
}

/// How long the write-ahead log is; does nothing.
pub(crate) async fn backlog(connection: &mut Connection) -> Result<Option<Backlog>, sqlx::Error> {
    wal(connection, "PRAGMA wal_checkpoint(NOOP)").await
}

async fn wal(connection: &mut Connection, sql: &'static str) -> Result<Option<Backlog>, sqlx::Error> {
    let (busy, log, copied): (i64, i64, i64) = sqlx::query_as(sql).fetch_one(connection).await?;
    Ok((busy == 0 && log >= 0).then_some(Backlog { log, copied }))
}

/// Options of the writing connection: write-ahead log, and an fsync at each commit.
pub(crate) fn writing(database: &Path) -> Options {
    Options::new()
        .filename(database)
        .page_size(PAGE_SIZE)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(BUSY_TIMEOUT)
        .pragma("wal_autocheckpoint", WAL_PAGES)
        // A schema that someone changed by hand must not run their functions or triggers with our rights.
        .pragma("trusted_schema", "OFF")
        // The host may write in its home only; what a query sorts stays in memory, as large as its bounds let it be.
        .pragma("temp_store", "MEMORY")
        .statement_cache_capacity(256)
        .log_statements(tracing::log::LevelFilter::Off)
}

/// The same options with a database that may not grow beyond about so many bytes.
pub(crate) fn limited(options: Options, bytes: u64) -> Options {
    options.pragma("max_page_count", (bytes / u64::from(PAGE_SIZE)).clamp(1, MAX_PAGES).to_string())
}

/// A pool for short reads, whose connections refuse to write.
pub(crate) async fn readers(database: &Path) -> Result<Pool, StoreError> {
    pool(database, READERS, READ_TIMEOUT).await
}

/// A pool for long ones.
pub(crate) async fn scanners(database: &Path) -> Result<Pool, StoreError> {
    pool(database, SCANNERS, SCAN_TIMEOUT).await
}

async fn pool(database: &Path, connections: u32, timeout: Duration) -> Result<Pool, StoreError> {
    let options = writing(database).create_if_missing(false).pragma("query_only", "ON");
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(timeout)
        .connect_with(options)
        .await
        .map_err(|error| classify(&error))
}

/// A condition on the text at a path of a row's JSON body, around the path and the text. A body that is no JSON has none.
pub(crate) const TEXT_AT: [&str; 3] =
    [" AND CASE WHEN json_valid(body) THEN CAST(json_extract(body, ", ") AS TEXT) END = ", ""];

/// Brings the tables up to date.
pub(crate) async fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let migrations = [
        (1, "first", include_str!("../migrations/sqlite/0001_first.sql")),
        (2, "approvals", include_str!("../migrations/sqlite/0002_approvals.sql")),
        (3, "oauth", include_str!("../migrations/sqlite/0003_oauth.sql")),
        (4, "schedules", include_str!("../migrations/sqlite/0004_schedules.sql")),
        (5, "ops", include_str!("../migrations/sqlite/0005_ops.sql")),
        (8, "audit scans", include_str!("../migrations/sqlite/0008_audit_scans.sql")),
        (9, "kept results", include_str!("../migrations/sqlite/0009_kept_results.sql")),
    ];
    let migrations = migrations.map(|(version, name, sql)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    match Migrator::with_migrations(migrations.into()).run(connection).await {
        Ok(()) => Ok(()),
        Err(MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) => Err(classify(&error)),
        Err(error @ (MigrateError::VersionMissing(_) | MigrateError::VersionMismatch(_))) => {
            Err(StoreError::Newer { detail: error.to_string() })
        }
        Err(error) => Err(StoreError::Internal { detail: error.to_string() }),
    }
}

/// Statements that run one after the other in one trip to the connection's thread. Each trip costs two switches of
/// threads, more than a statement does. SQLite's driver takes several statements as one text, with the arguments of all of
/// them in a row; for an engine that does not, [`Script::run`] is where they would be sent one by one.
#[derive(Debug, Default)]
pub(crate) struct Script {
    sql: String,
    arguments: SqliteArguments,
}

impl Script {
    /// Adds a statement, whose placeholders are `?` without a number.
    pub(crate) fn statement(&mut self, sql: &str) -> &mut Self {
        self.sql.push_str(sql);
        self.sql.push_str(";\n");
        self
    }

    /// The next argument.
    pub(crate) fn bind<'q, T: sqlx::Encode<'q, Engine> + sqlx::Type<Engine>>(&mut self, value: T) -> &mut Self {
        // What is bound here is text, bytes and integers, whose encoding cannot fail.
        if let Err(error) = self.arguments.add(value) {
            tracing::error!(error, "a value could not be bound");
        }
        self
    }

    /// Runs all of it in the connection's present transaction; the rows of all statements come back in their order.
    pub(crate) async fn run(self, connection: &mut Connection) -> Result<Vec<Row>, sqlx::Error> {
        let sql = sqlx::AssertSqlSafe(self.sql);
        sqlx::query_with(sql, self.arguments).fetch_all(connection).await
    }

    /// The same in a transaction of its own. After an error that may still be open.
    pub(crate) async fn run_alone(mut self, connection: &mut Connection) -> Result<Vec<Row>, sqlx::Error> {
        self.sql.insert_str(0, ";\n");
        self.sql.insert_str(0, BEGIN);
        self.sql.push_str("COMMIT");
        self.run(connection).await
    }
}

/// Begins a statement that ends its script with an error unless what follows (a condition) holds.
pub(crate) const UNLESS: &str = "INSERT INTO probe (id, ballast) SELECT 1, NULL WHERE NOT ";

/// Whether an error is that of a condition after [`UNLESS`].
pub(crate) fn is_unmet(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(database) if database.message().contains("probe.ballast"))
}

/// What an error means, in the caller's words where it is a violated constraint.
pub(crate) fn conflict(error: &sqlx::Error, what: &str) -> StoreError {
    match classify(error) {
        StoreError::Conflict { .. } => StoreError::Conflict { what: what.to_owned() },
        other => other,
    }
}

/// A violated constraint without the engine's words, which name tables and columns.
fn violated(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::UniqueViolation => "it exists already",
        ErrorKind::ForeignKeyViolation => "what it belongs to does not exist, or is still in use",
        _other => "a value is not one that may be stored here",
    }
}

/// What an error of the engine means. The numbers are SQLite's primary result codes
/// (<https://www.sqlite.org/rescode.html>).
pub(crate) fn classify(error: &sqlx::Error) -> StoreError {
    let detail = error.to_string();
    match error {
        sqlx::Error::Database(database) => {
            let code = database.code().and_then(|code| code.parse::<i64>().ok()).unwrap_or(1) & 0xff;
            match code {
                5 | 6 => StoreError::Locked,
                10 | 13 => StoreError::Full { detail },
                11 | 26 => StoreError::Corrupt { what: detail },
                19 => StoreError::Conflict { what: violated(database.kind()).into() },
                3 | 7 | 8 | 9 | 14 | 15 | 23 => StoreError::Unavailable { detail },
                _ => StoreError::Internal { detail },
            }
        }
        sqlx::Error::Io(_) | sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => {
            StoreError::Unavailable { detail }
        }
        sqlx::Error::ColumnDecode { index, source } => {
            StoreError::Corrupt { what: format!("column {index}: {source}") }
        }
        _ => StoreError::Internal { detail },
    }
}
