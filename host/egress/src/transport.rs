//! The vault's way to authorisation servers.
//!
//! Promise: one request, one answer, no redirect followed, nothing cached in between; a server that the operator named
//! may be on this machine or in a private network, one that only a provider's metadata name is public and speaks https.

use crate::address::Reach;
use crate::admit::AllowedRequest;
use crate::dispatch::Wire;
use crate::error::{HttpError, brief};
use crate::owner::{Owner, Party};
use crate::url::CheckedUrl;
use async_trait::async_trait;
use http::header::{CONTENT_ENCODING, HeaderValue};
use sophon_skill::Scheme;
use sophon_vault::{Named, Transport, TransportError, TransportRequest, TransportResponse};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use zeroize::Zeroizing;

/// How long one exchange may take: somebody waits for it.
const PATIENCE: Duration = Duration::from_secs(20);
/// The largest answer that is read as one.
const LARGEST: usize = 256 * 1024;

/// Sends what the vault asks over the wire that skills use.
pub(crate) struct ProviderTransport {
    wire: Arc<Wire>,
}

impl ProviderTransport {
    pub(crate) fn over(wire: Arc<Wire>) -> Self {
        Self { wire }
    }
}

#[async_trait]
impl Transport for ProviderTransport {
    async fn send(&self, request: TransportRequest) -> Result<TransportResponse, TransportError> {
        let refused = |why: &str| TransportError::Refused(why.to_owned());
        let url = CheckedUrl::parse(&request.url, self.wire.limits.url_bytes)
            .map_err(|refusal| TransportError::Refused(refusal.to_string()))?;
        let reach = match request.named {
            Named::ByProvider if url.scheme() != Scheme::Https => return Err(refused("not https")),
            Named::ByProvider => Reach::Public,
            Named::ByOperator => Reach::by_operator(&url),
        };
        let authorization = request.authorization.as_ref().map(|value| HeaderValue::from_str(value)).transpose();
        let authorization = authorization.map_err(|_invalid| refused("the client's id cannot be sent"))?;
        let body = request.form.as_ref().map(|form| form.as_bytes());
        let allowed = AllowedRequest::of_the_vault(url, reach, body, authorization);
        let owner = Owner { tenant: request.tenant, user: request.user, party: Party::Vault(request.service) };
        let deadline = Instant::now() + PATIENCE.min(self.wire.limits.exchange);
        let answer = self.wire.dispatch(&owner, &allowed, None, deadline).await.map_err(|failure| {
            match failure.into_error(allowed.method()) {
                HttpError::Denied(denial) => TransportError::Refused(brief(denial)),
                other => TransportError::Failed(brief(other)),
            }
        })?;
        if answer.headers.contains_key(CONTENT_ENCODING) {
            return Err(TransportError::Failed("the answer is coded although identity was asked for".into()));
        }
        if answer.body.len() > LARGEST {
            return Err(TransportError::Failed(format!("the answer is larger than {LARGEST} bytes")));
        }
        Ok(TransportResponse { status: answer.status.as_u16(), body: Zeroizing::new(answer.body.to_vec()) })
    }
}
