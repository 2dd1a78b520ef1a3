//! A connected account: whose it is, where its secrets may travel, how they are attached, and the rules of its fields.

use crate::oauth::REFRESH_TOKEN;
use crate::placeholder::{MAX_POSITIONS, Placing, Position};
use crate::whole_url::is_whole_url;
use crate::{Grant, VaultError};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use sophon_guard::MIN_SECRET_BYTES;
use sophon_skill::{HostGrant, HostPattern, may_carry_credential};
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

impl Owner {
    /// The owner as it is written in records and rows.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Tenant => "tenant",
        }
    }

    pub(crate) fn named(text: &str) -> Option<Self> {
        [Self::User, Self::Tenant].into_iter().find(|owner| owner.as_str() == text)
    }
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
        /// The field with the user's name. Looked for in output like a secret where it has 8 bytes or more and is not
        /// listed as plain: some services take a token for it.
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

    /// The field that authorises, which is secret whatever a binding says.
    pub(crate) fn secret_field(&self) -> Option<&str> {
        match self {
            Self::Bearer { field } | Self::Header { field, .. } => Some(field),
            Self::Basic { password_field, .. } => Some(password_field),
            Self::Placeholders => None,
        }
    }
}

/// A host that a credential may travel to: an exact name or address, and a port.
///
/// Read by the parser that reads the hosts of manifests and grants, so that one host has one spelling.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostBinding {
    pattern: HostPattern,
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
        host.parse::<HostPattern>().is_ok_and(|host| host == self.pattern) && self.port.unwrap_or(scheme_port) == port
    }
}

impl FromStr for HostBinding {
    type Err = VaultError;
    fn from_str(text: &str) -> Result<Self, VaultError> {
        let wrong =
            || VaultError::InvalidBinding(format!("{:?} is not a host", text.chars().take(80).collect::<String>()));
        // What a grant has besides host and port is no part of a binding.
        if text.contains(['=', '/']) {
            return Err(wrong());
        }
        let place: HostGrant = text.parse().map_err(|_invalid| wrong())?;
        Ok(Self { pattern: place.host().clone(), host: place.host().to_string(), port: place.stated_port() })
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
    /// Hosts the credential may travel to. `None`: those that a rule of the skill's manifest names exactly, together
    /// with the credential, and those that a person granted it. A rule with a wildcard host is not enough: it means
    /// hosts that nobody has seen.
    #[serde(default)]
    pub hosts: Option<Vec<HostBinding>>,
    /// How it is attached. `None` when putting: as a bearer token from the field `token` or the only secret field, else
    /// by placeholders; always `Some` when read back.
    #[serde(default)]
    pub attach: Option<Attach>,
    /// Of fields that reach a skill as placeholders: how those look, and where they may stand besides header fields that
    /// are made for credentials.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub placeholders: BTreeMap<String, Placing>,
    /// Fields that are not secret (names of users, addresses): they may be short, and are not looked for in output.
    #[serde(default)]
    pub plain: BTreeSet<String>,
}

impl Binding {
    /// How the placeholder of a field looks and where it may stand; without a name, of the field that authorises. The
    /// header field in which the host would attach it is a place as well.
    #[must_use]
    pub fn placing(&self, field: Option<&str>) -> Option<Placing> {
        let named = field.and_then(|field| self.placeholders.get(field)).cloned();
        let Some(Attach::Header { name, field: attached, .. }) = &self.attach else { return named };
        if field.is_some_and(|field| field != attached) {
            return named;
        }
        let mut placing = named.unwrap_or_default();
        placing.positions.extend(Position::header(name));
        Some(placing)
    }
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
    /// The authorisation behind it, where it was connected by OAuth.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oauth: Option<Grant>,
}

/// What is stored in the clear beside the sealed fields; authenticated by each of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Meta {
    pub(crate) fields: Vec<String>,
    /// The authorisation behind the tokens, where they are OAuth's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) oauth: Option<Grant>,
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
        let attach = binding.attach.take().unwrap_or_else(|| default_attach(fields, &binding));
        if let Some(field) = attach.secret_field().filter(|field| binding.plain.contains(*field)) {
            return Err(VaultError::InvalidBinding(format!("{field:?} authorises requests, so it is not plain")));
        }
        // Too short to be told from ordinary text; a longer one may be a token.
        if let Attach::Basic { user_field, .. } = &attach
            && fields.get(user_field).is_some_and(|user| user.expose_secret().len() < MIN_SECRET_BYTES)
        {
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
        let placed = binding.placeholders.keys().chain(&binding.plain).map(String::as_str);
        for name in attach.fields().into_iter().chain(placed) {
            if !fields.contains_key(name) {
                return Err(VaultError::InvalidBinding(format!("there is no field {name:?}")));
            }
        }
        for (name, placing) in binding.placeholders.iter().filter(|(_, placing)| placing.is_url()) {
            if placing.positions.len() > 1 || placing.shape.is_some() || binding.plain.contains(name) {
                let why =
                    format!("{name:?} is a URL as a whole, so it has no other place and no shape, and is not plain");
                return Err(VaultError::InvalidBinding(why));
            }
            if attach.fields().contains(&name.as_str()) {
                return Err(VaultError::InvalidBinding(format!(
                    "{name:?} is a URL as a whole, and no header holds it"
                )));
            }
            if !fields.get(name).is_some_and(|value| is_whole_url(value.expose_secret())) {
                return Err(wrong(
                    name,
                    "a field that is placed as a URL is one: https, with a path, without user and fragment",
                ));
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
                if !may_carry_credential(name) {
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
        if binding.placeholders.values().any(|placing| placing.positions.len() > MAX_POSITIONS) {
            return Err(VaultError::InvalidBinding(format!("a placeholder has at most {MAX_POSITIONS} places")));
        }
        binding.attach = Some(attach);
        Ok(Self { fields: fields.keys().cloned().collect(), oauth: None, binding })
    }

    /// The same, with the authorisation behind it.
    pub(crate) fn granted(self, grant: Grant) -> Self {
        Self { oauth: Some(grant), ..self }
    }

    /// Whether a field is lent: a refresh token never is.
    pub(crate) fn is_lent(&self, field: &str) -> bool {
        self.oauth.is_none() || field != REFRESH_TOKEN
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
        Ok(Self::with(row, Meta::read(&row.meta)?))
    }

    /// The same where its meta was read already.
    pub(crate) fn with(row: &ConnectionRow, meta: Meta) -> Self {
        Self {
            service: row.service.clone(),
            owner: owner_of(row.user.as_ref()),
            version: row.version,
            fields: meta.fields.iter().filter(|field| meta.is_lent(field)).cloned().collect(),
            binding: meta.binding,
            updated_at: row.updated_at,
            oauth: meta.oauth,
        }
    }
}

fn owner_of(user: Option<&UserId>) -> Owner {
    if user.is_some() { Owner::User } else { Owner::Tenant }
}

fn default_attach(fields: &BTreeMap<String, SecretString>, binding: &Binding) -> Attach {
    let is_url = |name: &String| binding.placeholders.get(name).is_some_and(Placing::is_url);
    let mut secret = fields.keys().filter(|name| !binding.plain.contains(*name) && !is_url(name));
    let token = secret.clone().find(|name| *name == "token");
    let only = secret.next().filter(|_| secret.next().is_none());
    match token.or(only).cloned() {
        Some(field) => Attach::Bearer { field },
        None => Attach::Placeholders,
    }
}

fn is_field_name(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
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
        let plain = Binding { plain: ["token".to_owned()].into(), ..Binding::default() };
        let meta = check(&[("a", "12345678"), ("token", "12345678")], plain).unwrap();
        assert_eq!(meta.binding.attach, Some(Attach::Bearer { field: "a".into() }));
    }

    #[test]
    fn attack_16_what_authorises_is_looked_for_in_output() {
        let basic = || attach(Attach::Basic { user_field: "u".into(), password_field: "p".into() });
        let plain = |binding: Binding, field: &str| Binding { plain: [field.to_owned()].into(), ..binding };
        let is_plain = |user: &str, binding| check(&[("u", user), ("p", "12345678")], binding).unwrap().binding.plain;
        assert!(is_plain("ann", basic()).contains("u"));
        assert!(!is_plain("sk_live_12345678", basic()).contains("u"), "a token may stand for the user's name");
        assert!(is_plain("sk_live_12345678", plain(basic(), "u")).contains("u"), "unless a person says it does not");
        let pair: &[(&str, &str)] = &[("u", "ann"), ("p", "12345678")];
        let header = Attach::Header { name: "X-Key".into(), prefix: String::new(), field: "p".into() };
        for binding in [basic(), attach(Attach::Bearer { field: "p".into() }), attach(header)] {
            assert!(check(pair, plain(binding.clone(), "p")).is_err(), "{binding:?}");
        }
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
            (good, header("X-Forwarded-For", "")),
            (good, header("X_HTTP_Method_Override", "")),
            (good, header("Proxy-Authorization", "")),
            (good, header("Forwarded", "")),
            (good, header("Content-Type", "")),
            (good, header("Range", "")),
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
    fn a_field_that_is_a_url_as_a_whole_is_one_and_nothing_else() {
        let placed = |positions: &[&str], shape: Option<&str>| Placing {
            shape: shape.map(|shape| shape.parse().unwrap()),
            positions: positions.iter().map(|at| at.parse().unwrap()).collect(),
        };
        let binding =
            |placing: Placing| Binding { placeholders: [("hook".to_owned(), placing)].into(), ..Binding::default() };
        let hook: &[(&str, &str)] = &[("hook", "https://hooks.example/services/abcdefghijklmnop")];
        let meta = check(hook, binding(placed(&["url"], None))).unwrap();
        assert_eq!(meta.binding.attach, Some(Attach::Placeholders), "no header holds it");
        assert!(check(hook, binding(placed(&["url", "path"], None))).is_err());
        assert!(check(hook, binding(placed(&["url"], Some("{}:fx")))).is_err());
        let bearer =
            Binding { attach: Some(Attach::Bearer { field: "hook".into() }), ..binding(placed(&["url"], None)) };
        assert!(check(hook, bearer).is_err());
        let plain = Binding { plain: ["hook".to_owned()].into(), ..binding(placed(&["url"], None)) };
        assert!(check(hook, plain).is_err());
        assert!(
            check(&[("hook", "http://hooks.example/services/abcdefghijklmnop")], binding(placed(&["url"], None)))
                .is_err()
        );
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
        check("::1", Some("[::1]"));
        check("[2001:DB8:0::0001]:8443", Some("[2001:db8::1]:8443"));
        check("bücher.example", Some("xn--bcher-kva.example"));
        for bad in [
            "",
            "https://a.example",
            "a.example/",
            "a b",
            "a..b",
            "*.example.com",
            "a:0",
            "a:99999",
            "u@h",
            "0x7f.1",
            "a.example=b",
            "http://a.example",
        ] {
            check(bad, None);
        }
        let host: HostBinding = "a.example".parse().unwrap();
        assert!(host.covers("a.example", 443, 443) && !host.covers("a.example", 8443, 443));
        let mapped: HostBinding = "[::ffff:192.0.2.1]".parse().unwrap();
        // As the URL standard writes it.
        assert!(mapped.covers("[::ffff:c000:201]", 443, 443) && !mapped.covers("192.0.2.1", 443, 443));
        assert!(!host.covers("b.a.example", 443, 443) && !host.covers("a.example.", 443, 443));
    }
}
