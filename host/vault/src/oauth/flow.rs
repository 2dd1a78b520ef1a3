//! From the wish to connect an account to the connection: in a browser (RFC 6749, 4.1, with PKCE, RFC 7636), or on
//! another device (RFC 8628).

use super::OauthError;
use super::endpoint::{Errand, Form, Tokens, plain};
use super::flights::Place;
use super::grant::{ACCESS_TOKEN, Grant, REFRESH_TOKEN, Standing};
use super::metadata::Endpoints;
use super::provider::{endpoint, is_loopback_redirect, is_scope};
use super::revoke::GivenUp;
use crate::connection::Meta;
use crate::vault::may_change;
use crate::{Attach, Binding, ConnectionInfo, Owner, Vault, VaultError};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use sophon_audit::{Action, Outcome, Record};
use sophon_store::FlowRow;
use sophon_types::{CorrelationId, Digest, Entropy, Fault as _, KeyId, Principal, ServiceName, Timestamp};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;
use url::Url;
use zeroize::Zeroizing;

/// How long a person has.
const PATIENCE: Duration = Duration::from_secs(600);
/// The longest that a device's code is kept, whatever the provider says.
const DEVICE_PATIENCE: u64 = 1800;
/// Authorisations of one user that are under way at once; the oldest makes room.
const MOST: u32 = 8;
/// Seconds between two questions where the provider does not say (RFC 8628, 3.2), and what `slow_down` adds.
const INTERVAL: u64 = 5;
/// The grant type of RFC 8628.
const DEVICE_GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";
/// Why a flow is over whose key was revoked.
const REVOKED: &str = "the key that began it was revoked";
/// What flows are sealed for.
const PURPOSE: &str = "oauth flow";

/// How the answer comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// To the redirect that the operator configured, which is the gateway's.
    Gateway,
    /// To a program of the same person that listens on this machine, at this address.
    Loopback(String),
    /// The person decides on another device, and the host asks whether they have.
    Device,
}

impl Way {
    fn name(&self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Loopback(_) => "loopback",
            Self::Device => "device",
        }
    }
}

/// What a person wants to connect.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Which service.
    pub service: ServiceName,
    /// For whom.
    pub owner: Owner,
    /// How the answer comes back.
    pub way: Way,
    /// Fewer scopes than are configured.
    pub scopes: Option<Vec<String>>,
    /// What the request belongs to.
    pub correlation: CorrelationId,
}

/// What the person has to do now.
#[derive(Clone, PartialEq, Eq)]
pub enum Started {
    /// Open this address in a browser.
    Browser {
        /// The provider's page.
        url: String,
        /// Until when.
        expires_at: Timestamp,
    },
    /// Open the address on any device and enter the code.
    Device {
        /// Names the authorisation in [`Vault::poll`].
        flow: String,
        /// The code.
        user_code: String,
        /// The address.
        verification_uri: String,
        /// The address with the code in it.
        verification_uri_complete: Option<String>,
        /// Seconds between two questions.
        interval: u64,
        /// Until when.
        expires_at: Timestamp,
    },
}

impl fmt::Debug for Started {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Browser { .. } => "Started::Browser(..)",
            Self::Device { .. } => "Started::Device(..)",
        })
    }
}

/// What came back with the browser.
pub struct Callback {
    /// For which service, where whoever brings it says so.
    pub service: Option<ServiceName>,
    /// Which authorisation.
    pub state: SecretString,
    /// The provider's code.
    pub code: Option<SecretString>,
    /// Who answers (RFC 9207).
    pub iss: Option<String>,
    /// Why there is no code.
    pub error: Option<String>,
    /// What the request belongs to.
    pub correlation: CorrelationId,
}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Callback(..)")
    }
}

/// Whether a person has decided on their other device.
#[derive(Debug, Clone, PartialEq)]
pub enum Waiting {
    /// They have; the account is connected.
    Connected(Box<ConnectionInfo>),
    /// Not yet. Ask again after so many seconds.
    Undecided(u64),
}

/// What is needed to finish an authorisation.
#[derive(Serialize, Deserialize)]
struct Kept {
    /// The code verifier, or the device's code.
    secret: String,
    redirect: Option<String>,
    scopes: Vec<String>,
    /// The provider as it was configured then.
    identity: String,
    key: KeyId,
}

impl Vault {
    /// Begins to connect an account.
    ///
    /// # Errors
    /// [`VaultError::Forbidden`] where the actor's role may not; [`VaultError::Oauth`] where the service has no provider,
    /// the provider cannot be reached or lacks what is asked; [`VaultError::Audit`], [`VaultError::Store`].
    pub async fn authorise(&self, actor: &Principal, asked: Asked) -> Result<Started, VaultError> {
        may_change(actor, asked.owner)?;
        let base = of_flow(actor, &asked.service, asked.owner, asked.correlation).detail("way", asked.way.name());
        let begun = self.begin(actor, &asked, &base).await;
        if let Err(error) = &begun {
            let record = base.then(Action::OauthStart, Outcome::failed(error.code()));
            self.inner.audit.append(record).await?;
        }
        begun
    }

    async fn begin(&self, actor: &Principal, asked: &Asked, base: &Record) -> Result<Started, VaultError> {
        let oauth = self.oauth(&asked.service)?;
        let provider = oauth.provider(&asked.service)?;
        let scopes = provider.scopes(&asked.service, asked.scopes.clone())?;
        let errand = Errand { oauth, provider, service: &asked.service, tenant: &actor.tenant, user: &actor.user };
        let redirect = match &asked.way {
            Way::Device => None,
            Way::Gateway => {
                let redirect = provider.redirect().ok_or_else(|| errand.unsupported("redirect for a browser"))?;
                Some(redirect.to_owned())
            }
            Way::Loopback(redirect) if is_loopback_redirect(redirect) => Some(redirect.clone()),
            Way::Loopback(redirect) => {
                let redirect = redirect.chars().take(200).collect();
                return Err(OauthError::Redirect { service: asked.service.clone(), redirect }.into());
            }
        };
        let endpoints = errand.endpoints().await?;
        let state = token(&*self.inner.entropy);
        // Before anything secret is used or sent.
        let record = base
            .clone()
            .then(Action::OauthStart, Outcome::Ok)
            .detail("scopes", scopes.clone())
            .detail("state", self.inner.audit.redactor().keyed_hash(state.as_bytes()));
        self.inner.audit.append(record).await?;
        let now = self.inner.clock.now();
        let identity = provider.identity().to_owned();
        let mut kept = Kept { secret: String::new(), redirect, scopes, identity, key: actor.key };
        let (started, interval, expires_at) = if asked.way == Way::Device {
            let secret = self.client_secret(oauth, &errand).await?;
            let device = errand.device(&endpoints, &kept.scopes, secret.as_ref()).await?;
            kept.secret = device.device_code.expose_secret().to_owned();
            let expires_at = now.plus(Duration::from_secs(device.expires_in));
            let started = Started::Device {
                flow: state.to_string(),
                user_code: device.user_code,
                verification_uri: device.verification_uri,
                verification_uri_complete: device.verification_uri_complete,
                interval: device.interval,
                expires_at,
            };
            (started, device.interval, expires_at)
        } else {
            let verifier = token(&*self.inner.entropy);
            kept.secret = verifier.to_string();
            let expires_at = now.plus(PATIENCE);
            let url = authorization_url(&errand, &endpoints, &kept, &state)?;
            (Started::Browser { url, expires_at }, 0, expires_at)
        };
        let mut row = FlowRow {
            state: Digest::of(state.as_bytes()),
            tenant: actor.tenant.clone(),
            user: actor.user.clone(),
            service: asked.service.clone(),
            owner: asked.owner.as_str().to_owned(),
            way: asked.way.name().to_owned(),
            sealed: Vec::new(),
            interval,
            not_before: now.plus(Duration::from_secs(interval)),
            created_at: now,
            expires_at,
        };
        let text = Zeroizing::new(serde_json::to_vec(&kept).map_err(|_never| VaultError::Internal("a flow as JSON"))?);
        row.sealed = self.seal(PURPOSE, &place_of(&row), &text)?;
        self.inner.store.flows().begin(row, MOST).await?;
        Ok(started)
    }

    /// Finishes what [`Vault::authorise`] began in a browser. `actor` is who brings the answer; nobody where it came to the
    /// gateway's own redirect, for then the browser brought it.
    ///
    /// # Errors
    /// [`VaultError::Oauth`]: the state is unknown, used, expired or another's; the answer names another issuer; the
    /// provider refused, or cannot be reached. In each of these cases the authorisation is over.
    pub async fn finish(&self, actor: Option<&Principal>, callback: Callback) -> Result<ConnectionInfo, VaultError> {
        let state = Digest::of(callback.state.expose_secret().as_bytes());
        let hash = self.inner.audit.redactor().keyed_hash(callback.state.expose_secret().as_bytes());
        let nobodys = async |why: &str| self.nobodys(actor, callback.correlation, &hash, why).await;
        // Taken first: whatever happens now, it does not happen twice.
        let Some(row) = self.inner.store.flows().take(state).await? else {
            return Err(nobodys("unknown").await);
        };
        let brought = match (row.way.as_str(), actor) {
            ("gateway", None) => true,
            ("loopback", Some(actor)) => actor.tenant == row.tenant && actor.user == row.user,
            _ => false,
        };
        if !brought || callback.service.as_ref().is_some_and(|service| *service != row.service) {
            return Err(nobodys("another's").await);
        }
        let kept = self.kept(&row)?;
        let owner = Owner::named(&row.owner).ok_or(VaultError::Tampered)?;
        let who =
            Principal { tenant: row.tenant.clone(), user: row.user.clone(), key: kept.key, role: role_for(owner) };
        let base = of_flow(&who, &row.service, owner, callback.correlation)
            .then(Action::OauthCallback, Outcome::Intent)
            .detail("way", row.way.as_str())
            .detail("state", hash.clone());
        if !self.still_stands(&row, &kept).await? {
            return self.settle(&who, &base.detail("why", REVOKED), Err(OauthError::State.into())).await;
        }
        let done = self.redeem(&who, (&row, &kept, owner), callback, &base).await;
        self.settle(&who, &base, done).await
    }

    /// Records that an authorisation is none of whoever asks for it, and says no more than that.
    async fn nobodys(
        &self,
        actor: Option<&Principal>,
        correlation: CorrelationId,
        state: &str,
        why: &str,
    ) -> VaultError {
        let record = Record::new(Action::OauthCallback, Outcome::denied(OauthError::State.code()));
        let record = record.correlation(correlation).detail("state", state).detail("why", why);
        let record = actor.map_or(record.clone(), |actor| record.principal(actor));
        self.note(record).await.err().unwrap_or_else(|| OauthError::State.into())
    }

    /// Whether the key that began an authorisation is still good for anything. The operator's own is in no list.
    async fn still_stands(&self, row: &FlowRow, kept: &Kept) -> Result<bool, VaultError> {
        let keys = self.inner.store.keys().list(&row.tenant).await?;
        Ok(!keys.iter().any(|key| key.id == kept.key && key.revoked_at.is_some()))
    }

    async fn redeem(
        &self,
        who: &Principal,
        (row, kept, owner): (&FlowRow, &Kept, Owner),
        callback: Callback,
        base: &Record,
    ) -> Result<Connected, VaultError> {
        let service = &row.service;
        if self.inner.clock.now() >= row.expires_at {
            return Err(OauthError::State.into());
        }
        let oauth = self.oauth(service)?;
        let provider = oauth.provider(service)?;
        let errand = Errand { oauth, provider, service, tenant: &row.tenant, user: &row.user };
        if provider.identity() != kept.identity {
            return Err(OauthError::Issuer { service: service.clone() }.into());
        }
        let endpoints = errand.endpoints().await?;
        check_issuer(service, &endpoints, callback.iss.as_deref())?;
        if let Some(error) = &callback.error {
            return Err(OauthError::Refused { service: service.clone(), code: plain(error) }.into());
        }
        let Some(code) = &callback.code else {
            return Err(
                OauthError::Answer { service: service.clone(), why: "there is neither a code nor an error" }.into()
            );
        };
        // Before the code is redeemed.
        self.inner.audit.append(base.clone()).await?;
        let secret = self.client_secret(oauth, &errand).await?;
        let form = Form::new("authorization_code")
            .with("code", code.expose_secret())
            .with("redirect_uri", kept.redirect.as_deref().unwrap_or_default())
            .with("code_verifier", &kept.secret);
        let asked_at = self.inner.clock.now();
        let tokens = errand.tokens(&endpoints, form, secret.as_ref()).await?;
        let unkept = GivenUp::fresh(service, provider.identity(), &tokens);
        match self.keep(row, owner, kept, provider.hosts().to_vec(), asked_at, tokens).await {
            Err(error) => Err(self.give_back(who, &place_for(row, owner), unkept, error).await),
            kept => kept,
        }
    }

    /// Asks whether a person has decided on their other device.
    ///
    /// # Errors
    /// As [`Vault::finish`]; where the provider cannot be reached the authorisation goes on.
    pub async fn poll(
        &self,
        actor: &Principal,
        service: &ServiceName,
        flow: &str,
        correlation: CorrelationId,
    ) -> Result<Waiting, VaultError> {
        let state = Digest::of(flow.as_bytes());
        let hash = self.inner.audit.redactor().keyed_hash(flow.as_bytes());
        let nobodys = async |why: &str| self.nobodys(Some(actor), correlation, &hash, why).await;
        let Some(row) = self.inner.store.flows().get(state).await? else {
            return Err(nobodys("unknown").await);
        };
        if row.way != Way::Device.name()
            || row.tenant != actor.tenant
            || row.user != actor.user
            || row.service != *service
        {
            return Err(nobodys("another's").await);
        }
        let now = self.inner.clock.now();
        let owner = Owner::named(&row.owner).ok_or(VaultError::Tampered)?;
        let base = of_flow(actor, service, owner, correlation)
            .then(Action::OauthCallback, Outcome::Intent)
            .detail("way", row.way.as_str())
            .detail("state", hash.clone());
        let end = async |base: &Record, error: OauthError| {
            self.inner.store.flows().take(state).await?;
            let ended = self.settle(actor, base, Err(error.into())).await;
            ended.map(|info| Waiting::Connected(Box::new(info)))
        };
        if now >= row.expires_at {
            return end(&base, OauthError::Refused { service: service.clone(), code: "expired_token".into() }).await;
        }
        if now < row.not_before {
            return Ok(Waiting::Undecided(row.interval));
        }
        let kept = self.kept(&row)?;
        if !self.still_stands(&row, &kept).await? {
            return end(&base.detail("why", REVOKED), OauthError::State).await;
        }
        let oauth = self.oauth(service)?;
        let provider = oauth.provider(service)?;
        if provider.identity() != kept.identity {
            return end(&base, OauthError::Issuer { service: service.clone() }).await;
        }
        // Until it is known what became of the code: whoever showed it meanwhile would be told that it is used.
        let Some(_turn) = self.inner.flights.question(state) else {
            return Ok(Waiting::Undecided(row.interval));
        };
        // Before the code is shown for the first time: who asks moves the time of the next question.
        let is_first = row.not_before == row.created_at.plus(Duration::from_secs(row.interval));
        if is_first {
            self.inner.audit.append(base.clone()).await?;
        }
        let next = now.plus(Duration::from_secs(row.interval));
        if !self.inner.store.flows().ask(&row, row.interval, next).await? {
            return Ok(Waiting::Undecided(row.interval));
        }
        let errand = Errand { oauth, provider, service, tenant: &row.tenant, user: &row.user };
        let endpoints = errand.endpoints().await?;
        let secret = self.client_secret(oauth, &errand).await?;
        let form = Form::new(DEVICE_GRANT).with("device_code", &kept.secret);
        match errand.tokens(&endpoints, form, secret.as_ref()).await {
            Ok(tokens) => {
                let unkept = GivenUp::fresh(service, provider.identity(), &tokens);
                let keep = async {
                    if !is_first {
                        self.inner.audit.append(base.clone()).await?;
                    }
                    // It has ended meanwhile: it expired, its key was revoked, or others took its room.
                    if self.inner.store.flows().take(state).await?.is_none() {
                        return Err(OauthError::State.into());
                    }
                    self.keep(&row, owner, &kept, provider.hosts().to_vec(), now, tokens).await
                };
                let kept = match keep.await {
                    Ok(connected) => Ok(connected),
                    Err(error) => Err(self.give_back(actor, &place_for(&row, owner), unkept, error).await),
                };
                Ok(Waiting::Connected(Box::new(self.settle(actor, &base, kept).await?)))
            }
            Err(OauthError::Refused { code, .. }) if code == "authorization_pending" => {
                Ok(Waiting::Undecided(row.interval))
            }
            Err(OauthError::Refused { code, .. }) if code == "slow_down" => {
                let interval = row.interval + INTERVAL;
                let asked = FlowRow { not_before: next, ..row };
                let later = now.plus(Duration::from_secs(interval));
                if !self.inner.store.flows().ask(&asked, interval, later).await? {
                    tracing::debug!(%service, "somebody else asks as well");
                }
                Ok(Waiting::Undecided(interval))
            }
            Err(error @ OauthError::Unreachable { .. }) => Err(error.into()),
            Err(error) => end(&base, error).await,
        }
    }

    fn kept(&self, row: &FlowRow) -> Result<Kept, VaultError> {
        let text = self.unseal(PURPOSE, &place_of(row), &row.sealed)?;
        serde_json::from_slice(&text).map_err(|_not_ours| VaultError::Tampered)
    }

    /// Makes the connection, in place of one that there may be.
    async fn keep(
        &self,
        row: &FlowRow,
        owner: Owner,
        kept: &Kept,
        hosts: Vec<crate::HostBinding>,
        asked_at: Timestamp,
        tokens: Tokens,
    ) -> Result<Connected, VaultError> {
        let place = place_for(row, owner);
        let user = place.1.as_ref();
        let _turn = self.inner.flights.turn(&place).await;
        let grant = Grant {
            issuer: kept.identity.clone(),
            scopes: granted(tokens.scopes.as_deref().unwrap_or(&kept.scopes)),
            obtained_at: asked_at,
            expires_at: tokens.life.map(|life| asked_at.plus(life)),
            standing: Standing::Good,
        };
        let fields = fields(tokens.access, tokens.refresh);
        let binding = Binding { hosts: Some(hosts), ..bearer() };
        let meta = Meta::check(&row.service, &fields, binding)?.granted(grant);
        let replaced = self.about_to_be_replaced(&place, &fields).await?;
        let stored = self.replace(&row.tenant, user, &row.service, &fields, &meta).await?;
        Ok(Connected { info: ConnectionInfo::of(&stored)?, replaced })
    }

    /// Records how an authorisation ended, and then gives back what it replaced.
    async fn settle(
        &self,
        who: &Principal,
        base: &Record,
        done: Result<Connected, VaultError>,
    ) -> Result<ConnectionInfo, VaultError> {
        let record = match &done {
            Ok(Connected { info, .. }) => {
                let scopes = info.oauth.as_ref().map(|grant| grant.scopes.clone()).unwrap_or_default();
                base.clone()
                    .then(Action::OauthCallback, Outcome::Ok)
                    .detail("scopes", scopes)
                    .detail("version", info.version)
            }
            Err(error) => {
                // What was refused and what failed are told apart by kind.
                let outcome = match error.kind() {
                    sophon_types::FaultKind::Denied => Outcome::denied(error.code()),
                    _ => Outcome::failed(error.code()),
                };
                base.clone().then(Action::OauthCallback, outcome)
            }
        };
        let written = self.inner.audit.append(record).await;
        match done {
            // The log is in the same trouble: what became of the tokens is worth more than that.
            Err(VaultError::Oauth(error @ OauthError::NotKept { .. })) => Err(error.into()),
            done => {
                written?;
                let Connected { info, replaced } = done?;
                self.take_back_replaced(who, replaced).await;
                Ok(info)
            }
        }
    }
}

/// What an authorisation brought.
struct Connected {
    info: ConnectionInfo,
    /// What was connected before.
    replaced: Option<GivenUp>,
}

/// What a provider's device endpoint says.
struct Device {
    device_code: SecretString,
    user_code: String,
    verification_uri: String,
    verification_uri_complete: Option<String>,
    expires_in: u64,
    interval: u64,
}

#[derive(Deserialize)]
struct DeviceSaid {
    device_code: String,
    user_code: String,
    verification_uri: String,
    verification_uri_complete: Option<String>,
    expires_in: Value,
    interval: Option<Value>,
}

impl Errand<'_> {
    async fn device(
        &self,
        endpoints: &Endpoints,
        scopes: &[String],
        secret: Option<&SecretString>,
    ) -> Result<Device, OauthError> {
        let url = endpoints.device.as_ref().ok_or_else(|| self.unsupported("device_authorization_endpoint"))?;
        let form = if scopes.is_empty() { Form::empty() } else { Form::empty().with("scope", &scopes.join(" ")) };
        let said: DeviceSaid = self.read(&self.post(endpoints, url, form, secret).await?)?;
        let wrong = |why| OauthError::Answer { service: self.service.clone(), why };
        let shown = |text: &str| (1..=64).contains(&text.len()) && text.bytes().all(|b| matches!(b, 0x20..=0x7e));
        if !shown(&said.user_code) {
            return Err(wrong("the user's code cannot be shown"));
        }
        for uri in std::iter::once(&said.verification_uri).chain(&said.verification_uri_complete) {
            endpoint(uri).map_err(|_rule| wrong("the address for the person is not one to send them to"))?;
        }
        let seconds = |value: &Value| super::endpoint::seconds(value);
        let expires_in = seconds(&said.expires_in).filter(|life| *life > 0);
        Ok(Device {
            device_code: said.device_code.into(),
            user_code: said.user_code,
            verification_uri: said.verification_uri,
            verification_uri_complete: said.verification_uri_complete,
            expires_in: expires_in.ok_or_else(|| wrong("the device's code has expired already"))?.min(DEVICE_PATIENCE),
            interval: said.interval.as_ref().and_then(seconds).unwrap_or(INTERVAL).clamp(1, 60),
        })
    }
}

/// The provider's page, with everything that binds its answer to this authorisation.
fn authorization_url(
    errand: &Errand<'_>,
    endpoints: &Endpoints,
    kept: &Kept,
    state: &str,
) -> Result<String, OauthError> {
    let provider = errand.provider;
    let mut url: Url = endpoints.authorization.clone().ok_or_else(|| errand.unsupported("authorization_endpoint"))?;
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(kept.secret.as_bytes()));
    {
        let mut query = url.query_pairs_mut();
        query
            .append_pair("response_type", "code")
            .append_pair("client_id", provider.client_id())
            .append_pair("redirect_uri", kept.redirect.as_deref().unwrap_or_default())
            .append_pair("state", state)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        if !kept.scopes.is_empty() {
            query.append_pair("scope", &kept.scopes.join(" "));
        }
        for resource in provider.resource() {
            query.append_pair("resource", resource);
        }
        for (name, value) in provider.parameters() {
            query.append_pair(name, value);
        }
    }
    Ok(url.into())
}

/// RFC 9207: an answer that names an issuer names ours; one of a provider that always does, does.
fn check_issuer(service: &ServiceName, endpoints: &Endpoints, iss: Option<&str>) -> Result<(), OauthError> {
    let fits = match (iss, endpoints.issuer.as_deref()) {
        (Some(iss), Some(issuer)) => iss == issuer,
        // It may be another provider's: nobody configured what it should be.
        (Some(_), None) => return Err(OauthError::NoIssuer { service: service.clone() }),
        (None, _) => !endpoints.names_issuer,
    };
    if fits { Ok(()) } else { Err(OauthError::Issuer { service: service.clone() }) }
}

/// 256 random bits, as they can stand in a URL.
fn token(entropy: &dyn Entropy) -> Zeroizing<String> {
    Zeroizing::new(URL_SAFE_NO_PAD.encode(entropy.bytes::<32>()))
}

pub(crate) fn fields(access: SecretString, refresh: Option<SecretString>) -> BTreeMap<String, SecretString> {
    let refresh = refresh.map(|refresh| (REFRESH_TOKEN.to_owned(), refresh));
    std::iter::once((ACCESS_TOKEN.to_owned(), access)).chain(refresh).collect()
}

fn bearer() -> Binding {
    Binding { attach: Some(Attach::Bearer { field: ACCESS_TOKEN.into() }), ..Binding::default() }
}

/// Scopes as they may be recorded.
pub(crate) fn granted(scopes: &[String]) -> Vec<String> {
    scopes.iter().filter(|scope| is_scope(scope)).take(64).cloned().collect()
}

fn role_for(owner: Owner) -> sophon_types::Role {
    match owner {
        Owner::User => sophon_types::Role::Approver,
        Owner::Tenant => sophon_types::Role::Admin,
    }
}

/// Where the connection of a flow belongs.
fn place_for(row: &FlowRow, owner: Owner) -> Place {
    let user = (owner == Owner::User).then(|| row.user.clone());
    (row.tenant.clone(), user, row.service.clone())
}

/// Where a flow belongs: what is sealed for it opens nowhere else.
fn place_of(row: &FlowRow) -> Vec<u8> {
    let mut place = Vec::with_capacity(160);
    let expires = row.expires_at.as_micros().to_be_bytes();
    let parts = [row.tenant.as_str(), row.user.as_str(), row.service.as_str(), &row.owner, &row.way];
    for part in [row.state.as_bytes().as_slice(), &expires].into_iter().chain(parts.iter().map(|part| part.as_bytes()))
    {
        place.extend_from_slice(&(part.len() as u64).to_be_bytes());
        place.extend_from_slice(part);
    }
    place
}

fn of_flow(actor: &Principal, service: &ServiceName, owner: Owner, correlation: CorrelationId) -> Record {
    Record::new(Action::OauthStart, Outcome::Intent)
        .principal(actor)
        .correlation(correlation)
        .detail("service", service.as_str())
        .detail("owner", owner.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_40_an_answer_names_the_issuer_that_was_asked() {
        let service: ServiceName = "github".parse().unwrap();
        let check = |issuer: Option<&str>, names_issuer: bool, iss: Option<&str>| {
            let endpoints = Endpoints { issuer: issuer.map(str::to_owned), names_issuer, ..Endpoints::default() };
            check_issuer(&service, &endpoints, iss).is_ok()
        };
        let ours = "https://id.example.com";
        assert!(check(Some(ours), true, Some(ours)));
        assert!(check(Some(ours), false, Some(ours)));
        assert!(check(Some(ours), false, None));
        assert!(!check(Some(ours), true, None), "the provider always names it");
        for other in ["https://evil.example", "https://id.example.com/", "HTTPS://id.example.com", ""] {
            assert!(!check(Some(ours), false, Some(other)), "{other}");
        }
        assert!(check(None, false, None));
        assert!(!check(None, false, Some(ours)), "whose answer it is cannot be known");
    }

    #[test]
    fn the_challenge_is_of_the_standard() {
        // RFC 7636, appendix B.
        let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
        assert_eq!(challenge, "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }
}
