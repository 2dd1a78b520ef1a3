//! Sessions, raised ceilings and standing yeses: what the log says of them is what the store has.

use crate::play::{World, principal};
use serde_json::Value;
use sophon_approval::{Covered, DeskError, Terms};
use sophon_audit::{Action, Query};
use sophon_store::{Part, SessionRow, Sessions};
use sophon_types::{Digest, Principal, Risk, Role};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);
/// More than may stand at once.
const MANY: usize = 250;

impl World {
    /// The outcomes of an action that are on record, the oldest first, with their codes.
    async fn outcomes(&self, action: Action) -> Vec<String> {
        let query = Query { action: Some(action), limit: Some(1000), ..Query::default() };
        let entries = self.audit.query(&query).await.unwrap().entries.into_iter();
        entries
            .map(|entry| match &entry.record["code"] {
                Value::String(code) => format!("{}({code})", entry.record["outcome"].as_str().unwrap()),
                _ => entry.record["outcome"].as_str().unwrap().to_owned(),
            })
            .collect()
    }

    async fn sessions(&self) -> Vec<SessionRow> {
        self.desk.sessions(&ann(), Sessions::All, Part { after: None, limit: 1000 }, self.now).await.unwrap()
    }

    async fn grant(&self) -> Result<(), DeskError> {
        let terms = Terms { arguments: None, risk: Risk::Medium, skill: Digest::of(b"a skill") };
        let calls = Covered { user: ann().user, tool: "mailer.send".parse().unwrap(), session: None };
        self.desk.grant(&ann(), &calls, &terms, MINUTE, self.now).await.map(drop)
    }

    /// How many grants stand.
    async fn standing(&self) -> usize {
        let grants = self.desk.grants(&ann(), Part { after: None, limit: 1000 }).await.unwrap();
        grants.iter().filter(|(row, _terms)| row.revoked_at.is_none()).count()
    }
}

fn ann() -> Principal {
    principal(Role::Approver, "ann", 1)
}

/// What the log says where something was allowed `allowed` times and then refused for there being too many.
fn until_too_many(allowed: usize) -> Vec<String> {
    let mut said = ["intent", "ok"].repeat(allowed);
    said.extend(["intent", "denied(too_many_approvals)"]);
    said.into_iter().map(str::to_owned).collect()
}

#[tokio::test]
async fn what_is_refused_for_being_too_many_is_not_on_record_as_done() {
    let world = World::new().await;
    let mut refused = None;
    for _ in 0..MANY {
        refused = world.desk.begin_session(&ann(), world.now).await.err();
        if refused.is_some() {
            break;
        }
    }
    assert!(matches!(refused, Some(DeskError::TooMany(..))), "{refused:?}");
    assert_eq!(world.outcomes(Action::SessionBegin).await, until_too_many(world.sessions().await.len()));
    let mut refused = None;
    for _ in 0..MANY {
        refused = world.grant().await.err();
        if refused.is_some() {
            break;
        }
    }
    assert!(matches!(refused, Some(DeskError::TooMany(..))), "{refused:?}");
    assert_eq!(world.outcomes(Action::GrantCreate).await, until_too_many(world.standing().await));
}

#[tokio::test]
async fn what_the_store_does_not_take_is_on_record_as_failed() {
    let world = World::new().await;
    let session = world.desk.begin_session(&ann(), world.now).await.unwrap();
    for statement in [
        "CREATE TRIGGER no_session BEFORE INSERT ON sessions BEGIN SELECT json('no JSON'); END",
        "CREATE TRIGGER no_ceiling BEFORE UPDATE ON sessions BEGIN SELECT json('no JSON'); END",
        "CREATE TRIGGER no_grant BEFORE INSERT ON grants BEGIN SELECT json('no JSON'); END",
    ] {
        world.sql(statement).await;
    }
    let refused = [
        world.desk.begin_session(&ann(), world.now).await.map(drop),
        world.desk.raise(&ann(), session.id, Risk::High, MINUTE, world.now).await.map(drop),
        world.grant().await,
    ];
    assert!(refused.iter().all(|refused| matches!(refused, Err(DeskError::Store(_)))), "{refused:?}");
    for (action, ended) in
        [(Action::SessionBegin, &["intent", "ok"][..]), (Action::SessionRaise, &[]), (Action::GrantCreate, &[])]
    {
        let said = world.outcomes(action).await;
        let (last, before) = said.split_last().unwrap();
        assert!(last.starts_with("failed("), "{action:?}: {said:?}");
        assert_eq!(before, [ended, &["intent"]].concat(), "{action:?}");
    }
}

#[tokio::test]
async fn attack_42_what_cannot_be_recorded_does_not_stand() {
    let world = World::new().await;
    let session = world.desk.begin_session(&ann(), world.now).await.unwrap();
    let before = world.sessions().await;
    for what in ["session", "ceiling", "grant"] {
        // The intent is taken, the end is not.
        world
            .sql("CREATE TRIGGER refuse BEFORE INSERT ON audit WHEN NEW.outcome = 'ok' BEGIN SELECT json('no JSON'); END")
            .await;
        let refused = match what {
            "session" => world.desk.begin_session(&ann(), world.now).await.map(drop),
            "ceiling" => world.desk.raise(&ann(), session.id, Risk::High, MINUTE, world.now).await.map(drop),
            _ => world.grant().await,
        };
        assert!(matches!(refused, Err(DeskError::Audit(_))), "{what}: {refused:?}");
        world.mend_log().await;
        assert_eq!(world.sessions().await, before, "{what}");
        assert_eq!(world.standing().await, 0, "{what}");
    }
    world.grant().await.unwrap();
    assert_eq!(world.standing().await, 1);
}
