//! What the records hold: what is found in them, what never stands in them, what retention drops.

use super::*;

const DAY: i64 = 24 * 3600 * 1_000_000;
const THREE_DAYS: Duration = Duration::from_secs(3 * 24 * 3600);

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

/// A clock that a test sets.
struct Set(AtomicI64);

impl Clock for Set {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::Relaxed))
    }
}

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
