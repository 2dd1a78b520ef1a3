//! URLs and rules: what is admitted is what is dialled, within the rule, and never a place that no rule can open.
//!
//! The input's lines: a URL, a rule's host, a rule's path (may be empty), the addresses that the name has, and a grant
//! (may be empty).
#![no_main]
#![expect(clippy::unwrap_used, reason = "what is not as promised has to end the run")]

use libfuzzer_sys::fuzz_target;
use serde_json::json;
use sophon_egress::{EgressSession, HttpRequest, Redirects};
use sophon_fuzz::{Heard, Input, World, manifest_of};
use sophon_skill::{HostGrant, HostPattern};
use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use url::{Host, Url};

const PORTS: [u16; 4] = [443, 80, 8080, 8443];

thread_local! {
    static WORLD: RefCell<World> = RefCell::new(World::new());
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input::new(data);
    let (text, host, path) = (input.text_line(), input.text_line(), input.text_line());
    let answers: Vec<IpAddr> = input.text_line().split(' ').filter_map(|ip| ip.parse().ok()).take(4).collect();
    let grant: Option<HostGrant> = input.text_line().parse().ok();
    let mut rule = json!({ "host": host, "schemes": ["https", "http"], "ports": PORTS });
    if !path.is_empty() {
        rule["paths"] = json!([path]);
    }
    let Some(manifest) = manifest_of(&json!([rule])) else { return };
    WORLD.with_borrow_mut(|world| {
        let grants: Vec<HostGrant> = grant.iter().cloned().collect();
        let session = world.session(&manifest, &grants);
        let Ok(allowed) = session.admit(&HttpRequest::new("GET", text)) else { return };
        let sent = allowed.url();
        let url = well_formed(sent);
        stable(&session, text, sent);
        let granted = grants.iter().any(|grant| opens(grant, &url));
        let pattern: HostPattern = host.parse().unwrap();
        assert!(granted || within(&pattern, &url), "{sent} is outside of {host}");
        if within(&pattern, &url) && !matches!(path, "" | "*") {
            assert!(below(path, url.path()), "{sent} is not below {path}");
        }

        world.freshen();
        let session = world.session(&manifest, &grants);
        let mut request = HttpRequest::new("GET", text);
        request.redirects = Redirects::Manual;
        let (_, heard) = world.send(&session, request, &answers, b"HTTP/1.1 204 No Content\r\n\r\n");
        dialled(&heard, &url, &answers, granted);
    });
});

/// The URL as the `url` crate reads it once more, and as somebody reads it who only looks for delimiters.
fn well_formed(sent: &str) -> Url {
    let url = Url::parse(sent).unwrap();
    assert_eq!(url.as_str(), sent);
    assert!(matches!(url.scheme(), "http" | "https") && url.username().is_empty() && url.password().is_none());
    assert!(url.fragment().is_none() && sent.bytes().all(|b| b.is_ascii_graphic()), "{sent:?}");
    let (_, rest) = sent.split_once("://").unwrap();
    let authority = rest.split(['/', '?', '#']).next().unwrap();
    assert!(!authority.contains(['@', '\\', '%']), "{sent:?}");
    let port = url.port().map_or_else(String::new, |port| format!(":{port}"));
    assert_eq!(authority, format!("{}{port}", url.host_str().unwrap()));
    assert!(!authority.ends_with('.') && url.port_or_known_default() != Some(0), "{sent:?}");
    url
}

/// Written again it is the same, and it is what a browser makes of the text.
fn stable(session: &EgressSession, text: &str, sent: &str) {
    let again = session.admit(&HttpRequest::new("GET", sent)).unwrap();
    assert_eq!(again.url(), sent);
    let mut browser = Url::parse(text).unwrap();
    browser.set_fragment(None);
    let name = |url: &Url| url.host_str().unwrap().trim_end_matches('.').to_owned();
    let sent = Url::parse(sent).unwrap();
    assert_eq!((name(&browser), browser.path(), browser.query()), (name(&sent), sent.path(), sent.query()));
    assert_eq!(browser.port_or_known_default(), sent.port_or_known_default());
}

fn within(pattern: &HostPattern, url: &Url) -> bool {
    let host = url.host_str().unwrap();
    let named = match pattern.to_string().strip_prefix("*.") {
        Some(suffix) => host.strip_suffix(suffix).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
        None => host == pattern.to_string(),
    };
    named && PORTS.contains(&url.port_or_known_default().unwrap())
}

fn opens(grant: &HostGrant, url: &Url) -> bool {
    grant.host().to_string() == url.host_str().unwrap()
        && grant.port() == url.port_or_known_default().unwrap()
        && grant.schemes().iter().any(|scheme| scheme.as_str() == url.scheme())
}

/// Whether a server that decodes as often as it likes, and takes `\` for `/`, ends up where the rule says.
fn below(pattern: &str, path: &str) -> bool {
    let (prefix, deep) = pattern.strip_suffix('*').map_or((pattern, false), |prefix| (prefix, true));
    let mut bytes = path.as_bytes().to_vec();
    for _ in 0..4 {
        let segments = resolve(&String::from_utf8_lossy(&bytes).replace('\\', "/"));
        let rule = resolve(&String::from_utf8_lossy(&decode(prefix.as_bytes())));
        let plain = resolve(&String::from_utf8_lossy(&decode(segments.as_bytes())));
        if !(if deep { plain.starts_with(&rule) } else { plain == rule }) {
            return false;
        }
        bytes = decode(&bytes);
    }
    true
}

fn decode(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|two| std::str::from_utf8(two).ok());
        match hex.filter(|_| bytes[at] == b'%').and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    out
}

/// Without dot segments.
fn resolve(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let last = path.rsplit('/').next().unwrap_or_default();
    for segment in path.split('/').skip(1) {
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            other => kept.push(other),
        }
    }
    if matches!(last, "." | "..") {
        kept.push("");
    }
    format!("/{}", kept.join("/"))
}

fn dialled(heard: &Heard, url: &Url, answers: &[IpAddr], granted: bool) {
    let literal = match url.host().unwrap() {
        Host::Domain(_) => None,
        Host::Ipv4(address) => Some(IpAddr::V4(address)),
        Host::Ipv6(address) => Some(IpAddr::V6(address)),
    };
    match literal {
        Some(_) => assert!(heard.asked.is_empty(), "{:?}", heard.asked),
        None => assert_eq!(heard.asked, [url.host_str().unwrap()]),
    }
    let answers = literal.map_or_else(|| answers.to_vec(), |literal| vec![literal]);
    for address in &heard.dialled {
        assert!(answers.contains(&address.ip()) && Some(address.port()) == url.port_or_known_default(), "{address}");
    }
    if !heard.dialled.is_empty() {
        for address in answers {
            assert!(if granted { !is_never(address) } else { is_public(address) }, "{address} for {url}");
        }
    }
}

/// No rule and no grant opens these.
fn is_never(address: IpAddr) -> bool {
    let metadata = ["169.254.169.254", "100.100.100.200", "168.63.129.16", "fd00:ec2::254"];
    let embedded = match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(v6) => {
            let first = v6.segments()[0];
            v6 != Ipv6Addr::LOCALHOST && v6.to_ipv4().is_some()
                || matches!(first, 0x2002)
                || v6.segments()[..2] == [0x64, 0xff9b]
        }
    };
    let broadcast = matches!(address, IpAddr::V4(v4) if v4 == Ipv4Addr::BROADCAST);
    metadata.contains(&address.to_string().as_str())
        || embedded
        || broadcast
        || address.is_unspecified()
        || address.is_multicast()
}

fn is_public(address: IpAddr) -> bool {
    let local = match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            v4.is_private()
                || v4.is_link_local()
                || v4.is_documentation()
                || a == 0
                || a >= 240
                || (a, b & 0xc0) == (100, 64)
                || (a, b, c) == (192, 0, 0)
                || (a, b & 0xfe) == (198, 18)
        }
        IpAddr::V6(v6) => {
            let [a, b, ..] = v6.segments();
            v6.is_unique_local()
                || v6.is_unicast_link_local()
                || (a & 0xffc0) == 0xfec0
                || (a, b) == (0x2001, 0xdb8)
                || (a, b) == (0x2001, 0)
                || (a, b) == (0x100, 0)
        }
    };
    !local && !address.is_loopback() && !is_never(address)
}
