//! Renewing access tokens (RFC 6749, 6), with rotation, once for any number of calls that find one stale.

use super::endpoint::{Errand, Form};
use super::flow::{fields, granted};
use super::grant::{ACCESS_TOKEN, Grant, REFRESH_TOKEN, Standing};
use super::{Oauth, OauthError};
use crate::connection::Meta;
use crate::found::Found;
use crate::oauth::flights::Place;
use crate::vault::{Fields, open_fields};
use crate::{Vault, VaultError};
use secrecy::SecretString;
use sophon_audit::{Action, Outcome, Record};
use sophon_types::{Fault as _, ServiceName, UserId};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::task::JoinError;

/// How long it is tried to keep new tokens, and how long between two tries.
const STUBBORN: Duration = Duration::from_secs(60);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

impl Vault {
    pub(crate) fn oauth(&self, service: &ServiceName) -> Result<&Oauth, VaultError> {
        let missing = || OauthError::NotConfigured { service: service.clone() }.into();
        self.inner.oauth.get().ok_or_else(missing)
    }

    /// Sees to it that the access token of `place` is good when this returns. `user` is on whose behalf; `base` says for
    /// which call.
    ///
    /// The renewal is a task of its own, which [`Vault::close`] waits for: whoever waits for it here may go, and the new
    /// tokens are kept all the same.
    pub(crate) async fn freshen(&self, place: Place, user: UserId, base: Record) -> Result<(), VaultError> {
        let turn = self.inner.flights.turn(&place).await;
        let vault = self.clone();
        let renewed = self.inner.renewals.spawn(async move {
            let renewed = vault.renew(&place, &user, &base).await;
            drop(turn);
            renewed
        });
        renewed.await.map_err(|ended: JoinError| {
            tracing::error!(%ended, "a renewal did not end");
            VaultError::Internal("a renewal of tokens ended early")
        })?
    }

    async fn renew(&self, place: &Place, user: &UserId, base: &Record) -> Result<(), VaultError> {
        let (tenant, owner, service) = place;
        let now = self.inner.clock.now();
        // As it is stored: whoever had the turn before may have renewed it.
        let found = self.inner.store.connections().get(tenant, owner.as_ref(), service).await?;
        let found = found.map(Found::of).ok_or_else(|| VaultError::NotConnected { service: service.clone() })?;
        let meta = found.meta()?;
        let Some(grant) = meta.oauth.clone() else { return Ok(()) };
        if !grant.is_stale(now) {
            return Ok(());
        }
        // A token that is near its end, and cannot be renewed, is good until its end.
        let last = |error: OauthError| if grant.is_over(now) { Err(error.into()) } else { Ok(()) };
        let lapsed = || OauthError::Lapsed { service: service.clone() };
        if grant.standing == Standing::Lapsed || !meta.fields.iter().any(|field| field == REFRESH_TOKEN) {
            return last(lapsed());
        }
        if self.inner.flights.has_just_failed(place, found.row.version) {
            let why = "it failed a moment ago".to_owned();
            return last(OauthError::Unreachable { service: service.clone(), why });
        }
        let oauth = self.oauth(service)?;
        let provider = oauth.provider(service)?;
        if provider.identity() != grant.issuer {
            // Tokens of one issuer are shown to no other.
            return last(lapsed());
        }
        let base = base.clone().detail("service", service.as_str()).detail("version", found.row.version);
        self.inner.audit.append(base.clone().then(Action::OauthRefresh, Outcome::Intent)).await?;
        let errand = Errand { oauth, provider, service, tenant, user };
        let renewed = self.exchange_refresh(&errand, &found, meta, &grant).await;
        let outcome = match &renewed {
            Ok(()) => Outcome::Ok,
            Err(error) => Outcome::failed(error.code()),
        };
        self.inner.audit.append(base.then(Action::OauthRefresh, outcome)).await?;
        match renewed {
            Ok(()) => Ok(()),
            Err(VaultError::Oauth(error)) => {
                if !matches!(error, OauthError::Lapsed { .. }) {
                    self.inner.flights.failed(place, found.row.version);
                }
                tracing::warn!(%service, code = error.code(), "tokens could not be renewed");
                last(error)
            }
            Err(error) => Err(error),
        }
    }

    async fn exchange_refresh(
        &self,
        errand: &Errand<'_>,
        found: &Found,
        meta: &Meta,
        grant: &Grant,
    ) -> Result<(), VaultError> {
        let mut kept = {
            let kek = self.inner.kek.read().await;
            open_fields(&kek, found, Fields::All)?
        };
        let mut take = |name: &str| kept.remove(name).ok_or(VaultError::Tampered).and_then(|secret| secret.text());
        let (access, refresh) = (take(ACCESS_TOKEN)?, take(REFRESH_TOKEN)?);
        let endpoints = errand.endpoints().await?;
        let secret = self.client_secret(errand.oauth, errand).await?;
        let form = Form::new("refresh_token").with("refresh_token", secrecy::ExposeSecret::expose_secret(&refresh));
        let asked_at = self.inner.clock.now();
        let service = &found.row.service;
        match errand.tokens(&endpoints, form, secret.as_ref()).await {
            Ok(tokens) => {
                let grant = Grant {
                    scopes: tokens.scopes.as_deref().map_or_else(|| grant.scopes.clone(), granted),
                    obtained_at: asked_at,
                    expires_at: tokens.life.map(|life| asked_at.plus(life)),
                    ..grant.clone()
                };
                // A provider that does not rotate says nothing of the refresh token.
                let fields = fields(tokens.access, Some(tokens.refresh.unwrap_or(refresh)));
                self.rewrite(found, meta, &fields, grant).await
            }
            Err(OauthError::Refused { code, .. }) if code == "invalid_grant" => {
                // Expired, withdrawn, or used by somebody else: it will not get better by asking again.
                let grant = Grant { standing: Standing::Lapsed, ..grant.clone() };
                self.rewrite(found, meta, &fields(access, None), grant).await?;
                Err(OauthError::Lapsed { service: service.clone() }.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The same connection with other tokens. A store that does not take them is asked again for a while: the provider has
    /// rotated the refresh token, and the old one is worth nothing.
    async fn rewrite(
        &self,
        found: &Found,
        meta: &Meta,
        fields: &BTreeMap<String, SecretString>,
        grant: Grant,
    ) -> Result<(), VaultError> {
        let row = &found.row;
        let meta = Meta::check(&row.service, fields, meta.binding.clone())?.granted(grant);
        let (since, mut pause) = (Instant::now(), FIRST_PAUSE);
        loop {
            match self.replace(&row.tenant, row.user.as_ref(), &row.service, fields, &meta).await {
                Err(VaultError::Store(error)) if since.elapsed() < STUBBORN => {
                    tracing::error!(service = %row.service, %error, "new tokens could not be kept; they are tried again");
                    tokio::time::sleep(pause).await;
                    pause = LONGEST_PAUSE.min(pause * 2);
                }
                done => return done.map(drop),
            }
        }
    }

    /// The client's own secret, where the provider knows one.
    pub(crate) async fn client_secret(
        &self,
        oauth: &Oauth,
        errand: &Errand<'_>,
    ) -> Result<Option<SecretString>, VaultError> {
        let provider = errand.provider;
        if !provider.has_secret() {
            return Ok(None);
        }
        let missing = |why: &str| OauthError::ClientSecret { service: errand.service.clone(), why: why.to_owned() };
        let Some(credential) = provider.client_secret_credential() else {
            let secret = oauth.parts.client_secrets.get(errand.service).cloned();
            return secret.map(Some).ok_or_else(|| missing("its file was not read").into());
        };
        let kek = self.inner.kek.read().await;
        let found = self.look_up(errand.tenant, None, credential).await?;
        let found = found.ok_or_else(|| missing(&format!("the tenant has no credential {credential}")))?;
        let mut fields = open_fields(&kek, &found, Fields::All)?;
        let secret = fields.remove("client_secret");
        let secret = secret.ok_or_else(|| missing(&format!("{credential} has no field client_secret")))?;
        secret.text().map(Some)
    }
}
