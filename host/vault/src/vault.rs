//! The vault itself: opening, connections, leases, rotation, and sealing of other data.

use crate::aead::{self, KEY, Key, Place};
use crate::connection::Meta;
use crate::found::{Found, place};
use crate::oauth::{Flights, Grant, Oauth, OauthParts, Provider};
use crate::recent::{Look, Recent};
use crate::{Binding, ConnectionInfo, KdfParams, Kek, Lease, Owner, Purpose, Secret, VaultError};
use secrecy::{ExposeSecret as _, SecretString};
use sophon_audit::{Action, AuditLog, Outcome, Receipt, Record};
use sophon_store::{Connection, ConnectionRow, SealedField, Store, StoreError};
use sophon_types::{Clock, Entropy, Fault as _, Principal, Role, ServiceName, TenantId, UserId};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::RwLock;
use tokio_util::task::TaskTracker;
use zeroize::Zeroizing;

/// Names of the vault's own entries.
const CANARY: &str = "canary";
const DATA_KEY: &str = "data_key";
const KDF: &str = "kdf";

/// What the canary says when the key is right.
const SONG: &[u8] = b"this vault opens with this key";

/// How often a put is tried again when somebody else replaces the same connection meanwhile.
const TRIES: usize = 4;

/// Credentials at rest. Cheap to clone; every clone is the same vault.
#[derive(Clone)]
pub struct Vault {
    pub(crate) inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) store: Store,
    pub(crate) audit: AuditLog,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    /// Held for reading from reading a record to opening it, and for writing while every record changes its key.
    pub(crate) kek: RwLock<Key>,
    recent: Recent,
    /// Set once, as soon as there is a way out.
    pub(crate) oauth: OnceLock<Oauth>,
    /// Whose tokens are being changed.
    pub(crate) flights: Flights,
    /// The renewals that are under way, whoever waits for them.
    pub(crate) renewals: TaskTracker,
    /// Seals what is not a connection. Sealed by the KEK itself, so that it outlives rotation.
    data: Key,
}

impl Vault {
    /// The parameters with which a passphrase gives this store's key; fresh ones where it has no vault yet, or one whose
    /// key is not from a passphrase.
    ///
    /// # Errors
    /// [`VaultError::InvalidKdf`] where the stored parameters are out of bounds; [`VaultError::Store`].
    pub async fn kdf_params(store: &Store, entropy: &dyn Entropy) -> Result<KdfParams, VaultError> {
        match store.vault_meta().get(KDF).await? {
            Some(bytes) if !bytes.is_empty() => KdfParams::from_bytes(&bytes),
            _ => Ok(KdfParams::fresh(entropy)),
        }
    }

    /// Whether the store has a vault: then only the key that it was sealed with opens it.
    ///
    /// # Errors
    /// [`VaultError::Store`].
    pub async fn is_made(store: &Store) -> Result<bool, VaultError> {
        Ok(store.vault_meta().get(CANARY).await?.is_some())
    }

    /// Opens the store's vault with `kek`; creates it where there is none.
    ///
    /// # Errors
    /// [`VaultError::WrongKey`] where the vault was sealed with another key; [`VaultError::Incomplete`] where its own
    /// entries are missing although connections exist; [`VaultError::Store`].
    pub async fn open(
        store: Store,
        audit: AuditLog,
        kek: Kek,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, VaultError> {
        let meta = store.vault_meta();
        let data = match meta.get(CANARY).await? {
            Some(canary) => {
                check_canary(&kek.key, &canary)?;
                let sealed = meta.get(DATA_KEY).await?.ok_or(VaultError::Incomplete("the data key"))?;
                read_data_key(&kek.key, &sealed)?
            }
            None => {
                let mut data = Key::new([0; KEY]);
                entropy.fill(data.as_mut_slice());
                let created = store.connections().reseal_all(vec![], own_entries(&kek, &data, &*entropy)?).await;
                created.map_err(|error| match error {
                    StoreError::Conflict { .. } => VaultError::Incomplete("the canary"),
                    other => other.into(),
                })?;
                data
            }
        };
        let kek = RwLock::new(kek.key);
        Ok(Self {
            inner: Arc::new(Inner {
                store,
                audit,
                clock,
                entropy,
                kek,
                recent: Recent::default(),
                oauth: OnceLock::new(),
                flights: Flights::default(),
                renewals: TaskTracker::new(),
                data,
            }),
        })
    }

    /// Lets the vault speak OAuth. Once: the providers of a process do not change.
    ///
    /// # Errors
    /// [`VaultError::Internal`] where it speaks it already.
    pub fn serve_oauth(&self, parts: OauthParts) -> Result<(), VaultError> {
        self.inner.oauth.set(Oauth::new(parts)).map_err(|_set| VaultError::Internal("OAuth is set up twice"))
    }

    /// Waits until no renewal of tokens is under way, at most for `patience`: one that is cut off after the provider has
    /// rotated its refresh token costs a person a new authorisation. For whoever closes store and audit log next.
    pub async fn close(&self, patience: Duration) {
        self.inner.renewals.close();
        if tokio::time::timeout(patience, self.inner.renewals.wait()).await.is_err() {
            let renewals = self.inner.renewals.len();
            tracing::error!(renewals, "renewals of tokens did not end; their accounts may have to be connected again");
        }
    }

    /// Connects an account, or replaces all fields of a connected one. Tokens of a provider that are replaced are given
    /// back to it; that it did not take them is recorded only.
    ///
    /// # Errors
    /// [`VaultError::Forbidden`] where the actor's role may not; [`VaultError::InvalidField`],
    /// [`VaultError::InvalidBinding`]; [`VaultError::Audit`] where the intent could not be recorded (nothing was
    /// changed) or the outcome could not (it was); [`VaultError::Store`].
    pub async fn put(
        &self,
        actor: &Principal,
        owner: Owner,
        service: &ServiceName,
        fields: BTreeMap<String, SecretString>,
        binding: Binding,
    ) -> Result<ConnectionInfo, VaultError> {
        may_change(actor, owner)?;
        let meta = Meta::check(service, &fields, binding)?;
        let record = |action, outcome| {
            let names = meta.fields.iter().map(String::as_str).collect::<Vec<_>>();
            record(actor, owner, service, action, outcome).detail("fields", names)
        };
        let place = (actor.tenant.clone(), owner_column(actor, owner).cloned(), service.clone());
        self.inner.audit.append(record(Action::CredentialPut, Outcome::Intent)).await?;
        let turn = self.inner.flights.turn(&place).await;
        let replaced = self.about_to_be_replaced(&place, &fields).await;
        let done = match replaced {
            Ok(replaced) => {
                let stored = self.replace(&actor.tenant, owner_column(actor, owner), service, &fields, &meta).await;
                stored.map(|stored| (stored, replaced))
            }
            Err(error) => Err(error),
        };
        drop(turn);
        self.inner.audit.append(record(Action::CredentialPut, outcome(&done))).await?;
        let (stored, replaced) = done?;
        self.take_back_replaced(actor, replaced).await;
        ConnectionInfo::of(&stored)
    }

    /// Writes a connection anew. Whoever writes one that may have tokens has its turn.
    pub(crate) async fn replace(
        &self,
        tenant: &TenantId,
        user: Option<&UserId>,
        service: &ServiceName,
        fields: &BTreeMap<String, SecretString>,
        meta: &Meta,
    ) -> Result<ConnectionRow, VaultError> {
        let inner = &*self.inner;
        let meta = meta.to_value()?;
        let kek = inner.kek.read().await;
        let mut tries = 0;
        loop {
            let row = ConnectionRow {
                tenant: tenant.clone(),
                user: user.cloned(),
                service: service.clone(),
                version: inner.store.connections().next_version(tenant, user, service).await?,
                meta: meta.clone(),
                updated_at: inner.clock.now(),
            };
            let sealed = fields.iter().map(|(name, value)| {
                let sealed = aead::seal(&kek, &place(&row, name), value.expose_secret().as_bytes(), &*inner.entropy)?;
                Ok(SealedField { field: name.clone(), sealed })
            });
            let connection = Connection { fields: sealed.collect::<Result<_, VaultError>>()?, row: row.clone() };
            let put = inner.store.connections().put(connection).await;
            inner.recent.forget(tenant);
            match put {
                Ok(()) => return Ok(row),
                Err(StoreError::Conflict { .. }) if tries < TRIES => tries += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// What is connected for `user`: their own accounts and the tenant's. No secret is opened.
    ///
    /// # Errors
    /// [`VaultError::Store`]; [`VaultError::Tampered`] where a row is not what the vault wrote.
    pub async fn list(&self, tenant: &TenantId, user: &UserId) -> Result<Vec<ConnectionInfo>, VaultError> {
        let connections = self.inner.store.connections();
        let mut rows = connections.list(tenant, Some(user)).await?;
        rows.extend(connections.list(tenant, None).await?);
        rows.iter().map(|row| self.info(row)).collect()
    }

    /// Disconnects an account. Tokens that a provider gave are given back (RFC 7009).
    ///
    /// # Errors
    /// [`VaultError::NotConnected`] where there is none; [`OauthError::NotRevoked`](crate::OauthError::NotRevoked) where it
    /// is disconnected here, and the provider did not take its tokens back; otherwise as [`Vault::put`].
    pub async fn delete(
        &self,
        actor: &Principal,
        owner: Owner,
        service: &ServiceName,
    ) -> Result<ConnectionInfo, VaultError> {
        may_change(actor, owner)?;
        let record = |outcome| record(actor, owner, service, Action::CredentialDelete, outcome);
        self.inner.audit.append(record(Outcome::Intent)).await?;
        let user = owner_column(actor, owner);
        let turn = self.inner.flights.turn(&(actor.tenant.clone(), user.cloned(), service.clone())).await;
        let found = match self.inner.store.connections().get(&actor.tenant, user, service).await {
            Ok(found) => found.map(Found::of),
            Err(error) => {
                let failed: Result<ConnectionInfo, VaultError> = Err(error.into());
                self.inner.audit.append(record(outcome(&failed))).await?;
                return failed;
            }
        };
        let given_up = match &found {
            Some(found) => self.given_up(found).await,
            None => None,
        };
        let deleted = self.inner.store.connections().delete(&actor.tenant, user, service).await;
        self.inner.recent.forget(&actor.tenant);
        drop(turn);
        let done = match deleted {
            Ok(Some(row)) => ConnectionInfo::of(&row),
            Ok(None) => Err(VaultError::NotConnected { service: service.clone() }),
            Err(error) => Err(error.into()),
        };
        self.inner.audit.append(record(outcome(&done))).await?;
        match given_up {
            Some(given_up) if done.is_ok() => self.take_back(actor, given_up).await.and(done),
            _ => done,
        }
    }

    /// Whether `service` is connected for `user`, by themselves or their tenant. No secret is opened.
    ///
    /// # Errors
    /// [`VaultError::Store`].
    pub async fn connected(&self, tenant: &TenantId, user: &UserId, service: &ServiceName) -> Result<bool, VaultError> {
        Ok(self.find(tenant, user, service).await?.is_some())
    }

    /// What is public about the connection that [`Vault::lease`] would open. Authenticated only by a lease.
    ///
    /// # Errors
    /// [`VaultError::Store`]; [`VaultError::Tampered`] where the row is not what the vault wrote.
    pub async fn public(
        &self,
        tenant: &TenantId,
        user: &UserId,
        service: &ServiceName,
    ) -> Result<Option<ConnectionInfo>, VaultError> {
        self.find(tenant, user, service).await?.map(|found| self.found_info(&found)).transpose()
    }

    /// What is public about a connection, as it stands under the present configuration.
    fn info(&self, row: &ConnectionRow) -> Result<ConnectionInfo, VaultError> {
        Ok(self.narrowed_info(ConnectionInfo::of(row)?))
    }

    /// The same of one that was found.
    fn found_info(&self, found: &Found) -> Result<ConnectionInfo, VaultError> {
        Ok(self.narrowed_info(ConnectionInfo::with(&found.row, found.meta()?.clone())))
    }

    fn narrowed_info(&self, mut info: ConnectionInfo) -> ConnectionInfo {
        self.narrow(&info.service, info.oauth.as_ref(), &mut info.binding);
        info
    }

    /// Leaves a provider's token the hosts that the provider's section still names: what the operator took out of it
    /// counts for what is connected already. Without a section there are none.
    pub(crate) fn narrow(&self, service: &ServiceName, grant: Option<&Grant>, binding: &mut Binding) {
        if grant.is_none() {
            return;
        }
        let provider = self.inner.oauth.get().and_then(|oauth| oauth.parts.providers.of(service));
        let named = provider.map(Provider::hosts).unwrap_or_default();
        let mut hosts = binding.hosts.take().unwrap_or_default();
        hosts.retain(|host| named.contains(host));
        binding.hosts = Some(hosts);
    }

    /// Text to hand to a skill in place of a credential. What it stands for is egress's to know, for one run.
    #[must_use]
    pub fn placeholder(&self) -> String {
        crate::placeholder::mint(&*self.inner.entropy)
    }

    pub(crate) async fn find(
        &self,
        tenant: &TenantId,
        user: &UserId,
        service: &ServiceName,
    ) -> Result<Option<Arc<Found>>, VaultError> {
        if self.inner.oauth.get().is_some_and(|oauth| oauth.parts.providers.is_client_secret(service)) {
            // This host's own secret at a provider is nobody's credential.
            return Ok(None);
        }
        match self.look_up(tenant, Some(user), service).await? {
            Some(own) => Ok(Some(own)),
            None => self.look_up(tenant, None, service).await,
        }
    }

    pub(crate) async fn look_up(
        &self,
        tenant: &TenantId,
        user: Option<&UserId>,
        service: &ServiceName,
    ) -> Result<Option<Arc<Found>>, VaultError> {
        let place = (user.cloned(), service.clone());
        let generation = match self.inner.recent.look(tenant, &place) {
            Look::Known(row) => return Ok(row),
            Look::Unknown(generation) => generation,
        };
        let since = Instant::now();
        let found = self.inner.store.connections().get(tenant, user, service).await?.map(Found::of).map(Arc::new);
        self.inner.recent.remember(generation, tenant, place, found.clone(), since);
        Ok(found)
    }

    /// Opens a credential for one request: the user's own, else the tenant's.
    ///
    /// `intent` is the evidence that the intent of the same call is durable. The record of this use has its place in
    /// the chain before anything is opened, and is durable no later than the next record that somebody waits for, at the
    /// latest the outcome of the call. Of a process that ends before that, the call's intent is the trace.
    ///
    /// # Errors
    /// [`VaultError::NotIntended`] where `intent` belongs to something else; [`VaultError::NotConnected`];
    /// [`VaultError::Audit`] where the log is closed or was failing (nothing was opened); [`VaultError::Tampered`]
    /// where a field does not open; [`VaultError::Store`].
    pub async fn lease(&self, purpose: &Purpose, service: &ServiceName, intent: &Receipt) -> Result<Lease, VaultError> {
        self.lease_checked(purpose, service, intent, |_public| Ok(())).await
    }

    /// As [`Vault::lease`], but asks `check` first, with what is public about the connection; where it refuses, no
    /// secret is opened and no use recorded. What it saw is authenticated only once the lease is there, and is then
    /// the lease's own binding.
    ///
    /// # Errors
    /// As [`Vault::lease`], or what `check` says.
    pub async fn lease_checked<E: From<VaultError>>(
        &self,
        purpose: &Purpose,
        service: &ServiceName,
        intent: &Receipt,
        check: impl FnOnce(&ConnectionInfo) -> Result<(), E> + Send,
    ) -> Result<Lease, E> {
        purpose.check(intent)?;
        let mut kek = self.inner.kek.read().await;
        let missing = || VaultError::NotConnected { service: service.clone() };
        let mut found = self.find(&purpose.tenant, &purpose.user, service).await?.ok_or_else(missing)?;
        let public = self.found_info(&found)?;
        check(&public)?;
        if public.oauth.is_some_and(|grant| grant.is_stale(self.inner.clock.now())) {
            // Renewing reads the key too, and must not wait behind somebody who waits for this to end.
            drop(kek);
            let place = (found.row.tenant.clone(), found.row.user.clone(), service.clone());
            self.freshen(place, purpose.user.clone(), purpose.record(Action::OauthRefresh)).await?;
            kek = self.inner.kek.read().await;
            found = self.find(&purpose.tenant, &purpose.user, service).await?.ok_or_else(missing)?;
        }
        let record = |outcome| {
            purpose
                .record(Action::CredentialUse)
                .then(Action::CredentialUse, outcome)
                .detail("service", service.as_str())
                .detail("owner", if found.row.user.is_some() { "user" } else { "tenant" })
                .detail("version", found.row.version)
                .detail("intent", intent.seq())
        };
        self.note(record(Outcome::Intent)).await?;
        let opened = self.open_connection(&kek, &found);
        if let Err(error) = &opened {
            tracing::error!(%service, version = found.row.version, %error, "a credential does not open");
            self.note(record(Outcome::Failed { code: error.code().into() })).await?;
        }
        Ok(opened?)
    }

    fn open_connection(&self, kek: &Key, found: &Found) -> Result<Lease, VaultError> {
        let (row, meta) = (&found.row, found.meta()?);
        let fields = open_fields(kek, found, Fields::Lent)?;
        let mut binding = meta.binding.clone();
        self.narrow(&row.service, meta.oauth.as_ref(), &mut binding);
        let owner = if row.user.is_some() { Owner::User } else { Owner::Tenant };
        Lease::new(row.service.clone(), owner, row.version, binding, fields)
    }

    /// Takes a place in the chain; where too many wait for one, waits too.
    pub(crate) async fn note(&self, record: Record) -> Result<(), VaultError> {
        self.inner.audit.enqueue_in_turn(record).await.map_err(VaultError::Audit)
    }

    /// Seals every record with `new` instead of the present key, in one transaction, and switches to it. Data sealed by
    /// [`Vault::seal`] stays readable: its key is sealed anew with the rest.
    ///
    /// Where this fails or the process ends meanwhile, either the old key opens everything or the new one does; which is
    /// decided by the canary, which changes in the same transaction.
    ///
    /// # Errors
    /// [`VaultError::Tampered`] where a record does not open (nothing was changed); [`VaultError::Audit`],
    /// [`VaultError::Store`].
    pub async fn rotate(&self, actor: &Principal, new: Kek) -> Result<(), VaultError> {
        if actor.role != Role::Admin {
            return Err(VaultError::Forbidden("only an admin may change the vault's key"));
        }
        let record = |outcome| Record::new(Action::CredentialRotate, outcome).principal(actor);
        self.inner.audit.append(record(Outcome::Intent)).await?;
        let mut kek = self.inner.kek.write().await;
        let done = self.reseal(&kek, &new).await;
        // The answer may have been lost on the way back from a commit that succeeded: the canary knows.
        let switched = match &done {
            Ok(()) => true,
            Err(_) => match self.inner.store.vault_meta().get(CANARY).await {
                Ok(Some(canary)) => check_canary(&new.key, &canary).is_ok(),
                Ok(None) | Err(_) => false,
            },
        };
        if switched {
            *kek = new.key;
        }
        drop(kek);
        let done = if switched { Ok(()) } else { done };
        if let Err(error) = self.inner.audit.append(record(outcome(&done))).await {
            // The intent is on record. Whoever holds the new key must learn that it is the key now, whatever the log says.
            tracing::error!(%error, switched, "the end of a change of the vault's key could not be recorded");
        }
        done
    }

    async fn reseal(&self, old: &Key, new: &Kek) -> Result<(), VaultError> {
        let inner = &*self.inner;
        let mut connections = inner.store.connections().all().await?;
        for connection in &mut connections {
            for field in &mut connection.fields {
                let place = place(&connection.row, &field.field);
                let plaintext = aead::open(old, &place, &field.sealed)?;
                field.sealed = aead::seal(&new.key, &place, &plaintext, &*inner.entropy)?;
            }
        }
        let own = own_entries(new, &inner.data, &*inner.entropy)?;
        let resealed = inner.store.connections().reseal_all(connections, own).await;
        inner.recent.forget_all();
        Ok(resealed?)
    }

    /// Seals data that rests elsewhere (arguments and results of calls, compiled code). `purpose` and `aad` say what it
    /// is and where it belongs; both are needed to open it.
    ///
    /// # Errors
    /// [`VaultError::Internal`] for more than 64 GiB.
    pub fn seal(&self, purpose: &str, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, VaultError> {
        aead::seal(&self.inner.data, &data_place(purpose, aad), plaintext, &*self.inner.entropy)
    }

    /// Opens what [`Vault::seal`] sealed with the same `purpose` and `aad`. The plaintext is wiped when dropped.
    ///
    /// # Errors
    /// [`VaultError::Tampered`].
    pub fn unseal(&self, purpose: &str, aad: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, VaultError> {
        aead::open(&self.inner.data, &data_place(purpose, aad), sealed)
    }
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Vault")
    }
}

fn data_place(purpose: &str, aad: &[u8]) -> Place {
    Place::new("data", &[purpose.as_bytes(), aad])
}

/// Which fields are opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fields {
    /// Those that may be lent.
    Lent,
    /// All of them: for the vault itself.
    All,
}

pub(crate) fn open_fields(kek: &Key, found: &Found, fields: Fields) -> Result<BTreeMap<String, Secret>, VaultError> {
    let meta = found.meta()?;
    // The names of the fields are authenticated by each of them; a field that is gone shows.
    if !meta.fields.iter().eq(found.fields.iter().map(|field| &field.field)) {
        return Err(VaultError::Tampered);
    }
    let wanted = found.fields.iter().filter(|field| fields == Fields::All || meta.is_lent(&field.field));
    let fields = wanted.map(|field| {
        let plaintext = aead::open(kek, &found.place(&field.field), &field.sealed)?;
        Ok((field.field.clone(), Secret::new(plaintext)))
    });
    fields.collect()
}

/// The vault's own entries under `kek`.
fn own_entries(kek: &Kek, data: &Key, entropy: &dyn Entropy) -> Result<Vec<(String, Vec<u8>)>, VaultError> {
    let kdf = kek.params.as_ref().map(KdfParams::to_bytes).transpose()?.unwrap_or_default();
    Ok(vec![
        (CANARY.into(), aead::seal(&kek.key, &Place::new(CANARY, &[]), SONG, entropy)?),
        (DATA_KEY.into(), aead::seal(&kek.key, &Place::new(DATA_KEY, &[]), data.as_slice(), entropy)?),
        (KDF.into(), kdf),
    ])
}

fn check_canary(kek: &Key, canary: &[u8]) -> Result<(), VaultError> {
    match aead::open(kek, &Place::new(CANARY, &[]), canary) {
        Ok(song) if song.as_slice() == SONG => Ok(()),
        Ok(_) | Err(VaultError::Tampered) => Err(VaultError::WrongKey),
        Err(other) => Err(other),
    }
}

fn read_data_key(kek: &Key, sealed: &[u8]) -> Result<Key, VaultError> {
    let bytes = aead::open(kek, &Place::new(DATA_KEY, &[]), sealed)?;
    let key: [u8; KEY] = bytes.as_slice().try_into().map_err(|_length| VaultError::Incomplete("the data key"))?;
    Ok(Key::new(key))
}

/// People keep their own credentials; an admin keeps the tenant's. An agent's key changes none.
pub(crate) fn may_change(actor: &Principal, owner: Owner) -> Result<(), VaultError> {
    match (actor.role, owner) {
        (Role::Admin, _) | (Role::Approver, Owner::User) => Ok(()),
        (Role::Approver, Owner::Tenant) => {
            Err(VaultError::Forbidden("only an admin may change the tenant's credentials"))
        }
        (Role::Agent | Role::Publisher, _) => Err(VaultError::Forbidden("this role may not change credentials")),
    }
}

fn owner_column(actor: &Principal, owner: Owner) -> Option<&UserId> {
    match owner {
        Owner::User => Some(&actor.user),
        Owner::Tenant => None,
    }
}

fn record(actor: &Principal, owner: Owner, service: &ServiceName, action: Action, outcome: Outcome) -> Record {
    let record = Record::new(action, outcome).principal(actor).detail("service", service.as_str());
    record.detail("owner", owner.as_str())
}

fn outcome<T>(done: &Result<T, VaultError>) -> Outcome {
    match done {
        Ok(_) => Outcome::Ok,
        Err(error) => Outcome::Failed { code: error.code().into() },
    }
}
