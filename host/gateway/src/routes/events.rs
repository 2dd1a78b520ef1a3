//! The stream of events (server-sent events, as the HTML standard has them). It ends when the gateway stops or the key is
//! revoked, and where the client does not take it; who comes back with the id of the last event goes on behind it.

use crate::auth::{Caller, Shown};
use crate::extract::{InQuery, streamed};
use crate::problem::Problem;
use crate::watchers::Watching;
use crate::wire::{EventBody, EventsQuery};
use crate::{Gateway, GatewayError};
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use sophon_executor::{EventId, Next, Posted, Watch};
use std::convert::Infallible;
use std::time::Duration;
use tokio::time::{Instant, Interval, MissedTickBehavior};

/// What a query may name.
pub(crate) const QUERIES: &[(&str, &str)] =
    &[("after", "Continue behind the event with this id; the header Last-Event-ID goes before it.")];

/// How long a client that was cut off waits until it comes back, in milliseconds.
const RETRY: &str = "retry: 2000\n\n";
/// Told where events are gone for good.
const MISSED: &str = "event: missed\ndata: {\"event\":\"missed\",\"hint\":\"events are gone that cannot be had again: ask \
                      for what stands now with GET /v1/approvals and GET /v1/calls/{id}\"}\n\n";
/// A comment: it says that the stream is alive, and finds out whether the client is.
const HEARTBEAT: &str = ": alive\n\n";

/// What happens from now on, or from behind the event that the client names.
pub(crate) async fn stream(
    State(gateway): State<Gateway>,
    caller: Caller,
    headers: HeaderMap,
    InQuery(asked): InQuery<EventsQuery>,
) -> Result<Response, Problem> {
    let after = last_seen(&headers, asked.after.as_deref())?;
    let busy = GatewayError::Busy { what: "event streams", setting: "max_event_streams_per_user" };
    let watching = gateway.watchers().begin(&caller.principal).ok_or(busy)?;
    let mut beat =
        tokio::time::interval_at(Instant::now() + gateway.config().heartbeat(), gateway.config().heartbeat());
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let stream = Stream {
        watch: gateway.executor().events().watch(&caller.principal, after),
        shown: caller.shown,
        gateway,
        beat,
        _watching: watching,
    };
    let first = futures::stream::iter([Ok(Bytes::from_static(RETRY.as_bytes()))]);
    let rest = futures::stream::unfold(stream, |mut stream| async move {
        let piece = stream.next().await?;
        Some((Ok::<_, Infallible>(piece), stream))
    });
    let mut response = streamed(Body::from_stream(futures::StreamExt::chain(first, rest)), "text/event-stream");
    // Proxies that collect answers would keep events back.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

struct Stream {
    gateway: Gateway,
    watch: Watch,
    shown: Shown,
    beat: Interval,
    _watching: Watching,
}

impl Stream {
    /// The next piece; nothing where the stream is over.
    async fn next(&mut self) -> Option<Bytes> {
        let halted = self.gateway.halted();
        let piece = tokio::select! {
            biased;
            () = halted => return None,
            next = self.watch.next() => match next {
                Next::Missed => Bytes::from_static(MISSED.as_bytes()),
                Next::Event(posted) => written(&posted).unwrap_or(Bytes::from_static(HEARTBEAT.as_bytes())),
            },
            _tick = self.beat.tick() => Bytes::from_static(HEARTBEAT.as_bytes()),
        };
        // A key that was revoked meanwhile is told nothing more. Believed for seconds, so this costs next to nothing.
        self.gateway.authenticator().is_still_valid(&self.shown).await.then_some(piece)
    }
}

fn written(posted: &Posted) -> Option<Bytes> {
    let body = EventBody::of(posted)?;
    // Writing it into memory cannot fail; and JSON has no line break that is not escaped.
    let data = serde_json::to_string(&body).unwrap_or_default();
    Some(format!("id: {}\nevent: {}\ndata: {data}\n\n", posted.id, posted.event.name()).into())
}

fn last_seen(headers: &HeaderMap, asked: Option<&str>) -> Result<Option<EventId>, GatewayError> {
    let header = headers.get("last-event-id").map(|value| value.to_str().unwrap_or("?"));
    let (place, text) = match (header, asked) {
        (Some(""), _) | (None, None) => return Ok(None),
        (Some(text), _) => ("last-event-id", text),
        (None, Some(text)) => ("query", text),
    };
    let wrong = |message: String| GatewayError::ParameterInvalid { place, message: format!("{text:?} {message}") };
    text.parse().map(Some).map_err(wrong)
}

impl crate::GatewayConfig {
    fn heartbeat(&self) -> Duration {
        Duration::from_secs(self.event_heartbeat_seconds.get().into())
    }
}
