//! One HTTP/1.1 connection and one exchange on it, everything bounded.
//!
//! Promise: whatever the server does (endless header, endless body, one byte a minute, bad framing), the exchange
//! ends within its bounds, and a connection that did anything odd is closed, not used again.

use crate::EgressLimits;
use crate::dial::Socket;
use crate::driver::Driver;
use crate::error::HttpError;
use crate::gate::is_write;
use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap};
use http::{Method, Request, StatusCode};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use std::error::Error as _;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// The lowest read buffer that hyper accepts.
const LEAST_BUFFER: usize = 8192;

/// A complete answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

/// Why there is no complete answer, and how far it came.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) error: HttpError,
    pub(crate) progress: Progress,
    /// What only the operator should see, such as a private address.
    pub(crate) detail: Option<String>,
}

/// How far an exchange came before it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// No byte of the request left.
    NotSent,
    /// The connection was closed, by the look of it before the server read the request: a kept connection that the
    /// server gave up meanwhile.
    Stale,
    /// At least a part may have arrived.
    MaybeSent,
}

impl Failure {
    pub(crate) fn not_sent(error: impl Into<HttpError>) -> Self {
        Self { error: error.into(), progress: Progress::NotSent, detail: None }
    }

    /// The request was sent, and what came back is of no use.
    pub(crate) fn sent(error: HttpError) -> Self {
        Self { error, progress: Progress::MaybeSent, detail: None }
    }

    /// The error to report: a write whose end is not known is of unknown outcome, whatever broke.
    pub(crate) fn into_error(self, method: &Method) -> HttpError {
        if self.progress == Progress::NotSent || !is_write(method) {
            return self.error;
        }
        match self.error {
            error @ HttpError::TooLarge(_) => error,
            HttpError::Timeout => HttpError::UnknownOutcome(format!("{method} was sent, but time ran out")),
            error => {
                let text = error.to_string();
                let cause = text.strip_prefix("http: ").unwrap_or(&text);
                HttpError::UnknownOutcome(format!("{method} was sent, but {cause}"))
            }
        }
    }
}

/// A connection to one checked address. Closed when dropped, in the middle of a message too.
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: Driver,
    peer: SocketAddr,
    opened: Instant,
}

impl Connection {
    pub(crate) async fn start(
        stream: Box<dyn Socket>,
        peer: SocketAddr,
        limits: &EgressLimits,
    ) -> Result<Self, HttpError> {
        let (sender, driver) = http1::Builder::new()
            .max_headers(limits.response_fields)
            .max_buf_size(limits.response_header_bytes.max(LEAST_BUFFER))
            .max_header_size(limits.response_header_bytes)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| HttpError::Connection(error.to_string()))?;
        Ok(Self { sender, driver: Driver::new(driver), peer, opened: Instant::now() })
    }

    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    pub(crate) fn age(&self) -> Duration {
        self.opened.elapsed()
    }

    /// Whether it is closed, as far as is known without waiting.
    pub(crate) fn is_closed(&mut self) -> bool {
        self.driver.advance();
        self.sender.is_closed()
    }

    /// Waits until the last message is out of the way; false where the connection cannot be used again.
    pub(crate) async fn is_ready(&mut self) -> bool {
        let soon = Instant::now() + Duration::from_millis(100);
        let ready = timeout_at(soon, self.driver.until(self.sender.ready())).await;
        matches!(ready, Ok(Ok(())))
    }

    /// Sends `request` and reads the whole answer.
    pub(crate) async fn exchange(
        &mut self,
        request: Request<Full<Bytes>>,
        limits: &EgressLimits,
        deadline: Instant,
    ) -> Result<Answer, Failure> {
        let header_by = deadline.min(Instant::now() + limits.header);
        let response = timeout_at(header_by, self.driver.until(self.sender.try_send_request(request)))
            .await
            .map_err(|_elapsed| Failure::sent(HttpError::Timeout))?
            .map_err(|mut refused| {
                let unsent = refused.take_message().is_some();
                classify(refused.error(), unsent, limits)
            })?;
        let (parts, body) = response.into_parts();
        check_framing(parts.status, &parts.headers).map_err(Failure::sent)?;
        let body = read_body(&mut self.driver, body, limits, deadline).await.map_err(|error| {
            let status = parts.status.as_u16();
            Failure::sent(match error {
                HttpError::Connection(text) => {
                    HttpError::Connection(format!("the answer ({status}) broke off: {text}"))
                }
                other => other,
            })
        })?;
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    }
}

fn classify(error: &hyper::Error, unsent: bool, limits: &EgressLimits) -> Failure {
    let (cause, closed) = if error.is_parse_too_large() {
        (HttpError::TooLarge(limits.response_header_bytes as u64), false)
    } else if error.is_parse() {
        (HttpError::Protocol(format!("the answer is not HTTP/1.1: {error}")), false)
    } else {
        (HttpError::Connection(format!("the connection broke: {error}")), true)
    };
    let progress = match (unsent, closed) {
        (true, _) => Progress::NotSent,
        (false, true) => Progress::Stale,
        (false, false) => Progress::MaybeSent,
    };
    Failure { error: cause, progress, detail: None }
}

/// Refuses framing that two readers could take differently (RFC 9112, 6.3 and 11.1).
fn check_framing(status: StatusCode, headers: &HeaderMap) -> Result<(), HttpError> {
    let odd = |what: &str| Err(HttpError::Protocol(format!("the answer {what}")));
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return odd("switches protocols, which nobody asked for");
    }
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        if codings.next().is_some() || !coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") {
            return odd("has a transfer coding other than chunked");
        }
        if headers.contains_key(header::CONTENT_LENGTH) {
            return odd("is both chunked and of a stated length");
        }
    }
    if headers.get_all(header::CONTENT_LENGTH).iter().count() > 1 {
        return odd("states its length more than once");
    }
    Ok(())
}

async fn read_body(
    driver: &mut Driver,
    mut body: Incoming,
    limits: &EgressLimits,
    deadline: Instant,
) -> Result<Bytes, HttpError> {
    let most = limits.response_body_bytes;
    let too_large = || HttpError::TooLarge(most as u64);
    if body.size_hint().lower() > most as u64 {
        return Err(too_large());
    }
    let mut read = BytesMut::new();
    loop {
        let by = deadline.min(Instant::now() + limits.body_idle);
        let Some(frame) = timeout_at(by, driver.until(body.frame())).await.map_err(|_elapsed| HttpError::Timeout)?
        else {
            return Ok(read.freeze());
        };
        let frame = frame.map_err(|error| {
            if is_malformed(&error) {
                HttpError::Protocol(format!("the answer's body is not HTTP/1.1: {error}"))
            } else {
                HttpError::Connection(error.to_string())
            }
        })?;
        // Trailers are dropped: nothing that matters comes after the body.
        if let Ok(data) = frame.into_data() {
            if read.len() + data.len() > most {
                return Err(too_large());
            }
            read.extend_from_slice(&data);
        }
    }
}

/// Bad chunks come as I/O errors of these kinds.
fn is_malformed(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|source| source.downcast_ref::<io::Error>()).map(io::Error::kind);
    error.is_parse() || matches!(cause, Some(io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput))
}
