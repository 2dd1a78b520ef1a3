//! A provider as the operator configures it: the section `[oauth.SERVICE]`, checked when it is read.

use super::OauthError;
use super::transport::Named;
use crate::HostBinding;
use serde::{Deserialize, Serialize};
use sophon_types::ServiceName;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use url::{Host, Url};

/// Parameters of an authorisation request that are the host's own.
const OWN: [&str; 12] = [
    "response_type",
    "response_mode",
    "client_id",
    "client_secret",
    "redirect_uri",
    "scope",
    "state",
    "nonce",
    "code_challenge",
    "code_challenge_method",
    "request",
    "request_uri",
];

/// All configured providers, by service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Providers(BTreeMap<ServiceName, Provider>);

impl Providers {
    /// The provider of a service.
    #[must_use]
    pub fn of(&self, service: &ServiceName) -> Option<&Provider> {
        self.0.get(service)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&ServiceName, &Provider)> {
        self.0.iter()
    }

    /// Whether the credentials of `service` are a client's secret: for the vault alone, and for no skill.
    pub(crate) fn is_client_secret(&self, service: &ServiceName) -> bool {
        self.0.values().any(|provider| provider.raw.client_secret_credential.as_ref() == Some(service))
    }
}

/// How the host shows a provider who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// HTTP Basic with id and secret.
    Basic,
    /// Id and secret in the form.
    Post,
    /// The id alone: a public client, which PKCE protects.
    None,
}

/// Whether tokens of narrower scope are asked for (RFC 8693).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenExchange {
    /// Where the provider's metadata say that it can.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never: skills that opted in get placeholders.
    Never,
}

/// A configured provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Section", into = "Section")]
pub struct Provider {
    raw: Section,
    /// The origins that the operator wrote down.
    origins: BTreeSet<String>,
}

/// The section as it is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    /// Who the provider says it is; its endpoints are found from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
    /// Whether the issuer's metadata are read. Without them nothing is known but what stands here.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    discovery: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    authorization_endpoint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token_endpoint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    device_authorization_endpoint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revocation_endpoint: Option<String>,
    client_id: String,
    /// A file that only its owner may read; a relative path starts at the home.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_secret_file: Option<PathBuf>,
    /// A connection of the tenant whose field `client_secret` holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_secret_credential: Option<ServiceName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_auth: Option<ClientAuth>,
    #[serde(default)]
    scopes: Vec<String>,
    /// Where the browser comes back to: the gateway's `/v1/oauth/callback`, as the provider knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    redirect: Option<String>,
    /// Where the access token may travel.
    hosts: Vec<HostBinding>,
    /// Resource indicators (RFC 8707).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    resource: Vec<String>,
    #[serde(default)]
    token_exchange: TokenExchange,
    /// Whether tokens that others replace are given back. Some providers take everything of an account back with one.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    revoke_replaced: bool,
    /// More parameters of the authorisation request, such as `access_type = "offline"`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    parameters: BTreeMap<String, String>,
}

fn yes() -> bool {
    true
}

fn is_yes(said: &bool) -> bool {
    *said
}

impl From<Provider> for Section {
    fn from(provider: Provider) -> Self {
        provider.raw
    }
}

impl TryFrom<Section> for Provider {
    type Error = String;

    fn try_from(raw: Section) -> Result<Self, String> {
        let mut origins = BTreeSet::new();
        let endpoints = [
            ("issuer", &raw.issuer),
            ("authorization_endpoint", &raw.authorization_endpoint),
            ("token_endpoint", &raw.token_endpoint),
            ("device_authorization_endpoint", &raw.device_authorization_endpoint),
            ("revocation_endpoint", &raw.revocation_endpoint),
        ];
        for (key, text) in endpoints {
            let Some(text) = text else { continue };
            let url = endpoint(text).map_err(|rule| format!("{key}: {rule}"))?;
            if key == "issuer" && url.query().is_some() {
                return Err("issuer: an issuer has no query (RFC 8414, 2)".into());
            }
            origins.insert(url.origin().ascii_serialization());
        }
        let discovers = raw.issuer.is_some() && raw.discovery;
        if !discovers && raw.token_endpoint.is_none() {
            return Err(
                "issuer: name an issuer to discover, or a token_endpoint and an authorization_endpoint by hand".into(),
            );
        }
        let by_hand = raw.authorization_endpoint.is_some() || raw.device_authorization_endpoint.is_some();
        if !discovers && !by_hand {
            return Err("authorization_endpoint: missing, and there is no issuer to discover it from".into());
        }
        if raw.client_id.is_empty() || raw.client_id.len() > 512 || raw.client_id.chars().any(char::is_control) {
            return Err("client_id: 1 to 512 characters".into());
        }
        if raw.client_secret_file.is_some() && raw.client_secret_credential.is_some() {
            return Err("client_secret_file: the secret is in a file or a credential, not in both".into());
        }
        let has_secret = raw.client_secret_file.is_some() || raw.client_secret_credential.is_some();
        if !has_secret && matches!(raw.client_auth, Some(ClientAuth::Basic | ClientAuth::Post)) {
            return Err("client_auth: needs client_secret_file or client_secret_credential".into());
        }
        if let Some(scope) = raw.scopes.iter().find(|scope| !is_scope(scope)) {
            return Err(format!("scopes: {scope:?} is not a scope (RFC 6749, 3.3)"));
        }
        if raw.hosts.is_empty() || raw.hosts.len() > 64 {
            return Err("hosts: name 1 to 64 hosts that the token may travel to".into());
        }
        if let Some(redirect) = &raw.redirect {
            endpoint(redirect).map_err(|rule| format!("redirect: {rule}"))?;
        }
        for resource in &raw.resource {
            endpoint(resource).map_err(|rule| format!("resource: {rule}"))?;
        }
        if let Some(name) = raw.parameters.keys().find(|name| OWN.contains(&name.as_str())) {
            return Err(format!("parameters: {name} is the host's own to set"));
        }
        Ok(Self { raw, origins })
    }
}

impl Provider {
    /// The file of the client's secret.
    #[must_use]
    pub fn client_secret_file(&self) -> Option<&Path> {
        self.raw.client_secret_file.as_deref()
    }

    pub(crate) fn client_secret_credential(&self) -> Option<&ServiceName> {
        self.raw.client_secret_credential.as_ref()
    }

    pub(crate) fn issuer(&self) -> Option<&str> {
        self.raw.issuer.as_deref()
    }

    /// The issuer whose metadata are to be read.
    pub(crate) fn discovers(&self) -> Option<&str> {
        self.issuer().filter(|_| self.raw.discovery)
    }

    /// What tokens of this provider are kept under: they are shown to no other.
    pub(crate) fn identity(&self) -> &str {
        self.raw.issuer.as_deref().or(self.raw.token_endpoint.as_deref()).unwrap_or_default()
    }

    pub(crate) fn authorization_endpoint(&self) -> Option<&str> {
        self.raw.authorization_endpoint.as_deref()
    }

    pub(crate) fn token_endpoint(&self) -> Option<&str> {
        self.raw.token_endpoint.as_deref()
    }

    pub(crate) fn device_authorization_endpoint(&self) -> Option<&str> {
        self.raw.device_authorization_endpoint.as_deref()
    }

    pub(crate) fn revocation_endpoint(&self) -> Option<&str> {
        self.raw.revocation_endpoint.as_deref()
    }

    pub(crate) fn client_id(&self) -> &str {
        &self.raw.client_id
    }

    pub(crate) fn client_auth(&self) -> Option<ClientAuth> {
        self.raw.client_auth
    }

    pub(crate) fn has_secret(&self) -> bool {
        self.raw.client_secret_file.is_some() || self.raw.client_secret_credential.is_some()
    }

    pub(crate) fn redirect(&self) -> Option<&str> {
        self.raw.redirect.as_deref()
    }

    pub(crate) fn hosts(&self) -> &[HostBinding] {
        &self.raw.hosts
    }

    pub(crate) fn resource(&self) -> &[String] {
        &self.raw.resource
    }

    pub(crate) fn token_exchange(&self) -> TokenExchange {
        self.raw.token_exchange
    }

    pub(crate) fn revokes_replaced(&self) -> bool {
        self.raw.revoke_replaced
    }

    pub(crate) fn parameters(&self) -> impl Iterator<Item = (&str, &str)> {
        self.raw.parameters.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The scopes to ask for: all that are configured, or those that were named and are among them.
    pub(crate) fn scopes(&self, service: &ServiceName, asked: Option<Vec<String>>) -> Result<Vec<String>, OauthError> {
        let Some(asked) = asked else { return Ok(self.raw.scopes.clone()) };
        if asked.is_empty() {
            // A request that names none gets whatever the provider thinks fit.
            return Err(OauthError::NoScope { service: service.clone() });
        }
        match asked.iter().find(|scope| !self.raw.scopes.contains(scope)) {
            None => Ok(asked),
            Some(stranger) => Err(OauthError::Scope {
                service: service.clone(),
                scope: stranger.chars().take(80).collect(),
                of: "configured",
            }),
        }
    }

    /// Whose word the host of this endpoint is.
    pub(crate) fn named(&self, url: &Url) -> Named {
        if self.origins.contains(&url.origin().ascii_serialization()) { Named::ByOperator } else { Named::ByProvider }
    }
}

/// A URL that tokens may be sent to: https, or http on this machine; no fragment, no user.
pub(crate) fn endpoint(text: &str) -> Result<Url, &'static str> {
    if text.len() > 2048 || text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err("not a URL");
    }
    let url = Url::parse(text).map_err(|_syntax| "not a URL")?;
    match (url.scheme(), url.host()) {
        ("https", Some(_)) => {}
        ("http", Some(host)) if is_loopback(&host) => {}
        ("http", _) => return Err("http is for loopback addresses only; use https"),
        _ => return Err("not an https URL"),
    }
    if url.fragment().is_some() {
        return Err("it has a fragment");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it has user info");
    }
    Ok(url)
}

/// A redirect that a program on this machine listens at (RFC 8252, 7.3): the address, not a name that somebody may
/// point elsewhere.
pub(crate) fn is_loopback_redirect(text: &str) -> bool {
    endpoint(text).is_ok_and(|url| {
        let literal = matches!(url.host(), Some(Host::Ipv4(ip)) if ip.is_loopback())
            || matches!(url.host(), Some(Host::Ipv6(ip)) if ip.is_loopback());
        literal && url.scheme() == "http" && url.port().is_some() && url.query().is_none()
    })
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(ip) => ip.is_loopback(),
        Host::Ipv6(ip) => ip.is_loopback(),
    }
}

/// `scope-token` of RFC 6749, 3.3.
pub(crate) fn is_scope(text: &str) -> bool {
    (1..=256).contains(&text.len()) && text.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(change: impl FnOnce(&mut Value)) -> Result<Provider, String> {
        let mut section = json!({
            "issuer": "https://id.example.com", "client_id": "sophon", "scopes": ["repo"], "hosts": ["api.example.com"],
        });
        change(&mut section);
        serde_json::from_value(section).map_err(|error| error.to_string())
    }

    #[test]
    fn a_section_is_checked_when_it_is_read() {
        assert!(check(|_| {}).is_ok());
        let refused = |change: fn(&mut Value), key: &str| {
            let error = check(change).unwrap_err();
            assert!(error.contains(key), "{key}: {error}");
        };
        refused(|s| s["issuer"] = json!("http://id.example.com"), "issuer: http is for loopback");
        refused(|s| s["issuer"] = json!("https://id.example.com?x=1"), "issuer");
        refused(|s| s["issuer"] = json!("https://id.example.com#x"), "issuer");
        refused(|s| s["issuer"] = json!("https://u:p@id.example.com"), "issuer");
        refused(|s| s["issuer"] = json!("id.example.com"), "issuer");
        refused(|s| s["issuer"] = Value::Null, "issuer");
        refused(|s| s["discovery"] = json!(false), "issuer");
        refused(|s| s["client_id"] = json!(""), "client_id");
        refused(|s| s["client_auth"] = json!("basic"), "client_auth");
        refused(|s| s["client_secret"] = json!("hunter2hunter2"), "client_secret");
        refused(|s| s["scopes"] = json!(["two words"]), "scopes");
        refused(|s| s["hosts"] = json!([]), "hosts");
        refused(|s| s["hosts"] = json!(["*.example.com"]), "host");
        refused(|s| s["redirect"] = json!("http://example.com/cb"), "redirect");
        refused(|s| s["parameters"] = json!({"state": "x"}), "parameters");
        refused(|s| s["parameters"] = json!({"code_challenge_method": "plain"}), "parameters");
        refused(|s| s["token_endpoint"] = json!("ftp://x"), "token_endpoint");
        let both = |s: &mut Value| {
            s["client_secret_file"] = json!("a");
            s["client_secret_credential"] = json!("b");
        };
        refused(both, "client_secret_file");
        assert!(check(|s| s["issuer"] = json!("http://127.0.0.1:8080")).is_ok());
        let written = serde_json::to_value(check(|_| {}).unwrap()).unwrap();
        assert!(serde_json::from_value::<Provider>(written).is_ok(), "what is shown can be read again");
    }

    #[test]
    fn a_loopback_redirect_is_an_address_of_this_machine_and_a_port() {
        for good in ["http://127.0.0.1:49152/callback", "http://[::1]:8080/"] {
            assert!(is_loopback_redirect(good), "{good}");
        }
        for bad in [
            "http://localhost:49152/callback",
            "http://127.0.0.1/callback",
            "https://127.0.0.1:49152/callback",
            "http://127.0.0.1:1@evil.example/",
            "http://127.0.0.1.evil.example:1/",
            "http://10.0.0.1:1/",
            "http://127.0.0.1:1/?next=x",
            "http://127.0.0.1:1/#x",
            "custom://callback",
            "",
        ] {
            assert!(!is_loopback_redirect(bad), "{bad}");
        }
    }

    #[test]
    fn what_the_operator_did_not_write_is_the_providers_word() {
        let provider = check(|s| s["issuer"] = json!("http://127.0.0.1:8080")).unwrap();
        let named = |text: &str| provider.named(&Url::parse(text).unwrap());
        assert_eq!(named("http://127.0.0.1:8080/token"), Named::ByOperator);
        assert_eq!(named("http://127.0.0.1:8081/token"), Named::ByProvider);
        assert_eq!(named("https://127.0.0.1:8080/token"), Named::ByProvider);
    }
}
