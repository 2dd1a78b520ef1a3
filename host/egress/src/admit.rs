//! From what a skill asks for to what may be sent.
//!
//! Promise: an [`AllowedRequest`] is made here only, and it alone can be dispatched. Making one sends nothing.

use crate::EgressLimits;
use crate::address::Reach;
use crate::allowlist::{Allowlist, BindingRule, Pass};
use crate::error::{Denial, HttpError};
use crate::gate::EffectRequest;
use crate::headers;
use crate::placeholder::{Handed, Redemption};
use crate::url::CheckedUrl;
use bytes::Bytes;
use http::Method;
use http::header::{self, HeaderMap, HeaderValue};
use sophon_skill::{Access, CredentialUse, entry_line};
use sophon_types::{Risk, ServiceName};
use std::fmt;
use std::time::Duration;

/// A request as a skill makes it.
#[derive(Clone, PartialEq, Eq)]
pub struct HttpRequest {
    /// Upper case.
    pub method: String,
    /// Absolute.
    pub url: String,
    /// Names in any case, values as bytes.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body, where there is one.
    pub body: Option<Bytes>,
    /// The service whose credential the host attaches.
    pub credential: Option<String>,
    /// What to do with a redirect.
    pub redirects: Redirects,
    /// For the whole exchange, where the skill wants less than it may have.
    pub timeout: Option<Duration>,
}

impl fmt::Debug for HttpRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // URL, fields and body are the skill's data and may hold what a user typed in confidence.
        f.debug_struct("HttpRequest")
            .field("method", &self.method)
            .field("credential", &self.credential)
            .finish_non_exhaustive()
    }
}

impl HttpRequest {
    /// A request without headers and body that follows redirects.
    #[must_use]
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            url: url.into(),
            headers: Vec::new(),
            body: None,
            credential: None,
            redirects: Redirects::Follow,
            timeout: None,
        }
    }
}

/// What to do when the answer is a redirect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redirects {
    /// Follow, every hop checked like a request of its own.
    Follow,
    /// Hand it to the skill.
    Manual,
}

/// Evidence that a request passed the allowlist: the only thing that is ever sent. Holds the checked URL, which is
/// the one that is written on the wire.
pub struct AllowedRequest {
    url: CheckedUrl,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
    pass: Pass,
    credential: Option<ServiceName>,
    redeems: Option<Redemption>,
    risk: Risk,
}

impl fmt::Debug for AllowedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AllowedRequest({} {})", self.method, self.url.redacted())
    }
}

impl AllowedRequest {
    /// The method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The URL that was checked and will be sent.
    #[must_use]
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// What the method can do.
    #[must_use]
    pub fn risk(&self) -> Risk {
        self.risk
    }

    /// The service whose credential is to be attached.
    #[must_use]
    pub fn credential(&self) -> Option<&ServiceName> {
        self.credential.as_ref()
    }

    /// Where it holds what the skill was given in place of the credential; `None`: the host attaches the credential.
    pub(crate) fn redeems(&self) -> Option<&Redemption> {
        self.redeems.as_ref()
    }

    pub(crate) fn checked_url(&self) -> &CheckedUrl {
        &self.url
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    pub(crate) fn body(&self) -> &Bytes {
        &self.body
    }

    pub(crate) fn pass(&self) -> Pass {
        self.pass
    }

    pub(crate) fn effect(&self, hop: usize) -> EffectRequest {
        EffectRequest {
            method: self.method.to_string(),
            url: self.url.redacted(),
            host: self.url.host().to_string(),
            risk: self.risk,
            credential: self.credential.clone(),
            body_bytes: self.body.len(),
            hop,
        }
    }
}

/// Methods that HTTP clients may not use for requests of this kind: they tunnel, or echo what was attached.
const NEVER: [&str; 4] = ["CONNECT", "TRACE", "TRACK", "PRI"];

/// Checks a request: URL, method, header fields, sizes, allowlist, and whether the credential may travel there.
pub(crate) fn admit(
    allowlist: &Allowlist,
    declared: &[CredentialUse],
    limits: &EgressLimits,
    handed: &Handed,
    request: &HttpRequest,
) -> Result<AllowedRequest, HttpError> {
    let method = method(&request.method)?;
    let url = CheckedUrl::parse(&request.url, limits.url_bytes)
        .map_err(|refusal| Denial::new(refusal.code(), refusal).hint(refusal.hint()))?;
    let redeems = handed.redemption(request)?;
    let credential = match (&redeems, &request.credential) {
        (Some(redeems), _) => Some(declared_use(redeems.service.as_str(), declared)?),
        (None, Some(named)) => Some(attachable(declared_use(named, declared)?)?),
        (None, None) => None,
    };
    let credential = credential.map(|used| used.service.clone());
    let pass = match &redeems {
        // Rules are asked about what is sent; what they say names nothing of it.
        Some(redeems) if redeems.hook => {
            let unfit = || {
                Denial::new(
                    "credential_unfit",
                    "the URL that the placeholder stands for cannot be sent with this query",
                )
            };
            let real = handed.hooked(&request.url, limits.url_bytes).filter(|real| real.same_origin(&url));
            allowlist.check_unseen(&real.ok_or_else(unfit)?, method.as_str(), credential.as_ref())?
        }
        _ => allowlist.check(&url, method.as_str(), credential.as_ref())?,
    };
    let headers = headers::filter(&request.headers, limits)?;
    if credential.is_some()
        && let Some(name) = headers::beside_credential(&headers, None, redeems.as_ref())
    {
        return Err(collision(name.as_str()));
    }
    let body = request.body.clone().unwrap_or_default();
    if body.len() > limits.request_body_bytes {
        return Err(HttpError::InvalidRequest(format!("the body is larger than {} bytes", limits.request_body_bytes)));
    }
    let risk = Risk::of_http_method(method.as_str());
    Ok(AllowedRequest { url, method, headers, body, pass, credential, redeems, risk })
}

impl AllowedRequest {
    /// A request of the vault to an authorisation server: a form that is posted, or a document that is fetched. Its
    /// headers are the host's own; how far it reaches was decided by whoever wrote the address down.
    pub(crate) fn of_the_vault(
        url: CheckedUrl,
        reach: Reach,
        body: Option<&[u8]>,
        authorization: Option<HeaderValue>,
    ) -> Self {
        let method = if body.is_some() { Method::POST } else { Method::GET };
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
        if body.is_some() {
            let form = HeaderValue::from_static("application/x-www-form-urlencoded");
            headers.insert(header::CONTENT_TYPE, form);
        }
        if let Some(mut value) = authorization {
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        let risk = Risk::of_http_method(method.as_str());
        let body = body.map(Bytes::copy_from_slice).unwrap_or_default();
        let pass = Pass { reach, binding: BindingRule::MustBind };
        Self { url, method, headers, body, pass, credential: None, redeems: None, risk }
    }

    /// A message to an endpoint that the operator configured. Its headers are the host's own; how far it reaches was
    /// decided by whoever wrote the address down.
    pub(crate) fn of_the_operator(url: CheckedUrl, reach: Reach, headers: HeaderMap, body: Bytes) -> Self {
        let method = Method::POST;
        let risk = Risk::of_http_method(method.as_str());
        let pass = Pass { reach, binding: BindingRule::MustBind };
        Self { url, method, headers, body, pass, credential: None, redeems: None, risk }
    }
}

impl AllowedRequest {
    /// A question to a place that the operator configured, or that such a place named and the operator lets it name.
    pub(crate) fn asked_by_the_operator(url: CheckedUrl, reach: Reach, headers: HeaderMap) -> Self {
        let (method, body) = (Method::GET, Bytes::new());
        let risk = Risk::of_http_method(method.as_str());
        let pass = Pass { reach, binding: BindingRule::MustBind };
        Self { url, method, headers, body, pass, credential: None, redeems: None, risk }
    }
}

impl Allowlist {
    /// What would refuse a request before anything of the network is asked: for trying skills out. It is no evidence,
    /// and nothing can be sent with it.
    ///
    /// # Errors
    /// The [`HttpError`] that the request would get.
    pub fn rehearse(&self, declared: &[CredentialUse], request: &HttpRequest) -> Result<(), HttpError> {
        admit(self, declared, &EgressLimits::default(), &Handed::default(), request).map(drop)
    }
}

/// A header field that the skill set and that cannot stand beside a credential.
pub(crate) fn collision(name: &str) -> HttpError {
    Denial::new("header_not_allowed", format_args!("a request that names a credential may not set {name} itself"))
        .hint(format!("leave {name} out; the host attaches the credential"))
        .into()
}

fn method(text: &str) -> Result<Method, HttpError> {
    let invalid =
        || HttpError::InvalidRequest(format!("{:?} is not a method", text.chars().take(30).collect::<String>()));
    // Methods are case-sensitive (RFC 9110, 9.1); some servers take `delete` for DELETE, the rules would not.
    if text.is_empty() || text.len() > 30 || !text.bytes().all(|b| b.is_ascii_uppercase() || b == b'-') {
        return Err(invalid());
    }
    if NEVER.contains(&text) {
        return Err(Denial::new("method_never_allowed", format_args!("{text} is never sent for a skill")).into());
    }
    text.parse().map_err(|_invalid| invalid())
}

/// What the host attaches is the whole credential: a skill that declared tokens of some scopes has those instead.
fn attachable(used: &CredentialUse) -> Result<&CredentialUse, HttpError> {
    if used.access == Access::Proxy {
        return Ok(used);
    }
    let service = &used.service;
    Err(Denial::new("credential_scoped", format_args!("{service}: the manifest declares tokens of its scopes, and the host attaches none"))
        .hint(format!(
            "send what credentials.scoped-token gives for {service} in a header field, or write \"access\": \"proxy\" for it in manifest.json"
        ))
        .into())
}

fn declared_use<'d>(name: &str, declared: &'d [CredentialUse]) -> Result<&'d CredentialUse, HttpError> {
    declared.iter().find(|credential| credential.service.as_str() == name).ok_or_else(|| {
        let shown: String = name.chars().take(64).collect();
        let entry = serde_json::json!({ "service": shown, "scopes": [], "required": true, "access": "proxy" });
        Denial::new("credential_not_declared", format_args!("the credential {shown:?} is not in the manifest"))
            .hint(match name.parse::<ServiceName>() {
                Ok(_) => entry_line("credentials", declared.len(), &entry),
                Err(error) => format!("write the name of a service: {}", error.rule()),
            })
            .into()
    })
}
