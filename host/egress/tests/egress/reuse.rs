//! Connections that are used again: by whom, for how long, and what happens when one went stale.

use crate::server::{Seen, Step, answer};
use crate::world::{World, manifest, tight};
use sophon_egress::{EgressLimits, HttpRequest};
use sophon_types::Fault;
use std::sync::atomic::{AtomicUsize, Ordering};

const OPEN: &str = r#"["api.example.com","other.example.com"]"#;
const URL: &str = "https://api.example.com/x";

fn keeping() -> EgressLimits {
    let mut limits = tight();
    limits.idle_per_origin = 4;
    limits
}

#[tokio::test]
async fn a_connection_serves_one_skill_of_one_tenant() {
    let world = World::new(keeping()).await;
    let rules = manifest(OPEN);
    let name = |text: &str| text.parse().unwrap();
    for (tenant, skill, url, dials) in [
        ("acme", "probe", URL, 1),
        ("acme", "probe", URL, 1),
        ("acme", "probe", "https://other.example.com/x", 2),
        ("acme", "second", URL, 3),
        ("rival", "probe", URL, 4),
        ("rival", "probe", URL, 4),
        ("acme", "probe", URL, 4),
    ] {
        let session = world.session_of(&rules, &[], tenant.parse().unwrap(), name(skill)).await;
        session.send(HttpRequest::new("GET", url)).await.unwrap();
        assert_eq!(world.dialled().len(), dials, "{tenant} {skill} {url}");
    }
    // A name is asked for once a connection, not once a request.
    assert_eq!(world.asked(), 4);
}

#[tokio::test]
async fn attack_11_a_kept_connection_is_checked_again() {
    let world = World::new(keeping()).await;
    let rules = manifest(OPEN);
    world.get(&rules, URL).await.unwrap();
    world.own.add("93.184.216.34:443".parse().unwrap());
    let error = world.get(&rules, URL).await.unwrap_err();
    assert_eq!(error.code(), "own_listener");
    assert_eq!(world.cables.log.len(), 1);
}

#[tokio::test]
async fn a_pin_ends() {
    let mut limits = keeping();
    limits.pin = std::time::Duration::ZERO;
    let world = World::new(limits).await;
    let rules = manifest(OPEN);
    for dials in 1..=3 {
        world.get(&rules, URL).await.unwrap();
        assert_eq!((world.dialled().len(), world.asked()), (dials, dials));
    }
}

#[tokio::test]
async fn a_stale_connection_is_replaced_once_for_reads_only() {
    let rules = manifest(OPEN);
    for (method, code) in [("GET", None), ("POST", Some("unknown_outcome"))] {
        let world = World::new(keeping()).await;
        let served = AtomicUsize::new(0);
        // The first answer keeps the connection; the next request on it is read and dropped.
        world.script(move |_: &Seen| match served.fetch_add(1, Ordering::SeqCst) {
            1 => vec![Step::Close],
            _ => answer(200, &[], b"ok"),
        });
        world.get(&rules, URL).await.unwrap();
        let session = world.session(&rules, &[]).await;
        let outcome = session.send(HttpRequest::new(method, URL)).await;
        assert_eq!(outcome.as_ref().err().map(Fault::code), code, "{outcome:?}");
        let expected = if code.is_none() { 3 } else { 2 };
        assert_eq!(world.cables.log.len(), expected, "{method}");
    }
}

#[tokio::test]
async fn a_connection_that_was_closed_while_it_waited_is_not_used_again() {
    let world = World::new(keeping()).await;
    let rules = manifest(OPEN);
    world.script(|_: &Seen| {
        let mut steps = answer(200, &[], b"ok");
        steps.push(Step::Close);
        steps
    });
    for dials in 1..=3 {
        // A write on a connection of which one knows only afterwards that it was closed would be of unknown outcome.
        let session = world.session(&rules, &[]).await;
        session.send(HttpRequest::new("POST", URL)).await.unwrap();
        assert_eq!(world.cables.log.len(), dials);
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn an_answer_nobody_asked_for_does_not_reach_the_next_request() {
    let world = World::new(keeping()).await;
    let rules = manifest(OPEN);
    let poison = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    world.script(move |seen| {
        let mut steps = answer(200, &[], b"right");
        if seen.connection == 0 {
            let Some(Step::Send(bytes)) = steps.first_mut() else { return steps };
            bytes.extend_from_slice(poison);
        }
        steps
    });
    for _ in 0..3 {
        assert_eq!(world.get(&rules, URL).await.unwrap().body, "right");
    }
}

#[tokio::test]
async fn connections_in_use_are_bounded_for_each_skill() {
    let mut limits = tight();
    limits.connections_per_skill = 2;
    let world = World::new(limits).await;
    world.script(|seen| if seen.target() == "/hang" { vec![Step::Hang] } else { answer(200, &[], b"") });
    let rules = manifest(OPEN);
    let hanging: Vec<_> = {
        let mut sessions = Vec::new();
        for _ in 0..4 {
            sessions.push(world.session(&rules, &[]).await);
        }
        sessions
            .into_iter()
            .map(|session| {
                tokio::spawn(async move { session.send(HttpRequest::new("GET", "https://api.example.com/hang")).await })
            })
            .collect()
    };
    // Another skill is not held up by the one whose connections hang.
    while world.cables.log.len() < 2 {
        tokio::task::yield_now().await;
    }
    let other = world.session_of(&rules, &[], "acme".parse().unwrap(), "second".parse().unwrap()).await;
    other.send(HttpRequest::new("GET", URL)).await.unwrap();
    for task in hanging {
        assert_eq!(task.await.unwrap().unwrap_err().code(), "upstream_timeout");
    }
}
