//! What can go wrong at the vault.

use crate::OauthError;
use sophon_audit::AuditError;
use sophon_store::StoreError;
use sophon_types::{Fault, FaultKind, ServiceName, Stage};

/// Why the vault did not do what it was asked. No text of it holds a secret.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// The key given at opening is not the one this vault was sealed with.
    #[error("the key does not open this vault")]
    WrongKey,
    /// The text is not a key, or the passphrase is too short to be one.
    #[error("not a vault key: expected 64 hexadecimal digits, base64 of 32 bytes, or a passphrase of 12 bytes or more")]
    InvalidKey,
    /// The stored parameters of the passphrase's key derivation are malformed or out of bounds.
    #[error("the stored key-derivation parameters are malformed or out of bounds")]
    InvalidKdf,
    /// A record does not open: it was changed, cut, moved from elsewhere, or sealed with another key.
    #[error("a sealed record does not open: it was changed, moved, or sealed with another key")]
    Tampered,
    /// The vault's own entries are incomplete: connections exist, but the canary does not.
    #[error("the vault is incomplete: {0} is missing or malformed")]
    Incomplete(&'static str),
    /// Neither the user nor the tenant has connected the service.
    #[error("{service} is not connected")]
    NotConnected {
        /// The service.
        service: ServiceName,
    },
    /// A field's name or value breaks a rule.
    #[error("{service}: field {field:?}: {rule}")]
    InvalidField {
        /// The service.
        service: ServiceName,
        /// The field's name, shortened.
        field: String,
        /// The rule in words.
        rule: &'static str,
    },
    /// The binding breaks a rule: hosts, header, or a field that does not exist.
    #[error("binding: {0}")]
    InvalidBinding(String),
    /// The owner is another user, and the caller's role may not act for them.
    #[error("{0}")]
    Forbidden(&'static str),
    /// The receipt that was shown is not the one of the intent of the call that wants the credential.
    #[error("the receipt is not of this call's intent")]
    NotIntended,
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The audit log failed; without it no secret is used or changed.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// Something went wrong between the vault and an authorisation server.
    #[error(transparent)]
    Oauth(#[from] OauthError),
    /// A length or encoding that a correct program does not produce.
    #[error("the vault failed: {0}")]
    Internal(&'static str),
}

impl Fault for VaultError {
    fn stage(&self) -> Stage {
        match self {
            Self::Store(error) => error.stage(),
            Self::Audit(error) => error.stage(),
            _ => Stage::Vault,
        }
    }

    fn kind(&self) -> FaultKind {
        match self {
            Self::WrongKey | Self::InvalidKdf | Self::Incomplete(_) => FaultKind::Unavailable,
            Self::InvalidKey | Self::InvalidField { .. } | Self::InvalidBinding(_) => FaultKind::Invalid,
            Self::NotConnected { .. } => FaultKind::NotFound,
            Self::Forbidden(_) => FaultKind::Denied,
            Self::Tampered | Self::NotIntended | Self::Internal(_) => FaultKind::Internal,
            Self::Oauth(error) => error.kind(),
            Self::Store(error) => error.kind(),
            Self::Audit(error) => error.kind(),
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::WrongKey => "vault_wrong_key",
            Self::InvalidKey => "vault_invalid_key",
            Self::InvalidKdf => "vault_invalid_kdf",
            Self::Tampered => "vault_tampered",
            Self::Incomplete(_) => "vault_incomplete",
            Self::NotConnected { .. } => "not_connected",
            Self::InvalidField { .. } => "invalid_field",
            Self::InvalidBinding(_) => "invalid_binding",
            Self::Forbidden(_) => "forbidden",
            Self::NotIntended => "vault_not_intended",
            Self::Oauth(error) => error.code(),
            Self::Store(error) => error.code(),
            Self::Audit(error) => error.code(),
            Self::Internal(_) => "vault_internal",
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::WrongKey => "start with the key this home was created or last rotated with".into(),
            Self::InvalidKey => "make a key with: openssl rand -hex 32".into(),
            Self::InvalidKdf | Self::Incomplete(_) => "restore the home folder from a backup".into(),
            Self::Tampered => "restore the home folder from a backup, or connect the account again".into(),
            Self::NotConnected { service } => format!("sophon credential set {service}"),
            Self::InvalidField { .. } => {
                "field names are 1 to 64 characters of a-z, A-Z, 0-9, '_', '.' and '-'; secret \
                 values are 8 bytes to 16 KiB"
                    .into()
            }
            Self::InvalidBinding(_) => "hosts are written as api.example.com or api.example.com:8443".into(),
            Self::Forbidden(_) => "ask an admin of the tenant".into(),
            Self::Oauth(error) => error.hint(),
            Self::Store(error) => return error.hint(),
            Self::Audit(error) => return error.hint(),
            Self::NotIntended | Self::Internal(_) => "run: sophon doctor".into(),
        };
        Some(hint)
    }
}
