//! The effect gate: every request of a running skill is measured against what was approved for the call. One that goes
//! beyond it waits, with the whole call, for a person.

use crate::api::{ApprovalRef, CallStatus};
use crate::events::Owner;
use crate::flight::Flight;
use crate::run::Run;
use crate::{CallError, Executor};
use async_trait::async_trait;
use parking_lot::Mutex;
use sophon_approval::{ApprovedCall, Asked, DeskError, EffectAsked, Question, Status, Subject, Told};
use sophon_audit::{Action, Outcome, Record};
use sophon_egress::{Deadline, EffectDenied, EffectGate, EffectRequest};
use sophon_sandbox::tenant_share;
use sophon_types::{ApprovalId, Fault as _, Risk, TenantId, UserId};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How long after its end a question is still waited for.
const GRACE: Duration = Duration::from_secs(2);

/// Plugged into egress for one call.
pub(crate) struct CallGate {
    executor: Executor,
    /// A record with the call's identity, to be completed for each effect.
    record: Record,
    call: Subject,
    /// What was approved.
    approved: Risk,
    /// The highest risk of a request that needs no question.
    effects: Risk,
    deadline: Arc<Deadline>,
    owner: Owner,
    flight: Arc<Flight>,
    asked: AtomicU32,
}

/// Takes a question back when the call that asked it is dropped.
struct Asking {
    executor: Executor,
    flight: Arc<Flight>,
    id: Option<ApprovalId>,
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.flight.stands(CallStatus::Running, None);
        let Some(id) = self.id else { return };
        let executor = self.executor.clone();
        tokio::spawn(async move { executor.cancel_question(id, "the call ended").await });
    }
}

/// Room for running calls that wait for a person. No user has more than half of it, and no tenant has all.
#[derive(Default)]
pub(crate) struct Parking {
    taken: Mutex<HashMap<(TenantId, UserId), usize>>,
}

/// Room that one waiting call takes.
struct Room<'p> {
    parking: &'p Parking,
    who: (TenantId, UserId),
}

impl Parking {
    /// Room for one of `most`.
    fn take(&self, most: usize, tenant: &TenantId, user: &UserId) -> Option<Room<'_>> {
        let who = (tenant.clone(), user.clone());
        let mut taken = self.taken.lock();
        let (mut all, mut of_tenant) = (0, 0);
        for ((other, _), count) in taken.iter() {
            all += count;
            of_tenant += if other == tenant { *count } else { 0 };
        }
        let own = taken.get(&who).copied().unwrap_or_default();
        if all >= most || of_tenant >= tenant_share(most) || own >= most.div_ceil(2) {
            return None;
        }
        *taken.entry(who.clone()).or_default() += 1;
        Some(Room { parking: self, who })
    }
}

impl Drop for Room<'_> {
    fn drop(&mut self) {
        let mut taken = self.parking.taken.lock();
        if let Some(count) = taken.get_mut(&self.who) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.who);
            }
        }
    }
}

impl CallGate {
    pub(crate) fn new(run: &Run, approved: &ApprovedCall, deadline: Arc<Deadline>) -> Self {
        Self {
            executor: run.executor.clone(),
            record: run.record.clone(),
            call: approved.subject(),
            approved: approved.risk(),
            effects: approved.effects(),
            deadline,
            owner: run.owner.clone(),
            flight: Arc::clone(&run.flight),
            asked: AtomicU32::new(0),
        }
    }

    /// Waits for a person; the call's time does not run meanwhile.
    async fn ask(&self, effect: &EffectRequest) -> Result<(), EffectDenied> {
        let inner = &self.executor.0;
        let (policy, entropy) = (inner.gate.policy(), &*inner.parts.entropy);
        let most = policy.config().max_asks_per_call;
        if self.asked.fetch_add(1, Ordering::Relaxed) >= most {
            return Err(self.denied(effect, "too_many_questions", &format!("one call may ask {most} times")));
        }
        if inner.draining.load(Ordering::SeqCst) {
            return Err(self.denied(effect, "approval_cancelled", "the host stops"));
        }
        let room = policy.config().max_parked.get() as usize;
        let Some(_room) = inner.parked.take(room, &self.owner.tenant, &self.owner.user) else {
            return Err(self.denied(effect, "too_many_parked", "too many running calls wait for a person already"));
        };
        let _pause = self.deadline.pause();
        let asked = EffectAsked {
            method: effect.method.clone(),
            url: effect.url.clone(),
            credential: effect.credential.as_ref().map(ToString::to_string),
            body_bytes: effect.body_bytes,
        };
        let now = inner.steady.now();
        let bound = (policy.version(), now.plus(policy.timeout()));
        let question = Question::effect(&self.call, asked, effect.risk, bound, entropy);
        let mut waiting = match inner.desk.ask(question.clone(), None, self.record.clone(), now).await {
            Ok(Asked::New(waiting)) => waiting,
            Ok(Asked::Twin(_)) => return Err(self.denied(effect, "internal", "the question could not be asked")),
            Err(error) => return Err(self.refused(effect, &error)),
        };
        let approval = ApprovalRef { id: waiting.id, expires_at: waiting.expires_at };
        let mut asking =
            Asking { executor: self.executor.clone(), flight: Arc::clone(&self.flight), id: Some(waiting.id) };
        self.flight.stands(CallStatus::Parked, Some(approval));
        self.executor.announce_question(approval, &question);
        // Where the log cannot take the end of the question, the call does not wait on for it.
        let told = tokio::time::timeout(policy.timeout() + GRACE, waiting.answer()).await;
        let told = told.unwrap_or(Some(Told::Over(Status::Expired)));
        asking.id = None;
        match told {
            Some(Told::Approved(answer)) => {
                let started = inner.desk.start(&answer, inner.steady.now()).await;
                started.map_err(|error| self.refused(effect, &error))
            }
            Some(Told::Over(status)) => {
                let (code, why) = match status {
                    Status::Rejected => ("approval_rejected", "a person said no"),
                    Status::Expired => ("approval_expired", "nobody decided in time"),
                    _ => ("approval_cancelled", "the host stops, or the question was taken back"),
                };
                Err(self.denied(effect, code, why))
            }
            None => Err(self.denied(effect, "approval_cancelled", "the host stops")),
        }
    }

    fn denied(&self, effect: &EffectRequest, code: &'static str, why: &str) -> EffectDenied {
        EffectDenied {
            code,
            message: format!(
                "{} is of risk {}, the call was approved for {}, so a person had to approve it: {why}",
                effect.method, effect.risk, self.approved
            ),
            hint: Some(
                "declare the tool's riskLevel (or its effects) so that the call is assessed as what it does".into(),
            ),
        }
    }

    fn refused(&self, effect: &EffectRequest, error: &DeskError) -> EffectDenied {
        tracing::warn!(%error, "a person could not be asked about a request");
        self.denied(effect, error.code(), "the question could not be put to a person, or its answer not be used")
    }
}

#[async_trait]
impl EffectGate for CallGate {
    async fn permit(&self, effect: &EffectRequest) -> Result<(), EffectDenied> {
        if effect.risk > self.effects {
            self.ask(effect).await?;
        }
        if effect.risk < Risk::Medium {
            return Ok(());
        }
        let audit = &self.executor.0.parts.audit;
        // A write waits for its own record: what happened must be known even if the host dies while it is on its way.
        let record = self
            .record
            .clone()
            .then(Action::EgressRequest, Outcome::Intent)
            .risk(effect.risk)
            .detail("method", effect.method.as_str())
            .detail("url", audit.redactor().text(&effect.url).value().clone())
            .detail("credential", effect.credential.as_ref().map(ToString::to_string));
        match audit.append(record).await {
            Ok(_receipt) => Ok(()),
            Err(error) => {
                tracing::error!(%error, "the audit log refused a write-type request");
                Err(EffectDenied {
                    code: "audit_unavailable",
                    message: "the request could not be recorded, so it was not sent".into(),
                    hint: None,
                })
            }
        }
    }
}

impl Executor {
    /// Takes a question back that nobody waits for any more.
    pub(crate) async fn cancel_question(&self, id: ApprovalId, why: &str) {
        let inner = &self.0;
        match inner.desk.end(id, Status::Cancelled, why, inner.steady.now()).await {
            Ok(card) => self.announce_decision(&card.question, id, Status::Cancelled, None),
            Err(DeskError::Decided(_)) => {}
            Err(error) => tracing::warn!(%error, approval = %id, "a question could not be taken back"),
        }
    }

    /// Answers every question about a request of a running call with no.
    pub(crate) async fn deny_effects(&self, why: &str) {
        let rows = match self.0.desk.unsettled().await {
            Ok(rows) => rows,
            Err(error) => {
                let error = CallError::from(error);
                tracing::error!(%error, "the questions of running calls cannot be read");
                return;
            }
        };
        for row in rows {
            let of_step = || self.0.desk.question(row.clone()).is_ok_and(|question| question.plan_of_step().is_some());
            if row.kind == sophon_approval::Kind::Effect.as_str() || of_step() {
                self.end_question(row.id, Status::Cancelled, why).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_user_and_no_tenant_has_all_the_room_to_wait_in() {
        let parking = Parking::default();
        let take = |tenant: &str, user: &str| parking.take(16, &tenant.parse().unwrap(), &user.parse().unwrap());
        let ann: Vec<_> = std::iter::repeat_with(|| take("acme", "ann")).map_while(|room| room).collect();
        assert_eq!(ann.len(), 8);
        let bob: Vec<_> = std::iter::repeat_with(|| take("acme", "bob")).map_while(|room| room).collect();
        assert_eq!(bob.len(), tenant_share(16) - 8);
        let rival: Vec<_> = std::iter::repeat_with(|| take("rival", "eve")).map_while(|room| room).collect();
        assert_eq!(rival.len(), 16 - tenant_share(16));
        drop(ann);
        assert!(take("rival", "eve").is_some());
        drop((bob, rival));
        assert!(parking.taken.lock().is_empty());
    }
}
