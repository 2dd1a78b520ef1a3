//! How plans end where the log or the store gets in the way. Over real parts.

use super::{Going, OnFailure, PURPOSE, Plan};
use crate::CallStatus;
use crate::tests::World;
use async_trait::async_trait;
use sophon_audit::{Action, Demand, Query, Sink, SinkRecord};
use sophon_store::PlanRow;
use sophon_types::{CorrelationId, Digest, KeyId, PlanId, Principal, Role, Timestamp};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

/// A sink that takes records or not.
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

impl World {
    /// A plan that is on record as in this state.
    async fn plan(&self, n: u8, status: CallStatus) -> Going {
        let plan = Plan { steps: Vec::new(), on_failure: OnFailure::Stop, session: None, role: Role::Agent };
        let principal = Principal {
            tenant: "default".parse().unwrap(),
            user: "ann".parse().unwrap(),
            key: KeyId::from_bytes([9; 16]),
            role: Role::Agent,
        };
        let going =
            Going { id: PlanId::from_bytes([n; 16]), principal, correlation: CorrelationId::from_bytes([n; 16]), plan };
        let sealed = serde_json::to_vec(&going.plan).unwrap();
        let at = Timestamp::from_micros(crate::tests::START);
        let row = PlanRow {
            id: going.id,
            tenant: going.principal.tenant.clone(),
            user: going.principal.user.clone(),
            key: going.principal.key,
            correlation: going.correlation,
            idempotency_key: None,
            request_digest: Digest::of(&[n]),
            status: status.as_str().into(),
            body: self.executor.0.parts.vault.seal(PURPOSE, going.id.as_bytes(), &sealed).unwrap(),
            created_at: at,
            finished_at: None,
            expires_at: at.plus(crate::call::KEPT),
        };
        self.store.plans().begin(row, 20, at).await.unwrap();
        going
    }

    async fn plans_status(&self, plan: &Going) -> String {
        self.store.plans().get(plan.id).await.unwrap().unwrap().status
    }

    async fn plan_outcomes(&self) -> Vec<serde_json::Value> {
        let outcomes = Query { action: Some(Action::PlanOutcome), ..Query::default() };
        self.audit.query(&outcomes).await.unwrap().entries.into_iter().map(|entry| entry.record).collect()
    }
}

#[tokio::test]
async fn attack_42_a_plan_ends_durably_whatever_a_required_sink_takes() {
    let (world, works) = (World::new().await, Arc::new(AtomicBool::new(false)));
    world.audit.attach(vec![(Arc::new(Switch(Arc::clone(&works))), Demand::Required)]);
    let going = world.plan(1, CallStatus::Running).await;
    world.executor.end_plan(&going, CallStatus::Failed, Some("audit_unavailable")).await;
    assert_eq!(world.plans_status(&going).await, "failed");
    let outcomes = world.plan_outcomes().await;
    assert_eq!(outcomes.len(), 1, "{outcomes:?}");
    assert_eq!(outcomes[0]["code"], "audit_unavailable", "{outcomes:?}");
}

#[tokio::test]
async fn a_plan_that_nobody_goes_on_with_is_ended() {
    let world = World::new().await;
    let (lost, waits) = (world.plan(1, CallStatus::Running).await, world.plan(2, CallStatus::AwaitingApproval).await);
    let known = world.plan(3, CallStatus::Running).await;
    world.executor.0.plans.0.lock().insert(known.id, watch::Sender::new(None));
    // Its end cannot be written while the store takes nothing; what is found later is the same.
    world.sql("CREATE TRIGGER refuse BEFORE UPDATE ON plans BEGIN SELECT json('no JSON'); END").await;
    world.executor.end_lost_plans().await.unwrap();
    assert_eq!(world.plans_status(&lost).await, "running");
    world.sql("DROP TRIGGER refuse").await;
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while world.plans_status(&lost).await == "running" {
        assert!(std::time::Instant::now() < until, "it is never ended");
        world.executor.end_lost_plans().await.unwrap();
    }
    assert_eq!(world.plans_status(&lost).await, "unknown_outcome");
    assert_eq!(world.plans_status(&waits).await, "cancelled");
    assert_eq!(world.plans_status(&known).await, "running");
    assert_eq!(world.plan_outcomes().await.len(), 2);
}
