//! Telling a provider that tokens are no longer wanted (RFC 7009).

use super::OauthError;
use super::endpoint::{Errand, Form};
use super::grant::{ACCESS_TOKEN, Grant, REFRESH_TOKEN};
use crate::vault::{Fields, open_fields};
use crate::{Vault, VaultError};
use secrecy::{ExposeSecret as _, SecretString};
use sophon_audit::{Action, Outcome, Record};
use sophon_store::Connection;
use sophon_types::{Fault as _, Principal};

/// The tokens of a connection that is given up.
pub(crate) struct GivenUp {
    grant: Grant,
    tokens: Vec<(&'static str, SecretString)>,
}

impl Vault {
    /// The tokens of a connection that is about to go. What does not open is of no use to anybody else either.
    pub(crate) async fn given_up(&self, found: &Connection) -> Result<Option<GivenUp>, VaultError> {
        let Some(grant) = crate::connection::Meta::read(&found.row.meta)?.oauth else { return Ok(None) };
        let kek = self.inner.kek.read().await;
        let mut fields = match open_fields(&kek, found, Fields::All) {
            Ok(fields) => fields,
            Err(error) => {
                tracing::error!(service = %found.row.service, %error, "tokens that are given up do not open");
                return Ok(None);
            }
        };
        // The refresh token first: most providers take the access tokens back with it.
        let named = [REFRESH_TOKEN, ACCESS_TOKEN].into_iter();
        let tokens = named.filter_map(|name| Some((name, fields.remove(name)?.text())));
        let tokens = tokens.map(|(name, secret)| Ok((name, secret?))).collect::<Result<_, VaultError>>()?;
        Ok(Some(GivenUp { grant, tokens }))
    }

    /// Has the provider take the tokens back.
    pub(crate) async fn take_back(
        &self,
        actor: &Principal,
        found: &Connection,
        given_up: GivenUp,
    ) -> Result<(), VaultError> {
        let service = &found.row.service;
        let base = Record::new(Action::OauthRevoke, Outcome::Intent)
            .principal(actor)
            .detail("service", service.as_str())
            .detail("version", found.row.version);
        let (Ok(oauth), issuer) = (self.oauth(service), given_up.grant.issuer) else {
            return self.note(base.then(Action::OauthRevoke, Outcome::failed("oauth_not_configured"))).await;
        };
        let provider = match oauth.provider(service) {
            Ok(provider) if provider.identity() == issuer => provider,
            // Not ours to speak to any more, and the tokens are shown to nobody else.
            _ => return self.note(base.then(Action::OauthRevoke, Outcome::failed("oauth_not_configured"))).await,
        };
        self.inner.audit.append(base.clone()).await?;
        let errand = Errand { oauth, provider, service, tenant: &actor.tenant, user: &actor.user };
        let done = self.revoke_each(&errand, given_up.tokens).await;
        let outcome = match &done {
            Ok(()) => Outcome::Ok,
            Err(error) => Outcome::failed(error.code()),
        };
        self.inner.audit.append(base.then(Action::OauthRevoke, outcome)).await?;
        match done {
            Ok(()) => Ok(()),
            // There is nothing to ask: the tokens end when they end, as the record says.
            Err(VaultError::Oauth(OauthError::Unsupported { .. })) => Ok(()),
            Err(error) => Err(OauthError::NotRevoked { service: service.clone(), why: error.to_string() }.into()),
        }
    }

    async fn revoke_each(
        &self,
        errand: &Errand<'_>,
        tokens: Vec<(&'static str, SecretString)>,
    ) -> Result<(), VaultError> {
        let endpoints = errand.endpoints().await?;
        let url = endpoints.revocation.as_ref().ok_or_else(|| errand.unsupported("revocation_endpoint"))?;
        let secret = self.client_secret(errand.oauth, errand).await?;
        let mut last = Ok(());
        for (hint, token) in tokens {
            let form = Form::empty().with("token", token.expose_secret()).with("token_type_hint", hint);
            let answer = errand.post(&endpoints, url, form, secret.as_ref()).await;
            match answer {
                // A token that is not known is as good as one that was taken back (RFC 7009, 2.2).
                Ok(answer) if (200..300).contains(&answer.status) => {}
                Ok(answer) => match errand.read::<serde_json::Value>(&answer) {
                    // Some take back refresh tokens only (RFC 7009, 2.2.1).
                    Err(OauthError::Refused { code, .. })
                        if code == "unsupported_token_type" && hint == ACCESS_TOKEN => {}
                    Err(error) => last = Err(error.into()),
                    Ok(_) => {
                        let why = "it is not what a revocation answers";
                        last = Err(OauthError::Answer { service: errand.service.clone(), why }.into());
                    }
                },
                Err(error) => last = Err(error.into()),
            }
        }
        last
    }
}
