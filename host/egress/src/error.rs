//! Why there is no answer. Mirrors `http-error` of `wit/skill.wit`, so that both doors of the sandbox can pass it on.

use serde::{Deserialize, Serialize};
use sophon_types::{Fault, FaultKind, Stage};
use std::borrow::Cow;
use std::fmt;

/// A refusal by the host: nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Denial {
    /// A stable code, such as `host_not_allowed`.
    pub code: Cow<'static, str>,
    /// What was refused, such as `http: DELETE api.github.com/repos/x is not in permissions.network`.
    pub message: String,
    /// What would allow it, in one line that works when it is pasted.
    pub hint: Option<String>,
}

impl Denial {
    pub(crate) fn new(code: &'static str, message: impl fmt::Display) -> Self {
        Self { code: Cow::Borrowed(code), message: format!("http: {message}"), hint: None }
    }

    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Why a request has no answer. No text in it holds a secret that this session brokered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum HttpError {
    /// Refused by the allowlist, an address check, the credential's binding, the effect gate or the secret scan;
    /// this request (of a chain of redirects: this hop) was not sent.
    #[error("{0}")]
    Denied(Denial),
    /// The method, a header field or the body is not one that can be sent; says which.
    #[error("http: {0}")]
    InvalidRequest(String),
    /// The name has no address, or the resolver failed.
    #[error("http: {0}")]
    Dns(String),
    /// No address accepted a connection, or the connection broke before the request was sent.
    #[error("http: {0}")]
    Connection(String),
    /// The other side's certificate or handshake is not acceptable.
    #[error("http: {0}")]
    Tls(String),
    /// A bound of [`EgressLimits`](crate::EgressLimits), of the request or of the call was reached.
    #[error("http: time ran out")]
    Timeout,
    /// The answer is larger than this many bytes.
    #[error("http: the answer is larger than {0} bytes")]
    TooLarge(u64),
    /// The chain of redirects is longer than allowed.
    #[error("http: more redirects than allowed")]
    TooManyRedirects,
    /// The answer is not HTTP/1.1 as RFC 9112 has it, or is encoded although `identity` was asked for.
    #[error("http: {0}")]
    Protocol(String),
    /// A request that may change something was sent, at least in part, and its end could not be learned.
    #[error("http: {0}")]
    UnknownOutcome(String),
    /// The audit log or the vault cannot be used; nothing was sent. For WIT this is a `denied` with the code
    /// `host_unavailable`.
    #[error("http: {0}")]
    HostUnavailable(String),
}

impl HttpError {
    /// This error as a refusal, where it is one: what the contract's `denied` holds.
    #[must_use]
    pub fn denial(&self) -> Option<Denial> {
        match self {
            Self::Denied(denial) => Some(denial.clone()),
            Self::HostUnavailable(_) => {
                Some(Denial { code: self.code().into(), message: self.to_string(), hint: self.hint() })
            }
            _ => None,
        }
    }
}

impl From<Denial> for HttpError {
    fn from(denial: Denial) -> Self {
        Self::Denied(denial)
    }
}

impl Fault for HttpError {
    fn stage(&self) -> Stage {
        Stage::Egress
    }

    fn kind(&self) -> FaultKind {
        match self {
            Self::Denied(_) => FaultKind::Denied,
            Self::InvalidRequest(_) => FaultKind::Invalid,
            Self::Timeout => FaultKind::Timeout,
            Self::TooLarge(_) => FaultKind::TooLarge,
            Self::HostUnavailable(_) => FaultKind::Unavailable,
            Self::Dns(_)
            | Self::Connection(_)
            | Self::Tls(_)
            | Self::TooManyRedirects
            | Self::Protocol(_)
            | Self::UnknownOutcome(_) => FaultKind::Upstream,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Denied(Denial { code: Cow::Borrowed(code), .. }) => code,
            // Egress itself gives constants; a recording gives what its author wrote.
            Self::Denied(_) => "denied",
            Self::InvalidRequest(_) => "invalid_request",
            Self::Dns(_) => "dns_failed",
            Self::Connection(_) => "connection_failed",
            Self::Tls(_) => "tls_failed",
            Self::Timeout => "upstream_timeout",
            Self::TooLarge(_) => "response_too_large",
            Self::TooManyRedirects => "too_many_redirects",
            Self::Protocol(_) => "upstream_protocol",
            Self::UnknownOutcome(_) => "unknown_outcome",
            Self::HostUnavailable(_) => "host_unavailable",
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Denied(denial) => denial.hint.clone(),
            Self::InvalidRequest(_) => None,
            Self::Dns(_) | Self::Connection(_) => {
                Some("check that the service is up and that its name is right".into())
            }
            Self::Tls(_) => {
                Some("check the service's certificate; a private authority's is added in sophon.toml".into())
            }
            Self::Timeout => Some("ask for less at once, or try again later".into()),
            Self::TooLarge(_) => Some("ask for a page or a part at a time".into()),
            Self::TooManyRedirects => Some("request the final address".into()),
            Self::Protocol(_) => None,
            Self::UnknownOutcome(_) => Some("look at the service before doing it again: it may have happened".into()),
            Self::HostUnavailable(_) => Some("see the host's log; sophon doctor names the cause".into()),
        }
    }
}

/// Text that another party had a hand in, at a length fit for a message.
pub(crate) fn brief(text: impl fmt::Display) -> String {
    const MOST: usize = 300;
    let text = text.to_string();
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
