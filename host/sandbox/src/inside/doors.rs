//! The doors of a component inside: each puts what it is asked to the host, and waits for the answer.

use super::wire::{Answer, Ask, FromInside, StateAsk, encode};
use crate::{HttpDoor, StateDoor, StateError, TokenDoor};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use sophon_egress::{Deadline, HttpError, HttpRequest, HttpResponse, Redirects, TokenRefused};
use sophon_store::Quota;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{mpsc, oneshot};

/// Takes an answer and what is beside it.
type Waiting = oneshot::Sender<(Answer, Vec<u8>)>;

/// The way to the host. One for all doors of the call.
pub(super) struct Host {
    to_host: mpsc::UnboundedSender<Vec<u8>>,
    next: AtomicU64,
    waiting: Mutex<HashMap<u64, Waiting>>,
    deadline: Arc<Deadline>,
}

impl Host {
    pub(super) fn new(to_host: mpsc::UnboundedSender<Vec<u8>>, deadline: Arc<Deadline>) -> Arc<Self> {
        Arc::new(Self { to_host, next: AtomicU64::new(0), waiting: Mutex::default(), deadline })
    }

    /// An answer has come.
    pub(super) fn answered(&self, number: u64, answer: Answer, beside: Vec<u8>) {
        if let Some(waiting) = self.waiting.lock().remove(&number) {
            // Whoever asked may be gone with its call.
            if waiting.send((answer, beside)).is_err() {}
        }
    }

    async fn ask(&self, ask: Ask, beside: &[u8]) -> Option<(Answer, Vec<u8>)> {
        // Time that the host takes, a person's included, is counted there.
        let _paused = self.deadline.pause();
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        self.waiting.lock().insert(number, sender);
        let message = encode(&FromInside::Ask { number, ask }, beside).ok()?;
        self.to_host.send(message).ok()?;
        answer.await.ok()
    }

    async fn state(&self, ask: StateAsk) -> Option<Answer> {
        self.ask(Ask::State(ask), &[]).await.map(|(answer, _)| answer)
    }
}

/// The host is gone, or makes no sense: this process is about to end.
const LOST: &str = "the host does not answer";

#[async_trait]
impl HttpDoor for Host {
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let HttpRequest { method, url, headers, body, credential, redirects, timeout } = request;
        let ask = Ask::Http {
            method,
            url,
            headers,
            has_body: body.is_some(),
            credential,
            follow: redirects == Redirects::Follow,
            timeout_ms: timeout.map(|timeout| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX)),
        };
        match self.ask(ask, &body.unwrap_or_default()).await {
            Some((Answer::Http(answer), body)) => {
                let head = answer?;
                Ok(HttpResponse { status: head.status, url: head.url, headers: head.headers, body: Bytes::from(body) })
            }
            _ => Err(HttpError::HostUnavailable(LOST.into())),
        }
    }
}

#[async_trait]
impl TokenDoor for Host {
    async fn scoped_token(&self, service: &str) -> Result<String, TokenRefused> {
        match self.ask(Ask::Token(service.to_owned()), &[]).await {
            Some((Answer::Token(answer), _)) => answer,
            _ => Err(TokenRefused::Host(HttpError::HostUnavailable(LOST.into()))),
        }
    }
}

fn lost<T>() -> Result<T, StateError> {
    Err(StateError::Unavailable(LOST.into()))
}

/// The quotas are the host's to keep: they are not sent.
#[async_trait]
impl StateDoor for Host {
    async fn read(&self, key: &str) -> Result<Option<Vec<u8>>, StateError> {
        match self.state(StateAsk::Read { key: key.to_owned() }).await {
            Some(Answer::Value(value)) => value,
            _ => lost(),
        }
    }

    async fn write(&self, key: &str, value: Vec<u8>, _quota: Quota) -> Result<(), StateError> {
        match self.state(StateAsk::Write { key: key.to_owned(), value }).await {
            Some(Answer::Done(done)) => done,
            _ => lost(),
        }
    }

    async fn delete(&self, key: &str) -> Result<(), StateError> {
        match self.state(StateAsk::Delete { key: key.to_owned() }).await {
            Some(Answer::Done(done)) => done,
            _ => lost(),
        }
    }

    async fn keys(&self, prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<String>, StateError> {
        let ask = StateAsk::Keys { prefix: prefix.to_owned(), after: after.map(str::to_owned), limit };
        match self.state(ask).await {
            Some(Answer::Keys(keys)) => keys,
            _ => lost(),
        }
    }

    async fn compare_and_set(
        &self,
        key: &str,
        expected: Option<Vec<u8>>,
        value: Vec<u8>,
        _quota: Quota,
    ) -> Result<(), StateError> {
        match self.state(StateAsk::Swap { key: key.to_owned(), expected, value }).await {
            Some(Answer::Done(done)) => done,
            _ => lost(),
        }
    }
}
