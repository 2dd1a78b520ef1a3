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
