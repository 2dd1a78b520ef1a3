//! The question to whoever answers for the call: may this effect happen?
//!
//! Egress only asks. The executor plugs in what knows the approval of the call, writes the durable record of a
//! write-type request, or parks the call and asks a person.

use async_trait::async_trait;
use http::Method;
use sophon_types::{Risk, ServiceName};

/// One request (or one hop of a redirect) that is about to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectRequest {
    /// The effective method, upper case.
    pub method: String,
    /// The URL, of its query only the names.
    pub url: String,
    /// The host, without port.
    pub host: String,
    /// What such a method can do: [`Risk::of_http_method`].
    pub risk: Risk,
    /// The credential that will be attached.
    pub credential: Option<ServiceName>,
    /// Bytes of the body.
    pub body_bytes: usize,
    /// 0 for the request itself, then the redirects.
    pub hop: usize,
}

/// Why an effect may not happen; becomes a [`Denial`](crate::Denial).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EffectDenied {
    /// A stable code.
    pub code: &'static str,
    /// What was refused and why.
    pub message: String,
    /// What would allow it.
    pub hint: Option<String>,
}

/// Decides on effects. Called once a hop, after the allowlist and before any packet, a DNS question included.
#[async_trait]
pub trait EffectGate: Send + Sync {
    /// Returns once the effect may happen; for a write-type request its record is then durable.
    ///
    /// # Errors
    /// [`EffectDenied`] where it may not, or where the record could not be written.
    async fn permit(&self, effect: &EffectRequest) -> Result<(), EffectDenied>;
}

/// Whether a request with this method may change something (RFC 9110, 9.2.1 has the safe ones).
pub(crate) fn is_write(method: &Method) -> bool {
    Risk::of_http_method(method.as_str()) > Risk::Low
}
