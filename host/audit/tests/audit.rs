//! The log through its public face, on real files; tampering is done behind its back, with SQL.

#![expect(clippy::unwrap_used, reason = "helpers of tests: what cannot be set up has failed")]

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

#[tokio::test]
async fn many_appenders_make_one_chain_that_outlives_them() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path(), 64).await.unwrap();
    let mut tasks = Vec::new();
    for n in 0..40 {
        let log = log.clone();
        tasks.push(tokio::spawn(async move {
            let mut receipts = Vec::new();
            for _ in 0..10 {
                log.enqueue(record(n)).unwrap();
                receipts.push(log.append(record(n)).await.unwrap());
            }
            assert!(receipts.is_sorted_by_key(|receipt| receipt.seq()), "one caller's records keep its order");
            receipts
        }));
    }
    let mut seqs = BTreeSet::new();
    for task in tasks {
        for receipt in task.await.unwrap() {
            assert!(seqs.insert(receipt.seq()));
        }
    }
    assert_eq!(seqs.len(), 400);
    // Dropped without closing: what was acknowledged is there for the next process.
    drop(log);
    let again = open(folder.path(), 64).await.unwrap();
    let found = again.verify().await.unwrap();
    assert!(found.is_intact(), "{found:?}");
    assert_eq!((found.records, found.writers), (800, 1));
    assert!(found.checkpoints > 0);
    assert_eq!(again.append(record(1)).await.unwrap().seq(), 801);
}

/// More than fit into the log's queue at once.
#[tokio::test(flavor = "multi_thread")]
async fn records_that_nobody_waits_for_are_written_all_the_same() {
    const MANY: u64 = 20_000;
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path(), 1000).await.unwrap();
    for _ in 0..MANY {
        log.enqueue_in_turn(record(1)).await.unwrap();
    }
    let all = async {
        while log.verify().await.unwrap().records < MANY {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), all).await.expect("they are written after a while");
    log.enqueue(record(2)).unwrap();
    log.append(record(3)).await.unwrap();
    assert_eq!(log.verify().await.unwrap().records, MANY + 2);
    log.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_42_a_record_that_waits_for_its_turn_is_refused_where_the_log_breaks_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path(), 1000).await.unwrap();
    log.append(record(1)).await.unwrap();
    let mut other = aside(folder.path()).await;
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    // The log tries for seconds to write, and meanwhile its queue is full.
    while log.enqueue(record(2)).is_ok() {
        tokio::task::yield_now().await;
    }
    let waits = log.enqueue_in_turn(record(3)).await;
    assert!(matches!(waits, Err(AuditError::Unavailable { .. })), "{waits:?}");
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    log.close().await.unwrap();
}

#[tokio::test]
async fn order_of_submission_is_order_of_the_chain_whatever_the_clock_says() {
    let folder = tempfile::tempdir().unwrap();
    let log = AuditLog::open(config(3), store(folder.path()).await, clock(-1_000_000)).await.unwrap();
    for n in 0..9 {
        log.enqueue(record(n)).unwrap();
    }
    let last = log.append(record(9)).await.unwrap();
    assert_eq!(last.seq(), 10);
    let found = log.verify().await.unwrap();
    assert!(found.is_intact(), "{found:?}");
    let tail = log.tail(None, 100).await.unwrap();
    let numbers: Vec<_> = tail.iter().map(|entry| entry.record["detail"]["n"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (0..=9).collect::<Vec<_>>());
    assert!(tail[0].record["time"].as_str() > tail[9].record["time"].as_str());
    // A moment in the middle still finds what was recorded at it.
    let middle = Timestamp::parse(tail[5].record["time"].as_str().unwrap()).unwrap();
    let query = Query { since: Some(middle), until: Some(middle.plus(Duration::from_micros(1))), ..Query::default() };
    assert_eq!(log.query(&query).await.unwrap().entries, [tail[5].clone()]);
}

#[tokio::test]
async fn attack_43_every_change_behind_the_logs_back_is_found() {
    let cases = [
        ("UPDATE audit SET body = replace(body, 'ann', 'bob') WHERE seq = 3", "its body was changed"),
        ("UPDATE audit SET body = NULL WHERE seq = 3", "its body is missing"),
        ("UPDATE audit SET body_digest = zeroblob(32) WHERE seq = 3", "its hash is wrong"),
        ("UPDATE audit SET prev = zeroblob(32) WHERE seq = 3", "does not follow"),
        ("UPDATE audit SET hash = zeroblob(32) WHERE seq = 3", "its hash is wrong"),
        ("UPDATE audit SET time = 0 WHERE seq = 3", "the column time was changed"),
        ("UPDATE audit SET tenant = 'x' WHERE seq = 3", "the column tenant was changed"),
        ("UPDATE audit SET tenant = NULL WHERE seq = 3", "the column tenant was changed"),
        ("UPDATE audit SET user_id = 'x' WHERE seq = 3", "the column user was changed"),
        ("UPDATE audit SET action = 'call.outcome' WHERE seq = 3", "the column action was changed"),
        ("UPDATE audit SET action = 'call.imagined' WHERE seq = 3", "unknown action"),
        ("UPDATE audit SET tool = 'x' WHERE seq = 3", "the column tool was changed"),
        ("UPDATE audit SET outcome = 'ok' WHERE seq = 3", "the column outcome was changed"),
        ("UPDATE audit SET outcome = 'fine' WHERE seq = 3", "unknown outcome"),
        ("UPDATE audit SET correlation = NULL WHERE seq = 3", "the column correlation was changed"),
        ("UPDATE audit SET call_id = 'x' WHERE seq = 3", "the column call was changed"),
        ("UPDATE audit SET writer = 'x' WHERE seq = 3", "the row is missing"),
        ("DELETE FROM audit WHERE seq = 3", "the row is missing"),
        ("DELETE FROM audit WHERE seq BETWEEN 3 AND 6", "4 rows from here on are missing"),
        ("DELETE FROM audit WHERE seq = 1", "the row is missing"),
        ("DELETE FROM audit WHERE seq > 8", "it was truncated"),
        ("DELETE FROM audit", "it was truncated"),
        // Two rows change places, in the chain or in the order of arrival.
        (
            "UPDATE audit SET seq = 99 WHERE seq = 3; UPDATE audit SET seq = 3 WHERE seq = 4; \
             UPDATE audit SET seq = 4 WHERE seq = 99",
            "does not follow",
        ),
        (
            "UPDATE audit SET position = 0 WHERE seq = 3; UPDATE audit SET position = 3 WHERE seq = 4; \
             UPDATE audit SET position = 4 WHERE seq = 3",
            "reordered",
        ),
        (
            "INSERT INTO audit SELECT 99, writer, 11, time, tenant, user_id, action, tool, outcome, correlation, call_id, \
          body, body_digest, prev, hash FROM audit WHERE seq = 10",
            "does not follow",
        ),
        (
            "UPDATE audit_checkpoints SET signature = zeroblob(64) WHERE number = 1",
            "signature of checkpoint 1 is wrong",
        ),
        ("UPDATE audit_checkpoints SET time = 0 WHERE number = 1", "signature of checkpoint 1 is wrong"),
        ("UPDATE audit_checkpoints SET seq = 4 WHERE number = 1", "signature of checkpoint 1 is wrong"),
        ("DELETE FROM audit_checkpoints WHERE number = 1", "checkpoint 1 is missing"),
        ("DELETE FROM audit_checkpoints", "no checkpoint of this home's key covers the chain"),
        ("DELETE FROM audit_checkpoints WHERE number > 1", "9 rows from here on are not signed"),
        // Rows that are in no chain: nothing follows them, and they follow nothing.
        (&forged(0), "a row claims the place 0, before the first"),
        (&forged(-7), "a row claims the place -7, before the first"),
        (&forged(0), "11 rows stand here or before, the chain has 10"),
        (
            "INSERT INTO audit SELECT 99, 'ghost', seq, time, tenant, user_id, action, tool, outcome, correlation, \
             call_id, body, body_digest, prev, hash FROM audit WHERE seq = 1",
            "no checkpoint of this home's key covers the chain",
        ),
    ];
    let original = tempfile::tempdir().unwrap();
    ten(original.path()).await;
    let found = verify(original.path()).await;
    assert!(found.is_intact(), "{found:?}");
    assert_eq!((found.records, found.checkpoints), (10, 3));
    assert!(found.unsigned.is_empty());
    for (statements, expected) in cases {
        let folder = copy(&original);
        sql(folder.path(), statements).await;
        let found = verify(folder.path()).await;
        assert!(found.problems.iter().any(|problem| problem.what.contains(expected)), "{statements}: {found:?}");
    }
}

/// A statement that adds a row at a place that no chain has, with a body that says who did it.
fn forged(seq: i64) -> String {
    format!(
        "PRAGMA ignore_check_constraints = ON; INSERT INTO audit SELECT 99, writer, {seq}, time, tenant, user_id, \
         action, tool, outcome, correlation, call_id, replace(body, 'ann', 'eve'), body_digest, prev, hash \
         FROM audit WHERE seq = 10"
    )
}

#[tokio::test]
async fn attack_43_a_forged_row_is_not_stored_not_shown_and_not_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    ten(folder.path()).await;
    let mut connection = aside(folder.path()).await;
    for seq in [0, -1] {
        let plain = forged(seq).replace("PRAGMA ignore_check_constraints = ON; ", "");
        assert!(sqlx::raw_sql(AssertSqlSafe(plain)).execute(&mut connection).await.is_err(), "{seq} is stored");
    }
    for seq in [0, -1] {
        let folder = copy(&folder);
        sql(folder.path(), &forged(seq)).await;
        let reader = AuditReader::new(store(folder.path()).await, keys().public_key());
        let entries = reader.tail(None, 100).await.unwrap();
        assert_eq!(entries.len(), 10);
        assert!(entries.iter().all(|entry| entry.suspect.is_none() && entry.record["user"] == "ann"));
        assert!(!reader.verify().await.unwrap().is_intact());
    }
    // A row whose hash or body does not fit is shown as what it is.
    for (statement, expected) in [
        ("UPDATE audit SET body = replace(body, 'ann', 'eve') WHERE seq = 10", "its body was changed"),
        ("UPDATE audit SET seq = 12 WHERE seq = 10", "its hash is wrong"),
    ] {
        let folder = copy(&folder);
        sql(folder.path(), statement).await;
        let reader = AuditReader::new(store(folder.path()).await, keys().public_key());
        let entries = reader.tail(None, 100).await.unwrap();
        assert!(entries[9].suspect.unwrap().contains(expected), "{statement}: {entries:?}");
        assert!(entries[..9].iter().all(|entry| entry.suspect.is_none()));
    }
}

/// Whoever may write the file can replace the whole log, checkpoints and all, by one that holds together.
#[tokio::test]
async fn attack_43_a_log_rewritten_without_its_checkpoints_is_found() {
    let (forged, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    ten(folder.path()).await;
    let kept = verify(folder.path()).await.anchors;
    assert_eq!(kept.iter().map(|kept| kept.seq).collect::<Vec<_>>(), [10]);
    let config = AuditConfig { keys: AuditKeys::new([66; 32], [8; 32]), ..config(5) };
    let log = AuditLog::open(config, store(forged.path()).await, clock(1)).await.unwrap();
    for n in 11..=20 {
        log.append(record(n)).await.unwrap();
    }
    log.close().await.unwrap();
    sql(forged.path(), "DELETE FROM audit_checkpoints").await;
    let found = verify(forged.path()).await;
    assert!(found.problems.iter().any(|problem| problem.what.contains("no checkpoint")), "{found:?}");
    assert_eq!((found.unsigned[0].from, found.unsigned[0].rows), (1, 10));
    let refused = open(forged.path(), 5).await.unwrap_err();
    assert_eq!(refused.code(), "audit_broken", "{refused}");
    let refused = open(forged.path(), 1000).await.unwrap_err();
    assert_eq!(refused.code(), "audit_broken", "{refused}");
    let lines = export(forged.path(), ExportScope::Everything).await;
    assert!(!verify_export(lines.as_bytes(), Some(&keys().public_key())).unwrap().is_intact());

    // What was kept elsewhere tells, also where what is left is signed.
    let reader = async |folder: &Path| AuditReader::new(store(folder).await, keys().public_key());
    let whole = reader(folder.path()).await.verify_against(&kept[0]).await.unwrap();
    assert!(whole.is_intact(), "{whole:?}");
    let shorter = copy(&folder);
    sql(shorter.path(), "DELETE FROM audit WHERE seq > 6; DELETE FROM audit_checkpoints WHERE number > 2").await;
    assert!(verify(shorter.path()).await.is_intact(), "by itself it holds together");
    let gone = copy(&folder);
    sql(gone.path(), "DELETE FROM audit; DELETE FROM audit_checkpoints").await;
    for (folder, expected) in [
        (shorter.path(), "truncated"),
        (gone.path(), "truncated"),
        (forged.path(), "it is not the row that the kept checkpoint was signed for"),
    ] {
        let found = reader(folder).await.verify_against(&kept[0]).await.unwrap();
        assert!(found.problems.iter().any(|problem| problem.what.contains(expected)), "{expected}: {found:?}");
    }
    let mut other = kept[0].clone();
    other.seq = 6;
    let found = reader(folder.path()).await.verify_against(&other).await.unwrap();
    assert!(found.problems[0].what.contains("is not signed by this home's key"), "{found:?}");
}

/// Rows that follow a checkpoint are normal, but neither many nor old.
#[tokio::test]
async fn attack_43_rows_that_no_checkpoint_covers_are_reported() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path(), 1000).await.unwrap();
    for n in 0..4 {
        log.append(record(n)).await.unwrap();
    }
    let found = log.verify().await.unwrap();
    assert!(found.is_intact(), "{found:?}");
    assert_eq!((found.unsigned[0].from, found.unsigned[0].rows), (2, 3));
    let now = Arc::new(Steps { now: AtomicI64::new(1_769_850_000_000_000 + 301_000_000), step: 0 });
    let late = AuditReader::new(store(folder.path()).await, keys().public_key()).expecting(1000, now);
    let found = late.verify().await.unwrap();
    assert!(found.problems[0].what.contains("have not been signed for long"), "{found:?}");
    let few = AuditReader::new(store(folder.path()).await, keys().public_key()).expecting(2, clock(0));
    let found = few.verify().await.unwrap();
    assert!(found.problems[0].what.contains("3 rows from here on are not signed"), "{found:?}");
    let refused = open(folder.path(), 2).await.unwrap_err();
    assert_eq!(refused.code(), "audit_broken", "{refused}");
}

/// What a killed process left is signed by the next one, before it is asked for anything, however late that is.
#[tokio::test]
async fn attack_47_what_a_killed_process_left_is_signed_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path(), 1000).await.unwrap();
    for n in 0..4 {
        log.append(record(n)).await.unwrap();
    }
    let killed = copy(&folder);
    let found = verify_expecting(killed.path(), 1000).await;
    assert_eq!((found.unsigned[0].from, found.unsigned[0].rows), (2, 3), "{found:?}");
    let next_day = Arc::new(Steps { now: AtomicI64::new(1_769_850_000_000_000 + 86_400_000_000), step: 1 });
    let log = AuditLog::open(config(1000), store(killed.path()).await, next_day).await.unwrap();
    let found = log.verify().await.unwrap();
    assert!(found.is_intact() && found.unsigned.is_empty(), "{found:?}");
    assert_eq!(found.anchors[0].seq, 4);
}

/// Also a log whose timer never ran (the machine slept) signs what is old with the next record.
#[tokio::test]
async fn attack_43_an_old_record_is_signed_with_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let log = AuditLog::open(config(1000), store(folder.path()).await, clock(25_000_000)).await.unwrap();
    for n in 0..9 {
        log.append(record(n)).await.unwrap();
    }
    let found = log.verify().await.unwrap();
    assert!(found.is_intact() && found.checkpoints >= 3, "{found:?}");
}

#[tokio::test]
async fn a_receipt_says_what_it_is_for() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path(), 1000).await.unwrap();
    log.enqueue(record(1)).unwrap();
    let (one, two) = tokio::join!(log.append(record(2)), log.append(Record::new(Action::GatewayStart, Outcome::Ok)),);
    let said = |receipt: sophon_audit::Receipt| (receipt.seq(), receipt.action(), receipt.call());
    assert_eq!(said(one.unwrap()), (2, Action::CallIntent, Some(CallId::from_bytes([2; 16]))));
    assert_eq!(said(two.unwrap()), (3, Action::GatewayStart, None));
}

/// Hashes carry no key, so whoever may write the file can make a new, consistent chain; the signatures tell.
#[tokio::test]
async fn attack_43_a_rewritten_chain_contradicts_its_checkpoints() {
    let (forged, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    ten(folder.path()).await;
    // Ten other records with the same code but another signing key, under the real checkpoints.
    let keys = AuditKeys::new([66; 32], [8; 32]);
    let config = AuditConfig { keys, ..config(5) };
    let log = AuditLog::open(config, store(forged.path()).await, clock(1)).await.unwrap();
    for n in 11..=20 {
        log.append(record(n)).await.unwrap();
    }
    log.close().await.unwrap();
    let real = folder.path().join("sophon.db").display().to_string();
    let keep = "DELETE FROM audit_checkpoints; INSERT INTO audit_checkpoints SELECT * FROM real.audit_checkpoints";
    sql(forged.path(), &format!("ATTACH '{real}' AS real; {keep}")).await;
    let found = verify(forged.path()).await;
    assert!(found.problems.iter().any(|problem| problem.what.contains("not the row that a checkpoint was signed for")));
    let refused = open(forged.path(), 5).await.unwrap_err();
    assert!(matches!(refused, AuditError::Broken { seq: 10, .. }), "{refused}");
}

#[tokio::test]
async fn attack_43_a_log_that_contradicts_its_checkpoint_is_not_continued() {
    let cases = [
        ("DELETE FROM audit WHERE seq > 8", "audit_truncated"),
        ("DELETE FROM audit", "audit_truncated"),
        ("UPDATE audit SET hash = zeroblob(32) WHERE seq = 10", "audit_broken"),
        ("UPDATE audit_checkpoints SET signature = zeroblob(64) WHERE number = 3", "audit_broken"),
        // After the last checkpoint, the rows have to follow from it.
        ("DELETE FROM audit_checkpoints WHERE number = 3; DELETE FROM audit WHERE seq = 7", "audit_broken"),
        ("DELETE FROM audit_checkpoints WHERE number > 1", "audit_broken"),
        ("DELETE FROM audit_checkpoints", "audit_broken"),
        ("DELETE FROM audit_checkpoints WHERE number = 3; UPDATE audit SET body = '{}' WHERE seq = 7", "audit_broken"),
    ];
    let original = tempfile::tempdir().unwrap();
    ten(original.path()).await;
    for (statements, code) in cases {
        let folder = copy(&original);
        sql(folder.path(), statements).await;
        let refused = open(folder.path(), 5).await.unwrap_err();
        assert_eq!(refused.code(), code, "{statements}: {refused}");
        assert!(refused.hint().unwrap().contains("sophon audit verify"));
        assert!(!verify(folder.path()).await.is_intact());
    }
    // With the wrong keys nothing is continued either.
    let keys = AuditKeys::new([1; 32], [8; 32]);
    let other = AuditConfig { keys, ..config(5) };
    let refused = AuditLog::open(other, store(original.path()).await, clock(1)).await.unwrap_err();
    assert_eq!(refused.code(), "audit_broken");
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

#[tokio::test]
async fn attack_43_an_export_proves_itself_and_shows_truncation() {
    let folder = tempfile::tempdir().unwrap();
    ten(folder.path()).await;
    let key = keys().public_key();
    let check = |lines: &str, key: Option<&[u8; 32]>| verify_export(lines.as_bytes(), key);

    let lines = export(folder.path(), ExportScope::Everything).await;
    let found = check(&lines, Some(&key)).unwrap();
    assert!(found.is_intact(), "{found:?}");
    assert_eq!((found.records, found.checkpoints, found.withheld), (10, 3, 0));
    assert!(check(&lines, None).unwrap().is_intact());
    assert!(!check(&lines, Some(&[9; 32])).unwrap().is_intact(), "another key");

    // One tenant's view: the others' bodies are withheld, and the chain still holds.
    let own = export(folder.path(), ExportScope::Tenant(name("default"))).await;
    assert!(own.contains("\"default\"") && !own.contains("\"other\""));
    let found = check(&own, Some(&key)).unwrap();
    assert!(found.is_intact(), "{found:?}");
    assert_eq!((found.records, found.withheld), (10, 5));

    // Leave out any one line, or change any one character of a body: it shows, or it is no export any more.
    let all: Vec<&str> = lines.lines().collect();
    for left_out in 0..all.len() {
        let rest: Vec<&str> = all.iter().enumerate().filter(|(n, _)| *n != left_out).map(|(_, line)| *line).collect();
        let outcome = check(&rest.join("\n"), Some(&key));
        assert!(
            outcome.is_err() || !outcome.as_ref().unwrap().is_intact(),
            "line {left_out} is not missed: {outcome:?}"
        );
    }
    for (from, to) in [("\"user\":\"ann\"", "\"user\":\"bob\""), ("\"seq\":4", "\"seq\":5"), ("\"n\":7", "\"n\": 7")] {
        let outcome = check(&lines.replacen(from, to, 1), Some(&key)).unwrap();
        assert!(!outcome.is_intact(), "{from} → {to}");
    }
    // The last line is signed by no line behind it: a byte of it that says the same in another way shows as well.
    let end = lines[..lines.len() - 1].rfind('\n').unwrap() + 1;
    let respelled = (end..lines.len()).map(|at| {
        let mut changed = lines.clone().into_bytes();
        changed[at] ^= 0x20;
        String::from_utf8(changed).unwrap()
    });
    let ends = ["", " ", "\r\n", "\n\n"].map(|end| format!("{}{end}", lines.trim_end()));
    for changed in respelled.chain(ends) {
        let outcome = check(&changed, Some(&key));
        assert!(outcome.is_err() || !outcome.as_ref().unwrap().is_intact(), "{}", &changed[end..]);
    }
    for (broken, line) in [("", 1), ("{}\n", 1), (&*lines.replacen("\"type\":\"record\"", "\"type\":\"x\"", 1), 5)] {
        match check(broken, None) {
            Err(AuditError::Export { line: found, .. }) => assert_eq!(found, line),
            other => panic!("{other:?}"),
        }
    }

    // A row is withheld although everything was exported; one more is withheld; the end is forged or cut off.
    let end = all.len() - 1;
    let without_body = |text: &str, n: usize| -> String {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let at = lines.iter().enumerate().filter(|(_, line)| line.contains("\"body\":")).nth(n).unwrap().0;
        let cut = lines[at].find(",\"body\":").unwrap();
        lines[at] = format!("{}}}", &lines[at][..cut]);
        lines.join("\n")
    };
    let other_key = AuditReader::with_keys(store(folder.path()).await, &AuditKeys::new([66; 32], [8; 32]));
    let mut resigned = other_key.export(ExportScope::Everything, Timestamp::from_micros(0));
    let mut forged_end = String::new();
    while let Some(chunk) = resigned.next_chunk().await.unwrap() {
        forged_end.push_str(&chunk);
    }
    for (name, text, expected) in [
        ("a body is cut out", without_body(&lines, 3), "its body is missing"),
        ("a body is cut out, of a whole", without_body(&lines, 3), "its lines are not those that were exported"),
        ("one more is withheld", without_body(&own, 2), "it was exported with 5 withheld bodies and has 6"),
        ("the end is cut off", all[..end].join("\n"), "its signed end is missing"),
        ("the scope is changed", lines.replacen("\"everything\"", "\"tenant\"", 1), "not those that were exported"),
        ("the number is changed", own.replacen("\"withheld\":5", "\"withheld\":4", 1), "signature of its end is wrong"),
        ("another key signed", forged_end, "signature of its end is wrong"),
    ] {
        let found = check(&text, Some(&key)).unwrap();
        assert!(found.problems.iter().any(|problem| problem.what.contains(expected)), "{name}: {found:?}");
    }
    let keyless = AuditReader::new(store(folder.path()).await, key);
    let mut unsigned = keyless.export(ExportScope::Everything, Timestamp::from_micros(0));
    let mut text = String::new();
    while let Some(chunk) = unsigned.next_chunk().await.unwrap() {
        text.push_str(&chunk);
    }
    let found = check(&text, Some(&key)).unwrap();
    assert_eq!(found.problems.iter().map(|problem| &*problem.what).collect::<Vec<_>>(), ["its end is not signed"]);
    let after_the_end = format!("{lines}{}\n", all[end]);
    assert!(matches!(check(&after_the_end, Some(&key)), Err(AuditError::Export { .. })), "a line after the end");
}

#[tokio::test]
async fn attack_42_a_full_disk_refuses_records_loses_none_and_the_log_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(folder.path()).await;
    let log = AuditLog::open(config(1000), store.clone(), clock(1)).await.unwrap();
    let mut acknowledged = vec![log.append(record(0)).await.unwrap()];
    store.limit_size(0).await.unwrap();
    // What is enqueued has no waiter; the log itself says later that it was lost.
    let refused = loop {
        match log.append(record(1).detail("ballast", "x".repeat(2000))).await {
            Ok(receipt) => acknowledged.push(receipt),
            Err(error) => break error,
        }
        assert!(acknowledged.len() < 1000, "the limit does not hold");
    };
    assert_eq!(refused.code(), "audit_unavailable");
    assert!(matches!(log.append(record(2)).await, Err(AuditError::Unavailable { .. })), "refused without trying");
    assert!(matches!(log.enqueue(record(2)), Err(AuditError::Unavailable { .. })));

    store.limit_size(u64::MAX).await.unwrap();
    let recovered = loop {
        match log.append(record(3)).await {
            Ok(receipt) => break receipt,
            Err(_still_broken) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    let found = log.verify().await.unwrap();
    assert!(found.is_intact(), "{found:?}");
    let entries = log.query(&Query { limit: Some(1000), ..Query::default() }).await.unwrap().entries;
    for receipt in acknowledged.iter().chain([&recovered]) {
        let index = usize::try_from(receipt.seq()).unwrap() - 1;
        assert_eq!(&entries[index].hash, receipt.digest(), "what was acknowledged is there");
    }
    assert_eq!(entries.len(), acknowledged.len() + 2, "nothing that was refused is there");
    let said = &entries[entries.len() - 2].record;
    assert_eq!((&said["action"], &said["code"]), (&json!("audit.checkpoint"), &json!("audit_interrupted")));
    assert_eq!(said["detail"]["lost"], 0);
}

#[tokio::test]
async fn attack_42_a_blocked_database_refuses_and_says_later_what_was_lost() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path(), 1000).await.unwrap();
    log.append(record(0)).await.unwrap();
    let mut other = aside(folder.path()).await;
    let shelf = Arc::new(Shelf::default());
    log.attach(vec![(Arc::clone(&shelf) as Arc<_>, sophon_audit::Demand::Required)]);
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    // Accepted while nobody knows yet, together with an append that then fails.
    log.enqueue(record(1)).unwrap();
    log.enqueue(record(2)).unwrap();
    assert!(matches!(log.append(record(3)).await, Err(AuditError::Unavailable { .. })));
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    let recovered = loop {
        match log.append(record(4)).await {
            Ok(receipt) => break receipt,
            Err(_still_broken) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    assert_eq!(recovered.seq(), 3, "the first record, the interruption, this one");
    let tail = log.tail(None, 10).await.unwrap();
    assert_eq!(tail[1].record["detail"]["lost"], 2);
    assert_eq!(*shelf.taken.lock().unwrap(), [2, 3], "a sink hears of the interruption too");
    assert!(log.verify().await.unwrap().is_intact());
}

#[tokio::test]
async fn a_log_that_somebody_else_extends_is_not_forked() {
    let folder = tempfile::tempdir().unwrap();
    let (one, two) = (open(folder.path(), 1000).await.unwrap(), open(folder.path(), 1000).await.unwrap());
    one.append(record(1)).await.unwrap();
    let refused = two.append(record(2)).await.unwrap_err();
    assert!(matches!(refused, AuditError::Unavailable { .. }), "{refused}");
    one.append(record(3)).await.unwrap();
    let found = one.verify().await.unwrap();
    assert!(found.is_intact(), "{found:?}");
    assert_eq!(found.records, 2);
}

#[tokio::test]
async fn queries_filter_and_page() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path(), 1000).await.unwrap();
    for n in 0..30 {
        log.enqueue(record(n)).unwrap();
    }
    let failed = Record::new(Action::CallOutcome, Outcome::failed("tool_error")).tenant(&name("default"));
    log.append(failed).await.unwrap();
    let count = async |query: Query| log.query(&query).await.unwrap().entries.len();
    let all = Query::default;
    assert_eq!(count(all()).await, 31);
    assert_eq!(count(Query { tenant: Some(name("default")), ..all() }).await, 16);
    assert_eq!(count(Query { tenant: Some(name("nobody")), ..all() }).await, 0);
    assert_eq!(count(Query { user: Some(name("ann")), ..all() }).await, 30);
    assert_eq!(count(Query { action: Some(Action::CallOutcome), ..all() }).await, 1);
    assert_eq!(count(Query { outcome: Some(OutcomeKind::Failed), ..all() }).await, 1);
    assert_eq!(count(Query { tool: Some(name("github-issues.list")), ..all() }).await, 30);
    assert_eq!(count(Query { call: Some(CallId::from_bytes([7; 16])), ..all() }).await, 1);
    assert_eq!(count(Query { correlation: Some(CorrelationId::from_bytes([7; 16])), ..all() }).await, 1);
    for order in [Order::Oldest, Order::Newest] {
        let (mut seqs, mut after) = (Vec::new(), None);
        loop {
            let query = Query { order, after, limit: Some(7), tenant: Some(name("default")), ..all() };
            let page = log.query(&query).await.unwrap();
            seqs.extend(page.entries.iter().map(|entry| entry.seq));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        if order == Order::Newest {
            seqs.reverse();
        }
        assert_eq!(seqs, (0..=15).map(|n| n * 2 + 1).collect::<Vec<u64>>());
    }
    let entry = &log.tail(Some(name("default")), 1).await.unwrap()[0].record;
    assert_eq!((&entry["outcome"], &entry["code"]), (&json!("failed"), &json!("tool_error")));
}

#[tokio::test]
async fn checkpoints_are_signed_when_due_when_asked_and_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path(), 4).await.unwrap();
    assert_eq!(log.checkpoint().await.unwrap(), None, "nothing to sign yet");
    for n in 0..9 {
        log.append(record(n)).await.unwrap();
    }
    let asked = log.checkpoint().await.unwrap().unwrap();
    assert_eq!((asked.number, asked.seq), (3, 9), "1, 5, 9");
    assert_eq!(log.checkpoint().await.unwrap(), Some(asked), "nothing new to sign");
    log.enqueue(record(9)).unwrap();
    log.close().await.unwrap();
    assert!(matches!(log.append(record(10)).await, Err(AuditError::Unavailable { .. })));
    assert!(matches!(log.enqueue(record(10)), Err(AuditError::Unavailable { .. })));
    log.close().await.unwrap();
    let found = verify(folder.path()).await;
    assert!(found.is_intact(), "{found:?}");
    assert_eq!((found.records, found.checkpoints), (10, 4));
}

#[tokio::test]
async fn attack_43_a_secret_in_parameters_never_reaches_the_files() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path(), 1000).await.unwrap();
    let secret = format!("ghp_{}", "aB3dE5fG7hJ9kL1mN3pQ5rS7tU9vW1xY3zA5");
    let params = json!({ "password": "correct horse battery", "note": format!("use {secret} please"), "page": 3 });
    let redacted = log.redactor().params(&params, None);
    let message = log.redactor().text(&format!("refused: {secret}"));
    log.append(record(1).params(redacted).detail("message", message)).await.unwrap();
    let entry = &log.tail(None, 1).await.unwrap()[0].record;
    assert_eq!(entry["params"]["page"], 3);
    assert_eq!(entry["params"]["password"]["hmac"], json!(log.redactor().keyed_hash(b"correct horse battery")));
    log.close().await.unwrap();
    for file in ["sophon.db", "sophon.db-wal"] {
        let bytes = std::fs::read(folder.path().join(file)).unwrap_or_default();
        for hidden in ["correct horse battery", &secret] {
            assert!(!bytes.windows(hidden.len()).any(|window| window == hidden.as_bytes()), "{hidden} is in {file}");
        }
    }
}

/// The folder in which this process, started again by the test below, is to append until it is killed.
const CHILD: &str = "SOPHON_AUDIT_CRASH_FOLDER";

#[test]
fn attack_47_killed_at_any_moment_nothing_acknowledged_is_lost() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    #[expect(clippy::disallowed_methods, reason = "how the test knows that it is its own child")]
    if let Ok(folder) = std::env::var(CHILD) {
        return runtime.block_on(append_until_killed(Path::new(&folder)));
    }
    let folder = tempfile::tempdir().unwrap();
    let mut last = 0;
    for acknowledged in [1, 40, 300] {
        #[expect(clippy::disallowed_methods, reason = "the test starts itself again, to be killed")]
        let mut process = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "attack_47_killed_at_any_moment_nothing_acknowledged_is_lost", "--nocapture"])
            .env(CHILD, folder.path())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let seqs = lines.map_while(Result::ok).filter_map(|line| line.strip_prefix("seq ")?.parse::<u64>().ok());
        for (n, seq) in seqs.enumerate() {
            last = last.max(seq);
            if n == acknowledged {
                // SIGKILL. What it wrote to the pipe before is still read: it was acknowledged.
                process.kill().unwrap();
            }
        }
        process.wait().unwrap();
        let found = runtime.block_on(verify_expecting(folder.path(), 10));
        assert!(found.is_intact(), "{found:?}");
        assert!(found.records >= last && last > 0, "{} records, {last} acknowledged", found.records);
    }
    let again = runtime.block_on(open(folder.path(), 10));
    assert!(again.is_ok(), "{again:?}");
}

async fn append_until_killed(folder: &Path) {
    let log = open(folder, 10).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..4 {
        let log = log.clone();
        tasks.spawn(async move {
            loop {
                let receipt = log.append(record(n)).await.unwrap();
                // One write a line, so that lines of several tasks do not mix.
                std::io::stdout().write_all(format!("\nseq {}\n", receipt.seq()).as_bytes()).unwrap();
            }
        });
    }
    // Only a failure ends a task; then the process ends too, and the test sees what is missing.
    tasks.join_next().await;
}

/// A clock that a test sets.
struct Set(AtomicI64);

impl Clock for Set {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::Relaxed))
    }
}

const DAY: i64 = 24 * 3600 * 1_000_000;

#[tokio::test]
async fn attack_43_retention_drops_content_and_the_chain_still_verifies() {
    let folder = tempfile::tempdir().unwrap();
    let set = Arc::new(Set(AtomicI64::new(1_769_850_000_000_000)));
    let log =
        AuditLog::open(config(100), store(folder.path()).await, Arc::clone(&set) as Arc<dyn Clock>).await.unwrap();
    for n in 0..5 {
        log.append(record(n)).await.unwrap();
    }
    assert_eq!(log.retain(THREE_DAYS, None).await.unwrap(), 0, "nothing is old; the log says how late it is");
    log.close().await.unwrap();
    set.0.fetch_add(4 * DAY, Ordering::Relaxed);
    let log = again(&folder, &set).await;
    for n in 5..8 {
        log.append(record(n)).await.unwrap();
    }
    log.checkpoint().await.unwrap();
    assert_eq!(log.retain(THREE_DAYS, None).await.unwrap(), 6);
    assert_eq!(log.retain(THREE_DAYS, None).await.unwrap(), 0);
    let found = log.verify().await.unwrap();
    assert!(found.is_intact(), "{:?}", found.problems);
    assert_eq!((found.records, found.dropped[0].rows, found.dropped[0].upto), (10, 5, 6));
    let entries = log.query(&Query::default()).await.unwrap().entries;
    assert!(entries[..5].iter().all(|entry| entry.record.is_null() && entry.suspect.is_none()));
    assert_eq!(entries[9].record["action"], "audit.retention");
    log.close().await.unwrap();
    // Again after a while; what was dropped before stays told.
    set.0.fetch_add(4 * DAY, Ordering::Relaxed);
    let log = again(&folder, &set).await;
    log.append(record(8)).await.unwrap();
    log.checkpoint().await.unwrap();
    assert_eq!(log.retain(THREE_DAYS, None).await.unwrap(), 4);
    let found = log.verify().await.unwrap();
    assert!(found.is_intact(), "{:?}", found.problems);
    assert_eq!((found.dropped[0].rows, found.dropped[0].upto), (8, 10), "a record of retention keeps its own content");
    log.close().await.unwrap();

    let text = export(folder.path(), ExportScope::Everything).await;
    let exported = verify_export(text.as_bytes(), None).unwrap();
    assert!(exported.is_intact(), "{:?}", exported.problems);
    assert_eq!(exported.dropped[0].rows, 8);
    open(folder.path(), 100).await.unwrap().close().await.unwrap();

    // A body that nobody says was dropped.
    sql(folder.path(), "UPDATE audit SET body = NULL WHERE seq = 11").await;
    let found = verify(folder.path()).await;
    assert_eq!(found.problems.len(), 1, "{:?}", found.problems);
    assert!(found.problems[0].seq == 11 && found.problems[0].what.contains("no record says"), "{:?}", found.problems);
    // Nor does it help to say so without the log's key.
    let forged = copy(&folder);
    sql(
        forged.path(),
        "UPDATE audit SET body = replace(body, '\"upto\":10', '\"upto\":11') WHERE action = 'audit.retention'",
    )
    .await;
    assert!(verify(forged.path()).await.problems.iter().any(|problem| problem.what.contains("body was changed")));
}

const THREE_DAYS: Duration = Duration::from_secs(3 * 24 * 3600);

async fn again(folder: &TempDir, set: &Arc<Set>) -> AuditLog {
    let clock = Arc::clone(set) as Arc<dyn Clock>;
    AuditLog::open(config(100), store(folder.path()).await, clock).await.unwrap()
}

#[tokio::test]
async fn attack_43_a_clock_that_was_set_forward_drops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let set = Arc::new(Set(AtomicI64::new(1_769_850_000_000_000)));
    let start = set.now();
    let log = again(&folder, &set).await;
    for n in 0..5 {
        log.append(record(n)).await.unwrap();
    }
    let dropped = async |log: &AuditLog, confirmed| log.retain(THREE_DAYS, confirmed).await.unwrap();
    assert_eq!(dropped(&log, None).await, 0);
    // While the host runs, time is what has passed.
    set.0.fetch_add(400 * DAY, Ordering::Relaxed);
    assert_eq!(dropped(&log, None).await, 0);
    log.append(record(5)).await.unwrap();
    log.close().await.unwrap();
    // Nor does a start believe it, also where records were written with it.
    let log = again(&folder, &set).await;
    assert_eq!(dropped(&log, None).await, 0);
    log.close().await.unwrap();
    // As far as somebody has seen that it has come, and no further.
    let log = again(&folder, &set).await;
    let seen = Timestamp::from_micros(start.as_micros() + 10 * DAY);
    assert_eq!(dropped(&log, Some(seen)).await, 6, "five records, and the one that says how late it was");
    log.close().await.unwrap();
    assert!(verify(folder.path()).await.is_intact());
}

#[tokio::test]
async fn attack_47_retention_keeps_what_an_unfinished_call_is_known_by() {
    let folder = tempfile::tempdir().unwrap();
    let set = Arc::new(Set(AtomicI64::new(1_769_850_000_000_000)));
    let log = again(&folder, &set).await;
    for n in 0..5 {
        log.append(record(n)).await.unwrap();
    }
    let store = store(folder.path()).await;
    let (tenant, user, call) = (name("other"), name("ann"), CallId::from_bytes([3; 16]));
    let row = sophon_store::CallRow {
        id: call,
        tenant,
        user,
        key: KeyId::from_bytes([1; 16]),
        tool: name("github-issues.list"),
        correlation: CorrelationId::from_bytes([3; 16]),
        idempotency_key: Some("order".into()),
        request_digest: sophon_types::Digest::of(b""),
        status: "running".into(),
        sealed_result: None,
        created_at: set.now(),
        finished_at: None,
        expires_at: set.now(),
    };
    store.calls().begin(row, set.now()).await.unwrap();
    log.close().await.unwrap();
    set.0.fetch_add(10 * DAY, Ordering::Relaxed);
    let log = again(&folder, &set).await;
    assert_eq!(log.retain(THREE_DAYS, None).await.unwrap(), 3, "up to the intent of the call");
    let of_call = Query { call: Some(call), action: Some(Action::CallIntent), ..Query::default() };
    assert_eq!(log.find(&of_call).await.unwrap().entries.len(), 1);
    store.calls().finish(call, "unknown_outcome", None, set.now()).await.unwrap();
    assert_eq!(log.retain(THREE_DAYS, None).await.unwrap(), 2);
    log.close().await.unwrap();
    assert!(verify(folder.path()).await.is_intact());
}

#[tokio::test]
async fn records_are_found_by_any_field() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path(), 100).await.unwrap();
    for cause in ["restart", "lost", "it's \"odd\""] {
        let record = Record::new(Action::CallOutcome, Outcome::Unknown).detail("cause", cause).detail("n", 3);
        log.append(record).await.unwrap();
    }
    let count = |fields: Vec<sophon_audit::Field>| {
        let query = Query { fields, ..Query::default() };
        let log = log.clone();
        async move { log.query(&query).await.unwrap().entries.len() }
    };
    let field = |text: &str| text.parse::<sophon_audit::Field>().unwrap();
    assert_eq!(count(vec![field("detail.cause=restart")]).await, 1);
    assert_eq!(count(vec![field("detail.cause=it's \"odd\"")]).await, 1);
    assert_eq!(count(vec![field("detail.n=3")]).await, 3);
    assert_eq!(count(vec![field("detail.n=3"), field("detail.cause=lost")]).await, 1);
    assert_eq!(count(vec![field("detail.none=3")]).await, 0);
    // What is no JSON was written by somebody else, and does not stand in the way.
    sql(folder.path(), "UPDATE audit SET body = 'no json' WHERE seq = 1").await;
    assert_eq!(count(vec![field("detail.n=3")]).await, 2);
    let mut export = log.export_csv(Query { fields: vec![field("detail.cause=lost")], ..Query::default() });
    let mut text = String::new();
    while let Some(chunk) = export.next_chunk().await.unwrap() {
        text.push_str(&chunk);
    }
    let lines: Vec<&str> = text.lines().collect();
    assert!(
        lines.len() == 2 && lines[0].starts_with("position,writer,seq,time,") && lines[1].contains("call.outcome"),
        "{text}"
    );
}

/// A sink that takes records, or does not.
#[derive(Default)]
struct Shelf {
    taken: std::sync::Mutex<Vec<u64>>,
    full: std::sync::atomic::AtomicBool,
}

#[async_trait::async_trait]
impl sophon_audit::Sink for Shelf {
    fn name(&self) -> &str {
        "shelf"
    }

    async fn write(&self, records: &[sophon_audit::SinkRecord]) -> Result<(), String> {
        if self.full.load(Ordering::SeqCst) {
            return Err("it is full".into());
        }
        self.taken.lock().unwrap().extend(records.iter().map(|record| record.seq));
        Ok(())
    }
}

#[tokio::test]
async fn attack_42_where_a_required_sink_takes_nothing_nothing_is_receipted() {
    use sophon_audit::Demand;
    for demand in [Demand::Required, Demand::BestEffort] {
        let folder = tempfile::tempdir().unwrap();
        let log = open(folder.path(), 100).await.unwrap();
        let shelf = Arc::new(Shelf::default());
        log.attach(vec![(Arc::clone(&shelf) as Arc<_>, demand)]);
        log.append(record(1)).await.unwrap();
        shelf.full.store(true, Ordering::SeqCst);
        let refused = log.append(record(2)).await;
        match demand {
            Demand::Required => {
                let refused = refused.unwrap_err();
                assert!(refused.to_string().contains("shelf did not take the record: it is full"), "{refused}");
            }
            Demand::BestEffort => drop(refused.unwrap()),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        shelf.full.store(false, Ordering::SeqCst);
        log.append(record(3)).await.unwrap();
        log.close().await.unwrap();
        let until = std::time::Instant::now() + Duration::from_secs(20);
        while *shelf.taken.lock().unwrap() != [1, 3] {
            assert!(std::time::Instant::now() < until, "{:?}", shelf.taken.lock().unwrap());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(verify(folder.path()).await.is_intact());
    }
}
