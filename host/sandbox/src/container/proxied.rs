//! The connections of a sandbox's programs to the proxy, and where their requests go: the call's own door.

use super::link::{Broken, Sender};
use crate::lines::Lines;
use crate::{HttpDoor, Limits, LogLevel};
use async_trait::async_trait;
use sophon_egress::proxy::{Authority, Outgoing, serve};
use sophon_egress::{Carry, Denial, HttpError, HttpRequest, HttpResponse, Socket};
use sophon_init::{Kind, MOST_OUT};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Host;

/// Bytes that lie between a program and the proxy.
const PIPE: usize = 64 << 10;
/// Connections at one time.
const MOST: usize = 64;

/// Every connection of one run. Dropping it ends them.
pub(super) struct Proxied {
    authority: Arc<Authority>,
    door: Arc<Door>,
    sender: Sender,
    open: BTreeMap<u32, mpsc::UnboundedSender<Vec<u8>>>,
    /// Bytes that have come and were not read yet, of all connections.
    waiting: Arc<AtomicUsize>,
    most_waiting: usize,
    tasks: JoinSet<()>,
    /// Ends what is carried past the proxy.
    _over: DropGuard,
}

impl Proxied {
    pub(super) fn new(authority: Arc<Authority>, door: Arc<Door>, sender: Sender, limits: &Limits) -> Self {
        let over = door.over.clone().drop_guard();
        Self {
            _over: over,
            authority,
            door,
            sender,
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
        // Those that are over.
        while self.tasks.try_join_next().is_some() {}
        let (near, far) = tokio::io::duplex(PIPE);
        let (to_proxy, mut from_sandbox) = mpsc::unbounded_channel::<Vec<u8>>();
        self.open.insert(number, to_proxy);
        let (mut reading, mut writing) = tokio::io::split(near);
        let waiting = Arc::clone(&self.waiting);
        self.tasks.spawn(serve(far, Arc::clone(&self.authority), Arc::clone(&self.door) as Arc<dyn Outgoing>));
        self.tasks.spawn(async move {
            while let Some(bytes) = from_sandbox.recv().await {
                waiting.fetch_sub(bytes.len(), Ordering::Relaxed);
                if writing.write_all(&bytes).await.is_err() {
                    return;
                }
            }
            // The program has closed its side.
            if let Err(error) = writing.shutdown().await {
                tracing::debug!(%error, "a proxied connection was over already");
            }
        });
        let sender = self.sender.clone();
        self.tasks.spawn(async move {
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
            if let Err(gone) = sender.say(Kind::Close, number, &[]).await {
                tracing::debug!(?gone, "a sandbox has ended before its connection");
            }
        });
        Ok(())
    }

    /// Bytes of a program's.
    pub(super) fn data(&mut self, number: u32, bytes: Vec<u8>) -> Result<(), Broken> {
        let Some(to_proxy) = self.open.get(&number) else { return Ok(()) };
        let waiting = self.waiting.fetch_add(bytes.len(), Ordering::Relaxed) + bytes.len();
        if waiting > self.most_waiting {
            return Err(Broken::Garbage(format!("more than {} bytes on their way out", self.most_waiting)));
        }
        if let Err(refused) = to_proxy.send(bytes) {
            // The proxy has closed it; what still comes is dropped.
            self.waiting.fetch_sub(refused.0.len(), Ordering::Relaxed);
        }
        Ok(())
    }

    /// A program has closed its side.
    pub(super) fn close(&mut self, number: u32) {
        self.open.remove(&number);
    }
}

/// Where proxied requests go, within the limits of the call.
pub(super) struct Door {
    http: Option<Arc<dyn HttpDoor>>,
    left: AtomicU32,
    most: u32,
    /// How many were sent.
    pub(super) sent: AtomicU64,
    in_flight: Semaphore,
    lines: Lines,
    /// The run is over.
    over: CancellationToken,
}

impl Door {
    pub(super) fn new(http: Option<Arc<dyn HttpDoor>>, limits: &Limits, lines: Lines) -> Self {
        Self {
            http,
            left: AtomicU32::new(limits.http_requests),
            most: limits.http_requests,
            sent: AtomicU64::new(0),
            in_flight: Semaphore::new(limits.http_in_flight.max(1) as usize),
            lines,
            over: CancellationToken::new(),
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

/// A connection that ends with the run at the latest.
struct Ending {
    stream: Box<dyn Carry>,
    over: CancellationToken,
}

#[async_trait]
impl Carry for Ending {
    async fn carry(self: Box<Self>, program: Box<dyn Socket>) {
        tokio::select! {
            () = self.stream.carry(program) => {}
            () = self.over.cancelled() => {}
        }
    }
}

#[async_trait]
impl Outgoing for Door {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let door = self.count()?;
        let Ok(_line) = self.in_flight.acquire().await else { return Err(HttpError::Timeout) };
        door.send(request).await
    }

    async fn stream(&self, host: &Host<String>, port: u16) -> Result<Option<Box<dyn Carry>>, HttpError> {
        let Some(door) = self.http.as_ref().filter(|_| self.most > 0) else { return Ok(None) };
        let stream = Arc::clone(door).stream(host, port).await?;
        Ok(stream.map(|stream| Box::new(Ending { stream, over: self.over.clone() }) as Box<dyn Carry>))
    }

    fn refused(&self, what: &str) {
        self.lines.push(LogLevel::Warn, what);
    }
}
