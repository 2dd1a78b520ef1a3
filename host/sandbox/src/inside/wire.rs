//! The messages between the host and the executor inside: a head in JSON, and bytes beside it.

use crate::{Limits, LogLine, Progress, RunFailure, StateError, Usage};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sophon_egress::{HttpError, TokenRefused};
use std::collections::BTreeMap;

/// Bytes of a message's head: state values are in it, as numbers.
const MOST_HEAD: usize = 8 << 20;
/// Bytes beside it where they come from the host: a component, or an answer.
const MOST_BYTES: usize = 96 << 20;

/// What the host says first. The component is beside it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Begin {
    pub(crate) manifest: String,
    pub(crate) limits: Limits,
    pub(crate) tool: String,
    pub(crate) arguments: String,
    pub(crate) call_id: String,
    pub(crate) correlation_id: String,
    pub(crate) session: Option<String>,
    pub(crate) left_ms: u64,
    pub(crate) connections: Vec<Service>,
    pub(crate) tokens: bool,
    pub(crate) http: bool,
    pub(crate) settings: BTreeMap<String, String>,
}

/// A declared service.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Service {
    pub(crate) service: String,
    pub(crate) connected: bool,
    pub(crate) scoped_token: bool,
}

/// What comes from inside.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromInside {
    /// Something is asked for.
    Ask { number: u64, ask: Ask },
    /// The skill reports progress.
    Progress(Progress),
    /// The call is over.
    Done(Box<Done>),
}

/// A request through a door. The body of a request is beside it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Ask {
    Http {
        method: String,
        url: String,
        headers: Vec<(String, Vec<u8>)>,
        has_body: bool,
        credential: Option<String>,
        follow: bool,
        timeout_ms: Option<u64>,
    },
    Token(String),
    State(StateAsk),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum StateAsk {
    Read { key: String },
    Write { key: String, value: Vec<u8> },
    Delete { key: String },
    Keys { prefix: String, after: Option<String>, limit: u32 },
    Swap { key: String, expected: Option<Vec<u8>>, value: Vec<u8> },
}

/// An answer to what was asked.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Reply {
    pub(crate) number: u64,
    pub(crate) answer: Answer,
}

/// The body of a response is beside it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Http(Result<Head, HttpError>),
    Token(Result<String, TokenRefused>),
    Value(Result<Option<Vec<u8>>, StateError>),
    Done(Result<(), StateError>),
    Keys(Result<Vec<String>, StateError>),
}

/// A response without its body.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
}

/// How the call ended. The result is the component's own text: reading it twice could change a number.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Done {
    pub(crate) output: Result<String, RunFailure>,
    pub(crate) usage: Usage,
    pub(crate) logs: Vec<LogLine>,
    pub(crate) logs_dropped: u64,
    pub(crate) progress: Option<Progress>,
}

/// A message as it is sent.
pub(crate) fn encode(head: &impl Serialize, bytes: &[u8]) -> serde_json::Result<Vec<u8>> {
    let head = serde_json::to_vec(head)?;
    let mut message = Vec::with_capacity(8 + head.len() + bytes.len());
    for part in [&head[..], bytes] {
        message.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
    }
    message.extend_from_slice(&head);
    message.extend_from_slice(bytes);
    Ok(message)
}

/// Makes messages of bytes as they come.
#[derive(Debug)]
pub(crate) struct Messages {
    bytes: Vec<u8>,
    /// What may stand beside a message.
    most: usize,
    /// What the last message took.
    took: usize,
}

impl Messages {
    /// Of what the host says.
    pub(crate) fn from_host() -> Self {
        Self::with(MOST_BYTES)
    }

    /// With up to `most` bytes beside each.
    pub(crate) fn with(most: usize) -> Self {
        Self { bytes: Vec::new(), most, took: 0 }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Bytes of the message that was taken last, and beside it.
    pub(crate) fn took(&self) -> usize {
        self.took
    }

    /// The next whole message, where there is one.
    pub(crate) fn take<T: DeserializeOwned>(&mut self) -> Result<Option<(T, Vec<u8>)>, String> {
        let Some(&[a, b, c, d, e, f, g, h]) = self.bytes.first_chunk() else { return Ok(None) };
        let head = u32::from_be_bytes([a, b, c, d]) as usize;
        let bytes = u32::from_be_bytes([e, f, g, h]) as usize;
        if head > MOST_HEAD || bytes > self.most {
            return Err(format!("a message of {head} and {bytes} bytes"));
        }
        let Some(whole) = self.bytes.get(8..8 + head + bytes) else { return Ok(None) };
        let (head_bytes, beside) = whole.split_at(head);
        let message = serde_json::from_slice(head_bytes).map_err(|error| format!("a message that is none: {error}"))?;
        let beside = beside.to_vec();
        self.took = head + bytes;
        self.bytes.drain(..8 + head + bytes);
        Ok(Some((message, beside)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_however_their_bytes_are_cut() {
        let asks = [
            (FromInside::Ask { number: 7, ask: Ask::Token("web".into()) }, &b""[..]),
            (FromInside::Progress(Progress { percent: 3, message: "ü".into() }), &b"beside"[..]),
        ];
        let bytes: Vec<u8> = asks.iter().flat_map(|(head, beside)| encode(head, beside).unwrap()).collect();
        for step in [1, 7, 8, 9, bytes.len()] {
            let (mut messages, mut found) = (Messages::from_host(), Vec::new());
            for part in bytes.chunks(step) {
                messages.push(part);
                while let Some((message, beside)) = messages.take::<FromInside>().unwrap() {
                    found.push((format!("{message:?}"), beside));
                }
            }
            let expected: Vec<_> = asks.iter().map(|(head, beside)| (format!("{head:?}"), beside.to_vec())).collect();
            assert_eq!(found, expected, "{step}");
        }
    }

    #[test]
    fn what_is_no_message_is_refused_before_it_is_kept() {
        let mut messages = Messages::from_host();
        messages.push(&[0xff; 8]);
        assert!(messages.take::<FromInside>().is_err());
        let mut messages = Messages::with(100);
        messages.push(&encode(&FromInside::Ask { number: 1, ask: Ask::Token("a".into()) }, &[0; 101]).unwrap()[..8]);
        assert!(messages.take::<FromInside>().is_err(), "a body that is larger than any may be");
        let mut messages = Messages::from_host();
        messages.push(&encode(&"other", b"").unwrap());
        assert!(messages.take::<FromInside>().is_err());
    }
}
