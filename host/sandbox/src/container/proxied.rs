//! The connections of a sandbox's programs to the proxy, and where their requests go: the call's own door.

use super::link::{Broken, Sender};
use super::presets::Network;
use crate::lines::Lines;
use crate::{HttpDoor, Limits, LogLevel};
use async_trait::async_trait;
use sophon_egress::proxy::{Authority, Outgoing, Room, serve};
use sophon_egress::{Carry, Denial, EgressLimits, HttpError, HttpRequest, HttpResponse};
use sophon_init::{Kind, MOST_OUT};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use url::Host;

/// Bytes that lie between a program and the proxy.
const PIPE: usize = 64 << 10;
/// Connections at one time.
const MOST: usize = 64;
/// What a frame costs this host besides its bytes, while it waits.
const FRAME: usize = 64;
/// How long a request waits for its body, and for room beside the call's other requests.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the requests of a call may hold of this host's memory at one time, whichever way they come.
pub(super) fn room(limits: &Limits) -> Room {
    let body = EgressLimits::default().request_body_bytes;
    Room::new(limits.http_bytes, limits.http_in_flight.max(1) as usize, body, PATIENCE)
}

/// Every connection of one run. Dropping it ends them.
pub(super) struct Proxied {
    authority: Arc<Authority>,
    door: Arc<Door>,
    sender: Sender,
    network: Network,
    open: BTreeMap<u32, mpsc::UnboundedSender<Vec<u8>>>,
    /// What has come and was not read yet costs, of all connections.
    waiting: Arc<AtomicUsize>,
    most_waiting: usize,
    tasks: JoinSet<()>,
}

impl Proxied {
    pub(super) fn new(
        authority: Arc<Authority>,
        door: Arc<Door>,
        sender: Sender,
        network: Network,
        limits: &Limits,
    ) -> Self {
        Self {
            authority,
            door,
            sender,
            network,
            open: BTreeMap::new(),
            waiting: Arc::default(),
            most_waiting: limits.http_bytes,
            tasks: JoinSet::new(),
        }
    }

    /// A program has connected.
    pub(super) fn open(&mut self, number: u32) -> Result<(), Broken> {
        if self.open.len() >= MOST || self.open.contains_key(&number) {
            return Err(Broken::Garbage(format!("a connection {number} more than there can be")));
        }
        // Those that are over. One that its program has closed may still be at work here.
        while self.tasks.try_join_next().is_some() {}
        if self.tasks.len() >= 2 * MOST {
            return Err(Broken::Garbage("connections that come and go faster than they end".into()));
        }
        if self.network == Network::None {
            self.door.refused("a program connected to the proxy, but this sandbox has no network");
            let sender = self.sender.clone();
            self.tasks.spawn(async move { closed(&sender, number).await });
            return Ok(());
        }
        let (near, far) = tokio::io::duplex(PIPE);
        let (to_proxy, mut from_sandbox) = mpsc::unbounded_channel::<Vec<u8>>();
        self.open.insert(number, to_proxy);
        let (mut reading, mut writing) = tokio::io::split(near);
        let waiting = Arc::clone(&self.waiting);
        let served = serve(far, Arc::clone(&self.authority), Arc::clone(&self.door) as Arc<dyn Outgoing>);
        let outwards = async move {
            while let Some(bytes) = from_sandbox.recv().await {
                waiting.fetch_sub(cost(&bytes), Ordering::Relaxed);
                if writing.write_all(&bytes).await.is_err() {
                    // What comes now is dropped, and what has come takes no room any more.
                    from_sandbox.close();
                    while let Some(bytes) = from_sandbox.recv().await {
                        waiting.fetch_sub(cost(&bytes), Ordering::Relaxed);
                    }
                    return;
                }
            }
            // The program has closed its side.
            if let Err(error) = writing.shutdown().await {
                tracing::debug!(%error, "a proxied connection was over already");
            }
        };
        let sender = self.sender.clone();
        let inwards = async move {
            let mut buffer = vec![0; MOST_OUT];
            loop {
                let said = match reading.read(&mut buffer).await {
                    Ok(0) | Err(_) => break,
                    Ok(count) => sender.say(Kind::Data, number, &buffer[..count]).await,
                };
                if said.is_err() {
                    return;
                }
            }
            closed(&sender, number).await;
        };
        // One task for all of it, so that what runs is what is counted.
        self.tasks.spawn(async move {
            tokio::join!(served, inwards, outwards);
        });
        Ok(())
    }

    /// Bytes of a program's.
    pub(super) fn data(&mut self, number: u32, bytes: Vec<u8>) -> Result<(), Broken> {
        let Some(to_proxy) = self.open.get(&number) else { return Ok(()) };
        // Says nothing, and would only take room.
        if bytes.is_empty() {
            return Ok(());
        }
        let waiting = self.waiting.fetch_add(cost(&bytes), Ordering::Relaxed) + cost(&bytes);
        if waiting > self.most_waiting {
            return Err(Broken::Garbage(format!("more than {} bytes on their way out", self.most_waiting)));
        }
        if let Err(refused) = to_proxy.send(bytes) {
            // The proxy has closed it; what still comes is dropped.
            self.waiting.fetch_sub(cost(&refused.0), Ordering::Relaxed);
        }
        Ok(())
    }

    /// A program has closed its side.
    pub(super) fn close(&mut self, number: u32) {
        self.open.remove(&number);
    }
}

/// What a waiting frame is counted as: many small ones must not cost more than they count.
fn cost(bytes: &[u8]) -> usize {
    bytes.len() + FRAME
}

/// Tells a sandbox that a connection is over.
async fn closed(sender: &Sender, number: u32) {
    if let Err(gone) = sender.say(Kind::Close, number, &[]).await {
        tracing::debug!(?gone, "a sandbox has ended before its connection");
    }
}

/// Where proxied requests go, within the limits of the call.
pub(super) struct Door {
    http: Option<Arc<dyn HttpDoor>>,
    left: AtomicU32,
    most: u32,
    /// How many were sent.
    pub(super) sent: AtomicU64,
    room: Room,
    lines: Lines,
}

impl Door {
    pub(super) fn new(http: Option<Arc<dyn HttpDoor>>, limits: &Limits, lines: Lines) -> Self {
        Self {
            http,
            left: AtomicU32::new(limits.http_requests),
            most: limits.http_requests,
            sent: AtomicU64::new(0),
            room: room(limits),
            lines,
        }
    }

    /// The call's door, for one request more.
    fn count(&self) -> Result<&Arc<dyn HttpDoor>, HttpError> {
        let denied = |code: &'static str, message: String, hint: &str| {
            HttpError::Denied(Denial { code: code.into(), message, hint: Some(hint.to_owned()) })
        };
        let Some(door) = self.http.as_ref().filter(|_| self.most > 0) else {
            let hint = "declare the host in the manifest: \"permissions\": {\"network\": [\"HOST\"]}";
            return Err(denied("network_not_granted", "http: this skill has no network".into(), hint));
        };
        let taken = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        if taken.is_err() {
            let hint = "ask for more at once, or in several calls";
            return Err(denied("too_many_requests", format!("http: a call may send {} requests", self.most), hint));
        }
        self.sent.fetch_add(1, Ordering::Relaxed);
        Ok(door)
    }
}

#[async_trait]
impl Outgoing for Door {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let door = self.count()?;
        door.send(request).await
    }

    async fn stream(&self, host: &Host<String>, port: u16) -> Result<Option<Box<dyn Carry>>, HttpError> {
        let Some(door) = self.http.as_ref().filter(|_| self.most > 0) else { return Ok(None) };
        Arc::clone(door).stream(host, port).await
    }

    fn room(&self) -> &Room {
        &self.room
    }

    fn refused(&self, what: &str) {
        self.lines.push(LogLevel::Warn, what);
    }
}

#[cfg(test)]
mod tests {
    use super::super::link::Link;
    use super::*;
    use bollard::container::AttachContainerResults;
    use sophon_init::{Decoder, Frame, MOST_IN};
    use sophon_skill::Preset;
    use tokio::io::DuplexStream;

    /// Connections of a sandbox, and what it hears.
    fn proxied(network: Network) -> (Proxied, Link, DuplexStream) {
        let (near, far) = tokio::io::duplex(1 << 16);
        let output = Box::pin(futures::stream::pending());
        let link = Link::new(AttachContainerResults { output, input: Box::pin(near) });
        let limits = Limits::of(Preset::Standard);
        let door = Arc::new(Door::new(None, &limits, Lines::bounded(1_000)));
        let authority = Arc::new(Authority::new().unwrap());
        (Proxied::new(authority, door, link.sender(), network, &limits), link, far)
    }

    async fn heard(far: &mut DuplexStream) -> Frame {
        let mut decoder = Decoder::new(MOST_IN);
        loop {
            if let Some(frame) = decoder.take().unwrap() {
                return frame;
            }
            decoder.push(&[far.read_u8().await.unwrap()]);
        }
    }

    #[tokio::test]
    async fn attack_46_a_sandbox_without_a_network_opens_no_connection() {
        let (mut proxied, _link, mut far) = proxied(Network::None);
        proxied.open(7).unwrap();
        let frame = heard(&mut far).await;
        assert_eq!((frame.kind, frame.stream), (Kind::Close, 7));
        assert!(proxied.open.is_empty());
        proxied.data(7, vec![b'x'; 1_000]).unwrap();
        assert_eq!(proxied.waiting.load(Ordering::Relaxed), 0);
        assert!(proxied.door.lines.take().0[0].message.contains("no network"));
    }

    #[tokio::test]
    async fn attack_26_frames_that_hold_little_are_counted_for_what_they_cost() {
        let (mut proxied, _link, _far) = proxied(Network::Egress);
        proxied.open(1).unwrap();
        // Nothing of the connection's task has run yet, so all of it waits.
        for _ in 0..10_000 {
            proxied.data(1, Vec::new()).unwrap();
        }
        assert_eq!(proxied.waiting.load(Ordering::Relaxed), 0);
        let most = proxied.most_waiting;
        let taken = (0..most).take_while(|_| proxied.data(1, vec![b'x']).is_ok()).count();
        assert_eq!(taken, most / (FRAME + 1));
    }

    #[tokio::test]
    async fn attack_26_connections_that_are_closed_and_not_over_are_counted() {
        let (mut proxied, _link, _far) = proxied(Network::Egress);
        let opened = (0..1_000).try_for_each(|number| {
            proxied.open(number)?;
            // Nothing of it has run yet.
            proxied.close(number);
            Ok(())
        });
        assert!(matches!(opened, Err(Broken::Garbage(_))), "{opened:?}");
        assert!(proxied.tasks.len() <= 2 * MOST);
    }
}
