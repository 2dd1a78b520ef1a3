//! A host as manifests and grants name it: exact, `*.suffix`, or an address.
//!
//! Parsed once, by the WHATWG host parser (IDNA to ASCII, lower case), so that what is compared at run time is
//! bytes against bytes and two spellings of one host cannot differ.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use url::Host;

/// RFC 1035, section 2.3.4: a name has at most 255 octets, 253 as text.
const MAX_HOST: usize = 253;

/// Which hosts a rule means. Made by parsing; holds ASCII in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// This name and no other, such as `api.example.com`.
    Exact(String),
    /// Any name with one or more labels before this suffix: `*.example.com` is held as `example.com`. The suffix
    /// itself does not match.
    Wildcard(String),
    /// This address. An IPv4-mapped IPv6 address is another address than the IPv4 address it maps.
    Ip(IpAddr),
}

impl HostPattern {
    /// Whether `host`, as the WHATWG parser gives it, is meant.
    #[must_use]
    pub fn matches<S: AsRef<str>>(&self, host: &Host<S>) -> bool {
        match (self, host) {
            (Self::Exact(name), Host::Domain(host)) => name == host.as_ref(),
            (Self::Wildcard(suffix), Host::Domain(host)) => is_below(host.as_ref(), suffix),
            (Self::Ip(IpAddr::V4(address)), Host::Ipv4(host)) => address == host,
            (Self::Ip(IpAddr::V6(address)), Host::Ipv6(host)) => address == host,
            _ => false,
        }
    }

    /// Whether every host that `other` means is meant by this pattern too.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Wildcard(suffix), Self::Exact(name)) => is_below(name, suffix),
            (Self::Wildcard(suffix), Self::Wildcard(deeper)) => deeper == suffix || is_below(deeper, suffix),
            _ => self == other,
        }
    }
}

/// Whether `host` is `suffix` with at least one label and a dot before it.
fn is_below(host: &str, suffix: &str) -> bool {
    host.strip_suffix(suffix).and_then(|rest| rest.strip_suffix('.')).is_some_and(|labels| !labels.is_empty())
}

impl FromStr for HostPattern {
    type Err = HostError;

    fn from_str(text: &str) -> Result<Self, HostError> {
        if text.is_empty() || text.len() > MAX_HOST {
            return Err(HostError::Length);
        }
        if let Some(address) = ipv6(text) {
            return Ok(Self::Ip(address));
        }
        if let Some(suffix) = text.strip_prefix("*.") {
            return match name_or_address(suffix)? {
                Self::Exact(suffix) if suffix.contains('.') => Ok(Self::Wildcard(suffix)),
                Self::Exact(_) => Err(HostError::WildcardTooWide),
                _ => Err(HostError::WildcardAddress),
            };
        }
        name_or_address(text)
    }
}

/// An IPv6 address, with brackets (as URLs have it) or without.
fn ipv6(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.contains(':').then(|| bare.parse().ok()).flatten()
}

fn name_or_address(text: &str) -> Result<HostPattern, HostError> {
    if text.contains('*') {
        return Err(HostError::WildcardPlace);
    }
    if text.contains(['/', ':', '@', '?', '#', '%', '\\', '[', ']']) || text.contains(char::is_whitespace) {
        return Err(HostError::NotBare);
    }
    match Host::parse(text).map_err(|_not_a_host| HostError::NotAHost)? {
        Host::Domain(name) if is_name(&name) => Ok(HostPattern::Exact(name)),
        Host::Domain(_) => Err(HostError::NotAHost),
        // Octal, hexadecimal and shortened forms (`0x7f.1`) read as another address than they show.
        Host::Ipv4(address) if address.to_string() == text => Ok(HostPattern::Ip(address.into())),
        Host::Ipv4(_) => Err(HostError::DisguisedAddress),
        Host::Ipv6(address) => Ok(HostPattern::Ip(address.into())),
    }
}

fn is_name(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
    };
    name.len() <= MAX_HOST && name.split('.').all(is_label)
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Wildcard(suffix) => write!(f, "*.{suffix}"),
            Self::Ip(IpAddr::V4(address)) => address.fmt(f),
            Self::Ip(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl Serialize for HostPattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HostPattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Why text names no host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// Nothing, or more than 253 characters.
    #[error("a host has 1 to 253 characters")]
    Length,
    /// There is a scheme, a port, a path, user info or white space in it.
    #[error("a bare host is expected, without scheme, port, path or user info")]
    NotBare,
    /// The host parser refuses it, or it has an empty or overlong label or a final dot.
    #[error("not a host name or address")]
    NotAHost,
    /// An IPv4 address in octal, hexadecimal or shortened form.
    #[error("an IPv4 address is written as four decimal numbers")]
    DisguisedAddress,
    /// `*` anywhere but as the whole first label.
    #[error("'*' may stand only as the first label, as in *.example.com")]
    WildcardPlace,
    /// `*.com` and the like.
    #[error("a wildcard needs at least two labels after it, as in *.example.com")]
    WildcardTooWide,
    /// A wildcard before an address.
    #[error("a wildcard cannot stand before an address")]
    WildcardAddress,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn host(text: &str) -> Host {
        Host::parse(text).unwrap()
    }

    #[test]
    fn hosts_are_normalised() {
        let check = |text: &str, expected: &str| {
            assert_eq!(text.parse::<HostPattern>().unwrap().to_string(), expected, "{text}");
        };
        check("API.Example.COM", "api.example.com");
        check("bücher.example", "xn--bcher-kva.example");
        check("*.Example.com", "*.example.com");
        check("192.0.2.1", "192.0.2.1");
        check("[2001:DB8::1]", "[2001:db8::1]");
        check("2001:db8::1", "[2001:db8::1]");
        check("localhost", "localhost");
    }

    #[test]
    fn what_is_no_host_is_refused() {
        let check = |text: &str, expected: HostError| {
            assert_eq!(text.parse::<HostPattern>(), Err(expected), "{text}");
        };
        check("", HostError::Length);
        check("*", HostError::WildcardPlace);
        check("*.com", HostError::WildcardTooWide);
        check("*.*.example.com", HostError::WildcardPlace);
        check("api.*.com", HostError::WildcardPlace);
        check("*example.com", HostError::WildcardPlace);
        check("*.192.0.2.1", HostError::WildcardAddress);
        check("https://api.example.com", HostError::NotBare);
        check("api.example.com:443", HostError::NotBare);
        check("api.example.com/x", HostError::NotBare);
        check("user@api.example.com", HostError::NotBare);
        check("api.example.com.", HostError::NotAHost);
        check("api..example.com", HostError::NotAHost);
        check("0x7f.1", HostError::DisguisedAddress);
        check("2130706433", HostError::DisguisedAddress);
        check("017700000001", HostError::DisguisedAddress);
        check(&"a".repeat(254), HostError::Length);
    }

    #[test]
    fn a_wildcard_means_one_or_more_labels_and_not_the_apex() {
        let pattern: HostPattern = "*.example.com".parse().unwrap();
        let check = |text: &str, expected: bool| assert_eq!(pattern.matches(&host(text)), expected, "{text}");
        check("a.example.com", true);
        check("a.b.example.com", true);
        check("example.com", false);
        check("badexample.com", false);
        check("a.example.com.evil.org", false);
        check("a.example.org", false);
        check("192.0.2.1", false);
    }

    #[test]
    fn patterns_cover_what_they_mean() {
        let check = |wide: &str, narrow: &str, expected: bool| {
            let (wide, narrow): (HostPattern, HostPattern) = (wide.parse().unwrap(), narrow.parse().unwrap());
            assert_eq!(wide.covers(&narrow), expected, "{wide} {narrow}");
        };
        check("*.example.com", "a.example.com", true);
        check("*.example.com", "*.a.example.com", true);
        check("*.example.com", "*.example.com", true);
        check("*.a.example.com", "*.example.com", false);
        check("*.example.com", "example.com", false);
        check("a.example.com", "a.example.com", true);
        check("192.0.2.1", "192.0.2.2", false);
    }

    proptest! {
        #[test]
        fn parsing_never_panics_and_is_stable(text in "\\PC{0,40}") {
            if let Ok(pattern) = text.parse::<HostPattern>() {
                prop_assert_eq!(pattern.to_string().parse::<HostPattern>(), Ok(pattern));
            }
        }
    }
}
