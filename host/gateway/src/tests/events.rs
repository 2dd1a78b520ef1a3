//! The stream of events.

use crate::config::{GatewayConfig, RateLimits};
use crate::fixtures::{World, request};
use axum::body::{Body, BodyDataStream};
use futures::StreamExt as _;
use http::Method;
use serde_json::Value;
use sophon_executor::{CallStatus, Event, Owner};
use sophon_types::{CallId, KeyId, Timestamp};
use std::num::{NonZeroU32, NonZeroUsize};

fn finished(user: &str, key: KeyId) -> Event {
    Event::CallFinished {
        owner: Owner { tenant: "default".parse().unwrap(), user: user.parse().unwrap(), key },
        call_id: CallId::from_bytes([5; 16]),
        tool: "ab.c".parse().unwrap(),
        status: CallStatus::Succeeded,
    }
}

fn publish(world: &World, user: &str) {
    let key = KeyId::from_bytes([9; 16]);
    world.gateway.executor().events().publish(Timestamp::from_micros(7), finished(user, key));
}

/// A stream that was opened, read piece by piece.
struct Reading(BodyDataStream);

impl Reading {
    async fn open(world: &World, path: &str, key: &str, last: Option<&str>) -> Self {
        let mut asked = request(Method::GET, path, key, None);
        if let Some(last) = last {
            asked.headers_mut().insert("last-event-id", last.parse().unwrap());
        }
        let response = world.open(asked).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        let mut reading = Self(Body::into_data_stream(response.into_body()));
        assert_eq!(reading.piece().await.unwrap(), "retry: 2000\n\n");
        reading
    }

    async fn piece(&mut self) -> Option<String> {
        Some(String::from_utf8(self.0.next().await?.unwrap().to_vec()).unwrap())
    }

    /// The next event: its id and its data.
    async fn event(&mut self) -> Option<(String, Value)> {
        let piece = self.piece().await?;
        let field = |name: &str| piece.lines().find_map(|line| line.strip_prefix(name).map(str::to_owned));
        let data = serde_json::from_str(&field("data: ").unwrap_or_else(|| panic!("{piece}"))).unwrap();
        Some((field("id: ").unwrap_or_default(), data))
    }
}

fn quick(config: &mut GatewayConfig, limits: &mut RateLimits) {
    config.max_event_streams_per_user = NonZeroUsize::new(2).unwrap();
    config.event_heartbeat_seconds = NonZeroU32::MIN;
    limits.user_per_minute = NonZeroU32::MIN;
    limits.user_burst = NonZeroU32::MIN;
}

#[tokio::test]
async fn a_stream_goes_on_where_it_was_left() {
    let world = World::new().await;
    let key = world.key("approver", "ann").await;
    let mut reading = Reading::open(&world, "/v1/events", &key, None).await;
    publish(&world, "ann");
    publish(&world, "bob");
    publish(&world, "ann");
    let (first, data) = reading.event().await.unwrap();
    assert_eq!(data["event"], "call.finished");
    assert_eq!((&data["tool"], &data["status"]), (&"ab.c".into(), &"succeeded".into()));
    drop(reading);
    let mut back = Reading::open(&world, "/v1/events", &key, Some(&first)).await;
    let (second, data) = back.event().await.unwrap();
    assert_eq!(data["user"], "ann", "bob's are not shown");
    let mut by_query = Reading::open(&world, &format!("/v1/events?after={first}"), &key, None).await;
    assert_eq!(by_query.event().await.unwrap().0, second);

    let mut stranger = Reading::open(&world, "/v1/events", &key, Some("00000000000000aa-7")).await;
    assert_eq!(stranger.event().await.unwrap().1["event"], "missed");
    for bad in ["x", "1-2", "0000000000000001-"] {
        let mut asked = request(Method::GET, "/v1/events", &key, None);
        asked.headers_mut().insert("last-event-id", bad.parse().unwrap());
        assert_eq!(world.send(asked).await.brief(), (400, "invalid_parameter"), "{bad}");
    }
}

#[tokio::test]
async fn attack_44_streams_are_bounded_and_cost_no_requests() {
    let world = World::with(quick).await;
    let key = world.key("agent", "ann").await;
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(Reading::open(&world, "/v1/events", &key, None).await);
    }
    let refused = world.get("/v1/events", &key).await;
    assert_eq!(refused.brief(), (503, "over_capacity"), "not 429: watching is not counted");
    assert!(refused.headers.contains_key("retry-after"));
    held.pop();
    held.push(Reading::open(&world, "/v1/events", &key, None).await);
    assert_eq!(world.get("/v1/tools", &key).await.status, 200, "the one request that ann may send");
    assert_eq!(world.get("/v1/tools", &key).await.status, 429);
    assert_eq!(held[0].piece().await.unwrap(), ": alive\n\n");
}

#[tokio::test]
async fn a_stream_ends_with_its_key_and_with_the_gateway() {
    let world = World::new().await;
    let made = world.post("/v1/keys", &world.operator, &serde_json::json!({"role": "approver", "user": "ann"})).await;
    let (key, id) = (made.json["key"].as_str().unwrap(), made.json["id"].as_str().unwrap());
    let mut reading = Reading::open(&world, "/v1/events", key, None).await;
    publish(&world, "ann");
    assert!(reading.event().await.is_some());
    assert_eq!(world.delete(&format!("/v1/keys/{id}"), &world.operator).await.status, 204);
    publish(&world, "ann");
    assert_eq!(reading.piece().await, None, "who has no key hears nothing");

    let mut operator = Reading::open(&world, "/v1/events", &world.operator, None).await;
    world.gateway.stop();
    assert_eq!(operator.piece().await, None);
}
