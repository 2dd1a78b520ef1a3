//! TLS by rustls with ring, its session tickets kept apart for everybody on whose behalf a connection is made.
//!
//! Promise: no ticket, and so no linkable session, crosses from one tenant, user, skill or credential to another;
//! certificates are always verified; the protocol offered is HTTP/1.1.

use crate::error::HttpError;
use crate::owner::Bearer;
use parking_lot::Mutex;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use sophon_types::{Clock, TenantId};
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use url::Host;

/// Tickets that one bearer keeps.
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

/// One client configuration a bearer, made when first needed.
pub(crate) struct TlsClients {
    base: ClientConfig,
    kept: Mutex<Kept>,
    most: usize,
}

#[derive(Default)]
struct Kept {
    clients: HashMap<Bearer, Client>,
    /// Rises with every use.
    uses: u64,
}

struct Client {
    config: Arc<ClientConfig>,
    used: u64,
}

impl Kept {
    /// Makes room for one more, at the cost of the tenant that has the most: nobody forgets another's tickets.
    fn make_room(&mut self) {
        let mut shares: HashMap<&TenantId, usize> = HashMap::new();
        self.clients.keys().for_each(|bearer| *shares.entry(bearer.tenant()).or_default() += 1);
        let Some(largest) = shares.into_iter().max_by_key(|&(_, count)| count).map(|(tenant, _)| tenant.clone()) else {
            return;
        };
        let of_largest = self.clients.iter().filter(|(bearer, _)| *bearer.tenant() == largest);
        if let Some(oldest) = of_largest.min_by_key(|(_, client)| client.used).map(|(bearer, _)| bearer.clone()) {
            self.clients.remove(&oldest);
        }
    }
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
        Ok(Self { base, kept: Mutex::default(), most })
    }

    pub(crate) fn of(&self, bearer: &Bearer) -> Arc<ClientConfig> {
        let mut kept = self.kept.lock();
        kept.uses += 1;
        let used = kept.uses;
        if let Some(client) = kept.clients.get_mut(bearer) {
            client.used = used;
            return Arc::clone(&client.config);
        }
        let mut config = self.base.clone();
        config.resumption = Resumption::in_memory_sessions(TICKETS);
        let config = Arc::new(config);
        if self.most == 0 {
            return config;
        }
        if kept.clients.len() >= self.most {
            kept.make_room();
        }
        kept.clients.insert(bearer.clone(), Client { config: Arc::clone(&config), used });
        config
    }
}

impl fmt::Debug for TlsClients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsClients").field("kept", &self.kept.lock().clients.len()).finish_non_exhaustive()
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
    use crate::owner::tests::bearer;
    use sophon_types::Timestamp;

    struct Noon;

    impl Clock for Noon {
        fn now(&self) -> Timestamp {
            Timestamp::from_micros(1_780_000_000_000_000)
        }
    }

    #[test]
    fn tickets_are_kept_apart_and_their_stores_are_bounded() {
        let clients = TlsClients::new(&Roots::mozilla(), Arc::new(Noon), 4).unwrap();
        let first = clients.of(&bearer("acme", "ann", "web"));
        assert!(Arc::ptr_eq(&first, &clients.of(&bearer("acme", "ann", "web"))));
        for other in [bearer("rival", "ann", "web"), bearer("acme", "bob", "web"), bearer("acme", "ann", "mail")] {
            assert!(!Arc::ptr_eq(&first, &clients.of(&other)), "{other:?}");
        }
        assert!(!first.enable_early_data);
        assert_eq!(first.alpn_protocols, [b"http/1.1".to_vec()]);
        let rival = clients.of(&bearer("rival", "ann", "web"));
        for n in 0..100 {
            clients.of(&bearer("acme", "ann", &format!("skill-{n}")));
            assert!(clients.kept.lock().clients.len() <= 4);
        }
        let still = clients.of(&bearer("rival", "ann", "web"));
        assert!(Arc::ptr_eq(&rival, &still), "one tenant pushed out what another keeps");
    }

    #[test]
    fn what_is_no_certificate_is_no_root() {
        assert!(TlsClients::new(&Roots::mozilla().with(b"nonsense".to_vec()), Arc::new(Noon), 3).is_err());
    }
}
