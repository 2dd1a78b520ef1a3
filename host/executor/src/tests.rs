//! What becomes of calls that were cut short, whatever the clock and the store do meanwhile. Over real parts.

use crate::events::{Event, Next};
use crate::outcome::Ending;
use crate::recovery::{Cause, settle};
use crate::{
    CallError, CallLimits, CallRequest, CallStatus, CallView, Executor, Parts, Requirements, Results, ScheduleLimits,
};
use sophon_approval::{Asked, Policy, Question};
use sophon_audit::{Action, AuditConfig, AuditKeys, AuditLog, Outcome, Query, Record};
use sophon_egress::{Egress, EgressConfig, EgressLimits, OwnListeners, Roots, SystemResolver, TcpDialer};
use sophon_sandbox::{ContainerConfig, ContainerRuntime, Limits, PoolLimits, Tightening, WasmRuntime};
use sophon_skill::{InstallTerms, InstalledSkill, Package, Preset, TrustStore, Unsigned};
use sophon_store::{CallRow, Store, StoreConfig};
use sophon_types::{
    ApprovalId, CallId, CanonicalJson, Clock, CorrelationId, Digest, Entropy, KeyId, Principal, Role, Timestamp,
};
use sophon_vault::{Kek, Vault};
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

pub(crate) const START: i64 = 1_769_850_000_000_000;
const DAY: i64 = 24 * 3600 * 1_000_000;

/// A clock that a test sets.
struct SetClock(AtomicI64);

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }
}

/// Bytes that differ from call to call.
#[derive(Default)]
struct Counting(AtomicU64);

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(32) {
            let block = Digest::of(&self.0.fetch_add(1, Ordering::Relaxed).to_be_bytes());
            chunk.copy_from_slice(&block.as_bytes()[..chunk.len()]);
        }
    }
}

pub(crate) struct World {
    pub(crate) executor: Executor,
    pub(crate) store: Store,
    pub(crate) audit: AuditLog,
    clock: Arc<SetClock>,
    folder: tempfile::TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        let pool = PoolLimits { concurrent_calls: 2, ..PoolLimits::default() };
        Self::running_in(WasmRuntime::start(&pool, Limits::of(Preset::Minimal)).unwrap()).await
    }

    /// With components running there.
    pub(crate) async fn running_in(runtime: WasmRuntime) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let set = Arc::new(SetClock(AtomicI64::new(START)));
        let clock: Arc<dyn Clock> = Arc::clone(&set) as Arc<dyn Clock>;
        let entropy: Arc<dyn Entropy> = Arc::new(Counting::default());
        let paths = StoreConfig { database: folder.path().join("sophon.db"), blobs: folder.path().join("blobs") };
        let store = Store::open(paths).await.unwrap();
        let keys = AuditKeys::new([1; 32], [2; 32]);
        let config = AuditConfig { writer: "host".into(), keys, checkpoint_every: 1000 };
        let audit = AuditLog::open(config, store.clone(), Arc::clone(&clock)).await.unwrap();
        let kek = Kek::from_bytes([3; 32]);
        let vault = Vault::open(store.clone(), audit.clone(), kek, Arc::clone(&clock), Arc::clone(&entropy));
        let vault = vault.await.unwrap();
        let config = EgressConfig {
            roots: Roots::mozilla(),
            limits: EgressLimits::default(),
            own_listeners: OwnListeners::default(),
            clock: Arc::clone(&clock),
        };
        let (resolver, dialer) = (Arc::new(SystemResolver::new()), Arc::new(TcpDialer));
        let egress = Egress::new(config, vault.clone(), audit.clone(), resolver, dialer).unwrap();
        let parts = Parts {
            store: store.clone(),
            audit: audit.clone(),
            vault,
            egress,
            runtime,
            containers: ContainerRuntime::new(
                ContainerConfig::default(),
                Limits::of(Preset::Minimal),
                Arc::clone(&entropy),
            ),
            requirements: Requirements::new("https://index.example/simple", &[], 1).unwrap(),
            detector: sophon_guard::Detector::default(),
            tightening: Tightening::default(),
            policy: Policy::default(),
            limits: CallLimits { concurrent: 2, ..CallLimits::default() },
            schedules: ScheduleLimits::default(),
            clock,
            entropy,
        };
        Self { executor: Executor::open(parts).await.unwrap(), store, audit, clock: set, folder }
    }

    pub(crate) fn set(&self, offset: i64) {
        self.clock.0.store(START + offset, Ordering::SeqCst);
    }

    /// A row of a call that runs, as `begin` writes it; its idempotency key is `order-n`.
    async fn row(&self, n: u8) -> CallRow {
        let row = self.unwritten(n, CallStatus::Running);
        self.store.calls().begin(row.clone(), row.created_at).await.unwrap();
        row
    }

    /// A row that is not in the store.
    fn unwritten(&self, n: u8, status: CallStatus) -> CallRow {
        let arguments = CanonicalJson::of(serde_json::json!({})).unwrap();
        CallRow {
            id: CallId::from_bytes([n; 16]),
            tenant: "default".parse().unwrap(),
            user: "ann".parse().unwrap(),
            key: KeyId::from_bytes([9; 16]),
            tool: "shop.pay".parse().unwrap(),
            correlation: CorrelationId::from_bytes([n; 16]),
            idempotency_key: Some(format!("order-{n}")),
            request_digest: Digest::of_parts(&[b"shop.pay", arguments.digest().as_bytes()]),
            status: status.as_str().into(),
            sealed_result: None,
            created_at: self.clock.now(),
            finished_at: None,
            expires_at: self.clock.now().plus(Duration::from_secs(86_400)),
        }
    }

    /// A call that waits for a person, and its question.
    async fn asked(&self, n: u8) -> (CallRow, ApprovalId) {
        let row = self.unwritten(n, CallStatus::AwaitingApproval);
        let request = sophon_approval::CallRequest {
            principal: Principal {
                tenant: row.tenant.clone(),
                user: row.user.clone(),
                key: row.key,
                role: Role::Agent,
            },
            call: row.id,
            correlation: row.correlation,
            session: None,
            arguments: CanonicalJson::of(serde_json::json!({})).unwrap(),
        };
        let policy = self.executor.0.gate.policy();
        let call = sophon_approval::assess(request, payer(), 0, &policy).unwrap();
        let (now, entropy) = (self.clock.now(), &self.executor.0.parts.entropy);
        let question = Question::call(&call, policy.version(), now.plus(policy.timeout()), &**entropy);
        let record = Record::new(Action::CallIntent, Outcome::Intent).call(row.id);
        let asked = self.executor.0.desk.ask(question, Some(row.clone()), record, now).await.unwrap();
        let Asked::New(waiting) = asked else { panic!("{asked:?}") };
        (row, waiting.id)
    }

    async fn record(&self, row: &CallRow, action: Action, outcome: Outcome) {
        let record = Record::new(action, outcome).tenant(&row.tenant).user(&row.user).tool(&row.tool).call(row.id);
        self.audit.append(record).await.unwrap();
    }

    /// What the row says now; nothing where it was taken back.
    async fn status(&self, row: &CallRow) -> Option<String> {
        self.store.calls().get(row.id).await.unwrap().map(|row| row.status)
    }

    async fn finish(&self, row: &CallRow) {
        let ending = Ending { output: None, error: None };
        let sealed = ending.seal(&self.executor.0.parts.vault, row.id).unwrap();
        let now = self.clock.now();
        self.store.calls().finish(row.id, CallStatus::Succeeded.as_str(), Some(sealed), now).await.unwrap();
    }

    /// Calls the tool again under the row's key. There is no such tool any more, so nothing can run.
    async fn again(&self, row: &CallRow) -> Result<CallView, CallError> {
        let principal =
            Principal { tenant: row.tenant.clone(), user: row.user.clone(), key: row.key, role: Role::Agent };
        let request = CallRequest {
            tool: row.tool.to_string(),
            arguments: CanonicalJson::of(serde_json::json!({})).unwrap(),
            session: None,
            idempotency_key: row.idempotency_key.clone(),
            wait: Duration::ZERO,
            correlation: row.correlation,
            results: Results::Text,
        };
        self.executor.call(&principal, request).await
    }

    /// Runs SQL behind the host's back.
    pub(crate) async fn sql(&self, statement: &'static str) {
        let options = SqliteConnectOptions::new().filename(self.folder.path().join("sophon.db"));
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }
}

#[tokio::test]
async fn attack_47_a_clock_that_was_set_back_hides_no_intent() {
    let world = World::new().await;
    for (n, offset) in [(1, -2 * DAY), (2, 2 * DAY), (3, -2 * DAY)] {
        world.set(0);
        let row = world.row(n).await;
        world.set(offset);
        world.record(&row, Action::CallIntent, Outcome::Intent).await;
        settle(&world.executor, Cause::Restart).await.unwrap();
        assert_eq!(world.status(&row).await.as_deref(), Some("unknown_outcome"), "clock {offset}");
        assert_eq!(world.again(&row).await.unwrap().status, CallStatus::UnknownOutcome);
    }
}

#[tokio::test]
async fn attack_47_an_outcome_is_found_whatever_the_clock_said_then() {
    let world = World::new().await;
    for (n, offset) in [(1, -2 * DAY), (2, 2 * DAY)] {
        world.set(0);
        let row = world.row(n).await;
        world.record(&row, Action::CallIntent, Outcome::Intent).await;
        world.set(offset);
        world.record(&row, Action::CallOutcome, Outcome::Ok).await;
        settle(&world.executor, Cause::Restart).await.unwrap();
        assert_eq!(world.status(&row).await.as_deref(), Some("succeeded"), "clock {offset}");
        let outcomes = Query { call: Some(row.id), action: Some(Action::CallOutcome), ..Query::default() };
        assert_eq!(world.audit.query(&outcomes).await.unwrap().entries.len(), 1, "said once");
    }
}

#[tokio::test]
async fn whoever_watches_hears_of_a_call_that_was_cut_short() {
    let world = World::new().await;
    let row = world.row(1).await;
    world.record(&row, Action::CallIntent, Outcome::Intent).await;
    let by = Principal { tenant: row.tenant.clone(), user: row.user.clone(), key: row.key, role: Role::Agent };
    let mut watch = world.executor.events().watch(&by, None);
    settle(&world.executor, Cause::Restart).await.unwrap();
    let told = tokio::time::timeout(Duration::from_secs(60), watch.next()).await.unwrap();
    let Next::Event(posted) = told else { panic!("{told:?}") };
    assert!(
        matches!(&posted.event, Event::CallFinished { call_id, status: CallStatus::UnknownOutcome, .. } if *call_id == row.id),
        "{posted:?}"
    );
}

/// A skill whose tool asks.
fn payer() -> Arc<InstalledSkill> {
    let manifest = br#"{"name": "shop", "version": "1.0.0", "author": "A", "license": "Apache-2.0", "description": "d",
        "category": "utility", "runtime": "python", "entrypoint": "main.py",
        "tools": [{"name": "pay", "description": "d", "riskLevel": "high", "parameters": {"type": "object"}}]}"#;
    let files = [
        ("manifest.json", manifest.to_vec()),
        ("main.py", b"print(1)\n".to_vec()),
        ("README.md", b"A shop.".to_vec()),
        ("LICENSE", b"Apache-2.0".to_vec()),
    ];
    let files: BTreeMap<_, _> = files.into_iter().map(|(name, content)| (name.to_owned(), content)).collect();
    let package = Package::read(sophon_skill::pack(&files).unwrap()).unwrap();
    let verified = sophon_skill::verify(package, None, &TrustStore::default(), Unsigned::DangerouslyAllow);
    let terms = InstallTerms {
        tenant: "default".parse().unwrap(),
        grants: vec![],
        settings: BTreeMap::new(),
        streams: Vec::new(),
    };
    let installed = Arc::new(verified.unwrap_or_else(|error| panic!("{error}"))).install(terms);
    Arc::new(installed.unwrap_or_else(|error| panic!("{error}")))
}

#[tokio::test]
async fn a_question_whose_asking_was_cut_short_is_ended_with_its_call() {
    let world = World::new().await;
    let ((waits, kept), (lost, id)) = (world.asked(1).await, world.asked(2).await);
    // The task that asked is gone: nothing on the desk waits for the answer.
    world.executor.0.desk.begun(id);
    world.executor.end_lost_questions().await.unwrap();
    assert_eq!(world.status(&lost).await.as_deref(), Some("cancelled"));
    assert_eq!(world.status(&waits).await.as_deref(), Some("awaiting_approval"));
    let approvals = world.store.approvals();
    assert_eq!(approvals.get(id).await.unwrap().unwrap().status, "cancelled");
    assert_eq!(approvals.get(kept).await.unwrap().unwrap().status, "pending");
    let ended = Query { action: Some(Action::ApprovalCancel), ..Query::default() };
    assert_eq!(world.audit.query(&ended).await.unwrap().entries[0].record["detail"]["cause"], "lost");
}

#[tokio::test]
async fn a_call_that_has_no_intent_never_ran_and_is_taken_back() {
    let world = World::new().await;
    let row = world.row(1).await;
    settle(&world.executor, Cause::Restart).await.unwrap();
    assert_eq!(world.status(&row).await, None);
}

#[tokio::test]
async fn attack_47_setting_the_clock_frees_no_idempotency_key() {
    let world = World::new().await;
    let row = world.row(1).await;
    world.record(&row, Action::CallIntent, Outcome::Intent).await;
    world.finish(&row).await;
    for offset in [0, 3 * DAY, -3 * DAY, 3650 * DAY, 0] {
        world.set(offset);
        let again = world.again(&row).await.unwrap();
        assert_eq!((again.call_id, again.status), (row.id, CallStatus::Succeeded), "clock {offset}");
    }
    // What the sweep removes, it removes by the same time.
    let now = world.executor.0.steady.now();
    assert_eq!(world.store.calls().sweep_expired(now).await.unwrap(), 0);
    // Another key is another call, and finds no tool.
    let other = CallRow { idempotency_key: Some("another".into()), ..row };
    assert!(matches!(world.again(&other).await, Err(CallError::UnknownTool { .. })));
}

#[tokio::test]
async fn the_log_verifies_whatever_the_clock_does() {
    let world = World::new().await;
    let row = world.row(1).await;
    for offset in [0, 2 * DAY, -2 * DAY, 0, 3650 * DAY, 1] {
        world.set(offset);
        world.record(&row, Action::CallIntent, Outcome::Intent).await;
        world.record(&row, Action::CallOutcome, Outcome::Ok).await;
        let verified = world.audit.verify().await.unwrap();
        assert!(verified.is_intact(), "clock {offset}: {:?}", verified.problems);
    }
}

/// A call may end between the moment when its row is read and the moment when it is asked whether it runs.
#[tokio::test]
async fn a_running_row_is_read_twice_before_it_counts_as_lost() {
    let world = World::new().await;
    let read_before = world.row(1).await;
    world.record(&read_before, Action::CallIntent, Outcome::Intent).await;
    world.finish(&read_before).await;
    assert_eq!(world.executor.look(read_before).await.unwrap().status, CallStatus::Succeeded);
    // One that is still said to run, and does not, is lost.
    let lost = world.row(2).await;
    assert_eq!(world.executor.look(lost).await.unwrap().status, CallStatus::UnknownOutcome);
}

/// The intent of a call was refused, and its row could not be taken back.
#[tokio::test]
async fn a_key_whose_call_never_ran_is_free_at_once() {
    let world = World::new().await;
    let never_ran = world.row(1).await;
    // It gets as far as any new call: there is no such tool here.
    assert!(matches!(world.again(&never_ran).await, Err(CallError::UnknownTool { .. })));
    assert_eq!(world.status(&never_ran).await, None);
    let cut_short = world.row(2).await;
    world.record(&cut_short, Action::CallIntent, Outcome::Intent).await;
    let again = world.again(&cut_short).await.unwrap();
    assert_eq!((again.call_id, again.status), (cut_short.id, CallStatus::UnknownOutcome));
    assert_eq!(world.status(&cut_short).await.as_deref(), Some("unknown_outcome"));
}

#[tokio::test]
async fn rows_are_settled_one_by_one() {
    let world = World::new().await;
    let rows = [world.row(1).await, world.row(2).await, world.row(3).await];
    for row in &rows {
        world.record(row, Action::CallIntent, Outcome::Intent).await;
    }
    // The first one that is looked at cannot be written.
    world
        .sql(
            "CREATE TRIGGER refuse BEFORE UPDATE ON calls WHEN OLD.idempotency_key = 'order-1' \
             BEGIN SELECT json('no JSON'); END",
        )
        .await;
    settle(&world.executor, Cause::Lost).await.unwrap_err();
    let mut status = Vec::new();
    for row in &rows {
        status.push(world.status(row).await.unwrap());
    }
    assert_eq!(status, ["running", "unknown_outcome", "unknown_outcome"]);
    world.sql("DROP TRIGGER refuse").await;
    settle(&world.executor, Cause::Lost).await.unwrap();
    assert_eq!(world.status(&rows[0]).await.as_deref(), Some("unknown_outcome"));
    // Its outcome was on record already, and is not written again.
    let outcomes = Query { action: Some(Action::CallOutcome), ..Query::default() };
    assert_eq!(world.audit.query(&outcomes).await.unwrap().entries.len(), 3);
}

/// What a call does last as it is ended: it records something.
struct LastWords(AuditLog, CallRow);

impl Drop for LastWords {
    fn drop(&mut self) {
        let record = Record::new(Action::EgressRequest, Outcome::failed("cut_short")).call(self.1.id);
        self.0.enqueue(record).unwrap();
    }
}

#[tokio::test]
async fn calls_are_ended_before_they_are_settled() {
    let world = World::new().await;
    let row = world.row(1).await;
    world.record(&row, Action::CallIntent, Outcome::Intent).await;
    let view = world.executor.look(row.clone()).await.unwrap();
    let flight = world.executor.0.flights.begin(CallView { status: CallStatus::Running, ..view });
    let last_words = LastWords(world.audit.clone(), row.clone());
    // A call like any other: its task is known, and it is in the air until its task has ended.
    world.executor.0.tasks.spawn(async move {
        let task = tokio::spawn(async move {
            let _last_words = last_words;
            std::future::pending::<()>().await;
        });
        flight.abortable(task.abort_handle());
        assert!(task.await.unwrap_err().is_cancelled());
        // Whoever settled it now would find it in the air, and leave it.
        tokio::time::sleep(Duration::from_millis(200)).await;
    });
    world.executor.drain(Duration::ZERO).await;
    assert_eq!(world.status(&row).await.as_deref(), Some("unknown_outcome"));
    let of_call = Query { call: Some(row.id), ..Query::default() };
    let entries = world.audit.query(&of_call).await.unwrap().entries;
    let actions: Vec<_> = entries.iter().map(|entry| entry.record["action"].as_str().unwrap().to_owned()).collect();
    assert_eq!(actions, ["call.intent", "egress.request", "call.outcome"]);
}
