//! What a person grants at installation: one host and port, and perhaps the credential that may travel there.

use super::{HostError, HostPattern, Scheme};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sophon_types::{Fault, FaultKind, ServiceName, Stage};
use std::fmt;
use std::str::FromStr;
use url::Host;

/// A granted destination, written `[http://|https://]host[:port][=service]`.
///
/// | text | lets through |
/// |---|---|
/// | `host` | `https` on 443 |
/// | `host:8443` | `https` and `http` on 8443; a credential over `https` only |
/// | `https://host[:port]` | `https` on that port or 443 |
/// | `http://host[:port]` | `http` on that port or 80, a credential too |
/// | `…=service` | the same; of all credentials, that service's alone |
///
/// A grant names one exact host, never a wildcard. A private, loopback or link-local address is reachable through
/// the grant that names it, for exactly that port.
///
/// What the manifest says about the host still holds: methods, paths, credential. Where it says nothing about it,
/// every method and path is open; a credential then travels where the grant names it, or where the skill declares
/// no other.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostGrant {
    scheme: Option<Scheme>,
    host: HostPattern,
    port: Option<u16>,
    service: Option<ServiceName>,
}

impl HostGrant {
    /// The scheme, where the grant names one.
    #[must_use]
    pub const fn scheme(&self) -> Option<Scheme> {
        self.scheme
    }

    /// The host: [`HostPattern::Exact`] or [`HostPattern::Ip`].
    #[must_use]
    pub const fn host(&self) -> &HostPattern {
        &self.host
    }

    /// The port that the grant opens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.unwrap_or_else(|| self.scheme.unwrap_or(Scheme::Https).default_port())
    }

    /// The port, where the grant names one.
    #[must_use]
    pub const fn stated_port(&self) -> Option<u16> {
        self.port
    }

    /// The service whose credential may travel there, where the grant names one.
    #[must_use]
    pub const fn service(&self) -> Option<&ServiceName> {
        self.service.as_ref()
    }

    /// The schemes that the grant opens.
    #[must_use]
    pub const fn schemes(&self) -> &'static [Scheme] {
        match (self.scheme, self.port) {
            (Some(Scheme::Https), _) | (None, None) => &[Scheme::Https],
            (Some(Scheme::Http), _) => &[Scheme::Http],
            (None, Some(_)) => &[Scheme::Https, Scheme::Http],
        }
    }

    /// Whether the grant opens `scheme://host:port`.
    #[must_use]
    pub fn admits<S: AsRef<str>>(&self, scheme: Scheme, host: &Host<S>, port: u16) -> bool {
        self.host.matches(host) && self.port() == port && self.schemes().contains(&scheme)
    }

    /// Whether a credential may travel over `scheme`: always over `https`, over plain `http`
    /// only where the person wrote `http://`.
    #[must_use]
    pub fn carries_credentials(&self, scheme: Scheme) -> bool {
        scheme == Scheme::Https || self.scheme == Some(Scheme::Http)
    }
}

impl FromStr for HostGrant {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        let error = |cause| GrantError { text: text.chars().take(80).collect(), cause };
        let (place, service) = match text.split_once('=') {
            Some((place, service)) => (place, Some(service.parse().map_err(|_other| error(Cause::Service))?)),
            None => (text, None),
        };
        let (scheme, rest) = match place.split_once("://") {
            Some((scheme, rest)) => {
                (Some(scheme.to_ascii_lowercase().parse().map_err(|_other| error(Cause::Scheme))?), rest)
            }
            None => (None, place),
        };
        let (host, port) = split_port(rest).ok_or_else(|| error(Cause::Port))?;
        let host: HostPattern = host.parse().map_err(|cause| error(Cause::Host(cause)))?;
        if let HostPattern::Wildcard(_) = host {
            return Err(error(Cause::Wildcard));
        }
        Ok(Self { scheme, host, port, service })
    }
}

/// Takes a port off; nothing where there is one that is not 1 to 65535 in plain digits.
fn split_port(text: &str) -> Option<(&str, Option<u16>)> {
    let colon = match text.rfind(']') {
        Some(bracket) if bracket + 1 == text.len() => None,
        Some(bracket) => Some(bracket + 1),
        // More than one colon and no bracket: an IPv6 address as it stands.
        None if text.matches(':').count() > 1 => None,
        None => text.find(':'),
    };
    let Some(colon) = colon else { return Some((text, None)) };
    let digits = text.get(colon..)?.strip_prefix(':')?;
    if digits.is_empty() || digits.starts_with('0') || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some((&text[..colon], Some(digits.parse().ok()?)))
}

impl fmt::Display for HostGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(scheme) = self.scheme {
            write!(f, "{scheme}://")?;
        }
        write!(f, "{}", self.host)?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        match &self.service {
            Some(service) => write!(f, "={service}"),
            None => Ok(()),
        }
    }
}

impl Serialize for HostGrant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HostGrant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Text that is no grant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a host to grant: {cause}")]
pub struct GrantError {
    text: String,
    cause: Cause,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum Cause {
    #[error("only http:// and https:// can be granted")]
    Scheme,
    #[error("the port is not a number from 1 to 65535")]
    Port,
    #[error("a grant names one host, not a wildcard")]
    Wildcard,
    #[error("what follows '=' is not the name of a service")]
    Service,
    #[error("{0}")]
    Host(HostError),
}

impl Fault for GrantError {
    fn stage(&self) -> Stage {
        Stage::Validate
    }
    fn kind(&self) -> FaultKind {
        FaultKind::Invalid
    }
    fn code(&self) -> &'static str {
        "invalid_host_grant"
    }
    fn hint(&self) -> Option<String> {
        Some("write the host as in api.example.com, 192.168.1.20:8123 or http://nas.local:8080=nas".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn grants_open_what_they_name_and_no_more() {
        let check = |grant: &str, url: (Scheme, &str, u16), opens: bool, credentials: bool| {
            let grant: HostGrant = grant.parse().unwrap();
            assert_eq!(grant.admits(url.0, &Host::parse(url.1).unwrap(), url.2), opens, "{grant} {url:?}");
            assert_eq!(grant.carries_credentials(url.0), credentials, "{grant} {url:?}");
        };
        check("api.example.com", (Scheme::Https, "api.example.com", 443), true, true);
        check("api.example.com", (Scheme::Http, "api.example.com", 80), false, false);
        check("127.0.0.1:8080", (Scheme::Http, "127.0.0.1", 8080), true, false);
        check("127.0.0.1:8080", (Scheme::Https, "127.0.0.1", 8080), true, true);
        check("127.0.0.1:8080", (Scheme::Http, "127.0.0.1", 8081), false, false);
        check("http://nas.local", (Scheme::Http, "nas.local", 80), true, true);
        check("http://nas.local", (Scheme::Https, "nas.local", 443), false, true);
        check("https://nas.local:8443", (Scheme::Http, "nas.local", 8443), false, false);
        check("[::1]:8080", (Scheme::Http, "[::1]", 8080), true, false);
        check("http://127.0.0.1:8080", (Scheme::Http, "[::ffff:127.0.0.1]", 8080), false, true);
    }

    #[test]
    fn what_names_no_single_host_is_refused() {
        for text in [
            "",
            "*",
            "*.example.com",
            "ftp://host",
            "host:0",
            "host:65536",
            "host:",
            "host:080",
            "http://u@host",
            "http://host/path",
            "http://",
            "host:80:90",
            "[::1]x",
            "[::1",
            "0x7f.1:80",
            "http://http://host",
            "host=",
            "host=Not A Service",
            "host=a=b",
            "=a",
            "host=a:443",
        ] {
            assert!(text.parse::<HostGrant>().is_err(), "{text:?} is accepted");
        }
    }

    #[test]
    fn a_grant_may_name_the_credential() {
        let check = |text: &str, service: Option<&str>| {
            let grant: HostGrant = text.parse().unwrap();
            assert_eq!(grant.service().map(ServiceName::as_str), service, "{text}");
            assert_eq!(grant.to_string(), text);
            let json = serde_json::to_string(&grant).unwrap();
            assert_eq!(serde_json::from_str::<HostGrant>(&json).unwrap(), grant, "{json}");
        };
        check("https://192.168.1.20:8123=hass", Some("hass"));
        check("[::1]:8080=hass", Some("hass"));
        check("api.example.com=github", Some("github"));
        check("api.example.com", None);
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_is_stable(text in "(https?://)?\\PC{0,30}(:[0-9]{0,6})?(=[a-z]{0,3})?") {
            if let Ok(grant) = text.parse::<HostGrant>() {
                prop_assert_eq!(grant.to_string().parse::<HostGrant>(), Ok(grant));
            }
        }
    }
}
