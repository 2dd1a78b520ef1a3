//! The listener. hyper is driven directly, because it alone bounds how long a client may take to send its headers;
//! stopping is orderly: no new connections, no new calls, time for what runs, then the end.

use crate::Gateway;
use crate::connections::Connections;
use crate::peer::Peer;
use crate::places::Places;
use crate::refusals::AtTheEnd;
use crate::shedding::Shedding;
use crate::stall::Stalling;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use sophon_audit::{Action, AuditError, Outcome, Record};
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

/// How long a client may take for the headers of a request; also how long an idle connection is kept.
const HEADERS_WITHIN: Duration = Duration::from_secs(15);
/// The most header fields of a request.
const MAX_HEADERS: usize = 64;
/// The most bytes that are read ahead for the head of a request.
const MAX_HEAD: usize = 32 * 1024;
/// How often the gateway forgets what it no longer needs.
const SWEEP: Duration = Duration::from_secs(20);
/// How long a connection that is closed to make room may take to be gone.
const GONE_WITHIN: Duration = Duration::from_millis(30);
/// The pause after an error of `accept` such as too many open files.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

impl Gateway {
    /// Serves connections of `listener` until `shutdown` completes, then gives running calls the configured time.
    ///
    /// # Errors
    /// [`AuditError`] where the start cannot be recorded: a gateway that cannot record serves nothing.
    pub async fn serve(
        &self,
        listener: TcpListener,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), AuditError> {
        self.audit().append(Record::new(Action::GatewayStart, Outcome::Ok)).await?;
        let router = self.router();
        let config = self.config();
        let room = Room {
            permits: Arc::new(Semaphore::new(config.max_connections.get().min(Semaphore::MAX_PERMITS))),
            connections: Connections::default(),
        };
        let places = Places::new(config.max_connections_per_address.get(), &config.trusted_proxies);
        let patience = config.stall();
        let graceful = GracefulShutdown::new();
        let tasks = TaskTracker::new();
        let shedding = Shedding::new(tasks.clone());
        let mut sweep = tokio::time::interval(SWEEP);
        tokio::pin!(shutdown);
        loop {
            tokio::select! {
                () = &mut shutdown => break,
                _tick = sweep.tick() => {
                    self.limits().sweep();
                    self.refusals().flush(AtTheEnd::No);
                }
                accepted = accept(&listener) => {
                    let (stream, peer) = match accepted {
                        Ok(accepted) => accepted,
                        Err(error) => {
                            tracing::warn!(%error, "a connection could not be accepted");
                            if !is_of_one_connection(&error) {
                                tokio::time::sleep(ACCEPT_AGAIN).await;
                            }
                            continue;
                        }
                    };
                    let Some(place) = places.take(peer.ip()) else {
                        shedding.turn_away(self, stream, "max_connections_per_address");
                        continue;
                    };
                    let Some(permit) = room.make().await else {
                        shedding.turn_away(self, stream, "max_connections");
                        continue;
                    };
                    let router = router.clone();
                    let line = room.connections.open();
                    let on_line = line.clone();
                    let service = service_fn(move |request: hyper::Request<Incoming>| {
                        let mut request = request.map(axum::body::Body::new);
                        request.extensions_mut().insert(Peer::Remote(peer));
                        request.extensions_mut().insert(on_line.clone());
                        router.clone().oneshot(request as Request)
                    });
                    let connection = graceful.watch(protocol().serve_connection(TokioIo::new(Stalling::new(stream, patience)), service));
                    let gateway = self.clone();
                    gateway.metrics().connection_opened();
                    tasks.spawn(async move {
                        tokio::select! {
                            ended = connection => if let Err(error) = ended {
                                tracing::debug!(%error, %peer, "a connection ended early");
                            },
                            () = line.cut() => gateway.metrics().connection_cut(),
                        }
                        drop((permit, place));
                        gateway.metrics().connection_closed();
                    });
                }
            }
        }
        drop(listener);
        self.stop();
        let grace = self.config().drain();
        tracing::info!(seconds = grace.as_secs(), "stopping: running calls may finish");
        let closed = async {
            graceful.shutdown().await;
            tasks.close();
            tasks.wait().await;
        };
        let (drained, closed) = tokio::join!(self.executor().drain(grace), tokio::time::timeout(grace, closed));
        let _unit: () = drained;
        if closed.is_err() {
            tracing::warn!("connections were still open at the end of the grace period");
        }
        self.refusals().flush(AtTheEnd::Yes);
        self.audit().append(Record::new(Action::GatewayStop, Outcome::Ok)).await?;
        Ok(())
    }
}

/// Room for connections, of which there is so much and no more.
struct Room {
    permits: Arc<Semaphore>,
    connections: Connections,
}

impl Room {
    /// Room for one more. Where there is none, the connection that can best be spared is closed; nothing where none can be,
    /// because a known caller is served on each.
    async fn make(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(permit) = Arc::clone(&self.permits).try_acquire_owned() {
            return Some(permit);
        }
        if !self.connections.cut_one() {
            return None;
        }
        let freed = Arc::clone(&self.permits).acquire_owned();
        tokio::time::timeout(GONE_WITHIN, freed).await.ok()?.ok()
    }
}

async fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, peer) = listener.accept().await?;
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, %peer, "a connection keeps its delay");
    }
    Ok((stream, peer))
}

/// HTTP as it is spoken here. `pipeline_flush` stays off: the next request is read when the answer before it was taken, so
/// what a client sends without reading stays with the client.
fn protocol() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_WITHIN)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD);
    builder
}

/// Whether only that one connection failed, so that the next can be accepted without a pause.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http_body_util::Full;
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Reads {
        All,
        Nothing,
    }

    /// Serves a client that sends `count` requests one behind the other; says how many were answered in the end.
    async fn answered(count: usize, request: &'static str, reads: Reads) -> usize {
        let answered = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&answered);
        let service = service_fn(move |_request: hyper::Request<Incoming>| {
            counter.fetch_add(1, Ordering::Relaxed);
            std::future::ready(Ok::<_, Infallible>(hyper::Response::new(Full::new(Bytes::from_static(&[b'x'; 100])))))
        });
        let (near, far) = tokio::io::duplex(1024);
        let near = TokioIo::new(Stalling::new(near, Duration::from_millis(300)));
        let serving = tokio::spawn(protocol().serve_connection(near, service));
        let (mut reader, mut writer) = tokio::io::split(far);
        let sending = tokio::spawn(async move {
            for _ in 0..count {
                if writer.write_all(request.as_bytes()).await.is_err() {
                    return;
                }
            }
            drop(writer.shutdown().await);
        });
        if reads == Reads::All {
            reader.read_to_end(&mut Vec::new()).await.unwrap();
        }
        drop(serving.await.unwrap());
        drop(reader);
        sending.await.unwrap();
        answered.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn attack_44_pipelined_requests_are_answered_no_faster_than_they_are_read() {
        for request in ["GET / HTTP/1.1\r\nHost: x\r\n\r\n", "HEAD / HTTP/1.1\r\nHost: x\r\n\r\n"] {
            assert_eq!(answered(5000, request, Reads::All).await, 5000, "{request}");
            let count = answered(5000, request, Reads::Nothing).await;
            assert!((1..500).contains(&count), "{count} of 5000 were answered into memory: {request}");
        }
    }
}
