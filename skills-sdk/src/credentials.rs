//! Credentials by name. A stored secret never reaches a skill: name the service in a request
//! ([`Request::credential`](crate::http::Request::credential)) and the host attaches it outside.

use std::fmt;

use crate::error::{ErrorKind, Result, ToolError};
use crate::host::credentials as host;

/// A service of the manifest's `credentials`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Connection {
    /// The service, as in the manifest.
    pub service: String,
    /// Whether the user behind this call has connected it.
    pub connected: bool,
    /// How it may be used.
    pub access: Access,
}

/// How a service may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Access {
    /// The host attaches the credential to requests.
    Proxy,
    /// The host gives out a short-lived token ([`scoped_token`]), and attaches nothing.
    ScopedToken,
}

/// The manifest's services and whether they are connected.
pub fn connections() -> Vec<Connection> {
    let present = |c: host::Connection| Connection {
        service: c.service,
        connected: c.connected,
        access: match c.access {
            host::Access::Proxy => Access::Proxy,
            host::Access::ScopedToken => Access::ScopedToken,
        },
    };
    host::connections().into_iter().map(present).collect()
}

/// Whether the user behind this call has connected `service`.
pub fn connected(service: &str) -> bool {
    host::connections().iter().any(|c| c.service == service && c.connected)
}

/// Ends the call with a useful text unless `service` is connected.
pub fn require(service: &str) -> Result<()> {
    if connected(service) {
        return Ok(());
    }
    Err(ToolError::denied(format_args!("{service} is not connected; connect an account for it first")))
}

/// A short-lived token of no more than the declared scopes, where the manifest says `"access": "scoped-token"`.
pub fn scoped_token(service: &str) -> Result<String, Error> {
    host::scoped_token(service).map_err(|error| match error {
        host::CredentialError::Undeclared(what) => Error::Undeclared(what),
        host::CredentialError::NotConnected(what) => Error::NotConnected(what),
        host::CredentialError::NotAvailable(what) => Error::NotAvailable(what),
    })
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The manifest does not declare the service.
    Undeclared(String),
    /// Nobody has connected the service.
    NotConnected(String),
    /// The manifest did not opt in to a token, or the host has none to give.
    NotAvailable(String),
}

impl Error {
    pub(crate) fn kind(&self) -> ErrorKind {
        ErrorKind::Denied
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Undeclared(what) => write!(f, "the manifest's `credentials` does not declare {what}"),
            Self::NotConnected(what) => write!(f, "{what} is not connected; connect an account for it first"),
            Self::NotAvailable(what) => write!(f, "there is no token to give out: {what}"),
        }
    }
}

impl std::error::Error for Error {}
