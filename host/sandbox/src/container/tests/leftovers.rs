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

/// An engine behind a socket that can be closed, as if it had ended: everything that is said goes through to the given one.
async fn mortal(engine: &str, folder: &std::path::Path) -> (String, tokio_util::sync::CancellationToken) {
    let path = folder.join("docker.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let ended = tokio_util::sync::CancellationToken::new();
    let (real, end) = (engine.trim_start_matches("unix://").to_owned(), ended.clone());
    tokio::spawn(async move {
        loop {
            let accepted = tokio::select! { accepted = listener.accept() => accepted, () = end.cancelled() => return };
            let (mut near, _) = accepted.unwrap();
            let (real, end) = (real.clone(), end.clone());
            tokio::spawn(async move {
                let mut far = tokio::net::UnixStream::connect(real).await.unwrap();
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    () = end.cancelled() => {}
                }
            });
        }
    });
    (format!("unix://{}", path.display()), ended)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_ends_later_is_said_to_have_ended() {
    use sophon_types::Fault as _;
    let Some(engine) = given() else { return };
    let folder = tempfile::tempdir().unwrap();
    let (address, ended) = mortal(&engine, folder.path()).await;
    let settings = config(address);
    let lab = Lab { runtime: runtime(settings.clone()), web: Arc::default() };
    let skill = lab.skill("print(1)", "").await;
    assert_eq!(value(lab.call(&skill, "{}").await), serde_json::json!(1));
    let slow = lab.skill("import time\ntime.sleep(20)\nprint(1)", "").await;
    let cutting = async {
        tokio::time::sleep(std::time::Duration::from_secs(4)).await;
        ended.cancel();
    };
    let (during, ()) = tokio::join!(lab.call(&slow, "{}"), cutting);
    let after = lab.call(&skill, "{}").await;
    for report in [during, after] {
        let failure = report.output.expect_err("no result");
        assert_eq!(failure.code(), "gvisor_not_available", "{failure}");
        assert!(failure.hint().expect("a hint").contains("sophon doctor"));
    }
    // What was left behind when the engine was gone is removed by the next, as after a crash.
    std::mem::forget(lab);
    let next = runtime(ContainerConfig { engine: Some(engine), ..settings });
    next.open().await.unwrap();
    let next = next.opened().await.unwrap();
    next.lives.settled().await;
    assert_eq!(next.engine.owned().await.unwrap(), Vec::<String>::new());
}
