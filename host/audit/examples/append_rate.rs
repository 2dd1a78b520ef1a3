//! How many records a second become durable: `cargo run --release -p sophon-audit --example append_rate -- [records]
//! [callers] [folder]`. Each caller appends, waits for its receipt, and appends again, as calls do; one record in
//! four is awaited, the others are enqueued before it, as the records of one call are.

use serde_json::json;
use sophon_audit::{Action, AuditConfig, AuditError, AuditKeys, AuditLog, Outcome, Record};
use sophon_store::{Store, StoreConfig};
use sophon_types::{CallId, Clock, CorrelationId, KeyId, Principal, Risk, Role, Timestamp};
use std::error::Error;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

/// Records of one round: three enqueued, one awaited.
const ROUND: u64 = 4;

/// A clock that ticks once a reading; the example measures with `Instant`.
struct Ticks(AtomicI64);

impl Clock for Ticks {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(1_769_850_000_000_000 + self.0.fetch_add(1, Ordering::Relaxed))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let records: u64 = arguments.next().map_or(Ok(200_000), |text| text.parse())?;
    let callers: u64 = arguments.next().map_or(Ok(256), |text| text.parse())?;
    let scratch = tempfile::tempdir()?;
    let folder = arguments.next().map_or_else(|| scratch.path().to_owned(), PathBuf::from);

    let config = StoreConfig { database: folder.join("sophon.db"), blobs: folder.join("blobs") };
    let store = Store::open(config).await?;
    let keys = AuditKeys::new([7; 32], [8; 32]);
    let config = AuditConfig { writer: "bench".into(), keys, checkpoint_every: 1000 };
    let log = AuditLog::open(config, store.clone(), Arc::new(Ticks(AtomicI64::new(0)))).await?;

    let begun = Instant::now();
    let mut tasks = Vec::new();
    for caller in 0..callers {
        tasks.push(tokio::spawn(rounds(log.clone(), caller, records / callers / ROUND)));
    }
    let mut durable = 0;
    for task in tasks {
        durable += task.await??;
    }
    let took = begun.elapsed();
    let rate = durable as f64 / took.as_secs_f64();

    let verified = Instant::now();
    let verification = log.verify().await?;
    let report = json!({
        "records": durable,
        "callers": callers,
        "seconds": took.as_secs_f64(),
        "records_per_second": rate.round(),
        "verify_seconds": verified.elapsed().as_secs_f64(),
        "intact": verification.is_intact(),
    });
    writeln!(std::io::stdout(), "{report}")?;
    log.close().await?;
    store.close().await;
    Ok(())
}

async fn rounds(log: AuditLog, caller: u64, rounds: u64) -> Result<u64, AuditError> {
    for round in 0..rounds {
        for record in 1..ROUND {
            log.enqueue_in_turn(record_of(&log, caller, round, record)).await?;
        }
        log.append(record_of(&log, caller, round, ROUND)).await?;
    }
    Ok(rounds * ROUND)
}

fn record_of(log: &AuditLog, caller: u64, round: u64, record: u64) -> Record {
    let principal =
        Principal { tenant: name("default"), user: name("ann"), key: KeyId::from_bytes([3; 16]), role: Role::Agent };
    // Random-looking, as real ones are: what is ordered would flatter an index.
    let id = sophon_types::Digest::of_parts(&[&caller.to_be_bytes(), &round.to_be_bytes()]);
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&id.as_bytes()[..16]);
    let params = json!({ "owner": "example", "repo": "widgets", "number": record, "state": "open" });
    Record::new(Action::CallIntent, Outcome::Intent)
        .principal(&principal)
        .tool(&name("github-issues.list_issues"))
        .call(CallId::from_bytes(bytes))
        .correlation(CorrelationId::from_bytes(bytes))
        .risk(Risk::Low)
        .duration(Duration::from_micros(1234))
        .params(log.redactor().params(&params, None))
}

fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().expect("a valid name")
}
