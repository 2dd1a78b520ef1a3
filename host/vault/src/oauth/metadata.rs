//! Where a provider's endpoints are: its metadata (RFC 8414, or OpenID Connect Discovery), with what the operator wrote
//! down by hand laid over them.
//!
//! Promise: metadata count only where they name, to the letter, the issuer that was configured; they never lead to an
//! address inside that the operator did not name.

use super::OauthError;
use super::endpoint::Errand;
use super::provider::{Provider, endpoint};
use super::transport::Named;
use parking_lot::Mutex;
use serde::Deserialize;
use sophon_types::ServiceName;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use url::Url;

/// How long metadata are believed.
const BELIEVED: Duration = Duration::from_secs(3600);
/// The grant type of RFC 8693.
pub(crate) const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// A provider's endpoints and abilities.
#[derive(Debug, Clone, Default)]
pub(crate) struct Endpoints {
    /// What answers have to name (RFC 9207).
    pub(crate) issuer: Option<String>,
    pub(crate) authorization: Option<Url>,
    pub(crate) token: Option<Url>,
    pub(crate) device: Option<Url>,
    pub(crate) revocation: Option<Url>,
    /// Whether every answer names the issuer.
    pub(crate) names_issuer: bool,
    /// Whether it narrows tokens.
    pub(crate) exchanges: bool,
    /// Ways for clients to show who they are, as far as it says.
    pub(crate) client_auth: Vec<String>,
}

/// What was found out lately.
#[derive(Default)]
pub(crate) struct Discovered(Mutex<HashMap<ServiceName, (Arc<Endpoints>, Instant)>>);

/// The fields of RFC 8414 that matter here.
#[derive(Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: Option<String>,
    token_endpoint: Option<String>,
    device_authorization_endpoint: Option<String>,
    revocation_endpoint: Option<String>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
    code_challenge_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    grant_types_supported: Vec<String>,
    #[serde(default)]
    token_endpoint_auth_methods_supported: Vec<String>,
}

impl Errand<'_> {
    /// The provider's endpoints: from its metadata where an issuer is configured, unless the operator says that there are
    /// none, with those by hand laid over them.
    pub(crate) async fn endpoints(&self) -> Result<Arc<Endpoints>, OauthError> {
        if let Some((known, since)) = self.oauth.discovered.0.lock().get(self.service)
            && since.elapsed() < BELIEVED
        {
            return Ok(Arc::clone(known));
        }
        let mut found = match self.provider.discovers() {
            Some(issuer) => self.discover(issuer).await?,
            None => Endpoints { issuer: self.provider.issuer().map(str::to_owned), ..Endpoints::default() },
        };
        by_hand(self.provider, &mut found);
        let found = Arc::new(found);
        self.oauth.discovered.0.lock().insert(self.service.clone(), (Arc::clone(&found), Instant::now()));
        Ok(found)
    }

    async fn discover(&self, issuer: &str) -> Result<Endpoints, OauthError> {
        let broken = |why: &str| OauthError::Metadata { service: self.service.clone(), why: why.to_owned() };
        let base = endpoint(issuer).map_err(broken)?;
        for place in places(&base, issuer) {
            let answer = self.send(&place, None, None).await?;
            match answer.status {
                200 => {}
                500.. => return Err(self.unreachable(format!("its metadata answer {}", answer.status))),
                _ => continue,
            }
            // Some servers answer whatever path with a page of theirs.
            let Ok(document) = serde_json::from_slice::<Document>(&answer.body) else { continue };
            return read(self.provider, issuer, document).map_err(|why| broken(&why));
        }
        Err(broken("there are none at the issuer's well-known addresses"))
    }
}

/// RFC 8414, 3.1 (between host and path), and OpenID Connect Discovery, 4 (after the path).
fn places(base: &Url, issuer: &str) -> Vec<Url> {
    let path = base.path().trim_end_matches('/');
    let mut oauth = base.clone();
    oauth.set_path(&format!("/.well-known/oauth-authorization-server{path}"));
    let openid = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    std::iter::once(oauth).chain(Url::parse(&openid)).collect()
}

fn read(provider: &Provider, issuer: &str, document: Document) -> Result<Endpoints, String> {
    // RFC 8414, 3.3: identical, or a server speaks for another one.
    if document.issuer != issuer {
        return Err("they name another issuer than the configured one".into());
    }
    if document.code_challenge_methods_supported.is_some_and(|methods| !methods.iter().any(|method| method == "S256")) {
        return Err("the provider does not take PKCE with S256".into());
    }
    let url = |name: &str, text: Option<String>| {
        let Some(text) = text else { return Ok(None) };
        let url = endpoint(&text).map_err(|rule| format!("{name}: {rule}"))?;
        if url.scheme() != "https" && provider.named(&url) == Named::ByProvider {
            return Err(format!("{name}: leads to an address of this machine that sophon.toml does not name"));
        }
        Ok(Some(url))
    };
    Ok(Endpoints {
        authorization: url("authorization_endpoint", document.authorization_endpoint)?,
        token: url("token_endpoint", document.token_endpoint)?,
        device: url("device_authorization_endpoint", document.device_authorization_endpoint)?,
        revocation: url("revocation_endpoint", document.revocation_endpoint)?,
        names_issuer: document.authorization_response_iss_parameter_supported,
        exchanges: document.grant_types_supported.iter().any(|grant| grant == EXCHANGE),
        client_auth: document.token_endpoint_auth_methods_supported,
        issuer: Some(document.issuer),
    })
}

fn by_hand(provider: &Provider, found: &mut Endpoints) {
    // Checked when the section was read.
    let lay = |place: &mut Option<Url>, text: Option<&str>| {
        if let Some(url) = text.and_then(|text| endpoint(text).ok()) {
            *place = Some(url);
        }
    };
    lay(&mut found.authorization, provider.authorization_endpoint());
    lay(&mut found.token, provider.token_endpoint());
    lay(&mut found.device, provider.device_authorization_endpoint());
    lay(&mut found.revocation, provider.revocation_endpoint());
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn metadata_are_looked_for_where_the_standards_say() {
        let check = |issuer: &str, expected: [&str; 2]| {
            let found = places(&Url::parse(issuer).unwrap(), issuer);
            assert_eq!(found.iter().map(Url::as_str).collect::<Vec<_>>(), expected, "{issuer}");
        };
        check(
            "https://id.example.com",
            [
                "https://id.example.com/.well-known/oauth-authorization-server",
                "https://id.example.com/.well-known/openid-configuration",
            ],
        );
        check(
            "https://id.example.com/tenant/1",
            [
                "https://id.example.com/.well-known/oauth-authorization-server/tenant/1",
                "https://id.example.com/tenant/1/.well-known/openid-configuration",
            ],
        );
    }

    #[test]
    fn attack_40_metadata_of_another_issuer_or_towards_the_inside_do_not_count() {
        let issuer = "https://id.example.com";
        let section = json!({"issuer": issuer, "client_id": "c", "hosts": ["api.example.com"]});
        let provider: Provider = serde_json::from_value(section).unwrap();
        let check = |key: &str, value: serde_json::Value| {
            let mut document = json!({"issuer": issuer, "token_endpoint": "https://token.example.com/t"});
            document[key] = value;
            read(&provider, issuer, serde_json::from_value(document).unwrap()).map(|_| ())
        };
        assert!(check("authorization_endpoint", json!("https://id.example.com/a")).is_ok());
        assert!(check("code_challenge_methods_supported", json!(["plain", "S256"])).is_ok());
        for (key, value) in [
            ("issuer", json!("https://id.example.com/")),
            ("issuer", json!("https://evil.example")),
            ("code_challenge_methods_supported", json!(["plain"])),
            ("token_endpoint", json!("http://id.example.com/t")),
            ("token_endpoint", json!("http://127.0.0.1:80/t")),
            ("token_endpoint", json!("file:///etc/passwd")),
            ("revocation_endpoint", json!("https://u:p@id.example.com/")),
        ] {
            assert!(check(key, value.clone()).is_err(), "{key} {value}");
        }
    }
}
