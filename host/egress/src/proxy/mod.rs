//! The door for ordinary programs: an HTTP proxy whose other side is [`EgressSession::send`](crate::EgressSession::send).
//!
//! A native skill's programs are told of a proxy on their loopback; every byte of a connection to it comes here. What
//! the program wants is read as HTTP, TLS is ended here with a certificate that only that sandbox trusts
//! ([`Authority`]), and each request goes the way that every request of a skill goes: allowlist, address checks, gate,
//! credential, audit, redaction. There is no tunnel but to a place that a person granted as one: other bytes
//! that are not HTTP go nowhere, and the program is told so.

mod authority;
mod exchange;
mod room;
mod tunnel;

pub use authority::{Authority, AuthorityError};
pub use room::{Held, Line, Room};

use crate::admit::HttpRequest;
use crate::error::HttpError;
use crate::session::HttpResponse;
use crate::stream::Carry;
use async_trait::async_trait;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use url::Host;

/// Where a proxied request goes.
#[async_trait]
pub trait Outgoing: Send + Sync {
    /// Sends it, or says why not.
    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError>;

    /// What its requests may hold at one time.
    fn room(&self) -> &Room;

    /// Opens a connection that is no HTTP, where a person granted that very place; nothing where nobody did.
    async fn stream(&self, host: &Host<String>, port: u16) -> Result<Option<Box<dyn Carry>>, HttpError>;

    /// Told of what a program tried that is no HTTP; it goes nowhere.
    fn refused(&self, what: &str);
}

/// Serves one connection of a program until either side ends it. Everything that comes of it happens in this future: when
/// it is dropped, no request of the connection goes on.
pub async fn serve<S>(stream: S, authority: Arc<Authority>, outgoing: Arc<dyn Outgoing>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    tunnel::serve(stream, authority, outgoing).await;
}

#[cfg(test)]
mod tests;
