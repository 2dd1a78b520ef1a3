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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::{Fields, open_fields};
    use secrecy::ExposeSecret as _;
    use sophon_store::SealedField;
    use sophon_types::{Entropy, Timestamp};
    use std::sync::atomic::{AtomicU8, Ordering};

    /// Bytes that count, from nought.
    #[derive(Default)]
    struct Counting(AtomicU8);

    impl Entropy for Counting {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill_with(|| self.0.fetch_add(1, Ordering::Relaxed));
        }
    }

    /// A record of the first version, made without this code (HKDF-SHA-256 and AES-256-GCM of other libraries, the place put
    /// together by hand): what rests in a home has to open for as long as there is that version.
    const RECORD: &str = "01000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b\
                          417629d876146074023a0311adad7b5aa8aa4777370f05c4ce18c12966559e12";

    #[test]
    fn attack_38_a_record_of_the_first_version_opens_and_is_still_written() {
        let row = ConnectionRow {
            tenant: "acme".parse().unwrap(),
            user: Some("ann".parse().unwrap()),
            service: "github".parse().unwrap(),
            version: 3,
            meta: serde_json::json!({ "fields": ["token"], "attach": { "kind": "bearer", "field": "token" } }),
            updated_at: Timestamp::from_micros(0),
        };
        let key = aead::Key::new([7; aead::KEY]);
        let sealed = aead::seal(&key, &place(&row, "token"), b"ghp_known_answer", &Counting::default()).unwrap();
        assert_eq!(hex::encode(&sealed), RECORD);
        let fields = vec![SealedField { field: "token".into(), sealed }];
        let mut found = Found::of(Connection { row, fields });
        let token = open_fields(&key, &found, Fields::Lent).unwrap().remove("token").unwrap();
        assert_eq!(token.text().unwrap().expose_secret(), "ghp_known_answer");
        // What was read of it once is what it is authenticated with: any other text does not open it.
        found.connection.row.meta["hosts"] = serde_json::json!(["evil.example"]);
        let other = Found::of(found.connection);
        assert!(matches!(open_fields(&key, &other, Fields::Lent), Err(VaultError::Tampered)));
    }
}
