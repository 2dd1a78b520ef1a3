//! Which address a request comes from. A forwarded address counts only where a configured proxy says so, and then
//! the right-most one that is not itself such a proxy: everything left of it could have been made up by the client.

use crate::config::ForwardedHeader;
use http::HeaderMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// The most forwarded addresses that are looked at.
const MAX_HOPS: usize = 32;

/// Where a connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A connection from there.
    Remote(SocketAddr),
    /// The command line, in this process.
    InProcess,
}

/// A block of addresses, such as `10.0.0.0/8`, `::1` or `192.0.2.7`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    base: IpAddr,
    prefix: u8,
}

impl Network {
    pub(crate) fn contains(self, address: IpAddr) -> bool {
        match (self.base, plain(address)) {
            (IpAddr::V4(base), IpAddr::V4(address)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0);
                u32::from(base) & mask == u32::from(address) & mask
            }
            (IpAddr::V6(base), IpAddr::V6(address)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix)).unwrap_or(0);
                u128::from(base) & mask == u128::from(address) & mask
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not an address or a block of addresses such as 10.0.0.0/8");
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse::<u8>().map_err(|_not_a_number| wrong())?)),
            None => (text, None),
        };
        let base = plain(address.parse().map_err(|_not_an_address| wrong())?);
        let most = if base.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.unwrap_or(most);
        if prefix > most { Err(wrong()) } else { Ok(Self { base, prefix }) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

impl<'de> serde::Deserialize<'de> for Network {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

impl serde::Serialize for Network {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The address that a request is counted under; none for the command line in this process.
pub(crate) fn client(peer: Peer, headers: &HeaderMap, proxies: &[Network], field: ForwardedHeader) -> Option<IpAddr> {
    let Peer::Remote(socket) = peer else { return None };
    let mut nearest = plain(socket.ip());
    let trusted = |address: IpAddr| proxies.iter().any(|network| network.contains(address));
    if !trusted(nearest) {
        return Some(nearest);
    }
    let name = match field {
        ForwardedHeader::XForwardedFor => "x-forwarded-for",
        ForwardedHeader::Forwarded => "forwarded",
    };
    let values = headers.get_all(name).iter().map(|value| value.to_str().unwrap_or("?"));
    let hops: Vec<&str> = match field {
        ForwardedHeader::XForwardedFor => values.flat_map(|value| value.split(',')).map(str::trim).collect(),
        ForwardedHeader::Forwarded => values.flat_map(|value| split(value, ',')).map(named).collect(),
    };
    for hop in hops.iter().rev().take(MAX_HOPS) {
        let Some(address) = read(hop) else { break };
        nearest = address;
        if !trusted(address) {
            break;
        }
    }
    Some(nearest)
}

/// The parts of a field, apart from what stands in quotes (RFC 7239, section 4).
fn split(value: &str, at: char) -> Vec<&str> {
    let mut quoted = false;
    value
        .split(move |c| {
            quoted ^= c == '"';
            c == at && !quoted
        })
        .map(str::trim)
        .collect()
}

/// The node that one hop of `Forwarded` names; nothing that could be read where it names none.
fn named(element: &str) -> &str {
    let of_for = |pair: &&str| pair.get(..4).is_some_and(|name| name.eq_ignore_ascii_case("for="));
    let mut named = split(element, ';').into_iter().filter(of_for);
    match (named.next(), named.next()) {
        (Some(pair), None) => {
            let node = &pair[4..];
            node.strip_prefix('"').and_then(|node| node.strip_suffix('"')).unwrap_or(node)
        }
        _ => "?",
    }
}

/// What counts as one client: an IPv4 address, or the /64 that one IPv6 site has at the least.
pub(crate) fn site(address: IpAddr) -> IpAddr {
    match plain(address) {
        IpAddr::V6(v6) => Ipv6Addr::from(u128::from(v6) & (u128::MAX << 64)).into(),
        v4 => v4,
    }
}

/// An address as proxies write it: with or without a port, IPv6 with or without brackets.
fn read(hop: &str) -> Option<IpAddr> {
    if let Ok(address) = hop.parse() {
        return Some(plain(address));
    }
    if let Ok(socket) = hop.parse::<SocketAddr>() {
        return Some(plain(socket.ip()));
    }
    hop.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(plain)
}

fn plain(address: IpAddr) -> IpAddr {
    address.to_canonical()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(peer: &str, forwarded: &[&str], expected: &str) {
        let proxies: Vec<Network> =
            ["10.0.0.0/8", "fd00::/8", "192.0.2.1"].iter().map(|text| text.parse().unwrap()).collect();
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append("x-forwarded-for", value.parse().unwrap());
        }
        let peer = Peer::Remote(SocketAddr::new(peer.parse().unwrap(), 4711));
        let found = client(peer, &headers, &proxies, ForwardedHeader::XForwardedFor);
        assert_eq!(found, Some(expected.parse().unwrap()), "{peer:?} {forwarded:?}");
        assert_eq!(
            client(peer, &headers, &proxies, ForwardedHeader::Forwarded),
            Some(peer_of(peer)),
            "the other field"
        );
    }

    fn peer_of(peer: Peer) -> IpAddr {
        let Peer::Remote(socket) = peer else { panic!("a peer") };
        plain(socket.ip())
    }

    #[test]
    fn attack_44_the_standard_field_is_read_by_the_same_rule() {
        let check = |forwarded: &str, expected: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("forwarded", forwarded.parse().unwrap());
            headers.insert("x-forwarded-for", "9.9.9.9".parse().unwrap());
            let peer = Peer::Remote("10.1.1.1:1".parse().unwrap());
            let found = client(peer, &headers, &["10.0.0.0/8".parse().unwrap()], ForwardedHeader::Forwarded);
            assert_eq!(found, Some(expected.parse().unwrap()), "{forwarded}");
        };
        check("for=203.0.113.5", "203.0.113.5");
        check("for=1.1.1.1, For=203.0.113.5;proto=https;by=10.1.1.1", "203.0.113.5");
        check("proto=https;for=\"[2001:db8::7]:4711\", for=10.2.2.2", "2001:db8::7");
        check("for=1.1.1.1, for=unknown, for=10.2.2.2", "10.2.2.2");
        check("for=1.1.1.1, for=_hidden", "10.1.1.1");
        check("for=\"1.1.1.1, for=203.0.113.9\", for=203.0.113.5", "203.0.113.5");
        check("for=1.1.1.1;for=2.2.2.2", "10.1.1.1");
        check("proto=https", "10.1.1.1");
    }

    #[test]
    fn attack_44_a_forwarded_address_counts_only_from_a_configured_proxy() {
        check("198.51.100.9", &["1.2.3.4"], "198.51.100.9");
        check("192.0.2.2", &["1.2.3.4"], "192.0.2.2");
        check("10.1.1.1", &["203.0.113.5"], "203.0.113.5");
        check("::ffff:10.1.1.1", &["203.0.113.5"], "203.0.113.5");
        check("10.1.1.1", &[], "10.1.1.1");
    }

    #[test]
    fn attack_44_the_right_most_untrusted_address_counts() {
        check("10.1.1.1", &["1.1.1.1, 203.0.113.5"], "203.0.113.5");
        check("10.1.1.1", &["1.1.1.1, 203.0.113.5, 10.2.2.2, 192.0.2.1"], "203.0.113.5");
        check("10.1.1.1", &["1.1.1.1", "203.0.113.5, 10.2.2.2"], "203.0.113.5");
        check("10.1.1.1", &["203.0.113.5:5544"], "203.0.113.5");
        check("fd00::1", &["[2001:db8::7]:443"], "2001:db8::7");
        // What cannot be read ends the walk at the last address that a proxy vouched for.
        check("10.1.1.1", &["1.1.1.1, nonsense, 10.2.2.2"], "10.2.2.2");
        check("10.1.1.1", &["10.3.3.3, 10.2.2.2"], "10.3.3.3");
    }

    #[test]
    fn attack_44_one_ipv6_site_is_one_client() {
        let site_of = |text: &str| site(text.parse().unwrap());
        assert_eq!(site_of("2001:db8:0:1:aaaa::1"), site_of("2001:db8:0:1:ffff:ffff:ffff:ffff"));
        assert_ne!(site_of("2001:db8:0:1::1"), site_of("2001:db8:0:2::1"));
        assert_ne!(site_of("203.0.113.5"), site_of("203.0.113.6"));
        assert_eq!(site_of("::ffff:203.0.113.5"), site_of("203.0.113.5"));
    }

    #[test]
    fn networks_are_read_strictly() {
        for bad in ["", "10.0.0.0/33", "10.0.0/8", "::1/129", "host", "10.0.0.0/-1"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
        assert!("0.0.0.0/0".parse::<Network>().unwrap().contains("8.8.8.8".parse().unwrap()));
        assert!(!"0.0.0.0/0".parse::<Network>().unwrap().contains("2001:db8::1".parse().unwrap()));
        assert!("::/0".parse::<Network>().unwrap().contains("2001:db8::1".parse().unwrap()));
    }
}
