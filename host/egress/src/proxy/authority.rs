//! A certificate authority for one sandbox: made with it, trusted in it alone, gone with it.

use parking_lot::Mutex;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
};
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Hosts whose certificates are kept; one more throws them all away.
const KEPT: usize = 64;

/// Makes certificates for the hosts that one sandbox's programs connect to. Its key never leaves this process and is never
/// written down; the certificate means nothing anywhere else, so it may be valid for as long as it likes.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    pem: String,
    /// One key for all hosts: they are all this process.
    leaf: KeyPair,
    made: Mutex<HashMap<String, Arc<ServerConfig>>>,
}

/// A key or a certificate could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("egress: the proxy's certificates cannot be made: {0}")]
pub struct AuthorityError(String);

fn failed(error: impl fmt::Display) -> AuthorityError {
    AuthorityError(error.to_string())
}

impl Authority {
    /// A new authority, with a key of its own.
    ///
    /// # Errors
    /// [`AuthorityError`] where the machine gives no randomness.
    pub fn new() -> Result<Self, AuthorityError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = named("Sophon sandbox");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2120, 1, 1);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let certificate = params.self_signed(&key).map_err(failed)?;
        let leaf = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        Ok(Self {
            certificate: certificate.der().clone(),
            pem: certificate.pem(),
            issuer: Issuer::new(params, key),
            leaf,
            made: Mutex::default(),
        })
    }

    /// The certificate that the sandbox is to trust, as PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// TLS as the server `host`.
    pub(super) fn server(&self, host: &str) -> Result<Arc<ServerConfig>, AuthorityError> {
        if let Some(made) = self.made.lock().get(host) {
            return Ok(Arc::clone(made));
        }
        let mut params = CertificateParams::new([host.to_owned()]).map_err(failed)?;
        params.distinguished_name = named(host);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2120, 1, 1);
        let certificate = params.signed_by(&self.leaf, &self.issuer).map_err(failed)?;
        let key = PrivateKeyDer::try_from(self.leaf.serialize_der()).map_err(failed)?;
        let chain = vec![certificate.der().clone(), self.certificate.clone()];
        let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(failed)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let config = Arc::new(config);
        let mut made = self.made.lock();
        if made.len() >= KEPT {
            made.clear();
        }
        made.insert(host.to_owned(), Arc::clone(&config));
        Ok(config)
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut named = DistinguishedName::new();
    // A common name has 64 characters at most; what counts is the alternative name.
    named.push(DnType::CommonName, name.chars().take(64).collect::<String>());
    named
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authority")
    }
}
