//! The state machine of the gate under random interleavings: never two runs, never a run without a person's yes to exactly
//! its arguments.

use async_trait::async_trait;
use proptest::prelude::*;
use sophon_approval::{
    Answer, ApprovalConfig, Asked, CallRequest, Decision, Desk, DeskError, DeskParts, Gate, Policy, Question, Setting,
    Stale, Status, Stopped, Told, Untold, assess,
};
use sophon_audit::{
    Action, AuditConfig, AuditKeys, AuditLog, CallChange, CallState, Demand, Outcome, Record, Resume, Sink, SinkRecord,
};
use sophon_skill::{InstallTerms, InstalledSkill, Package, TrustStore, Unsigned};
use sophon_store::{ApprovalRow, CallRow, Store, StoreConfig};
use sophon_types::{
    ApprovalId, CallId, CanonicalJson, Clock, CorrelationId, Digest, Entropy, KeyId, Principal, Role, Timestamp,
};
use sophon_vault::{Kek, Vault};
use sqlx::Connection as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const NOON: i64 = 1_769_850_000_000_000;
const MINUTE: Duration = Duration::from_secs(60);

struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(NOON)
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

fn skill(version: &str) -> Arc<InstalledSkill> {
    let manifest = format!(
        r#"{{"name": "mailer", "version": "{version}", "author": "A", "license": "Apache-2.0", "description": "d",
            "category": "utility", "runtime": "python", "entrypoint": "main.py",
            "tools": [{{"name": "send", "description": "d", "riskLevel": "high", "editable": true, "parameters": {{"type": "object"}}}}]}}"#
    );
    let files = [
        ("manifest.json", manifest.into_bytes()),
        ("main.py", b"print(1)\n".to_vec()),
        ("README.md", b"A mailer.".to_vec()),
        ("LICENSE", b"Apache-2.0".to_vec()),
    ];
    let files: BTreeMap<_, _> = files.into_iter().map(|(name, content)| (name.to_owned(), content)).collect();
    let package = Package::read(sophon_skill::pack(&files).unwrap()).unwrap_or_else(|error| panic!("{error}"));
    let verified = sophon_skill::verify(package, None, &TrustStore::default(), Unsigned::DangerouslyAllow);
    let verified = Arc::new(verified.unwrap_or_else(|error| panic!("{error}")));
    let installed = verified.install(InstallTerms {
        tenant: "acme".parse().unwrap(),
        grants: vec![],
        streams: vec![],
        settings: BTreeMap::new(),
    });
    Arc::new(installed.unwrap_or_else(|error| panic!("{error}")))
}

/// A sink that has to take every record, and does or does not.
#[derive(Clone)]
struct Switch(Arc<AtomicBool>);

#[async_trait]
impl Sink for Switch {
    fn name(&self) -> &str {
        "switch"
    }

    async fn write(&self, _records: &[SinkRecord]) -> Result<(), String> {
        if self.0.load(Ordering::SeqCst) { Ok(()) } else { Err("it is off".into()) }
    }
}

pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) audit: AuditLog,
    vault: Vault,
    entropy: Arc<dyn Entropy>,
    policy: Arc<Policy>,
    pub(crate) gate: Gate,
    pub(crate) desk: Desk,
    skill: Arc<InstalledSkill>,
    pub(crate) now: Timestamp,
    folder: tempfile::TempDir,
    /// Whether a sink takes records, where one has to.
    sink: Option<Switch>,
}

/// A call that was asked about, and what is known of it.
pub(crate) struct Case {
    pub(crate) call: CallId,
    pub(crate) approval: ApprovalId,
    asked: CanonicalJson,
    /// What a person said yes to, where the desk took it.
    yes: Option<CanonicalJson>,
    /// Every answer that was ever given: an attacker keeps them.
    answers: Vec<Answer>,
    /// A no, an end, or a run.
    over: bool,
    runs: usize,
}

impl World {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let entropy: Arc<dyn Entropy> = Arc::new(Counting::default());
        let clock: Arc<dyn Clock> = Arc::new(Noon);
        let paths = StoreConfig { database: folder.path().join("sophon.db"), blobs: folder.path().join("blobs") };
        let store = Store::open(paths).await.unwrap();
        let keys = AuditKeys::new([1; 32], [2; 32]);
        let config = AuditConfig { writer: "host".into(), keys, checkpoint_every: 10_000 };
        let audit = AuditLog::open(config, store.clone(), Arc::clone(&clock)).await.unwrap();
        let kek = Kek::from_bytes([3; 32]);
        let vault = Vault::open(store.clone(), audit.clone(), kek, clock, Arc::clone(&entropy)).await.unwrap();
        let policy = Arc::new(Policy::new(ApprovalConfig::default()).unwrap());
        let gate = Gate::new(Arc::clone(&policy));
        let desk = open(&store, &audit, &vault, &entropy, &gate).await;
        let now = Timestamp::from_micros(NOON);
        Self { store, audit, vault, entropy, policy, gate, desk, skill: skill("1.0.0"), now, folder, sink: None }
    }

    /// One whose log has a sink that has to take every record.
    async fn with_sink() -> Self {
        let world = Self::new().await;
        let sink = Switch(Arc::new(AtomicBool::new(true)));
        world.audit.attach(vec![(Arc::new(sink.clone()), Demand::Required)]);
        Self { sink: Some(sink), ..world }
    }

    fn turn_sink(&self, on: bool) {
        if let Some(sink) = &self.sink {
            sink.0.store(on, Ordering::SeqCst);
        }
    }

    fn sink_is_off(&self) -> bool {
        self.sink.as_ref().is_some_and(|sink| !sink.0.load(Ordering::SeqCst))
    }

    async fn restart(&mut self) {
        self.desk = self.opened().await;
    }

    /// The desk as another start of the host finds it.
    pub(crate) async fn opened(&self) -> Desk {
        open(&self.store, &self.audit, &self.vault, &self.entropy, &self.gate).await
    }

    /// Runs SQL behind the host's back.
    pub(crate) async fn sql(&self, statement: &'static str) {
        let options = SqliteConnectOptions::new().filename(self.folder.path().join("sophon.db"));
        let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
        sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// From now on the log takes nothing.
    async fn break_log(&self) {
        self.sql("CREATE TRIGGER refuse BEFORE INSERT ON audit BEGIN SELECT json('no JSON'); END").await;
    }

    /// The log takes records again.
    pub(crate) async fn mend_log(&self) {
        self.sql("DROP TRIGGER refuse").await;
        let until = std::time::Instant::now() + MINUTE;
        while self.audit.append(Record::new(Action::GatewayStart, Outcome::Ok)).await.is_err() {
            assert!(std::time::Instant::now() < until, "the log does not recover");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What the rows of these cases say.
    async fn rows(&self, cases: &[Case]) -> Vec<Option<ApprovalRow>> {
        let mut rows = Vec::new();
        for case in cases {
            rows.push(self.store.approvals().get(case.approval).await.unwrap());
        }
        rows
    }

    pub(crate) fn assessed(&self, call: CallId, arguments: CanonicalJson) -> sophon_approval::AssessedCall {
        let request = CallRequest {
            principal: principal(Role::Agent, "ann", 1),
            call,
            correlation: CorrelationId::from_bytes([3; 16]),
            session: None,
            arguments,
        };
        assess(request, Arc::clone(&self.skill), 0, &self.policy).unwrap()
    }

    pub(crate) async fn ask(&self, arguments: CanonicalJson) -> Case {
        self.try_ask(arguments).await.unwrap()
    }

    async fn try_ask(&self, arguments: CanonicalJson) -> Result<Case, DeskError> {
        let call = CallId::mint(&*self.entropy);
        let stopped = self.gate.pass(self.assessed(call, arguments.clone()), Setting::default(), self.now);
        let Err(Stopped::Ask(needs)) = stopped else { panic!("it passed") };
        let expires = self.now.plus(self.policy.timeout());
        let question = Question::call(&needs.call, self.policy.version(), expires, &*self.entropy);
        let row = CallRow {
            id: call,
            tenant: "acme".parse().unwrap(),
            user: "ann".parse().unwrap(),
            key: KeyId::from_bytes([1; 16]),
            tool: "mailer.send".parse().unwrap(),
            correlation: CorrelationId::from_bytes([3; 16]),
            idempotency_key: None,
            request_digest: arguments.digest(),
            status: "awaiting_approval".into(),
            sealed_result: None,
            created_at: self.now,
            finished_at: None,
            expires_at: self.now.plus(MINUTE * 600),
        };
        let record = Record::new(Action::CallIntent, Outcome::Intent).call(call);
        let Asked::New(waiting) = self.desk.ask(question, Some(row), record, self.now).await? else {
            panic!("no twin")
        };
        Ok(Case { call, approval: waiting.id, asked: arguments, yes: None, answers: vec![], over: false, runs: 0 })
    }

    /// Tries the same while the log takes nothing: it is refused, and everything is as it was.
    async fn is_refused(&self, op: &Op, cases: &[Case]) {
        let before = (self.rows(cases).await, self.desk.unsettled().await.unwrap().len());
        let of = |case: &usize| cases.get(*case);
        match op {
            Op::Ask(n) => assert!(self.try_ask(arguments(*n)).await.is_err(), "it was asked"),
            Op::Approve { case, edited, by } => {
                if let Some(case) = of(case) {
                    let decision = Decision::Approve { edited: edited.map(arguments), seen: None };
                    let decided =
                        self.desk.decide(&people()[usize::from(*by)], case.approval, decision, self.now).await;
                    assert!(decided.is_err(), "it was approved");
                }
            }
            Op::Reject { case, by } => {
                if let Some(case) = of(case) {
                    let decision = Decision::Reject { reason: None };
                    let decided =
                        self.desk.decide(&people()[usize::from(*by)], case.approval, decision, self.now).await;
                    assert!(decided.is_err(), "it was rejected");
                }
            }
            Op::Run { case, arguments: with } => {
                for answer in of(case).into_iter().flat_map(|case| &case.answers) {
                    let again = self.assessed(cases[*case].call, arguments(*with));
                    let Ok(_approved) = self.gate.redeem(again, answer, self.now) else { continue };
                    let begins =
                        Resume { call: cases[*case].call, approval: answer.id(), status: "running", at: self.now };
                    let intent = Record::new(Action::CallIntent, Outcome::Intent).call(cases[*case].call);
                    assert!(self.audit.append_with(intent, CallChange::Resume(begins)).await.is_err(), "it ran");
                }
            }
            Op::Expire => {
                for id in self.desk.overdue(self.now) {
                    let ended = self.desk.end(id, Status::Expired, "timeout", self.now).await;
                    assert!(ended.is_err(), "it ended");
                }
            }
            Op::Wait(_) | Op::Restart | Op::Update | Op::Log(_) | Op::Sink(_) => {}
        }
        assert_eq!((self.rows(cases).await, self.desk.unsettled().await.unwrap().len()), before, "{op:?}");
    }

    async fn decide(&self, case: &mut Case, by: &Principal, decision: Decision) {
        let yes = match &decision {
            Decision::Approve { edited, .. } => Some(edited.clone().unwrap_or_else(|| case.asked.clone())),
            Decision::Reject { .. } => None,
        };
        match self.desk.decide(by, case.approval, decision, self.now).await {
            Ok(Some(Told::Approved(answer))) => {
                assert!(!case.over && case.yes.is_none(), "decided twice");
                assert_ne!(by.role, Role::Agent);
                case.yes = yes;
                case.answers.push(*answer);
            }
            Ok(Some(Told::Over(status))) => {
                assert!(status == Status::Rejected && !case.over && case.yes.is_none());
                case.over = true;
            }
            Ok(None) => panic!("one person is enough here"),
            Err(DeskError::Decided(_) | DeskError::Expired) => {}
            Err(DeskError::NotAPerson) => assert_eq!(by.role, Role::Agent),
            Err(DeskError::Unknown) => assert_ne!(by.user.as_str(), "ann"),
            // A no that the sink refused ends the question all the same; a yes is none.
            Err(DeskError::Audit(_)) if self.sink_is_off() => self.look(case).await,
            Err(error) => panic!("{error}"),
        }
    }

    /// What became of a question while the sink took nothing: it may be over, and is not approved.
    async fn look(&self, case: &mut Case) {
        let row = self.store.approvals().get(case.approval).await.unwrap().unwrap();
        let is_over = matches!(row.status.as_str(), "rejected" | "expired" | "cancelled");
        assert!(is_over || row.status == "pending" || case.yes.is_some(), "a yes that was refused: {row:?}");
        self.desk.untold(case.approval, Untold::Over).await.unwrap();
        case.over |= is_over;
    }

    async fn expire(&self, cases: &mut [Case]) {
        for id in self.desk.overdue(self.now) {
            let case = cases.iter_mut().find(|case| case.approval == id).unwrap();
            match self.desk.end(id, Status::Expired, "timeout", self.now).await {
                Ok(_card) => case.over = true,
                Err(_refused) if self.sink_is_off() => self.look(case).await,
                Err(_decided) => {}
            }
        }
    }

    /// Tries to run the call with every answer that there is, and with what the row says, as the host does it.
    async fn run(&self, case: &mut Case, arguments: &CanonicalJson) {
        let mut answers = case.answers.clone();
        if let Some(row) = self.store.approvals().get(case.approval).await.unwrap()
            && let Ok(answer) = self.desk.answer(row)
        {
            answers.push(answer);
        }
        for answer in answers {
            let again = self.assessed(case.call, arguments.clone());
            let Ok(approved) = self.gate.redeem(again, &answer, self.now) else { continue };
            assert_eq!(Some(&approved.request().arguments), case.yes.as_ref(), "other arguments than were approved");
            let begins = Resume { call: case.call, approval: answer.id(), status: "running", at: self.now };
            let intent = Record::new(Action::CallIntent, Outcome::Intent).call(case.call);
            let receipt = match self.audit.append_with(intent, CallChange::Resume(begins)).await {
                Ok(receipt) => receipt,
                // It did not begin, and the approval is used up.
                Err(_refused) if self.sink_is_off() => {
                    self.desk.begun(answer.id());
                    case.over = true;
                    continue;
                }
                Err(error) => panic!("{error}"),
            };
            if receipt.row() == CallState::Changed {
                assert!(!case.over, "it was over");
                case.runs += 1;
                self.desk.begun(answer.id());
            }
        }
        assert!(case.runs <= 1, "it ran twice");
        case.over |= case.runs > 0;
    }
}

async fn open(store: &Store, audit: &AuditLog, vault: &Vault, entropy: &Arc<dyn Entropy>, gate: &Gate) -> Desk {
    let parts = DeskParts {
        store: store.clone(),
        audit: audit.clone(),
        vault: vault.clone(),
        entropy: Arc::clone(entropy),
        gate: gate.clone(),
    };
    Desk::open(parts).await.unwrap()
}

pub(crate) fn principal(role: Role, user: &str, key: u8) -> Principal {
    Principal { tenant: "acme".parse().unwrap(), user: user.parse().unwrap(), key: KeyId::from_bytes([key; 16]), role }
}

/// Who decides, or tries to.
pub(crate) fn people() -> [Principal; 4] {
    [
        principal(Role::Approver, "ann", 2),
        principal(Role::Admin, "root", 3),
        principal(Role::Approver, "bob", 4),
        principal(Role::Agent, "ann", 1),
    ]
}

pub(crate) fn arguments(n: u8) -> CanonicalJson {
    CanonicalJson::of(serde_json::json!({ "n": n })).unwrap()
}

#[derive(Debug, Clone)]
pub(crate) enum Op {
    Ask(u8),
    Approve {
        case: usize,
        edited: Option<u8>,
        by: u8,
    },
    Reject {
        case: usize,
        by: u8,
    },
    Run {
        case: usize,
        arguments: u8,
    },
    Wait(u8),
    Expire,
    Restart,
    Update,
    /// Whether the log takes records from now on.
    Log(bool),
    /// Whether the sink does.
    Sink(bool),
}

pub(crate) fn op() -> impl Strategy<Value = Op> {
    let case = 0..4_usize;
    let approve = (case.clone(), proptest::option::of(0..3_u8), 0..4_u8);
    prop_oneof![
        3 => (0..3_u8).prop_map(Op::Ask),
        4 => approve.prop_map(|(case, edited, by)| Op::Approve { case, edited, by }),
        1 => (case.clone(), 0..4_u8).prop_map(|(case, by)| Op::Reject { case, by }),
        5 => (case, 0..3_u8).prop_map(|(case, arguments)| Op::Run { case, arguments }),
        1 => (1..4_u8).prop_map(Op::Wait),
        2 => Just(Op::Expire),
        2 => Just(Op::Restart),
        1 => Just(Op::Update),
    ]
}

async fn play(mut world: World, ops: Vec<Op>) {
    let people = people();
    let (mut cases, mut updated) = (Vec::<Case>::new(), None);
    let mut written = true;
    for op in ops {
        if !written {
            world.is_refused(&op, &cases).await;
        }
        match op {
            Op::Log(takes) if takes == written => {}
            Op::Log(takes) => {
                if takes {
                    world.mend_log().await;
                } else {
                    world.break_log().await;
                }
                written = takes;
            }
            Op::Ask(_) | Op::Approve { .. } | Op::Reject { .. } | Op::Run { .. } | Op::Expire if !written => {}
            Op::Ask(n) if world.sink_is_off() => assert!(world.try_ask(arguments(n)).await.is_err(), "it was asked"),
            Op::Ask(n) if cases.len() < 4 => cases.push(world.ask(arguments(n)).await),
            Op::Ask(_) => {}
            Op::Approve { case, edited, by } => {
                if let Some(case) = cases.get_mut(case) {
                    let decision = Decision::Approve { edited: edited.map(arguments), seen: None };
                    world.decide(case, &people[usize::from(by)], decision).await;
                }
            }
            Op::Reject { case, by } => {
                if let Some(case) = cases.get_mut(case) {
                    world.decide(case, &people[usize::from(by)], Decision::Reject { reason: None }).await;
                }
            }
            Op::Run { case: n, arguments: with } => {
                if let Some(case) = cases.get_mut(n) {
                    let before = case.runs;
                    world.run(case, &arguments(with)).await;
                    // Those that were asked about before the update are about another package.
                    assert!(
                        updated.is_none_or(|first| n >= first) || case.runs == before,
                        "an answer about another package"
                    );
                }
            }
            Op::Wait(minutes) => world.now = world.now.plus(MINUTE * u32::from(minutes)),
            Op::Expire => world.expire(&mut cases).await,
            Op::Restart => world.restart().await,
            Op::Update if updated.is_none() => {
                world.skill = skill("1.0.1");
                updated = Some(cases.len());
            }
            Op::Update => {}
            Op::Sink(on) => world.turn_sink(on),
        }
    }
    if !written {
        world.mend_log().await;
    }
    world.turn_sink(true);
    // Whatever is left ends with time.
    world.now = world.now.plus(MINUTE * 30);
    world.expire(&mut cases).await;
    for case in &mut cases {
        let asked = case.asked.clone();
        world.run(case, &asked).await;
        assert!(case.over, "{:?} is still open", case.approval);
    }
    assert!(world.audit.verify().await.unwrap().is_intact());
    world.audit.close().await.unwrap();
    world.store.close().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn attack_41_never_two_runs_and_never_one_without_a_yes(ops in proptest::collection::vec(op(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { play(World::new().await, ops).await });
    }
}

/// The same, and now and then the log takes nothing for a while.
fn op_and_log() -> impl Strategy<Value = Op> {
    prop_oneof![6 => op(), 1 => any::<bool>().prop_map(Op::Log)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn attack_42_what_cannot_be_recorded_is_neither_asked_nor_decided_nor_run(
        ops in proptest::collection::vec(op_and_log(), 10..50),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { play(World::new().await, ops).await });
    }
}

/// The same, and now and then a sink that has to take every record takes none.
fn op_and_sink() -> impl Strategy<Value = Op> {
    prop_oneof![4 => op(), 1 => any::<bool>().prop_map(Op::Sink)]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn attack_42_a_yes_that_a_required_sink_refused_never_runs(
        ops in proptest::collection::vec(op_and_sink(), 10..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async { play(World::with_sink().await, ops).await });
    }
}

/// A row that somebody else wrote into the database is not a person's yes.
#[tokio::test]
async fn attack_41_a_forged_row_is_not_believed() {
    let world = World::new().await;
    let case = world.ask(arguments(1)).await;
    let other = world.ask(arguments(2)).await;
    let by = principal(Role::Admin, "root", 3);
    world.desk.decide(&by, other.approval, Decision::Approve { edited: None, seen: None }, world.now).await.unwrap();
    let approved = world.store.approvals().get(other.approval).await.unwrap().unwrap();
    let pending = world.store.approvals().get(case.approval).await.unwrap().unwrap();
    world.desk.answer(approved.clone()).unwrap();
    // The status alone; the decision of another question; a question with another's text; a flipped bit.
    let forged = ApprovalRow { status: "approved".into(), ..pending.clone() };
    world.desk.answer(forged.clone()).unwrap_err();
    world.desk.answer(ApprovalRow { decision: approved.decision.clone(), ..forged }).unwrap_err();
    world.desk.answer(ApprovalRow { request: pending.request, ..approved.clone() }).unwrap_err();
    let mut flipped = approved;
    flipped.request[20] ^= 1;
    world.desk.answer(flipped).unwrap_err();
}

/// Whoever asked was ended between writing the question and waiting for its answer.
#[tokio::test]
async fn a_question_that_is_not_on_the_desk_is_lost() {
    let world = World::new().await;
    let case = world.ask(arguments(1)).await;
    assert_eq!(world.desk.lost().await.unwrap(), []);
    world.desk.begun(case.approval);
    assert_eq!(world.desk.lost().await.unwrap(), [case.approval]);
    world.desk.end(case.approval, Status::Cancelled, "lost", world.now).await.unwrap();
    assert_eq!(world.desk.lost().await.unwrap(), []);
    let by = principal(Role::Admin, "root", 3);
    let late = world.desk.decide(&by, case.approval, Decision::Approve { edited: None, seen: None }, world.now).await;
    assert!(matches!(late, Err(DeskError::Decided(Status::Cancelled))), "{late:?}");
}

/// A call is judged by the policy that it was assessed by, and an answer is good under the policy that it was asked under.
#[tokio::test]
async fn attack_41_a_policy_that_changes_meanwhile_lets_nothing_pass_that_neither_would() {
    let world = World::new().await;
    let (asked, given) = (world.ask(arguments(1)).await, world.ask(arguments(2)).await);
    let by = principal(Role::Admin, "root", 3);
    let yes = || Decision::Approve { edited: None, seen: None };
    let told = world.desk.decide(&by, given.approval, yes(), world.now).await.unwrap();
    let Some(Told::Approved(answer)) = told else { panic!("{told:?}") };
    let before = world.assessed(given.call, arguments(2));
    let config = ApprovalConfig { two_people_for_critical: true, ..ApprovalConfig::default() };
    world.gate.follow(Arc::new(Policy::new(config).unwrap()));
    // Under the old policy from beginning to end.
    world.gate.redeem(before, &answer, world.now).unwrap();
    // Assessed by the new one, the answer is to another question.
    let request = world.assessed(given.call, arguments(2)).request().clone();
    let after = assess(request, Arc::clone(&world.skill), 0, &world.gate.policy()).unwrap();
    assert!(matches!(world.gate.redeem(after, &answer, world.now), Err(Stale::Policy)));
    let late = world.desk.decide(&by, asked.approval, yes(), world.now).await;
    assert!(matches!(late, Err(DeskError::Superseded(Stale::Policy))), "{late:?}");
    // A no is a no under any policy.
    world.desk.decide(&by, asked.approval, Decision::Reject { reason: None }, world.now).await.unwrap();
}
