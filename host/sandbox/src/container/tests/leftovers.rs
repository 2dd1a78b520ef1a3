//! Nothing is left behind, whatever ends a host.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_host_left_is_found_and_removed_at_the_next_start() {
    let Some(engine) = given() else { return };
    let mine = ContainerConfig { warm: 2, ..config(engine.clone()) };
    let killed = runtime(mine.clone());
    killed.open().await.unwrap();
    let lab = Lab { runtime: killed, web: Arc::default() };
    let skill = lab.skill("print(1)", "").await;
    assert_eq!(value(lab.call(&skill, "{}").await), serde_json::json!(1));
    let open = lab.runtime.opened().await.unwrap();
    lab.wait_for(2).await;
    open.lives.settled().await;
    assert_eq!(open.engine.owned().await.unwrap().len(), 2);
    // As if it were killed: it removes nothing, ever, and its connections stay open for as long as this test lives. A host
    // that is really killed is in the end-to-end tests.
    std::mem::forget(lab);
    let another = runtime(ContainerConfig { owner: "test-somebody-else".into(), ..mine.clone() });
    another.open().await.unwrap();
    assert_eq!(open.engine.owned().await.unwrap().len(), 2, "another home's sandboxes are none of its business");
    let next = runtime(mine);
    next.open().await.unwrap();
    let next = next.opened().await.unwrap();
    next.lives.settled().await;
    assert_eq!(next.engine.owned().await.unwrap(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_dropped_leaves_nothing() {
    let Some(lab) = Lab::open().await else { return };
    let skill = lab.skill("import time\ntime.sleep(60)\nprint(1)", "").await;
    let run = lab.call(&skill, "{}");
    assert!(tokio::time::timeout(std::time::Duration::from_secs(3), run).await.is_err());
    assert_eq!(lab.left().await, 0);
}
