//! A log that cannot be written, and a process that is killed.

use super::*;

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
    assert_eq!(said["detail"]["lost"], 1, "what was enqueued; what was appended is its caller's to refuse");
}

/// Enqueues until so many were refused; says how many were not. Meanwhile the log's task does not run.
fn flood(log: &AuditLog, refused: usize) -> usize {
    let mut accepted = 0;
    while log.enqueue(record(2)).is_ok() {
        accepted += 1;
    }
    for _ in 1..refused {
        assert!(matches!(log.enqueue(record(2)), Err(AuditError::Busy)));
    }
    accepted
}

/// What the log says of records that it has not: each time, why and how many.
async fn said_lost(log: &AuditLog) -> Vec<(String, u64)> {
    let query = Query { action: Some(Action::AuditCheckpoint), ..Query::default() };
    let entries = log.query(&query).await.unwrap().entries.into_iter();
    entries
        .map(|entry| {
            let code = entry.record["code"].as_str().unwrap().to_owned();
            (code, entry.record["detail"]["lost"].as_u64().unwrap())
        })
        .collect()
}

#[tokio::test]
async fn attack_42_what_finds_no_room_is_counted_in_the_log_with_the_next_records() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path(), 1000).await.unwrap();
    log.append(record(1)).await.unwrap();
    let accepted = flood(&log, 3);
    let receipt = log.append(record(3)).await.unwrap();
    assert_eq!(said_lost(&log).await, [("records_refused".to_owned(), 3)]);
    assert_eq!(receipt.seq(), u64::try_from(accepted).unwrap() + 3, "everything accepted and one record of the rest");
    // Said once.
    log.append(record(4)).await.unwrap();
    assert_eq!(said_lost(&log).await.len(), 1);
    // The last records of a log say it too.
    flood(&log, 2);
    log.close().await.unwrap();
    assert_eq!(said_lost(&log).await.into_iter().map(|(_code, lost)| lost).collect::<Vec<_>>(), [3, 2]);
    let found = verify_expecting(folder.path(), 1000).await;
    assert!(found.is_intact(), "{found:?}");
}

#[tokio::test]
async fn attack_42_what_finds_no_room_is_not_forgotten_where_the_log_then_breaks() {
    let folder = tempfile::tempdir().unwrap();
    let log = open(folder.path(), 1000).await.unwrap();
    log.append(record(1)).await.unwrap();
    let mut other = aside(folder.path()).await;
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let accepted = flood(&log, 2);
    assert!(matches!(log.append(record(3)).await, Err(AuditError::Unavailable { .. })));
    assert!(matches!(log.enqueue(record(4)), Err(AuditError::Unavailable { .. })));
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    while log.append(record(5)).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let lost = u64::try_from(accepted).unwrap() + 3;
    assert_eq!(said_lost(&log).await, [("audit_interrupted".to_owned(), lost)]);
    assert!(log.verify().await.unwrap().is_intact());
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
            .args(["--exact", "breakage::attack_47_killed_at_any_moment_nothing_acknowledged_is_lost", "--nocapture"])
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
