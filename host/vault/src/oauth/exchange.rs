//! A token of narrower scope for one skill (RFC 8693), where the provider gives them.

use super::OauthError;
use super::endpoint::{Errand, Form, Tokens};
use super::grant::ACCESS_TOKEN;
use super::metadata::EXCHANGE;
use super::provider::TokenExchange;
use crate::vault::{Fields, open_fields};
use crate::{Binding, Owner, Purpose, Secret, Vault, VaultError};
use secrecy::{ExposeSecret as _, SecretString};
use sophon_audit::{Action, Outcome, Receipt, Record};
use sophon_types::{Fault as _, ServiceName};
use std::fmt;
use std::time::Duration;
use zeroize::Zeroizing;

/// The longest that a token may last which a skill holds itself.
const SHORT: Duration = Duration::from_secs(3600);
/// The kind of token that is shown, asked for, and taken.
const ACCESS_TOKEN_TYPE: &str = "urn:ietf:params:oauth:token-type:access_token";

/// A token that a skill may hold.
pub struct ScopedToken {
    /// The token.
    pub token: Secret,
    /// Where it may travel: where the connection's own token may.
    pub binding: Binding,
    /// Whose connection it came from.
    pub owner: Owner,
    /// Of which version.
    pub version: u64,
}

impl fmt::Debug for ScopedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedToken").field("version", &self.version).finish_non_exhaustive()
    }
}

impl Vault {
    /// A token with no more than `scopes`, for at most an hour; none where the provider gives none (or the connection has
    /// no provider): then a placeholder is what a skill gets.
    ///
    /// # Errors
    /// [`VaultError::NotIntended`], [`VaultError::NotConnected`]; [`VaultError::Oauth`] where no scope is named or one was
    /// not granted, where the provider's token is not narrow or not short-lived, or where tokens are always to be
    /// exchanged and the connection is another issuer's; [`VaultError::Audit`], [`VaultError::Store`].
    pub async fn exchange(
        &self,
        purpose: &Purpose,
        service: &ServiceName,
        scopes: &[String],
        intent: &Receipt,
    ) -> Result<Option<ScopedToken>, VaultError> {
        purpose.check(intent)?;
        let found = self.find(&purpose.tenant, &purpose.user, service).await?;
        let found = found.ok_or_else(|| VaultError::NotConnected { service: service.clone() })?;
        let (Some(grant), Ok(oauth)) = (found.meta()?.oauth.as_ref(), self.oauth(service)) else { return Ok(None) };
        if scopes.is_empty() {
            // Of no scope at all no token can be the narrow one.
            return Err(OauthError::NoScope { service: service.clone() }.into());
        }
        let Ok(provider) = oauth.provider(service) else { return Ok(None) };
        match provider.token_exchange() {
            TokenExchange::Never => return Ok(None),
            _ if provider.identity() == grant.issuer => {}
            TokenExchange::Auto => return Ok(None),
            TokenExchange::Always => return Err(OauthError::Lapsed { service: service.clone() }.into()),
        }
        let errand = Errand { oauth, provider, service, tenant: &purpose.tenant, user: &purpose.user };
        let endpoints = errand.endpoints().await?;
        if provider.token_exchange() == TokenExchange::Auto && !endpoints.exchanges {
            return Ok(None);
        }
        if let Some(scope) = scopes.iter().find(|scope| !grant.scopes.contains(scope)) {
            let scope = scope.chars().take(80).collect();
            return Err(OauthError::Scope { service: service.clone(), scope, of: "granted" }.into());
        }
        let base = purpose.record(Action::OauthExchange).detail("service", service.as_str());
        let base = base.detail("scopes", scopes.to_vec()).detail("intent", intent.seq());
        let place = (found.row.tenant.clone(), found.row.user.clone(), service.clone());
        if grant.is_stale(self.inner.clock.now()) {
            self.freshen(place, purpose.user.clone(), purpose.record(Action::OauthRefresh)).await?;
        }
        self.inner.audit.append(base.clone()).await?;
        let done = self.narrowed(&errand, purpose, scopes).await;
        let outcome = done.as_ref().map_or_else(|error| Outcome::failed(error.code()), |_| Outcome::Ok);
        self.inner.audit.append(base.then(Action::OauthExchange, outcome)).await?;
        done.map(Some)
    }

    async fn narrowed(
        &self,
        errand: &Errand<'_>,
        purpose: &Purpose,
        scopes: &[String],
    ) -> Result<ScopedToken, VaultError> {
        let service = errand.service;
        let (found, access) = {
            let kek = self.inner.kek.read().await;
            let found = self.find(&purpose.tenant, &purpose.user, service).await?;
            let found = found.ok_or_else(|| VaultError::NotConnected { service: service.clone() })?;
            let access = open_fields(&kek, &found, Fields::Lent)?.remove(ACCESS_TOKEN);
            (found, access.ok_or(VaultError::Tampered)?.text()?)
        };
        let meta = found.meta()?;
        let mut binding = meta.binding.clone();
        self.narrow(service, meta.oauth.as_ref(), &mut binding);
        let endpoints = errand.endpoints().await?;
        let secret = self.client_secret(errand.oauth, errand).await?;
        let form = Form::new(EXCHANGE)
            .with("subject_token", access.expose_secret())
            .with("subject_token_type", ACCESS_TOKEN_TYPE)
            .with("requested_token_type", ACCESS_TOKEN_TYPE)
            .with("scope", &scopes.join(" "));
        let tokens = errand.tokens(&endpoints, form, secret.as_ref()).await?;
        check(&tokens, &access, scopes).map_err(|why| OauthError::Answer { service: service.clone(), why })?;
        let token = Zeroizing::new(tokens.access.expose_secret().as_bytes().to_vec());
        let owner = if found.row.user.is_some() { Owner::User } else { Owner::Tenant };
        Ok(ScopedToken { token: Secret::new(token), binding, owner, version: found.row.version })
    }
}

/// Whether it is what was asked for: another token, of this kind, short-lived, and no wider.
fn check(tokens: &Tokens, subject: &SecretString, scopes: &[String]) -> Result<(), &'static str> {
    if tokens.access.expose_secret() == subject.expose_secret() {
        return Err("the token that came back is the one that was shown");
    }
    if tokens.kind.as_deref() != Some(ACCESS_TOKEN_TYPE) {
        return Err("what came back is not an access token");
    }
    if tokens.refresh.is_some() {
        return Err("a refresh token came with it");
    }
    if tokens.life.is_none_or(|life| life > SHORT) {
        return Err("the token is not short-lived");
    }
    // Left out where it is what was asked for (RFC 8693, 2.2.1).
    match &tokens.scopes {
        Some(given) if !given.iter().all(|scope| scopes.contains(scope)) => {
            Err("the token is good for more than was asked")
        }
        _ => Ok(()),
    }
}

impl Purpose {
    /// Whether `intent` is the intent of this call.
    pub(crate) fn check(&self, intent: &Receipt) -> Result<(), VaultError> {
        if intent.action() == Action::CallIntent && intent.call() == Some(self.call) {
            return Ok(());
        }
        Err(VaultError::NotIntended)
    }

    /// A record of this call.
    pub(crate) fn record(&self, action: Action) -> Record {
        Record::new(action, Outcome::Intent)
            .tenant(&self.tenant)
            .user(&self.user)
            .skill(&self.skill)
            .tool(&self.tool)
            .call(self.call)
            .correlation(self.correlation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_40_a_token_that_is_not_narrow_is_not_handed_on() {
        let tokens = |access: &str, kind: Option<&str>, life: Option<u64>, scopes: Option<&str>| Tokens {
            access: SecretString::from(access),
            refresh: None,
            scopes: scopes.map(|scopes| scopes.split(' ').map(str::to_owned).collect()),
            life: life.map(Duration::from_secs),
            kind: kind.map(str::to_owned),
        };
        let subject = SecretString::from("the-whole-token");
        let asked = ["read".to_owned()];
        let kind = Some(ACCESS_TOKEN_TYPE);
        assert!(check(&tokens("narrow-token", kind, Some(300), Some("read")), &subject, &asked).is_ok());
        assert!(check(&tokens("narrow-token", kind, Some(300), None), &subject, &asked).is_ok());
        for bad in [
            tokens("the-whole-token", kind, Some(300), Some("read")),
            tokens("narrow-token", None, Some(300), Some("read")),
            tokens("narrow-token", Some("urn:ietf:params:oauth:token-type:refresh_token"), Some(300), None),
            tokens("narrow-token", kind, None, Some("read")),
            tokens("narrow-token", kind, Some(86_400), Some("read")),
            tokens("narrow-token", kind, Some(300), Some("read write")),
        ] {
            assert!(check(&bad, &subject, &asked).is_err());
        }
        let refresh =
            Tokens { refresh: Some("r-token-r-token".into()), ..tokens("narrow-token", kind, Some(300), None) };
        assert!(check(&refresh, &subject, &asked).is_err());
    }
}
