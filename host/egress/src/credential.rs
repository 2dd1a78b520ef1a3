//! Whether a credential may travel with a request, and borrowing it for that one request.
//!
//! Promise: the vault is asked last, after everything that could refuse the request, and opens nothing that may not
//! travel there; a secret leaves this file only as
//! the header field it is attached in, marked sensitive, and as what the redactor looks for.

use crate::admit::AllowedRequest;
use crate::allowlist::BindingRule;
use crate::dispatch::Attached;
use crate::error::{Denial, HttpError};
use crate::session::{CallScope, ConnectionState};
use http::header::{HeaderName, HeaderValue};
use sophon_guard::KnownSecrets;
use sophon_types::{Fault, ServiceName};
use sophon_vault::{Attach, Binding, ConnectionInfo, Lease, Owner, Purpose, Vault, VaultError};

/// A credential that was lent for one request.
pub(crate) struct Loan {
    /// The header field to send.
    pub(crate) attached: Attached,
    lease: Lease,
}

/// Which secrets a loan holds: another loan with the same mark holds the same.
pub(crate) type Mark = (ServiceName, Owner, u64);

impl Loan {
    pub(crate) fn mark(&self) -> Mark {
        (self.lease.service().clone(), self.lease.owner(), self.lease.version())
    }

    /// Every secret part of it, for the scan of this request and the redaction of what comes back.
    pub(crate) fn secrets(&self) -> KnownSecrets {
        let whole = match self.lease.attach() {
            // The password alone is known already; user and password encoded together are a text of their own.
            Attach::Basic { .. } => self.attached.1.as_bytes().strip_prefix(b"Basic ").unwrap_or_default(),
            _ => &[],
        };
        let whole = KnownSecrets::builder().add(&format!("{}.basic", self.lease.service()), whole).build();
        KnownSecrets::merge(&[&self.lease.known_secrets(), &whole])
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
    let purpose = Purpose {
        tenant: scope.principal.tenant.clone(),
        user: scope.principal.user.clone(),
        skill: scope.skill.clone(),
        tool: scope.tool.clone(),
        call: scope.call,
        correlation: scope.correlation,
    };
    let check = |public: &ConnectionInfo| check_binding(&public.binding, allowed, service).map_err(Refused::Here);
    let lease =
        vault.lease_checked(&purpose, service, &scope.intent, check).await.map_err(|refusal| match refusal {
            Refused::Vault(error) => refused(service, &error),
            Refused::Here(error) => error,
        })?;
    // What was checked before is authenticated only now.
    check_binding(lease.binding(), allowed, service)?;
    let attachment = lease.authorisation().map_err(|error| refused(service, &error))?;
    #[expect(clippy::disallowed_methods, reason = "egress is where a secret is attached to a request")]
    let value = attachment.value.expose();
    let attached = field(&attachment.header, value).ok_or_else(|| unfit(service, "cannot stand in a header field"))?;
    Ok(Loan { attached, lease })
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
    if binding.attach == Some(Attach::Placeholders) {
        return Err(unfit(service, "is not attached by a header field"));
    }
    let url = allowed.checked_url();
    let at = url.authority();
    let host = url.host().to_string();
    match &binding.hosts {
        Some(hosts) if hosts.iter().any(|bound| bound.covers(&host, url.port(), url.scheme().default_port())) => Ok(()),
        Some(_) => {
            Err(Denial::new("credential_wrong_host", format_args!("the connection of {service} is not bound to {at}"))
                .hint(format!("the person who connected {service} can name {at} among its hosts"))
                .into())
        }
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

fn field(name: &str, value: &[u8]) -> Option<Attached> {
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
        VaultError::InvalidBinding(_) => unfit(service, "is not attached by a header field"),
        other => unavailable(other),
    }
}

fn unfit(service: &ServiceName, why: &str) -> HttpError {
    Denial::new("credential_unfit", format_args!("the credential {service} {why}"))
        .hint(format!("connect {service} again, with a field that can be sent as a bearer token or in a header"))
        .into()
}

fn unavailable(error: &VaultError) -> HttpError {
    // The vault's own words may name files; they are the log's.
    tracing::warn!(%error, "the vault cannot be used");
    HttpError::HostUnavailable(format!("the vault cannot be used ({})", error.code()))
}
