//! Why there is no answer, or not the one that was wanted.

use std::fmt;

use crate::error::ErrorKind;
use crate::host::http as host;

/// Why there is no answer, or not the one that was wanted.
///
/// By `?` it becomes a [`ToolError`](crate::ToolError) whose kind says what an agent can do about it: a refusal by the
/// host is `denied` and carries the hint; 401 and 403 are `denied`, 404 and 410 `not-found`, 400 and 422
/// `invalid-arguments`, 408, 429 and 5xx `unavailable`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// Refused by policy; nothing was sent.
    Denied {
        /// A stable code, such as `host_not_allowed`.
        code: String,
        /// What was refused.
        message: String,
        /// What would allow it.
        hint: Option<String>,
    },
    /// Not a request that can be sent; says which part.
    InvalidRequest(String),
    /// The name did not resolve.
    Dns(String),
    /// No connection could be made, or it broke.
    Connection(String),
    /// The other side's certificate or handshake was not acceptable.
    Tls(String),
    /// Time ran out.
    Timeout,
    /// The answer is larger than allowed; the limit in bytes.
    TooLarge(u64),
    /// More redirects than allowed.
    TooManyRedirects,
    /// The other side does not speak HTTP as it should.
    Protocol(String),
    /// The request may have had its effect, but how it ended could not be learned. Do not just send it again.
    UnknownOutcome(String),
    /// The answer's status is 400 or above ([`Response::error_for_status`](super::Response::error_for_status)).
    Status {
        /// The status code.
        status: u16,
        /// Where the answer came from, without its query.
        url: String,
        /// The start of the body, at most 500 characters.
        body: String,
    },
    /// The body is not the JSON that was expected.
    Body(String),
}

impl Error {
    /// The status of an answer, where there was one.
    pub fn status_code(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    pub(super) fn status(status: u16, url: &str, body: &[u8]) -> Self {
        // A query may hold what the user typed; the path is enough to see which request it was.
        let url = url.split(['?', '#']).next().unwrap_or_default().to_owned();
        let body = String::from_utf8_lossy(body).trim().chars().take(500).collect();
        Self::Status { status, url, body }
    }

    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Denied { .. } | Self::Status { status: 401 | 403, .. } => ErrorKind::Denied,
            Self::Status { status: 404 | 410, .. } => ErrorKind::NotFound,
            Self::Status { status: 400 | 422, .. } => ErrorKind::InvalidArguments,
            Self::Status { status: 408 | 429 | 500.., .. } => ErrorKind::Unavailable,
            Self::Dns(_) | Self::Connection(_) | Self::Tls(_) | Self::Timeout => ErrorKind::Unavailable,
            Self::InvalidRequest(_)
            | Self::TooLarge(_)
            | Self::TooManyRedirects
            | Self::Protocol(_)
            | Self::UnknownOutcome(_)
            | Self::Status { .. }
            | Self::Body(_) => ErrorKind::Failed,
        }
    }

    pub(super) fn from_wit(error: host::HttpError) -> Self {
        match error {
            host::HttpError::Denied(denial) => {
                Self::Denied { code: denial.code, message: denial.message, hint: denial.hint }
            }
            host::HttpError::InvalidRequest(what) => Self::InvalidRequest(what),
            host::HttpError::Dns(what) => Self::Dns(what),
            host::HttpError::Connection(what) => Self::Connection(what),
            host::HttpError::Tls(what) => Self::Tls(what),
            host::HttpError::Timeout => Self::Timeout,
            host::HttpError::TooLarge(limit) => Self::TooLarge(limit),
            host::HttpError::TooManyRedirects => Self::TooManyRedirects,
            host::HttpError::Protocol(what) => Self::Protocol(what),
            host::HttpError::UnknownOutcome(what) => Self::UnknownOutcome(what),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied { code, message, hint } => {
                write!(f, "{message} ({code})")?;
                match hint {
                    Some(hint) => write!(f, "\nhint: {hint}"),
                    None => Ok(()),
                }
            }
            Self::InvalidRequest(what) => write!(f, "not a request that can be sent: {what}"),
            Self::Dns(what) => write!(f, "the name did not resolve: {what}"),
            Self::Connection(what) => write!(f, "no connection: {what}"),
            Self::Tls(what) => write!(f, "no secure connection: {what}"),
            Self::Timeout => f.write_str("no answer in time"),
            Self::TooLarge(limit) => write!(f, "the answer is larger than {limit} bytes"),
            Self::TooManyRedirects => f.write_str("too many redirects"),
            Self::Protocol(what) => write!(f, "the answer is not HTTP as it should be: {what}"),
            Self::UnknownOutcome(what) => write!(f, "the request may have had its effect: {what}"),
            Self::Status { status, url, body } if body.is_empty() => write!(f, "{url} answered {status}"),
            Self::Status { status, url, body } => write!(f, "{url} answered {status}: {body}"),
            Self::Body(what) => write!(f, "the answer is not the JSON that was expected: {what}"),
        }
    }
}

impl std::error::Error for Error {}
