//! Tokens and placeholders for the skill of one run.
//!
//! Promise: no secret is ever given out. A skill that opted in gets a placeholder, good for this run, at the hosts of that
//! connection, in header fields that are made for credentials. It stands for a token of no more than the declared scopes
//! where the provider gives such tokens (RFC 8693), else for the connection's own. Native code gets one for each secret field
//! of a connection that its manifest declares; of an account at a provider whose tokens it declared with scopes, one of those.

use crate::credential::{purpose, unavailable};
use crate::error::HttpError;
use crate::session::EgressSession;
use crate::url::CheckedUrl;
use serde::{Deserialize, Serialize};
use sophon_audit::Outcome;
use sophon_guard::KnownSecrets;
use sophon_skill::{Access, CredentialUse, Field, FieldKind, Scheme};
use sophon_types::ServiceName;
use sophon_vault::{Attach, ConnectionInfo, Owner, VaultError};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Why a skill gets no token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TokenRefused {
    /// The manifest does not declare the service.
    #[error("{0} is not among the manifest's credentials")]
    Undeclared(String),
    /// Nobody has connected the service.
    #[error("{0} is not connected")]
    NotConnected(String),
    /// The manifest did not opt in, or there is no such field.
    #[error("{0}")]
    NotAvailable(String),
    /// The audit log or the vault cannot be used.
    #[error(transparent)]
    Host(#[from] HttpError),
}

fn refusal(service: &ServiceName, error: VaultError) -> TokenRefused {
    match error {
        VaultError::NotConnected { .. } => TokenRefused::NotConnected(service.to_string()),
        VaultError::Oauth(error) => TokenRefused::NotAvailable(error.to_string()),
        other => TokenRefused::Host(unavailable(&other)),
    }
}

/// A field of a connection, as native code finds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FieldValue {
    /// It is not secret: the value itself.
    Plain(String),
    /// What stands for the secret.
    Placeholder(String),
}

impl FieldValue {
    /// The text that native code gets.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Plain(text) | Self::Placeholder(text) => text,
        }
    }
}

/// What native code gets of one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectionFields {
    /// Whose it is.
    pub owner: Owner,
    /// Its version: what is plain is of this one.
    pub version: u64,
    /// The fields.
    pub values: BTreeMap<String, FieldValue>,
}

/// A field that native code gets of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedField {
    /// The name that the code finds it under.
    pub name: String,
    /// The name that the connection has for it.
    field: String,
    /// Whether the code gets the value itself.
    pub is_plain: bool,
}

/// Which fields of a connection native code gets whose manifest declares these (`integration.fields`): those, and where it
/// declares none, all. The token of a provider's account has a name that no manifest has to know: it stands under the one secret
/// field that is declared as well.
#[must_use]
pub fn shared_fields(found: &ConnectionInfo, access: Access, declared: &[Field]) -> Vec<SharedField> {
    let token = match &found.binding.attach {
        Some(Attach::Bearer { field }) if found.oauth.is_some() => Some(field.as_str()),
        _ => None,
    };
    let mut shared = Vec::with_capacity(found.fields.len());
    let mut share = |name: &str, field: &str, is_plain: bool| {
        shared.push(SharedField { name: name.to_owned(), field: field.to_owned(), is_plain });
    };
    for field in &found.fields {
        if token == Some(field) {
            share(field, field, false);
            if let Some(name) = named_for_token(field, declared) {
                share(name, field, false);
            }
            continue;
        }
        // Whoever declared tokens of some scopes has those instead of the rest.
        let is_scoped = token.is_some() && access == Access::ScopedToken;
        if !is_scoped && (declared.is_empty() || declared.iter().any(|declared| declared.key == *field)) {
            share(field, field, found.binding.plain.contains(field));
        }
    }
    shared
}

/// The one secret field that a manifest declares, where it does not declare the token by its own name.
fn named_for_token<'d>(token: &str, declared: &'d [Field]) -> Option<&'d str> {
    let mut secret = declared.iter().filter(|field| field.kind == FieldKind::Secret);
    let only = secret.next().filter(|_| secret.next().is_none())?;
    declared.iter().all(|field| field.key != token).then_some(only.key.as_str())
}

impl EgressSession {
    /// What a skill that opted in (`"access": "scoped-token"`) gets for `service`: the same text each time in one run.
    ///
    /// # Errors
    /// [`TokenRefused`].
    pub async fn scoped_token(&self, service: &str) -> Result<String, TokenRefused> {
        self.while_open(self.scoped(service)).await?
    }

    async fn scoped(&self, service: &str) -> Result<String, TokenRefused> {
        let declared = self.declared(service)?;
        if declared.access != Access::ScopedToken {
            return Err(TokenRefused::NotAvailable(format!(
                "{service}: the manifest does not say `\"access\": \"scoped-token\"`; name it in `http.request.credential`"
            )));
        }
        let (service, scopes) = (declared.service.clone(), declared.scopes.clone());
        // Two that ask at once get the same token, and the provider is asked once.
        let _one_at_a_time = self.tokens.lock().await;
        if let Some(text) = self.state.lock().handed.scoped(&service) {
            return Ok(text.to_owned());
        }
        let vault = &self.inner.vault;
        let exchanged = vault.exchange(&purpose(&self.scope), &service, &scopes, &self.scope.intent).await;
        let Some(scoped) = exchanged.map_err(|error| refusal(&service, error))? else {
            return self.placeholder(&service, None).await;
        };
        self.recorder().token(&service, "exchanged", Outcome::Ok).await?;
        let core = vault.placeholder();
        #[expect(clippy::disallowed_methods, reason = "kept for the placeholder that stands for it")]
        Arc::make_mut(&mut self.state.lock().handed).add_scoped(&core, &service, scoped.token.expose());
        Ok(core)
    }

    /// A placeholder for a field of the connection to `service` (without a name: for the one that authorises). Only this
    /// session redeems it, in requests towards the hosts of that connection: in header fields that are made for credentials,
    /// and where else the connection says.
    ///
    /// # Errors
    /// [`TokenRefused`]; whether the caller may have a placeholder at all is for whoever asks to know.
    pub async fn placeholder(&self, service: &ServiceName, field: Option<&str>) -> Result<String, TokenRefused> {
        let declared = self.declared(service.as_str())?.service.clone();
        let handed = Arc::clone(&self.state.lock().handed);
        if let Some(text) = handed.placeholder(&declared, field) {
            return Ok(text.to_owned());
        }
        let principal = &self.scope.principal;
        let found = self.inner.vault.public(&principal.tenant, &principal.user, &declared).await;
        let found = found.map_err(|error| unavailable(&error))?;
        let found = found.ok_or_else(|| TokenRefused::NotConnected(service.to_string()))?;
        if let Some(field) = field
            && !found.fields.iter().any(|name| name == field)
        {
            let field: String = field.chars().take(64).collect();
            return Err(TokenRefused::NotAvailable(format!("{service}: the connection has no field {field:?}")));
        }
        let placing = found.binding.placing(field);
        let url = match &placing {
            Some(placing) if placing.is_url() => Some(self.whole_url(&declared, field).await?),
            _ => None,
        };
        self.recorder().token(&declared, "placeholder", Outcome::Ok).await?;
        let mut state = self.state.lock();
        // Somebody else of the same run may have asked meanwhile.
        if let Some(text) = state.handed.placeholder(&declared, field) {
            return Ok(text.to_owned());
        }
        let core = self.inner.vault.placeholder();
        let handed = Arc::make_mut(&mut state.handed);
        Ok(handed.add_placeholder(&core, &declared, field, placing.as_ref(), url.as_ref()))
    }

    /// A field that is a URL as a whole: its host is told, and rules are asked about its path. From here on it is a secret of
    /// this session.
    async fn whole_url(&self, service: &ServiceName, field: Option<&str>) -> Result<CheckedUrl, TokenRefused> {
        let vault = &self.inner.vault;
        let lease = vault.lease(&purpose(&self.scope), service, &self.scope.intent).await;
        let lease = lease.map_err(|error| refusal(service, error))?;
        let mut state = self.state.lock();
        state.secrets = KnownSecrets::merge(&[&state.secrets, &lease.known_secrets()]);
        #[expect(clippy::disallowed_methods, reason = "its host is told, and its path is asked about")]
        let text = lease.stands_for(field).and_then(|secret| std::str::from_utf8(secret.expose()).ok());
        let url = text.and_then(|text| CheckedUrl::parse(text, self.inner.wire.limits.url_bytes).ok());
        url.filter(|url| url.scheme() == Scheme::Https)
            .ok_or_else(|| TokenRefused::NotAvailable(format!("{service}: its field is no URL that can be sent")))
    }

    /// What native code gets of the connection to `service`, whose manifest declares these fields of it
    /// ([`shared_fields`]): what is not secret as it is, and a placeholder for everything else. Of a provider's account
    /// whose tokens it declared with scopes, a token of those.
    ///
    /// # Errors
    /// [`TokenRefused`]; whether the caller may have them at all is for whoever asks to know.
    pub async fn connection_fields(
        &self,
        service: &ServiceName,
        fields: &[Field],
    ) -> Result<ConnectionFields, TokenRefused> {
        let used = self.declared(service.as_str())?;
        let (declared, access) = (used.service.clone(), used.access);
        let (vault, principal) = (&self.inner.vault, &self.scope.principal);
        let found = vault.public(&principal.tenant, &principal.user, &declared).await;
        let found = found.map_err(|error| unavailable(&error))?;
        let found = found.ok_or_else(|| TokenRefused::NotConnected(service.to_string()))?;
        let is_bearer = matches!(found.binding.attach, Some(Attach::Bearer { .. }));
        let is_scoped = access == Access::ScopedToken && found.oauth.is_some() && is_bearer;
        let shared = shared_fields(&found, access, fields);
        let (mut owner, mut version) = (found.owner, found.version);
        let mut values = BTreeMap::new();
        for SharedField { name, field, .. } in shared.iter().filter(|shared| !shared.is_plain) {
            let text = match is_scoped {
                true => self.scoped_token(declared.as_str()).await?,
                false => self.placeholder(&declared, Some(field)).await?,
            };
            values.insert(name.clone(), FieldValue::Placeholder(text));
        }
        if shared.iter().any(|shared| shared.is_plain) {
            let lease = vault.lease(&purpose(&self.scope), &declared, &self.scope.intent).await;
            let lease = lease.map_err(|error| unavailable(&error))?;
            (owner, version) = (lease.owner(), lease.version());
            // What is plain is said by what is authenticated now, not by the look before.
            for (name, value) in lease.plain_fields().filter(|(name, _)| shared.iter().any(|field| field.name == *name))
            {
                values.insert(name.to_owned(), FieldValue::Plain(value.into_owned()));
            }
        }
        Ok(ConnectionFields { owner, version, values })
    }

    fn declared(&self, service: &str) -> Result<&CredentialUse, TokenRefused> {
        let found = self.scope.credentials.iter().find(|credential| credential.service.as_str() == service);
        found.ok_or_else(|| TokenRefused::Undeclared(service.chars().take(64).collect()))
    }
}
