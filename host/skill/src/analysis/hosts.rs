//! Hosts that the data of a component names: absolute `http(s)` URLs, and host names that stand alone.
//!
//! Compilers put literals side by side, so `https://api.example.com` may be followed by the next literal's letters.
//! Where a literal begins is in the code (its address is loaded there), so a name's possible ends are looked up there,
//! and only for names that are not settled otherwise.

use super::facts::{Carrier, CarrierKind, Facts};
use super::rules::is_known;
use super::strings::Strings;
use crate::network::{HostPattern, Scheme};
use std::collections::HashSet;
use std::ops::Range;

/// Different mentions that are looked at, of those that are not settled. Beyond it the rule says so.
const MAX_MENTIONS: usize = 2000;
/// Ends of one mention. Literals of one letter are rare, and somebody who makes many is not helped.
const MAX_ENDS: usize = 16;
/// RFC 1035, section 2.3.4.
const MAX_HOST: usize = 253;

/// A host that is named.
#[derive(Debug)]
pub(super) struct Mention<'a> {
    /// `None` for a name that stands alone.
    pub(super) scheme: Option<Scheme>,
    /// The letters that may belong to the host: at least the host, perhaps with the beginning of what follows it.
    pub(super) raw: &'a str,
    /// What follows `raw`: a port, a path, or anything.
    pub(super) rest: &'a str,
    /// Where `raw` begins in the text.
    pub(super) offset: usize,
    /// Lengths of `raw` at which another literal begins.
    pub(super) ends: Vec<usize>,
}

impl Mention<'_> {
    /// The port that follows, where the host ends with `raw`.
    pub(super) fn port(&self) -> Option<u16> {
        let digits = self.rest.strip_prefix(':')?;
        let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
        digits[..end].parse().ok()
    }

    /// Whether the host may be the first `length` letters: all of them, or up to where another literal begins.
    pub(super) fn may_end(&self, length: usize) -> bool {
        length == self.raw.len() || self.ends.contains(&length)
    }
}

/// The hosts that are named and not settled, each once, and whether there are more than are looked at. `is_settled` says which
/// need no further look; for the others the ends are looked up. `is_other` tells mentions of one host apart.
pub(super) fn mentions<'a>(
    strings: &'a Strings,
    carriers: &[Carrier<'_>],
    facts: &Facts<'_>,
    is_settled: impl Fn(&Mention<'_>) -> bool,
    is_other: impl Fn(&Mention<'_>) -> bool,
) -> (Vec<Mention<'a>>, bool) {
    let is_elsewhere = |mention: &Mention<'_>| {
        let carrier = carriers.get(strings.origin(mention.offset).carrier);
        carrier.is_some_and(|carrier| is_of_people(carrier.kind))
    };
    let mut seen = HashSet::new();
    let (mut mentions, mut more) = (Vec::new(), false);
    for mention in urls(&strings.text).chain(bare(&strings.text)) {
        let key = (mention.scheme, mention.raw, mention.port(), is_other(&mention));
        if seen.contains(&key) || is_settled(&mention) || is_elsewhere(&mention) {
            continue;
        }
        if mentions.len() == MAX_MENTIONS {
            more = true;
            break;
        }
        seen.insert(key);
        mentions.push(mention);
    }
    // Windows of memory within which another literal may begin, by module.
    let mut windows: Vec<(usize, Range<u32>, usize)> = Vec::new();
    for (index, mention) in mentions.iter().enumerate() {
        let origin = strings.origin(mention.offset);
        let Some(carrier) = carriers.get(origin.carrier) else { continue };
        if let CarrierKind::Segment { module, address: Some(address) } = carrier.kind
            && origin.width == 1
        {
            let start = address.saturating_add(u32::try_from(origin.at).unwrap_or(u32::MAX));
            let end = start.saturating_add(u32::try_from(mention.raw.len()).unwrap_or(u32::MAX));
            windows.push((module, start..end, index));
        }
    }
    windows.sort_by_key(|(module, window, _)| (*module, window.start));
    for of_module in windows.chunk_by(|a, b| a.0 == b.0) {
        for address in addresses(of_module[0].0, of_module, carriers, facts) {
            let after = of_module.partition_point(|(_, window, _)| window.start < address);
            if let Some((_, window, index)) = after.checked_sub(1).and_then(|index| of_module.get(index))
                && window.contains(&address)
            {
                mentions[*index].ends.push((address - window.start) as usize);
            }
        }
    }
    for mention in &mut mentions {
        mention.ends.sort_unstable();
        mention.ends.dedup();
        mention.ends.truncate(MAX_ENDS);
    }
    (mentions, more)
}

/// Whether hosts there are for people to read: the licence, and the sections in which tools note where the code came from.
fn is_of_people(kind: CarrierKind<'_>) -> bool {
    match kind {
        CarrierKind::Segment { .. } => false,
        CarrierKind::Section(name) => is_known(name),
        CarrierKind::File(name) => name == "LICENSE",
    }
}

/// Addresses within the windows that the module's code or data names.
///
/// The code is not decoded: a number of at least two bytes (LEB128) that falls into one of a few windows is an address
/// there, be it of `i32.const` or the offset of a load; by chance it is rare.
fn addresses(
    module: usize,
    windows: &[(usize, Range<u32>, usize)],
    carriers: &[Carrier<'_>],
    facts: &Facts<'_>,
) -> Vec<u32> {
    let (Some(first), Some(last)) = (windows.first(), windows.last()) else { return Vec::new() };
    let span = first.1.start + 1..last.1.end;
    // The second byte of a number tells nearly all others apart.
    let mut second = [false; 256];
    for (_, window, _) in windows {
        for digit in (window.start >> 7)..=(window.end >> 7) {
            let digit = (digit & 0x7f) as usize;
            second[digit] = true;
            second[digit | 0x80] = true;
        }
    }
    let mut found = Vec::new();
    for (_, code) in facts.code.iter().filter(|(number, _)| *number == module) {
        let bytes = code.iter().zip(code.iter().skip(1)).enumerate();
        let candidates = bytes.filter(|(_, (byte, next))| **byte >= 0x80 && second[usize::from(**next)]);
        found.extend(candidates.filter_map(|(at, _)| leb128(&code[at..])).filter(|address| span.contains(address)));
    }
    for carrier in carriers {
        let CarrierKind::Segment { module: number, address: Some(address) } = carrier.kind else { continue };
        if number == module {
            let skip = (address.wrapping_neg() % 4) as usize;
            let words = carrier.data.get(skip..).unwrap_or_default().as_chunks::<4>().0;
            found.extend(words.iter().map(|word| u32::from_le_bytes(*word)).filter(|address| span.contains(address)));
        }
    }
    found
}

/// A number of up to 32 bits. Addresses are positive, so the signed and the unsigned form read alike.
fn leb128(bytes: &[u8]) -> Option<u32> {
    let mut number = 0_u32;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        number |= u32::from(byte & 0x7f).checked_shl(7 * u32::try_from(index).ok()?)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b'%')
}

fn urls(text: &str) -> impl Iterator<Item = Mention<'_>> {
    text.match_indices("://").filter_map(|(at, _)| {
        let before = &text.as_bytes()[..at];
        let ends =
            |name: &[u8]| before.len() >= name.len() && before[before.len() - name.len()..].eq_ignore_ascii_case(name);
        let scheme = match (ends(b"https"), ends(b"http")) {
            (true, _) => Scheme::Https,
            (_, true) => Scheme::Http,
            _ => return None,
        };
        let authority = &text[at + 3..];
        let end = authority.bytes().take(2 * MAX_HOST).position(|b| !is_host_byte(b) && !b":@[]!$&*+,;=~".contains(&b));
        let authority_end = end.unwrap_or_else(|| authority.len().min(2 * MAX_HOST));
        // What stands before an @ is a user's name, however much it looks like a host.
        let skip = authority[..authority_end].rfind('@').map_or(0, |at| at + 1);
        mention(text, at + 3 + skip, Some(scheme))
    })
}

fn mention(text: &str, offset: usize, scheme: Option<Scheme>) -> Option<Mention<'_>> {
    let tail = &text[offset..];
    let end = if tail.starts_with('[') {
        tail.bytes().take(48).position(|byte| byte == b']')? + 1
    } else {
        tail.bytes().take(MAX_HOST).position(|byte| !is_host_byte(byte)).unwrap_or_else(|| tail.len().min(MAX_HOST))
    };
    let raw = tail[..end].trim_end_matches(['.', '-', '_', '%']);
    let is_host = raw.contains('.') || raw.starts_with('[') || raw.eq_ignore_ascii_case("localhost") || is_number(raw);
    let named = is_host && !raw.starts_with('.') && !raw.contains("..");
    named.then(|| Mention { scheme, raw, rest: &tail[raw.len()..], offset, ends: Vec::new() })
}

/// An address as one number, such as `2130706433` or `0x7f000001`.
fn is_number(raw: &str) -> bool {
    let digits = raw.strip_prefix("0x").or_else(|| raw.strip_prefix("0X"));
    digits.map_or_else(
        || raw.len() > 7 && raw.bytes().all(|byte| byte.is_ascii_digit()),
        |digits| digits.len() > 5 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
    )
}

/// Names that fill a run, as in languages whose strings end with a zero; and the addresses at which clouds hand out
/// credentials, wherever they stand.
fn bare(text: &str) -> impl Iterator<Item = Mention<'_>> {
    let mut at = 0;
    let lone = text.split_inclusive('\n').filter_map(move |line| {
        let start = at;
        at += line.len();
        let name = line.trim_end();
        let host = name.split_once(':').map_or(name, |(host, _)| host);
        is_plain_host(host).then(|| mention(text, start, None)).flatten()
    });
    let metadata = METADATA.iter().flat_map(move |address| {
        // With a scheme before it, it was found as a URL.
        let alone = text.match_indices(address).filter(|(at, _)| !text[..*at].ends_with("//"));
        alone.map(|(at, _)| {
            let (raw, rest) = text[at..].split_at(address.len());
            Mention { scheme: None, raw, rest, offset: at, ends: Vec::new() }
        })
    });
    lone.chain(metadata)
}

/// Where instances of clouds get their credentials.
const METADATA: [&str; 3] = ["169.254.169.254", "metadata.google.internal", "fd00:ec2::254"];

/// At least two labels and a top-level domain that is a host's more often than a file's ending.
fn is_plain_host(name: &str) -> bool {
    if name.len() > MAX_HOST
        || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-".contains(&b))
    {
        return false;
    }
    let Some((rest, top)) = name.rsplit_once('.') else { return false };
    TOP_LEVEL.contains(&top) && rest.len() > 2 && !rest.starts_with(['.', '-']) && !rest.contains("..")
}

/// Top-level domains that a name which stands alone must have to count.
const TOP_LEVEL: [&str; 28] = [
    "com", "net", "org", "info", "biz", "dev", "app", "cloud", "online", "site", "xyz", "tech", "internal", "local",
    "onion", "edu", "gov", "io", "ai", "eu", "uk", "de", "fr", "nl", "us", "ru", "cn", "co",
];

/// Those that a label of concatenated literals most likely begins with.
const FREQUENT: [&str; 8] = ["com", "net", "org", "info", "dev", "app", "cloud", "io"];

/// The host that `text` means to a URL parser, which decodes percent signs and addresses in disguise.
pub(super) fn parse(text: &str) -> Option<HostPattern> {
    url::Host::parse(text).ok()?.to_string().parse().ok()
}

/// The host that `mention` most likely means: up to where another literal begins or all of it, where that ends in a
/// well-known top-level domain; else up to where another literal begins; else up to a top-level domain that the last
/// label begins with; else all of it. Not every address within a literal is that of another one: a literal is copied in
/// words, and the last of them may overlap the one before.
pub(super) fn likely(mention: &Mention<'_>) -> Option<HostPattern> {
    let is_named = |host: &HostPattern| match host {
        HostPattern::Exact(name) => name.rsplit_once('.').is_some_and(|(_, top)| top.len() > 1),
        _ => true,
    };
    let whole = mention.raw;
    let is_known = |name: &&str| {
        name.rsplit_once('.').is_some_and(|(_, top)| TOP_LEVEL.iter().any(|known| known.eq_ignore_ascii_case(top)))
    };
    let mut names = mention.ends.iter().filter_map(|end| whole.get(..*end)).chain([whole]);
    if let Some(host) = names.find(is_known).and_then(parse) {
        return Some(host);
    }
    let mut shorter = mention.ends.iter().filter_map(|end| parse(whole.get(..*end)?));
    if let Some(host) = shorter.find(is_named) {
        return Some(host);
    }
    let (before, last) = whole.rsplit_once('.').unwrap_or(("", whole));
    let lower = last.to_ascii_lowercase();
    // No top-level domain that is in use is longer than this, but for a few in other alphabets.
    let overlong = !before.is_empty() && last.len() > 12;
    match FREQUENT.iter().find(|top| overlong && lower.starts_with(**top)) {
        Some(top) => parse(&format!("{before}.{top}")),
        None => parse(whole),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let all = urls(text).chain(bare(text));
        all.map(|mention| format!("{} {:?}", mention.raw, mention.port())).collect()
    }

    #[test]
    fn urls_and_lone_names_are_found() {
        let check = |text: &str, expected: &[&str]| assert_eq!(found(text), expected, "{text}");
        check("see https://api.example.com/v1?x for more", &["api.example.com None"]);
        check("base_urlHTTP://Example.COM:8080/x", &["Example.COM Some(8080)"]);
        check("https://user:pw@evil.example.net/", &["evil.example.net None"]);
        check("https://api.example.com@evil.net/", &["evil.net None"]);
        check(
            "http://[fd00::1]:80/ http://2130706433/ http://localhost:1",
            &["[fd00::1] Some(80)", "2130706433 None", "localhost Some(1)"],
        );
        check("http://0x7f000001/", &["0x7f000001 None"]);
        check("https://http:// ://x.com ftp://x.com https://slug https://...", &[]);
        check("src/lib.rs\nindex.html\napi.evil.com\n1.2.3\nserde.rs\nmain.com main\n", &["api.evil.com None"]);
        check("curl 169.254.169.254 now", &["169.254.169.254 None"]);
    }

    #[test]
    fn the_likely_host_ends_where_the_next_literal_begins() {
        let check = |raw: &str, ends: &[usize], expected: &str| {
            let mention = Mention { scheme: None, raw, rest: "", offset: 0, ends: ends.to_vec() };
            assert_eq!(likely(&mention).map(|host| host.to_string()).as_deref(), Some(expected), "{raw}");
        };
        check("api.example.com", &[], "api.example.com");
        check("api.example.comx-ratelimit-remaining", &[15], "api.example.com");
        check("api.example.comx-ratelimit-remaining", &[3, 20], "api.example.comx-rat");
        check("api.example.comx-ratelimit-remaining", &[], "api.example.com");
        check("api.example.zone", &[], "api.example.zone");
        // Copied in words of eight bytes: the last one begins at the 15th of `https://api.weather.net`.
        check("api.weather.net", &[7], "api.weather.net");
        check("api.weather.netbase_url", &[7, 15], "api.weather.net");
    }
}
