//! Telling a provider that tokens are no longer wanted (RFC 7009).

use super::endpoint::{Errand, Form, Tokens};
use super::flights::Place;
use super::grant::{ACCESS_TOKEN, REFRESH_TOKEN};
use super::{OauthError, Unkept};
use crate::found::Found;
use crate::vault::{Fields, open_fields};
use crate::{Vault, VaultError};
use secrecy::{ExposeSecret as _, SecretString};
use sophon_audit::{Action, Outcome, Record};
use sophon_types::{Fault as _, Principal, ServiceName};
use std::collections::BTreeMap;

/// The tokens of a connection that is given up.
pub(crate) struct GivenUp {
    service: ServiceName,
    version: u64,
    issuer: String,
    /// Why there are none: they do not open.
    tokens: Result<Vec<(&'static str, SecretString)>, VaultError>,
}

impl GivenUp {
    /// Tokens that a provider has given a moment ago.
    pub(crate) fn fresh(service: &ServiceName, issuer: &str, tokens: &Tokens) -> Self {
        let refresh = tokens.refresh.clone().map(|refresh| (REFRESH_TOKEN, refresh));
        let tokens = refresh.into_iter().chain([(ACCESS_TOKEN, tokens.access.clone())]).collect();
        Self { service: service.clone(), version: 0, issuer: issuer.to_owned(), tokens: Ok(tokens) }
    }
}

impl Vault {
    /// The tokens of a connection that is about to go; `None` where no provider gave them.
    pub(crate) async fn given_up(&self, found: &Found) -> Option<GivenUp> {
        // Of a row that cannot be read nobody knows where it came from.
        let grant = found.meta().ok()?.oauth.as_ref()?;
        let kek = self.inner.kek.read().await;
        let tokens = open_fields(&kek, found, Fields::All).and_then(|mut fields| {
            // The refresh token first: most providers take the access tokens back with it.
            let named = [REFRESH_TOKEN, ACCESS_TOKEN].into_iter();
            named.filter_map(|name| Some(fields.remove(name)?.text().map(|secret| (name, secret)))).collect()
        });
        Some(GivenUp {
            service: found.row.service.clone(),
            version: found.row.version,
            issuer: grant.issuer.clone(),
            tokens,
        })
    }

    /// The tokens of the connection at `place`, which `fields` are about to replace; none that are among these. Whoever
    /// asks has its turn.
    pub(crate) async fn about_to_be_replaced(
        &self,
        place: &Place,
        fields: &BTreeMap<String, SecretString>,
    ) -> Result<Option<GivenUp>, VaultError> {
        let (tenant, owner, service) = place;
        let found = self.inner.store.connections().get(tenant, owner.as_ref(), service).await?;
        let Some(found) = found.map(Found::of) else { return Ok(None) };
        let kept = |secret: &SecretString| fields.values().any(|new| new.expose_secret() == secret.expose_secret());
        // Where a provider gives the same refresh token again, the old access token goes on belonging to it.
        let goes = |given_up: &GivenUp| !given_up.tokens.iter().flatten().any(|(_, secret)| kept(secret));
        Ok(self.given_up(&found).await.filter(goes))
    }

    /// Has the provider take tokens back that others have replaced, unless the operator said not to. That they were not
    /// is recorded, and no reason to refuse the new ones.
    pub(crate) async fn take_back_replaced(&self, actor: &Principal, replaced: Option<GivenUp>) {
        let Some(replaced) = replaced else { return };
        let service = replaced.service.clone();
        let provider = self.oauth(&service).ok().and_then(|oauth| oauth.parts.providers.of(&service));
        if provider.is_some_and(|provider| !provider.revokes_replaced()) {
            return;
        }
        if let Err(error) = self.take_back(actor, replaced).await {
            tracing::warn!(%service, %error, "tokens that others replaced were not taken back");
        }
    }

    /// Has the provider take back new tokens that could not be kept, for `cause`: nobody has them, and they would stay good. That
    /// does not wait for the log, which is often in trouble where the store is. What whoever connected is told.
    pub(crate) async fn give_back(
        &self,
        actor: &Principal,
        place: &Place,
        unkept: GivenUp,
        cause: VaultError,
    ) -> VaultError {
        let service = unkept.service.clone();
        tracing::error!(%service, error = %cause, "new tokens could not be kept; the provider is to take them back");
        let base = Record::new(Action::OauthRevoke, Outcome::Intent)
            .principal(actor)
            .detail("service", service.as_str())
            .detail("cause", "not_kept");
        let note = async |record: Record| {
            if let Err(error) = self.inner.audit.append(record).await {
                tracing::error!(%service, %error, "it is not recorded that new tokens were given back");
            }
        };
        note(base.clone()).await;
        let done = match self.ends_more(place).await {
            false => self.revoke_all(actor, unkept).await,
            true => {
                let rule = "the provider ends everything of an account with one token".to_owned();
                Err(OauthError::Config { service: service.to_string(), key: "revoke_replaced", rule }.into())
            }
        };
        let (outcome, tokens) = match &done {
            Ok(()) => (Outcome::Ok, Unkept::GivenBack),
            Err(error) => (Outcome::failed(error.code()), Unkept::StillGood),
        };
        note(base.then(Action::OauthRevoke, outcome)).await;
        OauthError::NotKept { service, why: cause.to_string(), kind: cause.kind(), tokens }.into()
    }

    /// Whether giving new tokens back would end those of the connection that is there, or may be.
    async fn ends_more(&self, (tenant, owner, service): &Place) -> bool {
        let provider = self.oauth(service).ok().and_then(|oauth| oauth.parts.providers.of(service));
        if provider.is_none_or(|provider| provider.revokes_replaced()) {
            return false;
        }
        let found = self.inner.store.connections().get(tenant, owner.as_ref(), service).await;
        !matches!(found, Ok(None))
    }

    /// Has the provider take the tokens back.
    pub(crate) async fn take_back(&self, actor: &Principal, given_up: GivenUp) -> Result<(), VaultError> {
        let service = given_up.service.clone();
        let base = Record::new(Action::OauthRevoke, Outcome::Intent)
            .principal(actor)
            .detail("service", service.as_str())
            .detail("version", given_up.version);
        self.inner.audit.append(base.clone()).await?;
        let done = self.revoke_all(actor, given_up).await;
        let outcome = match &done {
            Ok(()) => Outcome::Ok,
            Err(error) => Outcome::failed(error.code()),
        };
        self.inner.audit.append(base.then(Action::OauthRevoke, outcome)).await?;
        done.map_err(|error| OauthError::NotRevoked { service, why: error.to_string() }.into())
    }

    async fn revoke_all(&self, actor: &Principal, given_up: GivenUp) -> Result<(), VaultError> {
        let service = &given_up.service;
        let oauth = self.oauth(service)?;
        let provider = oauth.provider(service)?;
        if provider.identity() != given_up.issuer {
            // Tokens of one issuer are shown to no other.
            let rule = "it is another than the one that gave the tokens".to_owned();
            return Err(OauthError::Config { service: service.to_string(), key: "issuer", rule }.into());
        }
        let errand = Errand { oauth, provider, service, tenant: &actor.tenant, user: &actor.user };
        self.revoke_each(&errand, given_up.tokens?).await
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
