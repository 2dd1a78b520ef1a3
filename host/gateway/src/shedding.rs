//! Connections that find no place. Each is answered 503 and let go.
//!
//! Promises: nobody who connects waits for a place to become free, and saying so holds up nobody who has one. Never: more
//! than a few of these connections are kept, or any of them for long; what they send is not looked at.

use crate::correlation;
use crate::problem::Problem;
use crate::{Gateway, GatewayError};
use sophon_types::CorrelationId;
use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

/// Connections that are kept at one time until their client has its answer.
const KEPT: usize = 64;
/// How long the answer waits for the request: some clients take one that comes before they asked for a fault.
const ASKED_WITHIN: Duration = Duration::from_millis(20);
/// How long a client may take for its answer.
const GONE_WITHIN: Duration = Duration::from_millis(500);
/// The most bytes of a request that are thrown away.
const THROWN_AWAY: u64 = 64 * 1024;

/// Lets connections go that find no place.
#[derive(Debug)]
pub(crate) struct Shedding {
    kept: Arc<Semaphore>,
    tasks: TaskTracker,
}

impl Shedding {
    /// Answers are given in tasks of this tracker.
    pub(crate) fn new(tasks: TaskTracker) -> Self {
        Self { kept: Arc::new(Semaphore::new(KEPT)), tasks }
    }

    /// Says on a connection that was just accepted that it finds no place, and ends it. Waits for nothing.
    pub(crate) fn turn_away(&self, gateway: &Gateway, stream: TcpStream, setting: &'static str) {
        gateway.metrics().connection_refused();
        let correlation = CorrelationId::mint(gateway.entropy());
        tracing::debug!(%correlation, setting, "a connection finds no place");
        let answer = answer(setting, correlation);
        let Ok(kept) = Arc::clone(&self.kept).try_acquire_owned() else {
            if let Err(error) = tell_at_once(stream, &answer) {
                tracing::debug!(%error, %correlation, "a connection was closed without a word");
            }
            return;
        };
        self.tasks.spawn(async move {
            if !matches!(tokio::time::timeout(GONE_WITHIN, tell(stream, &answer)).await, Ok(Ok(()))) {
                tracing::debug!(%correlation, "a client may not have its answer");
            }
            drop(kept);
        });
    }
}

/// Answers the request, and waits for the client to close: a system that closes a connection with something unread
/// makes the other one throw away what it has not yet read either.
async fn tell(mut stream: TcpStream, answer: &[u8]) -> io::Result<()> {
    if let Ok(asked) = tokio::time::timeout(ASKED_WITHIN, stream.readable()).await {
        asked?;
    }
    stream.write_all(answer).await?;
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(THROWN_AWAY), &mut tokio::io::sink()).await.map(drop)
}

/// The same without waiting. A fresh connection has room for so few bytes; only tokio has not heard of it yet.
fn tell_at_once(stream: TcpStream, answer: &[u8]) -> io::Result<()> {
    stream.into_std()?.write_all(answer)
}

/// A whole answer: the problem that a request would get for which there is no room.
fn answer(setting: &'static str, correlation: CorrelationId) -> Vec<u8> {
    let problem = Problem::from(GatewayError::Busy { what: "connections", setting });
    let body = serde_json::to_vec(&problem.body(correlation)).unwrap_or_default();
    let mut answer = format!(
        "HTTP/1.1 503 Service Unavailable\r\nconnection: close\r\nretry-after: 1\r\ncontent-type: {}\r\n\
         content-length: {}\r\ncache-control: no-store\r\nx-content-type-options: nosniff\r\n{}: {correlation}\r\n\r\n",
        Problem::MEDIA_TYPE,
        body.len(),
        correlation::HEADER,
    )
    .into_bytes();
    answer.extend(body);
    answer
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::World;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn attack_44_who_does_not_take_the_refusal_keeps_nobody_else_from_theirs() {
        let world = World::new().await;
        let shedding = Shedding::new(TaskTracker::new());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut turned_away = Vec::new();
        for _ in 0..3 * KEPT {
            let client = TcpStream::connect(address).await.unwrap();
            shedding.turn_away(&world.gateway, listener.accept().await.unwrap().0, "max_connections");
            turned_away.push(client);
        }
        // Those that came last are answered although nobody has let go yet.
        let mut last = turned_away.pop().unwrap();
        let mut text = String::new();
        last.read_to_string(&mut text).await.unwrap();
        assert!(text.starts_with("HTTP/1.1 503 ") && text.contains("\"code\":\"over_capacity\""), "{text}");
        let all_gone = async {
            while shedding.kept.available_permits() < KEPT {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), all_gone).await.expect("none is kept for long");
    }
}
