//! Connections of native skills that are no HTTP: what a manifest asks for, and what a person grants.
//!
//! Nobody reads what goes over such a connection, so there is nothing to match but where it leads: one protocol, one host, one
//! port, written out by the person who grants it.

use super::{HostError, HostPattern};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sophon_types::{Fault, FaultKind, Stage};
use std::fmt;
use std::str::FromStr;
use url::Host;

/// Characters of a protocol's name.
const MAX_PROTOCOL: usize = 32;
/// What goes through the proxy, and is granted as a host.
const HTTP: [&str; 4] = ["http", "https", "ws", "wss"];

/// The name of a protocol, such as `imap` or `postgres`. Nothing is read into it: it says what a person agreed to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamProtocol(String);

impl StreamProtocol {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for StreamProtocol {
    type Err = StreamError;

    fn from_str(text: &str) -> Result<Self, StreamError> {
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+.-".contains(&b);
        let sound =
            text.len() <= MAX_PROTOCOL && text.starts_with(|c: char| c.is_ascii_lowercase()) && text.bytes().all(inner);
        if !sound {
            return Err(StreamError::new(text, Cause::Protocol));
        }
        if HTTP.contains(&text) {
            return Err(StreamError::new(text, Cause::Http));
        }
        Ok(Self(text.to_owned()))
    }
}

/// A connection that a manifest asks for. What it leaves open the person who grants it fills in.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct StreamWish {
    /// What is spoken.
    pub protocol: StreamProtocol,
    /// With whom; never a wildcard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<HostPattern>,
    /// At which port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

impl StreamWish {
    /// Whether `grant` is one of what is asked for.
    #[must_use]
    pub fn admits(&self, grant: &StreamGrant) -> bool {
        self.protocol == grant.protocol
            && self.host.as_ref().is_none_or(|host| *host == grant.host)
            && self.port.is_none_or(|port| port == grant.port)
    }

    /// The grant that it asks for, where it leaves nothing open.
    #[must_use]
    pub fn grant(&self) -> Option<StreamGrant> {
        Some(StreamGrant { protocol: self.protocol.clone(), host: self.host.clone()?, port: self.port? })
    }
}

impl fmt::Display for StreamWish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.protocol.0)?;
        match &self.host {
            Some(host) => write!(f, "{host}:")?,
            None => f.write_str("HOST:")?,
        }
        match self.port {
            Some(port) => write!(f, "{port}"),
            None => f.write_str("PORT"),
        }
    }
}

/// A granted connection, written `PROTOCOL://HOST:PORT`. A private, loopback or link-local address is reached through the grant that
/// names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamGrant {
    protocol: StreamProtocol,
    host: HostPattern,
    port: u16,
}

impl StreamGrant {
    /// What is spoken.
    #[must_use]
    pub const fn protocol(&self) -> &StreamProtocol {
        &self.protocol
    }

    /// Whether it opens this host and port.
    #[must_use]
    pub fn admits<S: AsRef<str>>(&self, host: &Host<S>, port: u16) -> bool {
        self.host.matches(host) && self.port == port
    }
}

impl FromStr for StreamGrant {
    type Err = StreamError;

    fn from_str(text: &str) -> Result<Self, StreamError> {
        let error = |cause| StreamError::new(text, cause);
        let (protocol, place) = text.split_once("://").ok_or_else(|| error(Cause::Form))?;
        let (host, port) = place.rsplit_once(':').ok_or_else(|| error(Cause::Form))?;
        if port.starts_with('0') || !port.bytes().all(|b| b.is_ascii_digit()) {
            return Err(error(Cause::Form));
        }
        let port = port.parse().map_err(|_not_a_port| error(Cause::Form))?;
        let host: HostPattern = host.parse().map_err(|cause| error(Cause::Host(cause)))?;
        if matches!(host, HostPattern::Wildcard(_)) {
            return Err(error(Cause::Wildcard));
        }
        let protocol = protocol.parse().map_err(|other: StreamError| error(other.cause))?;
        Ok(Self { protocol, host, port })
    }
}

impl fmt::Display for StreamGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.protocol.0, self.host, self.port)
    }
}

impl Serialize for StreamProtocol {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl Serialize for StreamGrant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for StreamGrant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Text that names no such connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a connection to grant: {cause}")]
pub struct StreamError {
    text: String,
    cause: Cause,
}

impl StreamError {
    fn new(text: &str, cause: Cause) -> Self {
        Self { text: text.chars().take(80).collect(), cause }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Cause {
    #[error("it names a protocol, a host and a port")]
    Form,
    #[error("the name of a protocol is 1 to 32 of a-z, 0-9, '+', '.' and '-'")]
    Protocol,
    #[error("HTTP goes through the proxy; grant it as a host")]
    Http,
    #[error("it names one host, not a wildcard")]
    Wildcard,
    #[error("{0}")]
    Host(HostError),
}

impl Fault for StreamError {
    fn stage(&self) -> Stage {
        Stage::Validate
    }
    fn kind(&self) -> FaultKind {
        FaultKind::Invalid
    }
    fn code(&self) -> &'static str {
        "invalid_stream_grant"
    }
    fn hint(&self) -> Option<String> {
        Some("write it as in imap://mail.example.com:993".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_is_one_protocol_at_one_place() {
        let grant: StreamGrant = "imap://Mail.Example.com:993".parse().unwrap();
        assert_eq!(grant.to_string(), "imap://mail.example.com:993");
        assert!(grant.admits(&Host::parse("mail.example.com").unwrap(), 993));
        for (host, port) in [("mail.example.com", 994), ("example.com", 993), ("a.mail.example.com", 993)] {
            assert!(!grant.admits(&Host::parse(host).unwrap(), port), "{host}:{port}");
        }
        let six: StreamGrant = "postgres://[::1]:5432".parse().unwrap();
        assert!(six.admits(&Host::parse("[::1]").unwrap(), 5432));
        for bad in [
            "",
            "mail.example.com:993",
            "imap://mail.example.com",
            "imap://mail.example.com:0",
            "imap://mail.example.com:0993",
            "imap://mail.example.com:70000",
            "imap://*.example.com:993",
            "https://mail.example.com:443",
            "ws://mail.example.com:80",
            "IMAP://mail.example.com:993",
            "imap://u@mail.example.com:993",
            "imap://mail.example.com:993/x",
            "imap://:993",
        ] {
            assert!(bad.parse::<StreamGrant>().is_err(), "{bad:?} is accepted");
        }
    }

    #[test]
    fn a_wish_is_filled_in_by_a_grant() {
        let wish = |host: Option<&str>, port| StreamWish {
            protocol: "imap".parse().unwrap(),
            host: host.map(|host| host.parse().unwrap()),
            port,
        };
        let grant: StreamGrant = "imap://mail.example.com:993".parse().unwrap();
        let exact = wish(Some("mail.example.com"), Some(993));
        assert_eq!(exact.grant(), Some(grant.clone()));
        assert!(exact.admits(&grant) && wish(None, None).admits(&grant) && wish(None, Some(993)).admits(&grant));
        assert!(!wish(Some("example.com"), None).admits(&grant) && !wish(None, Some(143)).admits(&grant));
        assert_eq!(wish(None, Some(993)).to_string(), "imap://HOST:993");
        assert_eq!(wish(None, None).grant(), None);
    }
}
