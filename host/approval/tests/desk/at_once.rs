//! Several tasks at the same time on one store: people who decide, time that runs out, calls that begin, and starts of the host
//! whose predecessors have not quite ended. Never two runs, never a run without a yes to exactly its arguments, and never
//! two answers to one question.

use crate::play::{Case, Op, World, arguments, op, people};
use proptest::prelude::*;
use sophon_approval::{Decision, Desk, DeskError, Status, Told};
use sophon_audit::{Action, CallChange, CallState, Outcome, Record, Resume};
use sophon_types::{ApprovalId, CanonicalJson, Timestamp};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

const MINUTE: i64 = 60_000_000;

/// What took effect on a question.
#[derive(Debug, Clone, PartialEq)]
enum Effect {
    Approved(CanonicalJson),
    Rejected,
    Ended,
    Ran(CanonicalJson),
}

struct Floor {
    world: World,
    /// The desk of the latest start.
    desk: Mutex<Desk>,
    now: AtomicI64,
    cases: Vec<Case>,
    effects: Mutex<Vec<(ApprovalId, Effect)>>,
}

impl Floor {
    async fn new() -> Self {
        let world = World::new().await;
        let cases = vec![world.ask(arguments(0)).await, world.ask(arguments(1)).await];
        let (desk, now) = (Mutex::new(world.desk.clone()), AtomicI64::new(world.now.as_micros()));
        Self { world, desk, now, cases, effects: Mutex::default() }
    }

    fn desk(&self) -> Desk {
        self.desk.lock().unwrap().clone()
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.now.load(Ordering::SeqCst))
    }

    fn note(&self, id: ApprovalId, effect: Effect) {
        self.effects.lock().unwrap().push((id, effect));
    }

    async fn act(&self, op: Op) {
        match op {
            Op::Approve { case, edited, by } => {
                let decision = Decision::Approve { edited: edited.map(arguments), seen: None };
                self.decide(case, by, decision).await;
            }
            Op::Reject { case, by } => self.decide(case, by, Decision::Reject { reason: None }).await,
            Op::Run { case, arguments: with } => {
                if let Some(case) = self.cases.get(case) {
                    self.run(case, arguments(with)).await;
                }
            }
            Op::Wait(minutes) => {
                self.now.fetch_add(i64::from(minutes) * MINUTE, Ordering::SeqCst);
            }
            Op::Expire => {
                let (desk, now) = (self.desk(), self.now());
                for id in desk.overdue(now) {
                    if desk.end(id, Status::Expired, "timeout", now).await.is_ok() {
                        self.note(id, Effect::Ended);
                    }
                }
            }
            Op::Restart => {
                let desk = self.world.opened().await;
                *self.desk.lock().unwrap() = desk;
            }
            Op::Ask(_) | Op::Update | Op::Log(_) | Op::Sink(_) => {}
        }
    }

    async fn decide(&self, case: usize, by: u8, decision: Decision) {
        let Some(case) = self.cases.get(case) else { return };
        let by = &people()[usize::from(by)];
        match self.desk().decide(by, case.approval, decision, self.now()).await {
            Ok(Some(Told::Approved(answer))) => {
                let yes = CanonicalJson::parse(answer.arguments().as_bytes()).unwrap();
                self.note(case.approval, Effect::Approved(yes));
            }
            Ok(Some(Told::Over(_))) => self.note(case.approval, Effect::Rejected),
            Ok(None) => panic!("one person is enough here"),
            Err(DeskError::Decided(_) | DeskError::Expired | DeskError::NotAPerson | DeskError::Unknown) => {}
            Err(error) => panic!("{error}"),
        }
    }

    /// As the host begins a call that was approved.
    async fn run(&self, case: &Case, with: CanonicalJson) {
        let (desk, now) = (self.desk(), self.now());
        let Some(row) = self.world.store.approvals().get(case.approval).await.unwrap() else { return };
        let Ok(answer) = desk.answer(row) else { return };
        let again = self.world.assessed(case.call, with.clone());
        if self.world.gate.redeem(again, &answer, now).is_err() {
            return;
        }
        let begins = Resume { call: case.call, approval: answer.id(), status: "running", at: now };
        let intent = Record::new(Action::CallIntent, Outcome::Intent).call(case.call);
        let receipt = self.world.audit.append_with(intent, CallChange::Resume(begins)).await.unwrap();
        if receipt.row() == CallState::Changed {
            self.note(case.approval, Effect::Ran(with));
            desk.begun(answer.id());
        }
    }
}

async fn play(tasks: Vec<Vec<Op>>) {
    let floor = Arc::new(Floor::new().await);
    let running: Vec<_> = tasks
        .into_iter()
        .map(|ops| {
            let floor = Arc::clone(&floor);
            tokio::spawn(async move {
                for op in ops {
                    floor.act(op).await;
                }
            })
        })
        .collect();
    for task in running {
        task.await.unwrap();
    }
    let effects = floor.effects.lock().unwrap().clone();
    for case in &floor.cases {
        let of: Vec<_> = effects.iter().filter(|(id, _)| *id == case.approval).map(|(_, effect)| effect).collect();
        let count = |is: fn(&Effect) -> bool| of.iter().filter(|effect| is(effect)).count();
        let yes = of.iter().find_map(|effect| if let Effect::Approved(yes) = effect { Some(yes) } else { None });
        let ran = of.iter().find_map(|effect| if let Effect::Ran(with) = effect { Some(with) } else { None });
        let (rejected, ended) = (count(|e| *e == Effect::Rejected), count(|e| *e == Effect::Ended));
        let runs = count(|e| matches!(e, Effect::Ran(_)));
        assert!(count(|e| matches!(e, Effect::Approved(_))) + rejected <= 1, "two answers: {of:?}");
        assert!(runs + rejected + ended <= 1, "two ends: {of:?}");
        assert!(ran.is_none() || ran == yes, "a run without a yes to its arguments: {of:?}");
    }
    assert!(floor.world.audit.verify().await.unwrap().is_intact());
    floor.world.audit.close().await.unwrap();
    floor.world.store.close().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn attack_41_at_the_same_time_never_two_runs_and_never_one_without_a_yes(
        tasks in proptest::collection::vec(proptest::collection::vec(op(), 2..12), 2..6),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
        runtime.block_on(play(tasks));
    }
}
