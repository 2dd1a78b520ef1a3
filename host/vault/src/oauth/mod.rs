//! OAuth 2.1 for connections: how a person connects an account without showing the host a password, and how the tokens
//! stay good.
//!
//! Promises: PKCE with S256 always; a state is good once, for one tenant, user and service, for ten minutes; the answer
//! comes to exactly the redirect that was asked for, and names exactly the issuer that was configured (RFC 9207); tokens
//! of one issuer are never shown to another; a refresh token leaves the vault for the token endpoint alone; of any number
//! of calls that find a token stale, one renews it. What goes out goes through the [`Transport`] that egress implements:
//! nothing here opens a socket.
//!
//! - [`Providers`]: `[oauth.SERVICE]` of `sophon.toml`, checked ([`Provider`]).
//! - `metadata`: where a provider's endpoints are (RFC 8414, OpenID Connect Discovery).
//! - `flow`: from [`Vault::authorise`](crate::Vault::authorise) to [`Vault::finish`](crate::Vault::finish), in a browser
//!   or on another device (RFC 8628).
//! - `endpoint`: what is asked of a token endpoint, and how its answer is read.
//! - `refresh`, `exchange`, `revoke`: renewing (RFC 6749, 6), narrowing (RFC 8693) and giving up (RFC 7009) of tokens.

mod endpoint;
mod error;
mod exchange;
mod flights;
mod flow;
mod grant;
mod metadata;
mod provider;
mod refresh;
mod revoke;
mod transport;

pub use error::{OauthError, Unkept};
pub use exchange::ScopedToken;
pub use flow::{Asked, Callback, Started, Waiting, Way};
pub use grant::{Grant, Standing};
pub use provider::{ClientAuth, Provider, Providers, TokenExchange};
pub use transport::{Named, Transport, TransportError, TransportRequest, TransportResponse};

pub(crate) use flights::Flights;
pub(crate) use grant::REFRESH_TOKEN;

use metadata::Discovered;
use secrecy::SecretString;
use sophon_types::ServiceName;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// What the vault needs to speak OAuth.
pub struct OauthParts {
    /// The configured providers.
    pub providers: Providers,
    /// The secrets of those that have one in a file.
    pub client_secrets: BTreeMap<ServiceName, SecretString>,
    /// The way out.
    pub transport: Arc<dyn Transport>,
}

impl fmt::Debug for OauthParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OauthParts").field("providers", &self.providers).finish_non_exhaustive()
    }
}

/// The same, in use.
pub(crate) struct Oauth {
    pub(crate) parts: OauthParts,
    pub(crate) discovered: Discovered,
}

impl Oauth {
    pub(crate) fn new(parts: OauthParts) -> Self {
        Self { parts, discovered: Discovered::default() }
    }

    pub(crate) fn provider(&self, service: &ServiceName) -> Result<&Provider, OauthError> {
        self.parts.providers.of(service).ok_or_else(|| OauthError::NotConfigured { service: service.clone() })
    }
}
