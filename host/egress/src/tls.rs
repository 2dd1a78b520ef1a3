//! TLS by rustls with ring, its session tickets kept apart for every tenant and skill.
//!
//! Promise: no ticket, and so no linkable session, crosses from one tenant or skill to another; certificates are
//! always verified; the protocol offered is HTTP/1.1.

use crate::error::HttpError;
use parking_lot::Mutex;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use sophon_types::{Clock, SkillName, TenantId};
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use url::Host;

/// Tickets that one skill of one tenant keeps.
const TICKETS: usize = 64;

/// The authorities that a server's certificate may come from.
#[derive(Debug, Clone, Default)]
pub struct Roots {
    extra: Vec<CertificateDer<'static>>,
}

impl Roots {
    /// Mozilla's root programme, as of the `webpki-roots` crate.
    #[must_use]
    pub fn mozilla() -> Self {
        Self::default()
    }

    /// Adds a private authority's certificate (DER).
    #[must_use]
    pub fn with(mut self, der: Vec<u8>) -> Self {
        self.extra.push(CertificateDer::from(der));
        self
    }

    fn store(&self) -> Result<RootCertStore, rustls::Error> {
        let mut store = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        self.extra.iter().try_for_each(|der| store.add(der.clone()))?;
        Ok(store)
    }
}

/// Whose connections, pools and tickets these are.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Owner {
    pub(crate) tenant: TenantId,
    pub(crate) skill: SkillName,
}

/// One client configuration an owner, made when first needed.
pub(crate) struct TlsClients {
    base: ClientConfig,
    kept: Mutex<HashMap<Owner, Arc<ClientConfig>>>,
    most: usize,
}

impl TlsClients {
    pub(crate) fn new(roots: &Roots, clock: Arc<dyn Clock>, most: usize) -> Result<Self, rustls::Error> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots.store()?), Arc::clone(&provider))
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        let mut base = ClientConfig::builder_with_details(provider, Arc::new(HostTime(clock)))
            .with_safe_default_protocol_versions()?
            .with_webpki_verifier(verifier)
            .with_no_client_auth();
        base.alpn_protocols = vec![b"http/1.1".to_vec()];
        base.enable_early_data = false;
        base.resumption = Resumption::disabled();
        Ok(Self { base, kept: Mutex::new(HashMap::new()), most })
    }

    pub(crate) fn of(&self, owner: &Owner) -> Arc<ClientConfig> {
        let mut kept = self.kept.lock();
        if let Some(config) = kept.get(owner) {
            return Arc::clone(config);
        }
        if kept.len() >= self.most {
            // Tickets only save a round trip; forgetting all of them at once is simpler than an order of use.
            kept.clear();
        }
        let mut config = self.base.clone();
        config.resumption = Resumption::in_memory_sessions(TICKETS);
        let config = Arc::new(config);
        kept.insert(owner.clone(), Arc::clone(&config));
        config
    }
}

impl fmt::Debug for TlsClients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClients").field("kept", &self.kept.lock().len()).finish_non_exhaustive()
    }
}

pub(crate) fn server_name(host: &Host<String>) -> Result<ServerName<'static>, HttpError> {
    match host {
        Host::Domain(name) => ServerName::try_from(name.clone())
            .map_err(|_invalid| HttpError::Tls(format!("{name} cannot stand in a certificate"))),
        Host::Ipv4(address) => Ok(ServerName::IpAddress(IpAddr::V4(*address).into())),
        Host::Ipv6(address) => Ok(ServerName::IpAddress(IpAddr::V6(*address).into())),
    }
}

/// The host's clock, for checking when certificates are valid.
struct HostTime(Arc<dyn Clock>);

impl fmt::Debug for HostTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HostTime")
    }
}

impl TimeProvider for HostTime {
    fn current_time(&self) -> Option<UnixTime> {
        let micros = u64::try_from(self.0.now().as_micros()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_micros(micros)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sophon_types::Timestamp;

    struct Noon;

    impl Clock for Noon {
        fn now(&self) -> Timestamp {
            Timestamp::from_micros(1_780_000_000_000_000)
        }
    }

    fn owner(tenant: &str, skill: &str) -> Owner {
        Owner { tenant: tenant.parse().unwrap(), skill: skill.parse().unwrap() }
    }

    #[test]
    fn tickets_are_kept_apart_and_their_stores_are_bounded() {
        let clients = TlsClients::new(&Roots::mozilla(), Arc::new(Noon), 3).unwrap();
        let first = clients.of(&owner("acme", "web"));
        assert!(Arc::ptr_eq(&first, &clients.of(&owner("acme", "web"))));
        assert!(!Arc::ptr_eq(&first, &clients.of(&owner("rival", "web"))));
        assert!(!Arc::ptr_eq(&first, &clients.of(&owner("acme", "mail"))));
        assert!(!first.enable_early_data);
        assert_eq!(first.alpn_protocols, [b"http/1.1".to_vec()]);
        for n in 0..100 {
            clients.of(&owner("acme", &format!("skill-{n}")));
            assert!(clients.kept.lock().len() <= 3);
        }
    }

    #[test]
    fn what_is_no_certificate_is_no_root() {
        assert!(TlsClients::new(&Roots::mozilla().with(b"nonsense".to_vec()), Arc::new(Noon), 3).is_err());
    }
}
