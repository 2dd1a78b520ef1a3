//! Whose signatures a tenant trusts, and which skill names belong to which key.

use crate::api::PublisherView;
use crate::catalogue::{Entry, State};
use crate::{Executor, InstallError};
use sophon_audit::{Action, Outcome, Record};
use sophon_skill::{PublicKey, Publisher, PublisherRole, Standing, TrustStore};
use sophon_store::{PublisherRow, StoreError};
use sophon_types::{Fault as _, FaultReport, Principal, TenantId};

impl Executor {
    /// Trusts a publisher's key for the caller's tenant.
    ///
    /// # Errors
    /// [`InstallError`] where the key is not usable or the change cannot be recorded.
    pub async fn trust(
        &self,
        principal: &Principal,
        key: &str,
        name: &str,
        role: PublisherRole,
    ) -> Result<PublisherView, InstallError> {
        let key: PublicKey = key.trim().parse().map_err(|error| InstallError::PublicKey(format!("{error}")))?;
        let fingerprint = key.fingerprint().to_string();
        let parts = &self.0.parts;
        let _turn = self.0.installing.turn(&principal.tenant).await?;
        let record = Record::new(Action::PublisherTrust, Outcome::Intent)
            .principal(principal)
            .detail("fingerprint", fingerprint.as_str())
            .detail("name", name)
            .detail("role", name_of(role));
        parts.audit.append(record.clone()).await?;
        let row = PublisherRow {
            tenant: principal.tenant.clone(),
            fingerprint: fingerprint.clone(),
            public_key: *key.as_bytes(),
            name: name.to_owned(),
            role: name_of(role).to_owned(),
            added_at: parts.clock.now(),
            revoked_at: None,
        };
        let done = parts.store.publishers().trust(row).await;
        parts.audit.append(record.then(Action::PublisherTrust, outcome(&done))).await?;
        done?;
        self.reload_signed(&principal.tenant, &fingerprint).await?;
        self.publisher(principal, &fingerprint).await
    }

    /// The publishers that the caller's tenant trusts or has trusted.
    ///
    /// # Errors
    /// [`InstallError`] where the store cannot be read.
    pub async fn publishers(&self, principal: &Principal) -> Result<Vec<PublisherView>, InstallError> {
        let publishers = self.0.parts.store.publishers();
        let pins = publishers.pins(&principal.tenant).await?;
        let rows = publishers.list(&principal.tenant).await?;
        let views = rows.into_iter().map(|row| PublisherView {
            skills: pins.iter().filter(|(_, key)| *key == row.fingerprint).map(|(skill, _)| skill.clone()).collect(),
            fingerprint: row.fingerprint,
            name: row.name,
            added_at: row.added_at,
            revoked_at: row.revoked_at,
        });
        Ok(views.collect())
    }

    async fn publisher(&self, principal: &Principal, fingerprint: &str) -> Result<PublisherView, InstallError> {
        let all = self.publishers(principal).await?;
        let found = all.into_iter().find(|publisher| publisher.fingerprint == fingerprint);
        found.ok_or_else(|| InstallError::UnknownPublisher(fingerprint.to_owned()))
    }

    /// Trusts a key no more. Skills that it signed stay installed, but cannot be called from now on.
    ///
    /// # Errors
    /// [`InstallError::UnknownPublisher`], or where the change cannot be recorded.
    pub async fn revoke_publisher(
        &self,
        principal: &Principal,
        fingerprint: &str,
    ) -> Result<PublisherView, InstallError> {
        let parts = &self.0.parts;
        let _turn = self.0.installing.turn(&principal.tenant).await?;
        self.publisher(principal, fingerprint).await?;
        let record = Record::new(Action::PublisherRevoke, Outcome::Intent)
            .principal(principal)
            .detail("fingerprint", fingerprint);
        parts.audit.append(record.clone()).await?;
        let revoked = parts.store.publishers().revoke(&principal.tenant, fingerprint, parts.clock.now()).await;
        let done = revoked.map(drop);
        if done.is_ok() {
            self.close_signed(&principal.tenant, fingerprint);
        }
        parts.audit.append(record.then(Action::PublisherRevoke, outcome(&done))).await?;
        done?;
        self.reload_signed(&principal.tenant, fingerprint).await?;
        self.publisher(principal, fingerprint).await
    }

    /// No skill that a key signed is called from now on, whatever becomes of deriving it again.
    fn close_signed(&self, tenant: &TenantId, fingerprint: &str) {
        let gone = FaultReport::of(&InstallError::UnknownPublisher(fingerprint.to_owned()));
        for Entry { row, .. } in self.0.catalogue.skills(tenant) {
            if row.publisher.as_deref() == Some(fingerprint) {
                let (name, state) = (row.name.clone(), State::Broken(gone.clone()));
                self.0.catalogue.put(tenant, &name, Entry { row, state });
            }
        }
    }

    /// Derives the skills that a key signed again, on what is trusted now.
    async fn reload_signed(&self, tenant: &TenantId, fingerprint: &str) -> Result<(), StoreError> {
        let trust = self.trust_store(tenant).await?;
        for row in self.0.parts.store.skills().list(tenant).await? {
            if row.publisher.as_deref() == Some(fingerprint) {
                self.reload(row, &trust).await;
            }
        }
        Ok(())
    }

    /// What the tenant trusts, as the signature check wants it.
    pub(crate) async fn trust_store(&self, tenant: &TenantId) -> Result<TrustStore, StoreError> {
        let publishers = self.0.parts.store.publishers();
        let mut trust = TrustStore::default();
        for row in publishers.list(tenant).await? {
            // A key that cannot be read vouches for nothing.
            let Ok(key) = PublicKey::from_bytes(&row.public_key) else { continue };
            let role =
                if row.role == name_of(PublisherRole::Local) { PublisherRole::Local } else { PublisherRole::Publisher };
            let standing = if row.revoked_at.is_some() { Standing::Revoked } else { Standing::Trusted };
            trust.publishers.push(Publisher { key, name: row.name, role, standing });
        }
        for (skill, fingerprint) in publishers.pins(tenant).await? {
            let Ok(fingerprint) = fingerprint.parse() else { continue };
            trust.pins.insert(skill, fingerprint);
        }
        Ok(trust)
    }
}

const fn name_of(role: PublisherRole) -> &'static str {
    match role {
        PublisherRole::Local => "local",
        PublisherRole::Publisher => "publisher",
    }
}

/// What the log says of a change of what is trusted.
fn outcome(done: &Result<(), StoreError>) -> Outcome {
    match done {
        Ok(()) => Outcome::Ok,
        Err(error) => Outcome::failed(error.code()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::World;
    use sophon_audit::Query;
    use sophon_types::{KeyId, Role};

    const KEY: &str = "ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

    async fn outcomes(world: &World, action: Action) -> Vec<String> {
        let entries = world.audit.query(&Query { action: Some(action), ..Query::default() }).await.unwrap().entries;
        entries.iter().map(|entry| entry.record["outcome"].as_str().unwrap().to_owned()).collect()
    }

    #[tokio::test]
    async fn a_change_of_trust_that_the_store_does_not_take_is_on_record_as_failed() {
        let world = World::new().await;
        let admin = Principal {
            tenant: "acme".parse().unwrap(),
            user: "root".parse().unwrap(),
            key: KeyId::from_bytes([1; 16]),
            role: Role::Admin,
        };
        let trust = || world.executor.trust(&admin, KEY, "a publisher", PublisherRole::Publisher);
        world.sql("CREATE TRIGGER refuse BEFORE INSERT ON publishers BEGIN SELECT json('no JSON'); END").await;
        assert!(matches!(trust().await, Err(InstallError::Store(_))));
        assert_eq!(outcomes(&world, Action::PublisherTrust).await, ["intent", "failed"]);
        world.sql("DROP TRIGGER refuse").await;
        let trusted = trust().await.unwrap();
        assert_eq!(outcomes(&world, Action::PublisherTrust).await, ["intent", "failed", "intent", "ok"]);
        world.sql("CREATE TRIGGER refuse BEFORE UPDATE ON publishers BEGIN SELECT json('no JSON'); END").await;
        let revoked = world.executor.revoke_publisher(&admin, &trusted.fingerprint).await;
        assert!(matches!(revoked, Err(InstallError::Store(_))));
        assert_eq!(outcomes(&world, Action::PublisherRevoke).await, ["intent", "failed"]);
    }
}
