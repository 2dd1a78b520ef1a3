//! Credentials at rest; besides egress the only crate that opens a secret.
//!
//! Promises: a secret is stored only as AES-256-GCM ciphertext under a key of its own; a record that was moved,
//! exchanged, cut or changed is refused, never half-read; every use has its place in the audit log's chain, after the
//! durable intent of the call that uses it and before that call's outcome; no `Display`, `Debug` or `Serialize` shows a secret. Never: reads the environment or a file (the key
//! is passed in), or opens a socket: what it asks of an authorisation server goes through the [`Transport`] that egress
//! implements.
//!
//! - [`Kek`]: the key-encryption key, from 32 bytes or a passphrase (Argon2id, [`KdfParams`]). [`Vault::open`] proves
//!   it against a canary.
//! - [`Vault::put`], [`Vault::list`], [`Vault::delete`]: connected accounts of a user or a tenant, each with a
//!   [`Binding`]: the hosts it may travel to, and how it is attached to a request ([`Attach`]).
//! - [`Vault::lease`], [`Vault::lease_checked`]: what egress asks for to attach a credential; demands the receipt of
//!   the call's intent and records the use.
//! - [`Vault::authorise`], [`Vault::finish`], [`Vault::poll`]: connecting an account by OAuth 2.1 instead of a secret that
//!   somebody types; [`Vault::exchange`]: a token of narrow scope for one skill.
//! - [`Vault::seal`], [`Vault::unseal`]: other data at rest, under a data key, purpose by purpose.
//! - [`Vault::rotate`]: a new key-encryption key; every record is sealed anew in one transaction.
//!
//! Key hierarchy: the KEK seals connections, the canary and the data key; each record's key is
//! HKDF-SHA256(KEK or data key, 32 random bytes, purpose and place), so that no two records share a key and 96-bit
//! random nonces (NIST SP 800-38D, 8.2.2) never come near their bound.

mod aead;
mod connection;
mod error;
mod found;
mod kek;
mod lease;
mod oauth;
mod placeholder;
mod recent;
mod secret;
mod vault;
mod whole_url;

pub use connection::{Attach, Binding, ConnectionInfo, HostBinding, Owner};
pub use error::VaultError;
pub use kek::{KdfParams, Kek};
pub use lease::{Attachment, Lease, Purpose};
pub use oauth::{
    Asked, Callback, ClientAuth, Grant, Named, OauthError, OauthParts, Provider, Providers, ScopedToken, Standing,
    Started, TokenExchange, Transport, TransportError, TransportRequest, TransportResponse, Unkept, Waiting, Way,
};
pub use placeholder::{PLACEHOLDER_BYTES, PLACEHOLDER_PREFIX, Placing, PlacingError, Position, Shape};
pub use secret::Secret;
pub use vault::Vault;
