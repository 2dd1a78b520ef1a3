//! What the requests of one call may hold of this host's memory at one time.
//!
//! Promise: no byte of a body is read before there is room for it, and an answer has its room until the program has read it:
//! one that sends without end, or that never reads, keeps no more than that.

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Bytes of an answer that are handed on at one time.
const SLICE: usize = 16 << 10;

/// The room of one call, for all of its connections together.
#[derive(Debug)]
pub struct Room {
    bytes: Arc<Semaphore>,
    lines: Arc<Semaphore>,
    body: usize,
    patience: Duration,
}

/// Room that is taken; given back on drop. By default none.
#[derive(Debug, Default)]
pub struct Held(Option<OwnedSemaphorePermit>);

/// A request that is on its way; over on drop.
#[derive(Debug)]
pub struct Line(#[expect(dead_code, reason = "held, not looked at")] OwnedSemaphorePermit);

/// Why a body is not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoBody {
    TooLarge(usize),
    Late,
    Broken(String),
}

impl Room {
    /// Room for `bytes` of bodies at one time, `lines` requests on their way and bodies of up to `body` bytes. Who waits for
    /// more, or for a body, does so for `patience`.
    #[must_use]
    pub fn new(bytes: usize, lines: usize, body: usize, patience: Duration) -> Self {
        let permits = |count: usize| Arc::new(Semaphore::new(count.min(Semaphore::MAX_PERMITS)));
        Self { bytes: permits(bytes), lines: permits(lines.max(1)), body: body.min(bytes), patience }
    }

    /// Waits until one more request may be on its way.
    pub async fn line(&self) -> Option<Line> {
        Arc::clone(&self.lines).acquire_owned().await.ok().map(Line)
    }

    /// Waits for room for `bytes`; nothing where none becomes free in time, or there can be none.
    pub async fn hold(&self, bytes: usize) -> Option<Held> {
        if bytes == 0 {
            return Some(Held(None));
        }
        let bytes = u32::try_from(bytes).ok()?;
        let taken = timeout(self.patience, Arc::clone(&self.bytes).acquire_many_owned(bytes)).await;
        Some(Held(Some(taken.ok()?.ok()?)))
    }

    /// Reads a body for which there is room.
    pub(super) async fn read(&self, body: Incoming) -> Result<(Bytes, Held), NoBody> {
        timeout(self.patience, self.read_all(body)).await.unwrap_or(Err(NoBody::Late))
    }

    async fn read_all(&self, mut body: Incoming) -> Result<(Bytes, Held), NoBody> {
        let too_large = || NoBody::TooLarge(self.body);
        // A body of no known length may be as long as any.
        let most = body.size_hint().exact().map_or(Some(self.body), |length| usize::try_from(length).ok());
        let most = most.filter(|most| *most <= self.body).ok_or_else(too_large)?;
        let mut held = self.hold(most).await.ok_or(NoBody::Late)?;
        let mut read = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| NoBody::Broken(error.to_string()))?;
            let Ok(data) = frame.into_data() else { continue };
            if data.len() > most - read.len() {
                return Err(too_large());
            }
            read.extend_from_slice(&data);
        }
        held.shrink(read.len());
        Ok((read.freeze(), held))
    }
}

impl Held {
    fn shrink(&mut self, bytes: usize) {
        if let Some(permit) = &mut self.0 {
            drop(permit.split(permit.num_permits().saturating_sub(bytes)));
        }
    }
}

/// An answer on its way to a program, piece by piece: the server takes no more of it than it can write.
pub(super) struct Pieces {
    rest: Bytes,
    _held: Held,
}

impl Pieces {
    pub(super) fn new(body: Bytes, held: Held) -> Self {
        Self { rest: body, _held: held }
    }
}

impl From<Bytes> for Pieces {
    /// Of this host's own, which is short.
    fn from(body: Bytes) -> Self {
        Self::new(body, Held(None))
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let length = self.rest.len().min(SLICE);
        Poll::Ready(Some(Ok(Frame::data(self.rest.split_to(length)))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
