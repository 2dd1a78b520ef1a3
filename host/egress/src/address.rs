//! What kind of place an IP address is, and whether a request may go there.
//!
//! Promise: only an address that is public by the IANA special-purpose registries (RFC 6890 and its updates) is
//! reached without a person's grant of that very host and port. Metadata services, addresses that embed another
//! address, and this host's own listeners are never reached. Nothing here sends anything.

use crate::allowlist::address_of;
use crate::url::CheckedUrl;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};
use url::Host;

/// What the registries say of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AddressClass {
    /// Reachable from anywhere.
    Public,
    /// 127.0.0.0/8, `::1`.
    Loopback,
    /// RFC 1918, unique local (RFC 4193), site-local (RFC 3879) and carrier-grade NAT (RFC 6598).
    Private,
    /// 169.254.0.0/16, fe80::/10.
    LinkLocal,
    /// Where a cloud hands out its machines' credentials.
    Metadata,
    /// An IPv6 address that stands for an IPv4 address: mapped, compatible, translated, NAT64, 6to4, Teredo, ISATAP.
    Embedded,
    /// 0.0.0.0/8, `::`.
    Unspecified,
    /// 224.0.0.0/4, ff00::/8.
    Multicast,
    /// 255.255.255.255.
    Broadcast,
    /// Documentation, benchmarking, protocol assignments, discard-only and what is reserved for the future.
    Reserved,
}

impl AddressClass {
    /// The class of `address`.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        if METADATA.contains(&address) {
            return Self::Metadata;
        }
        match address {
            IpAddr::V4(v4) => of_v4(v4),
            IpAddr::V6(v6) => of_v6(v6),
        }
    }

    /// The class in words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Loopback => "loopback",
            Self::Private => "private",
            Self::LinkLocal => "link-local",
            Self::Metadata => "cloud metadata",
            Self::Embedded => "embedded IPv4",
            Self::Unspecified => "unspecified",
            Self::Multicast => "multicast",
            Self::Broadcast => "broadcast",
            Self::Reserved => "reserved",
        }
    }
}

impl fmt::Display for AddressClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How far a matched rule reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Public addresses only: what a manifest's rule gives.
    Public,
    /// A person granted this host name and port: private addresses too. Loopback only where the name says so, for
    /// else whoever owns the name's zone could point it at this machine (DNS rebinding).
    GrantedName { loopback: bool },
    /// A person granted this literal address and port.
    GrantedAddress,
}

impl Reach {
    /// As far as a person's grant of this host reaches: of a place that the operator wrote down.
    pub(crate) fn by_operator(url: &CheckedUrl) -> Self {
        match url.host() {
            Host::Domain(name) if address_of(url.host()).is_none() => {
                Self::GrantedName { loopback: name == "localhost" }
            }
            _ => Self::GrantedAddress,
        }
    }

    /// Whether a rule that reaches this far may be used to speak to an address of `class`.
    pub(crate) fn includes(self, class: AddressClass) -> bool {
        match class {
            AddressClass::Public => true,
            AddressClass::Private => self != Self::Public,
            AddressClass::Loopback => matches!(self, Self::GrantedAddress | Self::GrantedName { loopback: true }),
            AddressClass::LinkLocal => self == Self::GrantedAddress,
            _ => false,
        }
    }
}

/// The addresses that this host itself listens on (the gateway's, the metrics endpoint's). Shared: whoever binds a
/// listener adds it, and from then on no skill reaches it, whatever was granted.
#[derive(Debug, Clone, Default)]
pub struct OwnListeners(Arc<RwLock<Vec<SocketAddr>>>);

impl OwnListeners {
    /// An empty list.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a listener's local address; `0.0.0.0` and `::` mean every address of this machine.
    pub fn add(&self, listener: SocketAddr) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).push(listener);
    }

    /// Whether `target` is one of them. `is_local` says whether an address belongs to this machine.
    pub(crate) fn contains(&self, target: SocketAddr, is_local: impl Fn(IpAddr) -> bool) -> bool {
        let listeners = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let ip = target.ip().to_canonical();
        listeners.iter().filter(|listener| listener.port() == target.port()).any(|listener| {
            let own = listener.ip().to_canonical();
            // Every loopback address reaches a listener on 0.0.0.0, and on some systems one on 127.0.0.1.
            own == ip || ip.is_loopback() || ip.is_unspecified() || (own.is_unspecified() && is_local(ip))
        })
    }
}

/// Instance metadata and credential services of the clouds, as literal addresses.
const METADATA: [IpAddr; 12] = [
    // AWS, Azure, Google, DigitalOcean, OpenStack, IBM; ECS tasks; EKS pods; AWS DNS and time.
    v4(169, 254, 169, 254),
    v4(169, 254, 170, 2),
    v4(169, 254, 170, 23),
    v4(169, 254, 169, 253),
    v4(169, 254, 169, 123),
    // Alibaba, Oracle, Azure's WireServer.
    v4(100, 100, 100, 200),
    v4(192, 0, 0, 192),
    v4(168, 63, 129, 16),
    // AWS IMDS and EKS, Google, Scaleway over IPv6.
    v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254]),
    v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23]),
    v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254]),
    v6([0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42]),
];

const fn v4(a: u8, b: u8, c: u8, d: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

const fn v6(s: [u16; 8]) -> IpAddr {
    IpAddr::V6(Ipv6Addr::new(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]))
}

fn of_v4(address: Ipv4Addr) -> AddressClass {
    use AddressClass as C;
    match address.octets() {
        [0, ..] => C::Unspecified,
        [127, ..] => C::Loopback,
        [10, ..] | [192, 168, ..] => C::Private,
        [172, b, ..] if b & 0xf0 == 16 => C::Private,
        [100, b, ..] if b & 0xc0 == 64 => C::Private,
        [169, 254, ..] => C::LinkLocal,
        // IETF protocol assignments, the three documentation nets, 6to4 relays (RFC 7526).
        [192, 0, 0 | 2, _] | [198, 51, 100, _] | [203, 0, 113, _] | [192, 88, 99, _] => C::Reserved,
        // Benchmarking (RFC 2544).
        [198, 18 | 19, ..] => C::Reserved,
        [255, 255, 255, 255] => C::Broadcast,
        [a, ..] if a & 0xf0 == 0xe0 => C::Multicast,
        [a, ..] if a & 0xf0 == 0xf0 => C::Reserved,
        _ => C::Public,
    }
}

fn of_v6(address: Ipv6Addr) -> AddressClass {
    use AddressClass as C;
    if address == Ipv6Addr::LOCALHOST {
        return C::Loopback;
    }
    if address == Ipv6Addr::UNSPECIFIED {
        return C::Unspecified;
    }
    match address.segments() {
        // Compatible (RFC 4291, 2.5.5.1), mapped, and translated (RFC 2765): all of ::/64 is one or unassigned.
        [0, 0, 0, 0, ..] => C::Embedded,
        // NAT64: well-known (RFC 6052) and local-use (RFC 8215) prefixes.
        [0x64, 0xff9b, 0, 0, 0, 0, ..] | [0x64, 0xff9b, 1, ..] => C::Embedded,
        // 6to4, Teredo.
        [0x2002, ..] | [0x2001, 0, ..] => C::Embedded,
        // ISATAP interface identifiers (RFC 5214, 6.1).
        [_, _, _, _, 0 | 0x200, 0x5efe, ..] => C::Embedded,
        // Discard-only (RFC 6666), dummy prefix (RFC 9780).
        [0x100, 0, 0, 0 | 1, ..] => C::Reserved,
        // The rest of 2001::/23, IETF protocol assignments: benchmarking, AMT, ORCHID.
        [0x2001, b, ..] if b < 0x200 => C::Reserved,
        // Documentation (RFC 3849, RFC 9637), segment routing (RFC 9602).
        [0x2001, 0xdb8, ..] | [0x5f00, ..] => C::Reserved,
        [0x3fff, b, ..] if b & 0xf000 == 0 => C::Reserved,
        [a, ..] if a & 0xfe00 == 0xfc00 => C::Private,
        [a, ..] if a & 0xffc0 == 0xfe80 => C::LinkLocal,
        [a, ..] if a & 0xffc0 == 0xfec0 => C::Private,
        [a, ..] if a & 0xff00 == 0xff00 => C::Multicast,
        _ => C::Public,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(addresses: &[&str], class: AddressClass) {
        for address in addresses {
            assert_eq!(AddressClass::of(address.parse().unwrap()), class, "{address}");
        }
    }

    #[test]
    fn attack_11_every_special_range_has_its_class() {
        use AddressClass as C;
        check(
            &["8.8.8.8", "100.63.255.255", "100.128.0.0", "172.15.0.1", "172.32.0.1", "198.17.0.1", "198.20.0.1"],
            C::Public,
        );
        check(&["2606:4700:4700::1111", "2001:4860:4860::8888", "2001:200::1", "2400::1", "64:ff9c::1"], C::Public);
        check(&["127.0.0.1", "127.255.255.255", "::1"], C::Loopback);
        check(
            &["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.0", "100.127.255.255"],
            C::Private,
        );
        check(&["fc00::1", "fdff::1", "fec0::1", "feff::1"], C::Private);
        check(&["169.254.0.1", "fe80::1", "febf::1"], C::LinkLocal);
        check(
            &["169.254.169.254", "169.254.170.2", "100.100.100.200", "192.0.0.192", "168.63.129.16", "fd00:ec2::254"],
            C::Metadata,
        );
        check(
            &[
                "::ffff:10.0.0.1",
                "::ffff:8.8.8.8",
                "::10.0.0.1",
                "::ffff:0:8.8.8.8",
                "64:ff9b::1.1.1.1",
                "64:ff9b:1::1",
            ],
            C::Embedded,
        );
        check(
            &["2002:808:808::1", "2001::1", "2001:0:53aa::1", "2620::5efe:10.0.0.1", "2620::200:5efe:10.0.0.1"],
            C::Embedded,
        );
        check(&["0.0.0.0", "0.1.2.3", "::"], C::Unspecified);
        check(&["224.0.0.1", "239.255.255.255", "ff02::1"], C::Multicast);
        check(&["255.255.255.255"], C::Broadcast);
        check(
            &["192.0.2.1", "198.51.100.1", "203.0.113.1", "198.18.0.1", "198.19.255.255", "192.0.0.1", "192.88.99.1"],
            C::Reserved,
        );
        check(
            &[
                "240.0.0.1",
                "254.255.255.255",
                "100::1",
                "100:0:0:1::1",
                "2001:db8::1",
                "3fff::1",
                "5f00::1",
                "2001:2::1",
            ],
            C::Reserved,
        );
    }

    #[test]
    fn attack_11_a_grant_reaches_only_what_was_granted() {
        use AddressClass as C;
        let reaches = |reach: Reach| {
            [C::Public, C::Private, C::Loopback, C::LinkLocal, C::Metadata, C::Embedded, C::Unspecified, C::Multicast]
                .map(|class| reach.includes(class))
        };
        assert_eq!(reaches(Reach::Public), [true, false, false, false, false, false, false, false]);
        assert_eq!(
            reaches(Reach::GrantedName { loopback: false }),
            [true, true, false, false, false, false, false, false]
        );
        assert_eq!(
            reaches(Reach::GrantedName { loopback: true }),
            [true, true, true, false, false, false, false, false]
        );
        assert_eq!(reaches(Reach::GrantedAddress), [true, true, true, true, false, false, false, false]);
    }

    #[test]
    fn attack_11_own_listeners_are_found_in_every_guise() {
        let own = OwnListeners::new();
        own.add("0.0.0.0:8080".parse().unwrap());
        own.add("127.0.0.1:9090".parse().unwrap());
        own.add("198.51.100.7:443".parse().unwrap());
        let local = |ip: IpAddr| ip == "10.9.9.9".parse::<IpAddr>().unwrap();
        for (target, expected) in [
            ("127.0.0.1:8080", true),
            ("127.5.5.5:8080", true),
            ("[::1]:8080", true),
            ("[::ffff:127.0.0.1]:9090", true),
            ("10.9.9.9:8080", true),
            ("10.9.9.8:8080", false),
            ("198.51.100.7:443", true),
            ("198.51.100.7:444", false),
            ("127.0.0.1:9091", false),
        ] {
            assert_eq!(own.contains(target.parse().unwrap(), local), expected, "{target}");
        }
    }
}
