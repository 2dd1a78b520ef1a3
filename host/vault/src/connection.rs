//! A connected account: whose it is, where its secrets may travel, how they are attached, and the rules of its fields.

use crate::VaultError;
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use sophon_guard::MIN_SECRET_BYTES;
use sophon_store::ConnectionRow;
use sophon_types::{ServiceName, Timestamp, UserId};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

/// Most fields of a connection.
const MAX_FIELDS: usize = 16;
/// Longest value of a field, in bytes: a PEM chain fits.
const MAX_VALUE: usize = 16 * 1024;

/// Whose connection it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Owner {
    /// The acting user's own.
    User,
    /// The tenant's: every user without one of their own uses it. Only an admin may change it.
    Tenant,
}

/// How a credential is attached to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Attach {
    /// `Authorization: Bearer FIELD` (RFC 6750).
    Bearer {
        /// The field.
        field: String,
    },
    /// `NAME: PREFIX FIELD` without a blank of its own between prefix and field.
    Header {
        /// The header's name.
        name: String,
        /// What stands before the field, such as `token `.
        #[serde(default)]
        prefix: String,
        /// The field.
        field: String,
    },
    /// `Authorization: Basic` (RFC 7617).
    Basic {
        /// The field with the user's name; not secret.
        user_field: String,
        /// The field with the password.
        password_field: String,
    },
    /// Not by a header: the fields are used through placeholders only.
    Placeholders,
}

impl Attach {
    /// Fields it uses.
    fn fields(&self) -> Vec<&str> {
        match self {
            Self::Bearer { field } | Self::Header { field, .. } => vec![field],
            Self::Basic { user_field, password_field } => vec![user_field, password_field],
            Self::Placeholders => vec![],
        }
    }
}

/// A host that a credential may travel to: an exact name or address, and a port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostBinding {
    host: String,
    port: Option<u16>,
}

impl HostBinding {
    /// The host: a lower-case ASCII name, an IPv4 address, or an IPv6 address in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port; `None`: the scheme's own.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Whether it covers `host` (as a URL has it: lower case, ASCII) at `port`, where `scheme_port` is the scheme's own.
    #[must_use]
    pub fn covers(&self, host: &str, port: u16, scheme_port: u16) -> bool {
        self.host == host && self.port.unwrap_or(scheme_port) == port
    }
}

impl FromStr for HostBinding {
    type Err = VaultError;
    fn from_str(text: &str) -> Result<Self, VaultError> {
        let wrong =
            || VaultError::InvalidBinding(format!("{:?} is not a host", text.chars().take(80).collect::<String>()));
        let bracket = text.rfind(']');
        let (host, port) = match text.rfind(':').filter(|colon| bracket.is_none_or(|end| end < *colon)) {
            Some(colon) => (&text[..colon], Some(text[colon + 1..].parse().map_err(|_not_a_port| wrong())?)),
            None => (text, None),
        };
        let host = host.to_ascii_lowercase();
        let good = match host.strip_prefix('[') {
            Some(address) => {
                address.strip_suffix(']').is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok())
            }
            None => {
                host.len() <= 253
                    && host.split('.').all(|label| {
                        (1..=63).contains(&label.len())
                            && !label.starts_with('-')
                            && !label.ends_with('-')
                            && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
                    })
            }
        };
        if !good || port == Some(0) {
            return Err(wrong());
        }
        Ok(Self { host, port })
    }
}

impl fmt::Display for HostBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

impl Serialize for HostBinding {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HostBinding {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// What a connection is bound to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binding {
    /// Hosts the credential may travel to. `None`: those the skill's manifest names for it.
    #[serde(default)]
    pub hosts: Option<Vec<HostBinding>>,
    /// How it is attached. `None` when putting: as a bearer token from the field `token` or the only secret field, else
    /// by placeholders; always `Some` when read back.
    #[serde(default)]
    pub attach: Option<Attach>,
    /// Fields that are not secret (names of users, addresses): they may be short, and are not looked for in output.
    #[serde(default)]
    pub plain: BTreeSet<String>,
}

/// What is public about a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConnectionInfo {
    /// Which service.
    pub service: ServiceName,
    /// Whose.
    pub owner: Owner,
    /// Counts the times the fields were replaced.
    pub version: u64,
    /// Names of the fields.
    pub fields: Vec<String>,
    /// Where it may travel, and how.
    pub binding: Binding,
    /// When it was last replaced.
    pub updated_at: Timestamp,
}

/// What is stored in the clear beside the sealed fields; authenticated by each of them.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Meta {
    pub(crate) fields: Vec<String>,
    #[serde(flatten)]
    pub(crate) binding: Binding,
}

impl Meta {
    /// Checks names, values and binding of a connection that is to be stored.
    pub(crate) fn check(
        service: &ServiceName,
        fields: &BTreeMap<String, SecretString>,
        mut binding: Binding,
    ) -> Result<Self, VaultError> {
        let wrong = |field: &str, rule| VaultError::InvalidField {
            service: service.clone(),
            field: field.chars().take(64).collect(),
            rule,
        };
        if fields.is_empty() || fields.len() > MAX_FIELDS {
            return Err(wrong("", "a connection has 1 to 16 fields"));
        }
        let attach = binding.attach.take().unwrap_or_else(|| default_attach(fields, &binding.plain));
        if let Attach::Basic { user_field, .. } = &attach {
            binding.plain.insert(user_field.clone());
        }
        for (name, value) in fields {
            if !is_field_name(name) {
                return Err(wrong(name, "a name is 1 to 64 characters of a-z, A-Z, 0-9, '_', '.' and '-'"));
            }
            let value = value.expose_secret();
            if value.is_empty() || value.len() > MAX_VALUE {
                return Err(wrong(name, "a value is 1 byte to 16 KiB"));
            }
            if !binding.plain.contains(name) && value.len() < MIN_SECRET_BYTES {
                return Err(wrong(name, "a secret of fewer than 8 bytes cannot be told from ordinary text in output"));
            }
        }
        for name in attach.fields().into_iter().chain(binding.plain.iter().map(String::as_str)) {
            if !fields.contains_key(name) {
                return Err(VaultError::InvalidBinding(format!("there is no field {name:?}")));
            }
        }
        for name in attach.fields() {
            let sendable =
                |value: &SecretString| value.expose_secret().bytes().all(|b| matches!(b, 0x20..=0x7e | 0x80..));
            if !fields.get(name).is_some_and(sendable) {
                return Err(wrong(name, "what is sent in a header has no line breaks or control characters"));
            }
        }
        match &attach {
            Attach::Header { name, prefix, .. } => {
                if !is_header(name) {
                    return Err(VaultError::InvalidBinding(format!("{name:?} is not a header a credential may use")));
                }
                if prefix.len() > 64 || !prefix.bytes().all(|b| matches!(b, 0x20..=0x7e)) {
                    return Err(VaultError::InvalidBinding("a prefix is at most 64 printable characters".into()));
                }
            }
            Attach::Basic { user_field, .. } => {
                // RFC 7617, section 2: the user's name ends at the first colon.
                if fields.get(user_field).is_some_and(|user| user.expose_secret().contains(':')) {
                    return Err(wrong(user_field, "a user's name has no colon"));
                }
            }
            Attach::Bearer { .. } | Attach::Placeholders => {}
        }
        if binding.hosts.as_ref().is_some_and(|hosts| hosts.is_empty() || hosts.len() > 64) {
            return Err(VaultError::InvalidBinding("name 1 to 64 hosts, or none at all".into()));
        }
        binding.attach = Some(attach);
        Ok(Self { fields: fields.keys().cloned().collect(), binding })
    }

    /// What is stored; an error means that somebody else wrote it.
    pub(crate) fn read(value: &Value) -> Result<Self, VaultError> {
        serde_json::from_value(value.clone()).map_err(|_malformed| VaultError::Tampered)
    }

    pub(crate) fn to_value(&self) -> Result<Value, VaultError> {
        serde_json::to_value(self).map_err(|_never| VaultError::Internal("connection as JSON"))
    }
}

impl ConnectionInfo {
    pub(crate) fn of(row: &ConnectionRow) -> Result<Self, VaultError> {
        let meta = Meta::read(&row.meta)?;
        Ok(Self {
            service: row.service.clone(),
            owner: owner_of(row.user.as_ref()),
            version: row.version,
            fields: meta.fields,
            binding: meta.binding,
            updated_at: row.updated_at,
        })
    }
}

fn owner_of(user: Option<&UserId>) -> Owner {
    if user.is_some() { Owner::User } else { Owner::Tenant }
}

fn default_attach(fields: &BTreeMap<String, SecretString>, plain: &BTreeSet<String>) -> Attach {
    let mut secret = fields.keys().filter(|name| !plain.contains(*name));
    let only = secret.next().filter(|_| secret.next().is_none());
    match fields.contains_key("token").then(|| "token".to_owned()).or_else(|| only.cloned()) {
        Some(field) => Attach::Bearer { field },
        None => Attach::Placeholders,
    }
}

fn is_field_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// A field name of RFC 9110, section 5.1, that does not steer the connection itself.
fn is_header(name: &str) -> bool {
    const REFUSED: &[&str] = &[
        "host",
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "content-length",
        "content-type",
        "expect",
        "proxy-authorization",
    ];
    (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
        && !REFUSED.contains(&name.to_ascii_lowercase().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(fields: &[(&str, &str)], binding: Binding) -> Result<Meta, VaultError> {
        let fields = fields.iter().map(|(name, value)| ((*name).to_owned(), SecretString::from(*value))).collect();
        Meta::check(&"svc".parse().unwrap(), &fields, binding)
    }

    fn attach(attach: Attach) -> Binding {
        Binding { attach: Some(attach), ..Binding::default() }
    }

    #[test]
    fn a_default_way_of_attaching_is_chosen() {
        let chosen = |fields: &[(&str, &str)]| check(fields, Binding::default()).unwrap().binding.attach.unwrap();
        assert_eq!(chosen(&[("api_key", "12345678")]), Attach::Bearer { field: "api_key".into() });
        assert_eq!(chosen(&[("a", "12345678"), ("token", "12345678")]), Attach::Bearer { field: "token".into() });
        assert_eq!(chosen(&[("a", "12345678"), ("b", "12345678")]), Attach::Placeholders);
        let basic = Attach::Basic { user_field: "u".into(), password_field: "p".into() };
        let meta = check(&[("u", "ann"), ("p", "12345678")], attach(basic)).unwrap();
        assert!(meta.binding.plain.contains("u"));
    }

    #[test]
    fn bad_fields_and_bindings_are_refused() {
        let header = |name: &str, prefix: &str| {
            attach(Attach::Header { name: name.into(), prefix: prefix.into(), field: "token".into() })
        };
        let good: &[(&str, &str)] = &[("token", "12345678")];
        assert!(check(good, header("X-Api-Key", "")).is_ok());
        for (fields, binding) in [
            (&[][..], Binding::default()),
            (&[("token", "1234567")], Binding::default()),
            (&[("to ken", "12345678")], Binding::default()),
            (&[("token", "1234\r\n5678")], Binding::default()),
            (good, header("Host", "")),
            (good, header("Transfer-Encoding", "")),
            (good, header("X\r\nY", "")),
            (good, header("X-Key", "a\r\nb: ")),
            (good, attach(Attach::Bearer { field: "other".into() })),
            (good, Binding { hosts: Some(vec![]), ..Binding::default() }),
            (good, Binding { plain: ["other".to_owned()].into(), ..Binding::default() }),
        ] {
            assert!(check(fields, binding.clone()).is_err(), "{fields:?} {binding:?}");
        }
        assert!(check(&[("token", &"x".repeat(MAX_VALUE + 1))], Binding::default()).is_err());
    }

    #[test]
    fn hosts_are_exact() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(text.parse::<HostBinding>().ok().map(|host| host.to_string()).as_deref(), expected, "{text}");
        };
        check("API.example.com", Some("api.example.com"));
        check("localhost:8080", Some("localhost:8080"));
        check("[::1]:8080", Some("[::1]:8080"));
        check("[::1]", Some("[::1]"));
        for bad in [
            "",
            "https://a.example",
            "a.example/",
            "a b",
            "a..b",
            "*.example.com",
            "a:0",
            "a:99999",
            "::1",
            "é.example",
            "u@h",
        ] {
            check(bad, None);
        }
        let host: HostBinding = "a.example".parse().unwrap();
        assert!(host.covers("a.example", 443, 443) && !host.covers("a.example", 8443, 443));
        assert!(!host.covers("b.a.example", 443, 443) && !host.covers("a.example.", 443, 443));
    }
}
