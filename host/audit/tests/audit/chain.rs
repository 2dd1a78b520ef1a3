//! Records on their way into the chain, and the checkpoints over it.

use super::*;

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
