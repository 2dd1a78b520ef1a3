//! Sandboxes that are started ahead: used once, bounded, refused cleanly.

use super::*;
use crate::RunFailure;
use futures::FutureExt as _;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn sandboxes_are_started_ahead_and_used_once() {
    let Some(lab) = Lab::with(|config| ContainerConfig { warm: 1, ..config }).await else { return };
    let skill = lab.skill("import os\nprint(os.stat('/tmp').st_ino * 0 + 1)", "").await;
    let open = lab.runtime.opened().await.unwrap();
    let mut used = std::collections::BTreeSet::new();
    for _ in 0..3 {
        lab.wait_for(1).await;
        used.extend(open.engine.owned().await.unwrap());
        assert_eq!(value(lab.call(&skill, "{}").await), serde_json::json!(1));
    }
    assert!(used.len() >= 3, "each call had one of its own: {used:?}");
    lab.runtime.close().await;
    assert_eq!(open.engine.owned().await.unwrap(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_finds_no_room_is_refused_and_not_queued() {
    let Some(lab) = Lab::with(|config| ContainerConfig { concurrent: 1, ..config }).await else { return };
    let slow = lab.skill("import time\ntime.sleep(8)\nprint(1)", "").await;
    let lab = Arc::new(lab);
    let (busy, held) = (Arc::clone(&lab), Arc::clone(&slow));
    let first = tokio::spawn(async move { busy.call(&held, "{}").await });
    tokio::time::sleep(Duration::from_secs(2)).await;
    lab.runtime.opened().await.unwrap().lives.settled().await;
    // Nothing is on its way out, so nobody waits.
    for _ in 0..50 {
        let refused = lab.call(&slow, "{}").now_or_never().expect("an answer at once");
        assert!(matches!(refused.output, Err(RunFailure::NoCapacity)));
    }
    assert_eq!(value(first.await.unwrap()), serde_json::json!(1));
    assert_eq!(lab.left().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_makes_room_for_a_call_of_another_kind() {
    let Some(lab) = Lab::with(|config| ContainerConfig { warm: 2, concurrent: 2, ..config }).await else { return };
    lab.skill("print(1)", "").await;
    lab.wait_for(1).await;
    assert_eq!(lab.value("print(2)", &sandbox("restricted", 10)).await, serde_json::json!(2));
    assert_eq!(lab.value("print(3)", &sandbox("minimal", 10)).await, serde_json::json!(3));
    lab.runtime.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_of_another_kind_lets_no_more_go_than_it_needs() {
    let Some(lab) = Lab::with(|config| ContainerConfig { warm: 2, concurrent: 4, memory_mb: 4 * 256, ..config }).await
    else {
        return;
    };
    lab.skill("print(1)", "").await;
    lab.skill("print(1)", &sandbox("restricted", 10)).await;
    lab.wait_for(2).await;
    // Two places are free: nothing has to go, and with the third and the fourth taken one has.
    let slow = "import time\ntime.sleep(10)\nprint(2)";
    let minimal = lab.skill(slow, &sandbox("locked-down", 30)).await;
    let lab = Arc::new(lab);
    let open = lab.runtime.opened().await.unwrap();
    let mut calls = Vec::new();
    for user in ["ann", "bob", "cid"] {
        let (lab, skill) = (Arc::clone(&lab), Arc::clone(&minimal));
        calls.push(tokio::spawn(async move { lab.call_of(&who(user, user), &skill, "{}").await }));
        // One after the other, so that each finds what the one before has left.
        tokio::time::sleep(Duration::from_millis(500)).await;
        while open.pool.is_starting() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    for call in calls {
        assert_eq!(value(call.await.unwrap()), serde_json::json!(2));
    }
    assert!(open.pool.waiting() >= 1, "one call emptied every shelf");
    lab.runtime.close().await;
    assert_eq!(lab.left().await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn attack_44_one_tenant_does_not_have_every_sandbox() {
    let Some(lab) = Lab::open().await else { return };
    let slow = lab.skill("import time\ntime.sleep(20)\nprint(1)", "").await;
    let quick = lab.skill("print(2)", "").await;
    let lab = Arc::new(lab);
    let mut held = tokio::task::JoinSet::new();
    for user in ["ann", "ann", "ann", "bob", "cid"] {
        let (lab, slow) = (Arc::clone(&lab), Arc::clone(&slow));
        held.spawn(async move { lab.call_of(&who("acme", user), &slow, "{}").await });
    }
    // Two of the five are refused: three is what the tenant has of four.
    for _ in 0..2 {
        let refused = held.join_next().await.unwrap().unwrap();
        assert!(matches!(refused.output, Err(RunFailure::NoCapacity)), "{:?}", refused.output);
    }
    assert_eq!(value(lab.call_of(&who("rival", "ann"), &quick, "{}").await), serde_json::json!(2));
    assert_eq!(held.len(), 3, "the three still run");
    drop(held);
    assert_eq!(lab.left().await, 0);
}
