//! Connections of native programs that are no HTTP, where a person granted that very host and port.
//!
//! Nobody reads what is said on one. What there is: the name is resolved once and its addresses are checked as for HTTP, the gate
//! is asked, bytes and time are bounded, the audit log tells where it led and how much went each way, and a placeholder or
//! a secret of this call that a program sends over it ends it and raises the alarm. Nothing is ever swapped in one.

use crate::address::Reach;
use crate::admit::AllowedRequest;
use crate::dial::Socket;
use crate::dispatch::OpenStream;
use crate::error::{Denial, HttpError};
use crate::gate::EffectRequest;
use crate::session::EgressSession;
use crate::url::CheckedUrl;
use async_trait::async_trait;
use http::HeaderMap;
use sophon_audit::Outcome;
use sophon_skill::StreamGrant;
use sophon_types::{Fault as _, Risk};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf, split};
use tokio::time::{Instant, timeout, timeout_at};
use url::Host;

/// Bytes that are moved at one time.
const PIECE: usize = 16 << 10;
/// Bytes that are looked at again with what comes next: no secret and no spelling of a placeholder is longer.
const OVERLAP: usize = 1 << 10;

/// An open connection, to be joined with the program's end.
#[async_trait]
pub trait Carry: Send {
    /// Moves bytes both ways until either side, a bound or the call ends it.
    async fn carry(self: Box<Self>, program: Box<dyn Socket>);
}

struct Stream {
    session: Arc<EgressSession>,
    grant: StreamGrant,
    open: OpenStream,
    meter: Meter,
}

/// What is told of a connection when it is over, however that came.
struct Meter {
    session: Arc<EgressSession>,
    grant: StreamGrant,
    began: Instant,
    sent: AtomicU64,
    received: AtomicU64,
    told: bool,
}

/// Why a connection ended before its sides ended it.
enum Cut {
    Denied(HttpError),
    Bound(&'static str),
    Broken,
}

impl EgressSession {
    /// Opens the connection to `host:port`, where a person granted that; nothing where nobody did.
    ///
    /// # Errors
    /// [`HttpError`] where it was granted and is refused or fails all the same.
    pub async fn open_stream(
        self: Arc<Self>,
        host: &Host<String>,
        port: u16,
    ) -> Result<Option<Box<dyn Carry>>, HttpError> {
        let Some(grant) = self.scope.streams.iter().find(|grant| grant.admits(host, port)).cloned() else {
            return Ok(None);
        };
        let began = Instant::now();
        match self.opened(&grant, host, port).await {
            Ok(open) => {
                let (sent, received) = (AtomicU64::new(0), AtomicU64::new(0));
                let meter =
                    Meter { session: Arc::clone(&self), grant: grant.clone(), began, sent, received, told: false };
                Ok(Some(Box::new(Stream { session: self, grant, open, meter })))
            }
            Err((error, address)) => Err(self.recorder().stream_refused(&grant, error, address).await),
        }
    }

    async fn opened(
        &self,
        grant: &StreamGrant,
        host: &Host<String>,
        port: u16,
    ) -> Result<OpenStream, (HttpError, Option<String>)> {
        let plain = |error: HttpError| (error, None);
        self.count().map_err(plain)?;
        // Only what it says of host and port is used.
        let unfit = |_refusal| plain(HttpError::InvalidRequest(format!("{grant} is no place")));
        let url =
            CheckedUrl::parse(&format!("https://{host}:{port}/"), self.inner.wire.limits.url_bytes).map_err(unfit)?;
        let reach = Reach::by_operator(&url);
        let counted = AllowedRequest::asked_by_the_operator(url.clone(), reach, HeaderMap::new());
        self.inner.budget.take(&self.scope.principal, &counted).map_err(plain)?;
        // What is said on it nobody knows, so it may change something.
        let effect = EffectRequest {
            method: "CONNECT".into(),
            url: grant.to_string(),
            host: host.to_string(),
            risk: Risk::Medium,
            credential: None,
            body_bytes: 0,
            hop: 0,
        };
        self.scope.gate.permit(&effect).await.map_err(|denied| {
            let denial = Denial { code: denied.code.into(), message: denied.message, hint: denied.hint };
            plain(HttpError::Denied(denial))
        })?;
        let deadline = Instant::from_std(self.scope.deadline.instant());
        let opened = self.inner.wire.open_stream(&self.owner, &url, reach, deadline).await;
        opened.map_err(|failure| match failure.error {
            HttpError::Denied(denial) if denial.code == "address_not_allowed" => {
                let hint = format!(
                    "let the person in charge grant the address itself: {}://ADDRESS:{port}",
                    grant.protocol().as_str()
                );
                (HttpError::Denied(denial.hint(hint)), failure.detail)
            }
            error => (error, failure.detail),
        })
    }
}

#[async_trait]
impl Carry for Stream {
    async fn carry(self: Box<Self>, program: Box<dyn Socket>) {
        let Self { session, grant, open, mut meter } = *self;
        let OpenStream { socket, slot } = open;
        let limits = &session.inner.wire.limits;
        let (from_program, to_program) = split(program);
        let (from_server, to_server) = split(socket);
        let ended = {
            let up = outward(&session, from_program, to_server, &meter.sent);
            let down =
                moved(from_server, to_program, &meter.received, limits.stream_bytes, limits.stream_idle, |_| Ok(()));
            let both = async { tokio::try_join!(up, down).map(drop) };
            tokio::select! {
                ended = both => ended,
                () = session.scope.deadline.reached() => Err(Cut::Bound("deadline")),
            }
        };
        drop(slot);
        meter.told = true;
        let (outcome, by) = match &ended {
            Ok(()) => (Outcome::Ok, "the sides"),
            Err(Cut::Broken) => (Outcome::Ok, "a side that broke off"),
            Err(Cut::Bound(bound)) => (Outcome::failed(*bound), "a bound"),
            Err(Cut::Denied(error)) => (Outcome::denied(error.code()), "an alarm"),
        };
        let took = meter.began.elapsed();
        let recorder = session.recorder();
        if let Err(Cut::Denied(error)) = &ended {
            tracing::warn!(
                call = %session.scope.call, skill = %session.scope.skill, %grant,
                "a placeholder or a secret was about to go over a connection that nobody reads"
            );
            recorder.stream_alarm(&grant, error).await;
        }
        recorder.stream_over(&grant, outcome, by, (meter.sent(), meter.received()), took);
    }
}

/// What the program sends, looked at as it passes.
async fn outward(
    session: &EgressSession,
    from: ReadHalf<Box<dyn Socket>>,
    to: WriteHalf<Box<dyn Socket>>,
    count: &AtomicU64,
) -> Result<(), Cut> {
    let limits = &session.inner.wire.limits;
    let mut seen: Vec<u8> = Vec::new();
    moved(from, to, count, limits.stream_bytes, limits.stream_idle, |piece| {
        seen.extend_from_slice(piece);
        session.check_stream(&seen).map_err(Cut::Denied)?;
        let old = seen.len().saturating_sub(OVERLAP);
        seen.drain(..old);
        Ok(())
    })
    .await
}

async fn moved<R, W>(
    mut from: R,
    mut to: W,
    count: &AtomicU64,
    most: u64,
    idle: Duration,
    mut look: impl FnMut(&[u8]) -> Result<(), Cut>,
) -> Result<(), Cut>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let mut buffer = vec![0; PIECE];
    loop {
        let read = timeout(idle, from.read(&mut buffer)).await.map_err(|_elapsed| Cut::Bound("stream_idle"))?;
        let length = read.map_err(|_broken| Cut::Broken)?;
        if length == 0 {
            return to.shutdown().await.map_err(|_broken| Cut::Broken);
        }
        if count.load(Ordering::Relaxed) + length as u64 > most {
            return Err(Cut::Bound("stream_too_large"));
        }
        look(&buffer[..length])?;
        let by = Instant::now() + idle;
        let written = timeout_at(by, to.write_all(&buffer[..length])).await;
        written.map_err(|_elapsed| Cut::Bound("stream_idle"))?.map_err(|_broken| Cut::Broken)?;
        count.fetch_add(length as u64, Ordering::Relaxed);
    }
}

impl Meter {
    fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }
}

/// Dropped in the middle: the call was over first.
impl Drop for Meter {
    fn drop(&mut self) {
        if !self.told {
            let counts = (self.sent(), self.received());
            let recorder = self.session.recorder();
            recorder.stream_over(&self.grant, Outcome::Ok, "the end of the call", counts, self.began.elapsed());
        }
    }
}
