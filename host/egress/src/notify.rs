//! Webhooks: what the host tells an endpoint that the operator configured. Signed as <https://www.standardwebhooks.com>
//! has it, so that the receiver knows who sent it, that nobody changed it, and when.
//!
//! Promise: one request, no redirect followed, the answer's body not read into anything; it goes over the same checks and
//! the same wire as everything else. The operator named the endpoint, so it may be on this machine or in a private
//! network, but never the host itself.

use crate::address::Reach;
use crate::admit::AllowedRequest;
use crate::egress::Egress;
use crate::error::{Denial, HttpError};
use crate::owner::Owner;
use crate::url::CheckedUrl;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use sha2::Sha256;
use sophon_types::{TenantId, Timestamp};
use std::fmt;
use std::time::Duration;
use tokio::time::Instant;
use zeroize::Zeroizing;

/// How long one delivery may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// Bytes of a URL.
const URL_BYTES: usize = 2048;
/// What the text of a secret begins with.
const PREFIX: &str = "whsec_";
/// Bytes that a secret has at the least and at the most, as the convention has it.
const SECRET: std::ops::RangeInclusive<usize> = 24..=64;

/// The key that an endpoint's webhooks are signed with. `Debug` shows nothing of it.
#[derive(Clone)]
pub struct SigningSecret(Zeroizing<Vec<u8>>);

impl SigningSecret {
    /// Reads `whsec_` and base64 of 24 to 64 bytes.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(STANDARD.decode(text.trim().strip_prefix(PREFIX)?).ok()?);
        SECRET.contains(&bytes.len()).then_some(Self(bytes))
    }

    /// `v1,` and base64 of the HMAC-SHA256 over id, seconds and body.
    fn sign(&self, id: &str, seconds: i64, body: &[u8]) -> Option<String> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).ok()?;
        for part in [id.as_bytes(), b".", seconds.to_string().as_bytes(), b".", body] {
            mac.update(part);
        }
        Some(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret(…)")
    }
}

/// Where webhooks go: an address that the operator wrote down, checked.
#[derive(Debug, Clone)]
pub struct Endpoint {
    url: CheckedUrl,
    secret: SigningSecret,
}

impl Endpoint {
    /// An endpoint; http or https, without credentials or a fragment in the URL.
    ///
    /// # Errors
    /// [`Denial`], which says what is wrong with the URL.
    pub fn new(url: &str, secret: SigningSecret) -> Result<Self, Denial> {
        Ok(Self { url: checked(url)?, secret })
    }

    /// Whether `url` could be one's.
    ///
    /// # Errors
    /// [`Denial`], which says what is wrong with it.
    pub fn check(url: &str) -> Result<(), Denial> {
        checked(url).map(drop)
    }
}

fn checked(url: &str) -> Result<CheckedUrl, Denial> {
    CheckedUrl::parse(url, URL_BYTES).map_err(|refusal| Denial::new(refusal.code(), refusal).hint(refusal.hint()))
}

/// One message of a webhook.
#[derive(Debug, Clone)]
pub struct Notice {
    /// Its id: the same for each try, so that a receiver can tell that it has it already.
    pub id: String,
    /// Of whose tenant it tells.
    pub tenant: TenantId,
    /// The JSON body.
    pub body: String,
}

impl Egress {
    /// Sends a message to an endpoint. Delivered where the answer's status is 2xx.
    ///
    /// # Errors
    /// [`HttpError`] where it was not sent, or no complete answer came.
    pub async fn notify(&self, to: &Endpoint, notice: &Notice, now: Timestamp) -> Result<u16, HttpError> {
        let seconds = now.as_micros().div_euclid(1_000_000);
        let body = Bytes::from(notice.body.clone());
        let unfit = || HttpError::InvalidRequest("the message cannot be signed".into());
        let signature = to.secret.sign(&notice.id, seconds, &body).ok_or_else(unfit)?;
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in [
            ("webhook-id", notice.id.clone()),
            ("webhook-timestamp", seconds.to_string()),
            ("webhook-signature", signature),
        ] {
            let value = HeaderValue::try_from(value).map_err(|_invalid| unfit())?;
            headers.insert(HeaderName::from_static(name), value);
        }
        let allowed = AllowedRequest::of_the_operator(to.url.clone(), Reach::by_operator(&to.url), headers, body);
        // The tenant whose people it tells.
        let owner = Owner::operator(&notice.tenant)?;
        let deadline = Instant::now() + PATIENCE;
        let sent = self.wire().dispatch(&owner, &allowed, None, deadline).await;
        sent.map(|answer| answer.status.as_u16()).map_err(|failure| failure.into_error(allowed.method()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_what_the_convention_has() {
        // The example of the specification's reference libraries.
        let secret = SigningSecret::read("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, br#"{"test": 2432232314}"#);
        assert_eq!(signed.unwrap(), "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        assert!(!format!("{secret:?}").contains("Mf"));
    }

    #[test]
    fn secrets_and_endpoints_are_read_strictly() {
        let short = format!("whsec_{}", STANDARD.encode([7; 23]));
        let long = format!("whsec_{}", STANDARD.encode([7; 65]));
        for bad in ["", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", &short, &long, "whsec_???"] {
            assert!(SigningSecret::read(bad).is_none(), "{bad}");
        }
        for bad in ["", "ftp://a.example", "https://user@a.example/", "https://", "a.example"] {
            assert!(Endpoint::check(bad).is_err(), "{bad}");
        }
        Endpoint::check("https://a.example/hook?x=1").unwrap();
    }
}
