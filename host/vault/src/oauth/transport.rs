//! How the vault reaches an authorisation server: a trait that egress implements, so that only egress opens sockets.

use async_trait::async_trait;
use sophon_types::{ServiceName, TenantId, UserId};
use std::fmt;
use zeroize::Zeroizing;

/// Who put an endpoint's address into the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    /// The operator, in `sophon.toml`: it may be on this machine or in a private network.
    ByOperator,
    /// The provider, in its metadata: public addresses over https only.
    ByProvider,
}

/// One request to an authorisation server. Redirects are not followed.
pub struct TransportRequest {
    /// For whose connection: connections of different tenants and users share nothing on the wire.
    pub tenant: TenantId,
    /// For whose connection.
    pub user: UserId,
    /// Which service's server.
    pub service: ServiceName,
    /// Absolute.
    pub url: String,
    /// Whose word the URL's host is.
    pub named: Named,
    /// The form to POST; a GET where there is none.
    pub form: Option<Zeroizing<String>>,
    /// The `Authorization` header of the client.
    pub authorization: Option<Zeroizing<String>>,
}

impl fmt::Debug for TransportRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransportRequest").field("service", &self.service).finish_non_exhaustive()
    }
}

/// An answer, complete.
pub struct TransportResponse {
    /// The status code.
    pub status: u16,
    /// The body.
    pub body: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for TransportResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TransportResponse({})", self.status)
    }
}

/// Why there is no answer. No text of it holds what was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// The address may not be reached; nothing was sent.
    #[error("{0}")]
    Refused(String),
    /// No connection, no answer, or one that cannot be read. The request may have arrived.
    #[error("{0}")]
    Failed(String),
}

/// Sends what the vault asks of an authorisation server.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Sends one request and waits for the whole answer.
    ///
    /// # Errors
    /// [`TransportError`].
    async fn send(&self, request: TransportRequest) -> Result<TransportResponse, TransportError>;
}
