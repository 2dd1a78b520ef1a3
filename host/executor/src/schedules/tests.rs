//! Firings with a clock that the test sets.

use super::*;
use crate::CallStatus;
use crate::tests::{START, World};
use sophon_audit::Query;
use sophon_store::{Begun, CallRow};
use sophon_types::{Digest, KeyId, TenantId};
use std::sync::Arc;
use std::sync::atomic::Ordering;

const MINUTE: i64 = 60 * 1_000_000;
const DAY: i64 = 24 * 60 * MINUTE;

fn moment(offset: i64) -> Timestamp {
    Timestamp::from_micros(START + offset)
}

fn ann(role: Role) -> Principal {
    let (tenant, user) = ("default".parse().unwrap(), "ann".parse().unwrap());
    Principal { tenant, user, key: KeyId::from_bytes([9; 16]), role }
}

impl World {
    /// A schedule of a tool that nobody has installed, which fires every five minutes: the gate is never reached, and the
    /// refusal says that the call went through the executor's own door.
    async fn scheduled(&self, n: u8, missed: &str) -> ScheduleRow {
        let (id, owner) = (ScheduleId::from_bytes([n; 16]), ann(Role::Agent));
        let arguments = CanonicalJson::of(serde_json::json!({"n": n})).unwrap();
        let timetable = Timetable::new("*/5 * * * *", "UTC", 60).unwrap();
        let fire_at = timetable.after(moment(0)).unwrap();
        let row = ScheduleRow {
            id,
            tenant: owner.tenant,
            user: owner.user,
            key: owner.key,
            tool: "shop.pay".parse().unwrap(),
            cron: "*/5 * * * *".into(),
            zone: "UTC".into(),
            jitter_seconds: 60,
            missed: missed.into(),
            arguments: self.executor.0.parts.vault.seal(PURPOSE, id.as_bytes(), arguments.as_str().as_bytes()).unwrap(),
            created_at: moment(0),
            fire_at: Some(fire_at),
            due_at: Some(timetable.due(id, fire_at)),
            claimed_at: None,
            last_fire_at: None,
            last_call: None,
            last_outcome: None,
        };
        assert_eq!(self.store.schedules().add(row.clone(), 50, 50).await.unwrap(), Added::Added);
        row
    }

    async fn now_at(&self, at: Timestamp) {
        self.set(at.as_micros() - START);
        self.executor.fire_due().await;
    }

    async fn view(&self, id: ScheduleId) -> ScheduleView {
        self.executor.schedule_of(&ann(Role::Agent), id).await.unwrap()
    }

    async fn fired(&self) -> Vec<String> {
        let query = Query { action: Some(Action::ScheduleFire), ..Query::default() };
        let entries = self.audit.query(&query).await.unwrap().entries;
        entries.iter().map(|entry| entry.record["code"].as_str().unwrap_or("ok").to_owned()).collect()
    }
}

#[tokio::test]
async fn a_firing_comes_when_it_is_due_and_once() {
    let world = World::new().await;
    let row = world.scheduled(1, "skip").await;
    let (fire, due) = (row.fire_at.unwrap(), row.due_at.unwrap());
    world.now_at(Timestamp::from_micros(due.as_micros() - 1)).await;
    assert!(world.fired().await.is_empty(), "the jitter is not over");
    for _ in 0..3 {
        world.now_at(due).await;
    }
    assert_eq!(world.fired().await, ["unknown_tool"]);
    let view = world.view(row.id).await;
    assert_eq!((view.last_fire_at, view.last_outcome.as_deref()), (Some(fire), Some("unknown_tool")));
    let next = Timestamp::from_micros(fire.as_micros() + 5 * MINUTE);
    assert!(view.next_at.unwrap() >= next && view.next_at.unwrap().since(next).as_secs() <= 60);
    world.now_at(view.next_at.unwrap()).await;
    assert_eq!(world.fired().await.len(), 2);
}

#[tokio::test]
async fn what_was_missed_is_left_out_or_made_up_for_with_one_call() {
    let world = World::new().await;
    let (skips, once) = (world.scheduled(1, "skip").await, world.scheduled(2, "once").await);
    let late = moment(DAY + 3 * MINUTE);
    world.now_at(late).await;
    let (skipped, made_up) = (world.view(skips.id).await, world.view(once.id).await);
    assert_eq!((skipped.last_fire_at, skipped.last_outcome.as_deref()), (skips.fire_at, Some("missed")));
    assert!(skipped.next_at.unwrap() > late, "what was missed is not gone through one by one");
    let latest = made_up.last_fire_at.unwrap();
    assert!(late.since(latest).as_secs() < 300, "{latest}");
    assert_eq!(made_up.last_outcome.as_deref(), Some("unknown_tool"));
    assert!(made_up.next_at.unwrap() > late);
    assert_eq!(world.fired().await.len(), 2);
}

#[tokio::test]
async fn a_firing_that_a_crash_cut_short_is_found_again_and_not_repeated() {
    let world = World::new().await;
    let row = world.scheduled(1, "once").await;
    let (fire, due) = (row.fire_at.unwrap(), row.due_at.unwrap());
    // As it lies there when the host stopped: the firing is claimed, its call has begun.
    assert!(world.store.schedules().claim(row.id, fire, due, due).await.unwrap());
    let arguments = world.executor.scheduled_arguments(&row).unwrap();
    let call = CallRow {
        id: CallId::from_bytes([7; 16]),
        tenant: row.tenant.clone(),
        user: row.user.clone(),
        key: row.key,
        tool: row.tool.clone(),
        correlation: CorrelationId::from_bytes([7; 16]),
        idempotency_key: Some(format!("schedule:{}:{fire}", row.id)),
        request_digest: Digest::of_parts(&[b"shop.pay", arguments.digest().as_bytes()]),
        status: CallStatus::UnknownOutcome.as_str().into(),
        sealed_result: None,
        created_at: due,
        finished_at: Some(due),
        expires_at: moment(2 * DAY),
    };
    assert!(matches!(world.store.calls().begin(call, due).await.unwrap(), Begun::Inserted));
    world.now_at(moment(10 * MINUTE)).await;
    let view = world.view(row.id).await;
    assert_eq!(view.last_call_id, Some(CallId::from_bytes([7; 16])), "the same call");
    assert_eq!(view.last_outcome.as_deref(), Some("unknown_outcome"));
    assert_eq!(world.fired().await.len(), 1);

    // Where its key is forgotten, nobody knows whether it ran, and it does not run again.
    let other = world.scheduled(2, "once").await;
    let (fire, due) = (other.fire_at.unwrap(), other.due_at.unwrap());
    assert!(world.store.schedules().claim(other.id, fire, due, due).await.unwrap());
    world.now_at(moment(3 * DAY)).await;
    let view = world.view(other.id).await;
    assert_eq!((view.last_call_id, view.last_outcome.as_deref()), (None, Some("unknown_outcome")));
}

#[tokio::test]
async fn attack_44_firings_of_one_tenant_that_wait_keep_nobody_elses_from_firing() {
    let world = World::new().await;
    let row = world.scheduled(1, "skip").await;
    let schedules = world.store.schedules();
    for n in 0..300_u16 {
        let mut id = [3; 16];
        id[..2].copy_from_slice(&n.to_be_bytes());
        let other = ScheduleRow { id: ScheduleId::from_bytes(id), due_at: row.fire_at, ..row.clone() };
        assert_eq!(schedules.add(other, 1000, 1000).await.unwrap(), Added::Added);
    }
    let rivals: TenantId = "rival".parse().unwrap();
    let id = ScheduleId::from_bytes([9; 16]);
    let other = world.executor.0.parts.vault.seal(PURPOSE, id.as_bytes(), b"{}").unwrap();
    let rival = ScheduleRow { id, tenant: rivals.clone(), arguments: other, ..row.clone() };
    assert_eq!(schedules.add(rival.clone(), 1000, 1000).await.unwrap(), Added::Added);
    // Nothing can be called at this moment.
    world.executor.0.draining.store(true, Ordering::SeqCst);
    let due = row.due_at.unwrap();
    world.now_at(due).await;
    let found = schedules.get(&rivals, None, id).await.unwrap().unwrap();
    assert_eq!((found.claimed_at, found.fire_at), (Some(due), row.fire_at), "it had its turn, and waits");
    let waiting = schedules.due(due, 1000, 1000).await.unwrap().len();
    assert!((200..300).contains(&waiting), "those that had their turn stand back: {waiting}");
    world.executor.0.draining.store(false, Ordering::SeqCst);
    let later = due.plus(std::time::Duration::from_secs(5));
    world.now_at(later).await;
    let found = schedules.get(&rivals, None, id).await.unwrap().unwrap();
    assert_eq!((found.last_fire_at, found.last_outcome.as_deref()), (row.fire_at, Some("unknown_tool")));
}

#[tokio::test]
async fn what_was_missed_and_is_made_up_for_waits_for_its_moment() {
    let world = World::new().await;
    let row = world.scheduled(1, "once").await;
    let late = moment(DAY + 3 * MINUTE);
    world.executor.0.draining.store(true, Ordering::SeqCst);
    world.now_at(late).await;
    assert!(world.fired().await.is_empty(), "the host is busy for a moment, not for two minutes");
    world.executor.0.draining.store(false, Ordering::SeqCst);
    world.now_at(late.plus(std::time::Duration::from_secs(10))).await;
    assert_eq!(world.fired().await, ["unknown_tool"]);
    assert!(late.since(world.view(row.id).await.last_fire_at.unwrap()).as_secs() < 300);
}

#[tokio::test]
async fn schedules_are_listed_by_pages_without_arguments_and_without_what_cannot_be_read() {
    let world = World::new().await;
    let mut ids = Vec::new();
    for n in 1..=5 {
        ids.push(world.scheduled(n, "skip").await.id);
    }
    world.sql("UPDATE schedules SET tool = 'no name of a tool' WHERE id LIKE '%0303030303%'").await;
    let (mut seen, mut unreadable, mut after) = (Vec::new(), 0, None);
    loop {
        let page = world.executor.schedules(&ann(Role::Agent), after, 2).await.unwrap();
        assert!(page.schedules.len() <= 2 && page.schedules.iter().all(|one| one.arguments.is_none()));
        seen.extend(page.schedules.iter().map(|one| one.schedule_id));
        unreadable += page.unreadable;
        let Some(next) = page.next else { break };
        after = Some(next.parse().unwrap());
    }
    assert_eq!((seen, unreadable), (vec![ids[0], ids[1], ids[3], ids[4]], 1));
    assert_eq!(world.view(ids[0]).await.arguments, Some(serde_json::json!({"n": 1})));
    let bob = Principal { user: "bob".parse().unwrap(), ..ann(Role::Agent) };
    assert_eq!(world.executor.schedule_of(&bob, ids[0]).await.unwrap_err().code(), "unknown_schedule");
    // Nor does it keep the others from firing.
    world.now_at(moment(6 * MINUTE)).await;
    assert_eq!(world.fired().await.len(), 4);
}

#[tokio::test]
async fn a_schedule_that_cannot_be_is_refused_and_recorded() {
    let world = World::new().await;
    let ann = ann(Role::Agent);
    let request = |cron: &str, zone: &str, jitter_seconds: u64, missed: &str, size: usize| ScheduleRequest {
        tool: "shop.pay".into(),
        arguments: CanonicalJson::of(serde_json::json!({"text": "x".repeat(size)})).unwrap(),
        cron: cron.into(),
        zone: zone.into(),
        jitter_seconds,
        missed: missed.into(),
        correlation: CorrelationId::from_bytes([1; 16]),
    };
    let cases = [
        (request("every day", "UTC", 0, "skip", 1), "invalid_cron"),
        (request("0 0 31 2 *", "UTC", 0, "skip", 1), "invalid_cron"),
        (request("0 9 * * *", "Nowhere", 0, "skip", 1), "unknown_time_zone"),
        (request("0 9 * * *", "UTC", u64::MAX, "skip", 1), "invalid_jitter"),
        (request("0 9 * * *", "UTC", 0, "always", 1), "invalid_missed_policy"),
        (request("0 9 * * *", "UTC", 0, "skip", 1 << 17), "arguments_too_large"),
        (request("0 9 * * *", "UTC", 0, "skip", 1), "unknown_tool"),
    ];
    let mut codes = Vec::new();
    for (request, code) in cases {
        let error = world.executor.schedule(&ann, request).await.unwrap_err();
        assert_eq!(error.code(), code);
        assert!(error.hint().is_some(), "{error}");
        codes.push(code);
    }
    let query = Query { action: Some(Action::ScheduleCreate), ..Query::default() };
    let mut recorded: Vec<_> = world.audit.query(&query).await.unwrap().entries;
    recorded.sort_by_key(|entry| entry.seq);
    let recorded: Vec<_> = recorded.iter().map(|entry| entry.record["code"].as_str().unwrap_or_default()).collect();
    assert_eq!(recorded, codes);
}

#[tokio::test]
async fn there_are_so_many_of_a_user_and_of_a_tenant_and_everybody_sees_their_own() {
    let world = World::new().await;
    let row = world.scheduled(1, "skip").await;
    let add = async |n: u8, user: &str, of_user, of_tenant| {
        let other = ScheduleRow { id: ScheduleId::from_bytes([n; 16]), user: user.parse().unwrap(), ..row.clone() };
        world.store.schedules().add(other, of_user, of_tenant).await.unwrap()
    };
    assert_eq!(add(2, "ann", 1, 10).await, Added::UserFull);
    assert_eq!(add(3, "bob", 1, 10).await, Added::Added);
    assert_eq!(add(4, "eve", 1, 2).await, Added::TenantFull);
    let bob = Principal { user: "bob".parse().unwrap(), ..ann(Role::Agent) };
    let correlation = CorrelationId::from_bytes([1; 16]);
    let refused = world.executor.unschedule(&bob, row.id, correlation).await.unwrap_err();
    assert_eq!(refused.code(), "unknown_schedule");
    world.executor.unschedule(&ann(Role::Admin), ScheduleId::from_bytes([3; 16]), correlation).await.unwrap();
    world.executor.unschedule(&ann(Role::Agent), row.id, correlation).await.unwrap();
    assert!(world.executor.schedules(&ann(Role::Admin), None, 10).await.unwrap().schedules.is_empty());
}

#[tokio::test]
async fn a_schedule_stops_with_the_key_that_made_it() {
    let world = World::new().await;
    let row = world.scheduled(1, "skip").await;
    let key = sophon_store::KeyRow {
        id: row.key,
        tenant: row.tenant.clone(),
        user: row.user.clone(),
        role: Role::Agent,
        label: String::new(),
        secret_digest: Digest::of(b"a key"),
        results: "text".into(),
        created_at: moment(0),
        revoked_at: Some(moment(1)),
    };
    world.store.keys().insert(key).await.unwrap();
    world.now_at(row.due_at.unwrap()).await;
    let view = world.view(row.id).await;
    assert_eq!((view.last_outcome.as_deref(), view.next_at), (Some("key_revoked"), None));
    assert_eq!(world.fired().await, ["key_revoked"]);
}

/// Lets a number of calls in, and the next only after a while.
struct So(parking_lot::Mutex<u32>, std::time::Duration);

impl crate::ToolBudget for So {
    fn take(&self, principal: &Principal, tool: &ToolName) -> Result<(), std::time::Duration> {
        assert_eq!((principal.user.as_str(), tool.as_str()), ("ann", "shop.pay"));
        let mut left = self.0.lock();
        *left = left.checked_sub(1).ok_or(self.1)?;
        Ok(())
    }
}

#[tokio::test]
async fn attack_44_firings_count_in_the_budget_of_their_tool() {
    let world = World::new().await;
    let (one, two) = (world.scheduled(1, "skip").await, world.scheduled(2, "skip").await);
    world.executor.bound_tools(Arc::new(So(parking_lot::Mutex::new(1), std::time::Duration::from_secs(30))));
    let due = one.due_at.max(two.due_at).unwrap();
    world.now_at(due).await;
    assert_eq!(world.fired().await, ["unknown_tool"], "one was let in, and the other one waits");
    world.now_at(due.plus(std::time::Duration::from_secs(10))).await;
    assert_eq!(world.fired().await.len(), 1, "its turn may come still");
    world.now_at(due.plus(std::time::Duration::from_secs(115))).await;
    let fired = world.fired().await;
    assert_eq!(fired.iter().filter(|code| *code == "rate_limited").count(), 1, "{fired:?}");
    let views = [world.view(one.id).await, world.view(two.id).await];
    assert!(views.iter().all(|view| view.next_at.is_some()), "both go on");
}
