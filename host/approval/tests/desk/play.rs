//! The state machine of the gate under random interleavings: never two runs, never a run without a person's yes to exactly
//! its arguments.

use proptest::prelude::*;
use sophon_approval::{
    Answer, ApprovalConfig, Asked, CallRequest, Decision, Desk, DeskError, DeskParts, Gate, Policy, Question, Setting,
    Status, Stopped, Told, assess,
};
use sophon_audit::{Action, AuditConfig, AuditKeys, AuditLog, CallChange, CallState, Outcome, Record, Resume};
use sophon_skill::{InstallTerms, InstalledSkill, Package, TrustStore, Unsigned};
use sophon_store::{ApprovalRow, CallRow, Store, StoreConfig};
use sophon_types::{
    ApprovalId, CallId, CanonicalJson, Clock, CorrelationId, Digest, Entropy, KeyId, Principal, Role, Timestamp,
};
use sophon_vault::{Kek, Vault};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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

struct World {
    store: Store,
    audit: AuditLog,
    vault: Vault,
    entropy: Arc<dyn Entropy>,
    policy: Arc<Policy>,
    gate: Gate,
    desk: Desk,
    skill: Arc<InstalledSkill>,
    now: Timestamp,
    _folder: tempfile::TempDir,
}

/// A call that was asked about, and what is known of it.
struct Case {
    call: CallId,
    approval: ApprovalId,
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
    async fn new() -> Self {
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
        let desk = open(&store, &audit, &vault, &entropy, &policy).await;
        let gate = Gate::new(Arc::clone(&policy));
        let now = Timestamp::from_micros(NOON);
        Self { store, audit, vault, entropy, policy, gate, desk, skill: skill("1.0.0"), now, _folder: folder }
    }

    async fn restart(&mut self) {
        self.desk = open(&self.store, &self.audit, &self.vault, &self.entropy, &self.policy).await;
    }

    fn assessed(&self, call: CallId, arguments: CanonicalJson) -> sophon_approval::AssessedCall {
        let request = CallRequest {
            principal: principal(Role::Agent, "ann", 1),
            call,
            correlation: CorrelationId::from_bytes([3; 16]),
            session: None,
            arguments,
        };
        assess(request, Arc::clone(&self.skill), 0, &self.policy).unwrap()
    }

    async fn ask(&self, arguments: CanonicalJson) -> Case {
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
        let Asked::New(waiting) = self.desk.ask(question, Some(row), record, self.now).await.unwrap() else {
            panic!("no twin")
        };
        Case { call, approval: waiting.id, asked: arguments, yes: None, answers: vec![], over: false, runs: 0 }
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
            Err(error) => panic!("{error}"),
        }
    }

    async fn expire(&self, cases: &mut [Case]) {
        for id in self.desk.overdue(self.now) {
            if self.desk.end(id, Status::Expired, "timeout", self.now).await.is_ok() {
                let case = cases.iter_mut().find(|case| case.approval == id).unwrap();
                case.over = true;
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
            let receipt = self.audit.append_with(intent, CallChange::Resume(begins)).await.unwrap();
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

async fn open(
    store: &Store,
    audit: &AuditLog,
    vault: &Vault,
    entropy: &Arc<dyn Entropy>,
    policy: &Arc<Policy>,
) -> Desk {
    let parts = DeskParts {
        store: store.clone(),
        audit: audit.clone(),
        vault: vault.clone(),
        entropy: Arc::clone(entropy),
        policy: Arc::clone(policy),
    };
    Desk::open(parts).await.unwrap()
}

fn principal(role: Role, user: &str, key: u8) -> Principal {
    Principal { tenant: "acme".parse().unwrap(), user: user.parse().unwrap(), key: KeyId::from_bytes([key; 16]), role }
}

fn arguments(n: u8) -> CanonicalJson {
    CanonicalJson::of(serde_json::json!({ "n": n })).unwrap()
}

#[derive(Debug, Clone)]
enum Op {
    Ask(u8),
    Approve { case: usize, edited: Option<u8>, by: u8 },
    Reject { case: usize, by: u8 },
    Run { case: usize, arguments: u8 },
    Wait(u8),
    Expire,
    Restart,
    Update,
}

fn op() -> impl Strategy<Value = Op> {
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

async fn play(ops: Vec<Op>) {
    let people = [
        principal(Role::Approver, "ann", 2),
        principal(Role::Admin, "root", 3),
        principal(Role::Approver, "bob", 4),
        principal(Role::Agent, "ann", 1),
    ];
    let (mut world, mut cases, mut updated) = (World::new().await, Vec::<Case>::new(), None);
    for op in ops {
        match op {
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
        }
    }
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
        runtime.block_on(play(ops));
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
