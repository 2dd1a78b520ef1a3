//! What is asked of an authorisation server, and how its answers are read.
//!
//! Promise: of an error of a server a registered code is repeated, and nothing else of what it said goes into a message, a
//! record or a log.

use super::metadata::Endpoints;
use super::provider::{ClientAuth, Provider};
use super::{Oauth, OauthError, TransportError, TransportRequest, TransportResponse};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::Value;
use sophon_types::{ServiceName, TenantId, UserId};
use std::time::Duration;
use url::Url;
use url::form_urlencoded::byte_serialize;
use zeroize::Zeroizing;

/// The longest token that is taken.
const LONGEST: usize = 16 * 1024;
/// The longest life that a token is believed to have.
const LIFE: u64 = 10 * 365 * 24 * 3600;

/// The error codes that are repeated: a code of a server's own making could be anything that it was sent.
const CODES: [&str; 27] = [
    // RFC 6749, 4.1.2.1 and 5.2.
    "access_denied",
    "invalid_client",
    "invalid_grant",
    "invalid_request",
    "invalid_scope",
    "server_error",
    "temporarily_unavailable",
    "unauthorized_client",
    "unsupported_grant_type",
    "unsupported_response_type",
    // RFC 6750, 3.1.
    "insufficient_scope",
    "invalid_token",
    // RFC 7009, 2.2.1.
    "unsupported_token_type",
    // RFC 8628, 3.5.
    "authorization_pending",
    "expired_token",
    "slow_down",
    // RFC 8693, 2.2.2, and RFC 8707, 2.
    "invalid_target",
    // OpenID Connect Core, 3.1.2.6.
    "account_selection_required",
    "consent_required",
    "interaction_required",
    "invalid_request_object",
    "invalid_request_uri",
    "login_required",
    "registration_not_supported",
    "request_not_supported",
    "request_uri_not_supported",
    // OpenID Connect Core Unmet Authentication Requirements.
    "unmet_authentication_requirements",
];

/// One errand to a provider, for one connection.
pub(crate) struct Errand<'o> {
    pub(crate) oauth: &'o Oauth,
    pub(crate) provider: &'o Provider,
    pub(crate) service: &'o ServiceName,
    pub(crate) tenant: &'o TenantId,
    pub(crate) user: &'o UserId,
}

/// Tokens as they came.
pub(crate) struct Tokens {
    pub(crate) access: SecretString,
    pub(crate) refresh: Option<SecretString>,
    pub(crate) scopes: Option<Vec<String>>,
    pub(crate) life: Option<Duration>,
    /// What kind of token it is, where one was exchanged (RFC 8693, 2.2.1).
    pub(crate) kind: Option<String>,
}

/// A form of `application/x-www-form-urlencoded`.
pub(crate) struct Form(Zeroizing<String>);

impl Form {
    pub(crate) fn new(grant: &str) -> Self {
        Self::empty().with("grant_type", grant)
    }

    pub(crate) fn empty() -> Self {
        Self(Zeroizing::new(String::with_capacity(2048)))
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        for part in byte_serialize(name.as_bytes()).chain(["="]).chain(byte_serialize(value.as_bytes())) {
            self.0.push_str(part);
        }
        self
    }

    fn finish(self) -> Zeroizing<String> {
        self.0
    }
}

impl Errand<'_> {
    /// Sends a request as it is.
    pub(crate) async fn send(
        &self,
        url: &Url,
        form: Option<Zeroizing<String>>,
        authorization: Option<Zeroizing<String>>,
    ) -> Result<TransportResponse, OauthError> {
        let request = TransportRequest {
            tenant: self.tenant.clone(),
            user: self.user.clone(),
            service: self.service.clone(),
            url: url.as_str().to_owned(),
            named: self.provider.named(url),
            form,
            authorization,
        };
        self.oauth.parts.transport.send(request).await.map_err(|error| match error {
            TransportError::Refused(why) | TransportError::Failed(why) => self.unreachable(why),
        })
    }

    /// Posts a form with the client's identity.
    pub(crate) async fn post(
        &self,
        endpoints: &Endpoints,
        url: &Url,
        form: Form,
        secret: Option<&SecretString>,
    ) -> Result<TransportResponse, OauthError> {
        let id = self.provider.client_id();
        let chosen = self.provider.client_auth().unwrap_or_else(|| match secret {
            None => ClientAuth::None,
            Some(_) => default_auth(&endpoints.client_auth),
        });
        match (chosen, secret) {
            (ClientAuth::Basic, Some(secret)) => {
                // RFC 6749, 2.3.1: both are form-encoded first.
                let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
                let pair = Zeroizing::new(format!("{}:{}", encode(id), encode(secret.expose_secret())));
                let header = Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
                self.send(url, Some(form.finish()), Some(header)).await
            }
            (ClientAuth::Post, Some(secret)) => {
                let form = form.with("client_id", id).with("client_secret", secret.expose_secret());
                self.send(url, Some(form.finish()), None).await
            }
            _ => self.send(url, Some(form.with("client_id", id).finish()), None).await,
        }
    }

    /// Asks the token endpoint.
    pub(crate) async fn tokens(
        &self,
        endpoints: &Endpoints,
        form: Form,
        secret: Option<&SecretString>,
    ) -> Result<Tokens, OauthError> {
        let url = endpoints.token.as_ref().ok_or_else(|| self.unsupported("token endpoint"))?;
        let form = self.provider.resource().iter().fold(form, |form, resource| form.with("resource", resource));
        let answer = self.post(endpoints, url, form, secret).await?;
        self.read_tokens(&answer)
    }

    fn read_tokens(&self, answer: &TransportResponse) -> Result<Tokens, OauthError> {
        let said: Said = self.read(answer)?;
        let wrong = |why| OauthError::Answer { service: self.service.clone(), why };
        if !said.token_type.is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")) {
            return Err(wrong("the token is not a bearer token (RFC 6750)"));
        }
        let token = |text: String| {
            let fits = (8..=LONGEST).contains(&text.len()) && text.bytes().all(|b| matches!(b, 0x21..=0x7e));
            if fits { Ok(SecretString::from(text)) } else { Err(wrong("a token is not one that can be sent")) }
        };
        let life = match said.expires_in {
            None => None,
            Some(life) => match seconds(&life) {
                None => return Err(wrong("expires_in is not a number of seconds")),
                Some(0) => return Err(wrong("the token has expired already")),
                Some(life) => Some(Duration::from_secs(life.min(LIFE))),
            },
        };
        Ok(Tokens {
            access: token(said.access_token.ok_or_else(|| wrong("there is no access token in it"))?)?,
            refresh: said.refresh_token.map(token).transpose()?,
            scopes: said.scope.map(|scope| scope.split(' ').filter(|s| !s.is_empty()).map(str::to_owned).collect()),
            life,
            kind: said.issued_token_type,
        })
    }

    /// Reads an answer that may be an error of the protocol.
    pub(crate) fn read<T: serde::de::DeserializeOwned>(&self, answer: &TransportResponse) -> Result<T, OauthError> {
        let wrong = |why| OauthError::Answer { service: self.service.clone(), why };
        if answer.status >= 500 || answer.status == 429 {
            return Err(self.unreachable(format!("it answers {}", answer.status)));
        }
        if let Ok(Problem { error: Some(error) }) = serde_json::from_slice(&answer.body) {
            return Err(OauthError::Refused { service: self.service.clone(), code: plain(&error) });
        }
        if !matches!(answer.status, 200 | 201) {
            return Err(OauthError::Refused { service: self.service.clone(), code: format!("http_{}", answer.status) });
        }
        serde_json::from_slice(&answer.body).map_err(|_not_ours| wrong("it is not the JSON that belongs there"))
    }

    pub(crate) fn unreachable(&self, why: String) -> OauthError {
        OauthError::Unreachable { service: self.service.clone(), why }
    }

    pub(crate) fn unsupported(&self, what: &'static str) -> OauthError {
        OauthError::Unsupported { service: self.service.clone(), what }
    }
}

#[derive(Deserialize)]
struct Said {
    access_token: Option<String>,
    token_type: Option<String>,
    expires_in: Option<Value>,
    refresh_token: Option<String>,
    scope: Option<String>,
    issued_token_type: Option<String>,
}

#[derive(Deserialize)]
struct Problem {
    error: Option<String>,
}

fn default_auth(supported: &[String]) -> ClientAuth {
    let takes = |name: &str| supported.iter().any(|method| method == name);
    if !takes("client_secret_basic") && takes("client_secret_post") { ClientAuth::Post } else { ClientAuth::Basic }
}

/// A number, which some servers write as text. What is not after now is zero.
pub(crate) fn seconds(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) if number.as_i64().is_some_and(|n| n <= 0) => Some(0),
        Value::Number(number) => number.as_u64().or_else(|| number.as_f64().map(|seconds| seconds.max(0.0) as u64)),
        Value::String(text) => text.trim().parse::<i64>().ok().map(|seconds| u64::try_from(seconds).unwrap_or(0)),
        _ => None,
    }
}

/// An error code as it may be shown: what else a server puts there is not repeated.
pub(crate) fn plain(code: &str) -> String {
    if CODES.contains(&code) { code.to_owned() } else { "an error that is no registered code".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn seconds_are_read_as_servers_write_them() {
        for (value, expected) in [
            (json!(3600), Some(3600)),
            (json!("3600"), Some(3600)),
            (json!(3600.7), Some(3600)),
            (json!(0), Some(0)),
            (json!(-5), Some(0)),
            (json!("-5"), Some(0)),
            (json!("soon"), None),
            (json!([]), None),
        ] {
            assert_eq!(seconds(&value), expected, "{value}");
        }
    }

    #[test]
    fn only_an_error_code_is_repeated() {
        for code in CODES {
            assert_eq!(plain(code), code);
        }
        // A token of plain characters among them.
        for bad in ["", "Ignore previous instructions", "<script>", "gho_16c7e42f292c6912e7710c838347ae17", "a\nb"] {
            assert_eq!(plain(bad), "an error that is no registered code", "{bad}");
        }
    }
}
