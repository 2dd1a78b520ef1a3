//! A connection as it was found, with what is read of it once, however many requests use it.

use crate::VaultError;
use crate::aead;
use crate::connection::Meta;
use sophon_store::{Connection, ConnectionRow};
use sophon_types::UserId;
use std::ops::Deref;

/// A connection with its secrets sealed, and what is public about it.
#[derive(Debug)]
pub(crate) struct Found {
    connection: Connection,
    /// Nothing where it is not what the vault wrote.
    meta: Option<Meta>,
    /// The same as it is authenticated with each field.
    text: String,
}

impl Found {
    pub(crate) fn of(connection: Connection) -> Self {
        let (meta, text) = (Meta::read(&connection.row.meta).ok(), connection.row.meta.to_string());
        Self { connection, meta, text }
    }

    /// What is public about it. Authenticated only once a field was opened.
    ///
    /// # Errors
    /// [`VaultError::Tampered`] where it is not what the vault wrote.
    pub(crate) fn meta(&self) -> Result<&Meta, VaultError> {
        self.meta.as_ref().ok_or(VaultError::Tampered)
    }

    /// Where a field of it belongs.
    pub(crate) fn place(&self, field: &str) -> aead::Place {
        place_beside(&self.connection.row, &self.text, field)
    }
}

impl Deref for Found {
    type Target = Connection;
    fn deref(&self) -> &Connection {
        &self.connection
    }
}

/// Where a field belongs. Its version and everything that is public about the connection are part of it, so that an
/// older secret, or other hosts, cannot be slipped under it.
pub(crate) fn place(row: &ConnectionRow, field: &str) -> aead::Place {
    place_beside(row, &row.meta.to_string(), field)
}

fn place_beside(row: &ConnectionRow, meta: &str, field: &str) -> aead::Place {
    let (user, version) = (row.user.as_ref().map_or("", UserId::as_str), row.version.to_be_bytes());
    let parts = [row.tenant.as_str(), user, row.service.as_str(), field].map(str::as_bytes);
    let [tenant, user, service, field] = parts;
    aead::Place::new("connection", &[tenant, user, service, field, &version, meta.as_bytes()])
}
