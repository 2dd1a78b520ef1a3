//! Whether a credential may travel with a request, and borrowing it for that one request.
//!
//! Promise: the vault is asked last, after everything that could refuse the request, and opens nothing that may not
//! travel there; a secret leaves this file only as
//! the header field it is attached in, marked sensitive, and as what the redactor looks for.

use crate::admit::AllowedRequest;
use crate::allowlist::BindingRule;
use crate::dispatch::Attached;
use crate::error::{Denial, HttpError};
use crate::placeholder::{Handed, Redemption, Swapped};
use crate::session::{CallScope, ConnectionState};
use bytes::Bytes;
use http::header::{HeaderName, HeaderValue};
use sophon_guard::KnownSecrets;
use sophon_types::{Fault, ServiceName};
use sophon_vault::{Attach, Binding, ConnectionInfo, Lease, Owner, Purpose, Vault, VaultError};
use zeroize::Zeroizing;

/// A credential that was lent for one request.
pub(crate) struct Loan {
    /// The header fields to send.
    pub(crate) attached: Vec<Attached>,
    /// URL and body as they leave, where placeholders stood in them.
    pub(crate) url: Option<Zeroizing<String>>,
    pub(crate) body: Option<Bytes>,
    /// Which credential it is.
    pub(crate) mark: Mark,
    source: Source,
}

/// Where a loan came from.
enum Source {
    /// The host attaches it.
    Lease(Box<Lease>),
    /// The skill's placeholders were swapped; with what is secret of it.
    InPlace(KnownSecrets),
}

/// Which secrets a loan holds: another loan with the same mark holds the same.
pub(crate) type Mark = (ServiceName, Owner, u64);

impl Loan {
    /// Whether another loan with the same mark holds the same secrets: what a skill wrote around a placeholder differs.
    pub(crate) fn is_in_place(&self) -> bool {
        matches!(self.source, Source::InPlace(_))
    }

    /// Every secret part of it, for the scan of this request and the redaction of what comes back.
    pub(crate) fn secrets(&self) -> KnownSecrets {
        let lease = match &self.source {
            Source::InPlace(secrets) => return secrets.clone(),
            Source::Lease(lease) => lease,
        };
        let whole = match (lease.attach(), self.attached.first()) {
            // The password alone is known already; user and password encoded together are a text of their own.
            (Attach::Basic { .. }, Some((_, value))) => value.as_bytes().strip_prefix(b"Basic ").unwrap_or_default(),
            _ => &[],
        };
        let whole = KnownSecrets::builder().add(&format!("{}.basic", lease.service()), whole).build();
        KnownSecrets::merge(&[&lease.known_secrets(), &whole])
    }
}

/// Why there is no loan.
enum Refused {
    Vault(VaultError),
    Here(HttpError),
}

impl From<VaultError> for Refused {
    fn from(error: VaultError) -> Self {
        Self::Vault(error)
    }
}

pub(crate) async fn borrow(
    vault: &Vault,
    scope: &CallScope,
    allowed: &AllowedRequest,
    service: &ServiceName,
) -> Result<Loan, HttpError> {
    let check = |binding: &Binding| {
        if binding.attach == Some(Attach::Placeholders) {
            return Err(unfit(service, "is not attached by a header field"));
        }
        check_binding(binding, allowed, service)
    };
    let lease = open(vault, scope, service, check).await?;
    let attachment = lease.authorisation().map_err(|error| refused(service, &error))?;
    #[expect(clippy::disallowed_methods, reason = "egress is where a secret is attached to a request")]
    let value = attachment.value.expose();
    let attached = field(&attachment.header, value).ok_or_else(|| unfit(service, "cannot stand in a header field"))?;
    Ok(Loan {
        attached: vec![attached],
        url: None,
        body: None,
        mark: mark(&lease),
        source: Source::Lease(Box::new(lease)),
    })
}

/// As [`borrow`], for a request that holds placeholders that this run was given.
pub(crate) async fn redeem(
    vault: &Vault,
    scope: &CallScope,
    allowed: &AllowedRequest,
    redemption: &Redemption,
    handed: &Handed,
) -> Result<Loan, HttpError> {
    let service = &redemption.service;
    let check = |binding: &Binding| {
        if !handed.agrees(redemption, binding) {
            return Err(unfit(service, "was connected anew, with other places for its placeholders"));
        }
        check_binding(binding, allowed, service)
    };
    let lease = open(vault, scope, service, check).await?;
    let swapped = handed.swap(redemption, allowed.headers(), allowed.url(), allowed.body(), &lease);
    let Swapped { fields, url, body, secrets } =
        swapped.ok_or_else(|| unfit(service, "cannot stand where its placeholder stands"))?;
    let secrets = KnownSecrets::merge(&[&lease.known_secrets(), &secrets]);
    Ok(Loan { attached: fields, url, body, mark: mark(&lease), source: Source::InPlace(secrets) })
}

fn mark(lease: &Lease) -> Mark {
    (lease.service().clone(), lease.owner(), lease.version())
}

/// Opens the connection where `check` lets it.
async fn open(
    vault: &Vault,
    scope: &CallScope,
    service: &ServiceName,
    check: impl Fn(&Binding) -> Result<(), HttpError> + Send + Sync,
) -> Result<Lease, HttpError> {
    let before = |public: &ConnectionInfo| check(&public.binding).map_err(Refused::Here);
    let leased = vault.lease_checked(&purpose(scope), service, &scope.intent, before).await;
    let lease = leased.map_err(|refusal| match refusal {
        Refused::Vault(error) => refused(service, &error),
        Refused::Here(error) => error,
    })?;
    // What was checked before is authenticated only now.
    check(lease.binding())?;
    Ok(lease)
}

pub(crate) fn purpose(scope: &CallScope) -> Purpose {
    Purpose {
        tenant: scope.principal.tenant.clone(),
        user: scope.principal.user.clone(),
        skill: scope.skill.clone(),
        tool: scope.tool.clone(),
        call: scope.call,
        correlation: scope.correlation,
    }
}

pub(crate) async fn state(
    vault: &Vault,
    scope: &CallScope,
    service: &ServiceName,
) -> Result<ConnectionState, HttpError> {
    match vault.connected(&scope.principal.tenant, &scope.principal.user, service).await {
        Ok(true) => Ok(ConnectionState::Connected),
        Ok(false) => Ok(ConnectionState::NotConnected),
        Err(error) => Err(unavailable(&error)),
    }
}

/// The hosts that the person who connected the service named; without any, a rule of the manifest has to name host and
/// credential, or a person has to have granted it.
fn check_binding(binding: &Binding, allowed: &AllowedRequest, service: &ServiceName) -> Result<(), HttpError> {
    let url = allowed.checked_url();
    let at = url.authority();
    let host = url.host().to_string();
    match &binding.hosts {
        Some(hosts) if hosts.iter().any(|bound| bound.covers(&host, url.port(), url.scheme().default_port())) => Ok(()),
        Some(_) => Err(Denial::new(
            "credential_wrong_host",
            format_args!("the connection of {service} is not bound to {at}"),
        )
        .hint(format!(
            "name {at} among the hosts of {service} where it is connected; for an account by OAuth that is hosts in \
                     [oauth.{service}] of sophon.toml, then: sophon connect {service}"
        ))
        .into()),
        None if allowed.pass().binding == BindingRule::Named => Ok(()),
        None if allowed.pass().binding == BindingRule::Wildcard => Err(Denial::new(
            "credential_wildcard",
            format_args!("the credential {service} does not travel to {at}: only a wildcard of the manifest names it"),
        )
        .hint(format!(
            "let the person who connected {service} name the host: sophon credential set {service} --host {at}"
        ))
        .into()),
        None => {
            let mut rule = serde_json::json!({ "host": host, "credential": service.as_str() });
            if url.port() != url.scheme().default_port() {
                rule["ports"] = serde_json::json!([url.port()]);
            }
            Err(Denial::new("credential_not_allowed", format_args!("the credential {service} may not travel to {at}"))
                .hint(format!("add {rule} to permissions.network in manifest.json"))
                .into())
        }
    }
}

pub(crate) fn field(name: &str, value: &[u8]) -> Option<Attached> {
    let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
    let mut value = HeaderValue::from_bytes(value).ok()?;
    // Kept out of every debug output of the http stack.
    value.set_sensitive(true);
    Some((name, value))
}

fn refused(service: &ServiceName, error: &VaultError) -> HttpError {
    match error {
        VaultError::NotConnected { .. } => {
            let denial = Denial::new("not_connected", format_args!("{service} is not connected"));
            error.hint().map_or(denial.clone(), |hint| denial.hint(hint)).into()
        }
        VaultError::Oauth(oauth) => {
            let denial = Denial::new(error.code(), oauth);
            error.hint().map_or(denial.clone(), |hint| denial.hint(hint)).into()
        }
        VaultError::InvalidBinding(_) => unfit(service, "is not attached by a header field"),
        other => unavailable(other),
    }
}

fn unfit(service: &ServiceName, why: &str) -> HttpError {
    Denial::new("credential_unfit", format_args!("the credential {service} {why}"))
        .hint(format!("connect {service} again, with a field that can be sent as a bearer token or in a header"))
        .into()
}

pub(crate) fn unavailable(error: &VaultError) -> HttpError {
    // The vault's own words may name files; they are the log's.
    tracing::warn!(%error, "the vault cannot be used");
    HttpError::HostUnavailable(format!("the vault cannot be used ({})", error.code()))
}
