//! One reading of a URL: what is checked here is, byte for byte, what is sent.
//!
//! The `url` crate (WHATWG) is the only parser. What it would mend in silence (tabs, backslashes, odd IPv4 forms,
//! percent-encoded or compatibility-mapped hosts) is refused before or right after, because another reader may
//! mend it otherwise. A single trailing dot of a host name is dropped, as it names the same host.

use sophon_skill::Scheme;
use std::fmt;
use url::{Host, Url};

/// A URL that has one meaning: http or https, no user info, no fragment, a canonical host.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct CheckedUrl {
    url: Url,
    scheme: Scheme,
    /// A name is ASCII, lower case, without trailing dot.
    host: Host<String>,
    port: u16,
    /// Whether the text as the skill wrote it held dot segments; a path rule then does not apply.
    dots: DotSegments,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DotSegments {
    Absent,
    Written,
}

/// Why a URL is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UrlRefusal {
    #[error("the URL is longer than allowed")]
    TooLong,
    #[error("the URL holds a control character, or white space at an end")]
    Control,
    #[error("only http:// and https:// URLs can be requested")]
    Scheme,
    #[error("the URL holds user info (user:password@)")]
    UserInfo,
    #[error("the URL holds a backslash before its query")]
    Backslash,
    #[error("the URL's host is not in canonical form")]
    Host,
    #[error("the URL's IP address is not in canonical form")]
    Address,
    #[error("the URL's port is not a port")]
    Port,
    #[error("the text is not a URL")]
    Syntax,
}

impl UrlRefusal {
    pub(crate) const fn code(self) -> &'static str {
        match self {
            Self::TooLong => "url_too_long",
            Self::Control => "url_control_character",
            Self::Scheme => "scheme_not_supported",
            Self::UserInfo => "url_userinfo",
            Self::Backslash => "url_backslash",
            Self::Host => "url_host_form",
            Self::Address => "url_address_form",
            Self::Port => "url_port",
            Self::Syntax => "url_syntax",
        }
    }

    pub(crate) const fn hint(self) -> &'static str {
        match self {
            Self::TooLong => "send long data in the body",
            Self::Control => "percent-encode what is not printable",
            Self::Scheme | Self::Syntax => "write an absolute URL such as https://api.example.com/path",
            Self::UserInfo => "name a credential in the request instead; the host attaches it",
            Self::Backslash => "write / between segments, or %5C where a backslash is meant",
            Self::Host => "write the host in lower-case ASCII (xn-- for other scripts), without percent-encoding",
            Self::Address => "write the address as four decimal numbers, or as IPv6 in brackets",
            Self::Port => "use a port from 1 to 65535",
        }
    }
}

impl CheckedUrl {
    /// Reads `text`, refusing what two readers could read differently.
    pub(crate) fn parse(text: &str, max_bytes: usize) -> Result<Self, UrlRefusal> {
        if text.len() > max_bytes {
            return Err(UrlRefusal::TooLong);
        }
        if text.chars().any(char::is_control) || text.trim() != text {
            return Err(UrlRefusal::Control);
        }
        let raw = Written::split(text)?;
        let url = Url::parse(text).map_err(|error| match error {
            url::ParseError::InvalidPort => UrlRefusal::Port,
            url::ParseError::InvalidIpv4Address | url::ParseError::InvalidIpv6Address => UrlRefusal::Address,
            url::ParseError::IdnaError | url::ParseError::InvalidDomainCharacter | url::ParseError::EmptyHost => {
                UrlRefusal::Host
            }
            _ => UrlRefusal::Syntax,
        })?;
        let checked = Self::of(url, raw.dots())?;
        if !raw.names(&checked.host) {
            return Err(match checked.host {
                Host::Domain(_) => UrlRefusal::Host,
                Host::Ipv4(_) | Host::Ipv6(_) => UrlRefusal::Address,
            });
        }
        Ok(checked)
    }

    /// The URL that a `Location` field means, seen from this one (RFC 9110, 10.2.2). Dot segments of a relative
    /// reference are resolved here, which is what they are for.
    pub(crate) fn join(&self, location: &str, max_bytes: usize) -> Result<Self, UrlRefusal> {
        if location.len() > max_bytes {
            return Err(UrlRefusal::TooLong);
        }
        if location.chars().any(char::is_control) {
            return Err(UrlRefusal::Control);
        }
        let target = self.url.join(location).map_err(|_not_a_url| UrlRefusal::Syntax)?;
        Self::parse(target.as_str(), max_bytes)
    }

    fn of(mut url: Url, dots: DotSegments) -> Result<Self, UrlRefusal> {
        let scheme = match url.scheme() {
            "https" => Scheme::Https,
            "http" => Scheme::Http,
            _ => return Err(UrlRefusal::Scheme),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err(UrlRefusal::UserInfo);
        }
        url.set_fragment(None);
        let host = match url.host() {
            Some(Host::Domain(name)) => Host::Domain(canonical_name(name)?),
            Some(Host::Ipv4(address)) => Host::Ipv4(address),
            Some(Host::Ipv6(address)) => Host::Ipv6(address),
            None => return Err(UrlRefusal::Host),
        };
        if let Host::Domain(name) = &host
            && url.host_str() != Some(name)
        {
            url.set_host(Some(name)).map_err(|_not_a_host| UrlRefusal::Host)?;
        }
        let port = url.port_or_known_default().filter(|&port| port != 0).ok_or(UrlRefusal::Port)?;
        Ok(Self { url, scheme, host, port, dots })
    }

    /// http or https.
    pub(crate) fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The host.
    pub(crate) fn host(&self) -> &Host<String> {
        &self.host
    }

    /// The port, the scheme's own where none is written.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The path in its encoded form, as it is sent.
    pub(crate) fn path(&self) -> &str {
        self.url.path()
    }

    /// The whole URL, as it is sent.
    pub(crate) fn as_str(&self) -> &str {
        self.url.as_str()
    }

    /// Path and query as they stand in the request line.
    pub(crate) fn target(&self) -> &str {
        &self.url[url::Position::BeforePath..url::Position::AfterQuery]
    }

    /// Host, and the port where it is not the scheme's own: the `Host` field.
    pub(crate) fn authority(&self) -> &str {
        &self.url[url::Position::BeforeHost..url::Position::AfterPort]
    }

    /// Scheme, host and port are the same (RFC 6454).
    pub(crate) fn same_origin(&self, other: &Self) -> bool {
        self.scheme == other.scheme && self.host == other.host && self.port == other.port
    }

    /// The URL for people and records: of the query only the names.
    pub(crate) fn redacted(&self) -> String {
        let head = &self.url[..url::Position::AfterPath];
        match self.query_names() {
            None => head.to_owned(),
            Some(names) => format!("{head}?{names}"),
        }
    }

    /// The query with every value starred out.
    pub(crate) fn query_names(&self) -> Option<String> {
        self.url.query().map(redact_query)
    }

    /// Why a rule about paths cannot be applied to this URL, where another reader could see other segments in it.
    pub(crate) fn path_doubt(&self) -> Option<&'static str> {
        if self.dots == DotSegments::Written {
            return Some("the path holds dot segments");
        }
        path_doubt(self.path())
    }
}

impl fmt::Debug for CheckedUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted())
    }
}

/// The parts of a URL's text, cut lexically: not a second parser, only what the first one must agree with.
struct Written<'a> {
    host: &'a str,
    path: &'a str,
}

impl<'a> Written<'a> {
    fn split(text: &'a str) -> Result<Self, UrlRefusal> {
        let (scheme, rest) = text.split_once(':').ok_or(UrlRefusal::Syntax)?;
        if !scheme.eq_ignore_ascii_case("https") && !scheme.eq_ignore_ascii_case("http") {
            return Err(UrlRefusal::Scheme);
        }
        let before_query = rest.split(['?', '#']).next().unwrap_or_default();
        if before_query.contains('\\') {
            return Err(UrlRefusal::Backslash);
        }
        let rest = before_query.strip_prefix("//").ok_or(UrlRefusal::Syntax)?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(UrlRefusal::UserInfo);
        }
        if authority.is_empty() {
            return Err(UrlRefusal::Host);
        }
        // The port begins at the last colon that is not inside brackets.
        let host = match authority.rfind(':') {
            Some(colon) if !authority[colon..].contains(']') => &authority[..colon],
            _ => authority,
        };
        Ok(Self { host, path })
    }

    /// Whether the parser found the host that is written.
    fn names(&self, host: &Host<String>) -> bool {
        match host {
            Host::Domain(name) if self.host.is_ascii() => {
                self.host.strip_suffix('.').unwrap_or(self.host).eq_ignore_ascii_case(name)
            }
            // Another script is welcome, a look-alike of plain ASCII (full-width, ligature, dot leader) is not.
            Host::Domain(name) => name.split('.').any(|label| label.starts_with("xn--")),
            Host::Ipv4(address) => self.host == address.to_string(),
            Host::Ipv6(address) => self
                .host
                .strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'))
                .is_some_and(|text| text.parse() == Ok(*address)),
        }
    }

    fn dots(&self) -> DotSegments {
        let dotted = self.path.split('/').any(|segment| {
            let plain = segment.replace("%2e", ".").replace("%2E", ".");
            plain == "." || plain == ".."
        });
        if dotted { DotSegments::Written } else { DotSegments::Absent }
    }
}

fn canonical_name(name: &str) -> Result<String, UrlRefusal> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'))
    };
    if name.len() > 253 || !name.split('.').all(label) {
        return Err(UrlRefusal::Host);
    }
    Ok(name.to_owned())
}

/// What [`PathPattern`](sophon_skill::PathPattern) does not look for itself; it refuses encoded separators, dots and
/// percent signs, so one level of decoding is enough here.
fn path_doubt(path: &str) -> Option<&'static str> {
    let decoded = percent_decode(path.as_bytes());
    let Ok(text) = std::str::from_utf8(&decoded) else {
        return Some("the path does not decode to UTF-8");
    };
    if text.chars().any(char::is_control) {
        return Some("the path holds an encoded control character");
    }
    // A percent sign that is left is one too many encodings, or a form of its own (`%u002e`).
    if text.contains('%') {
        return Some("the path is encoded in an odd way");
    }
    if text.contains(['\u{ff0f}', '\u{2215}', '\u{2044}', '\u{ff3c}', '\u{ff0e}', '\u{2024}']) {
        return Some("the path holds a look-alike of a separator");
    }
    segment_doubt(text)
}

/// Segments that some servers take for dot segments: with path parameters (`..;x`), or trailing dots and spaces.
fn segment_doubt(path: &str) -> Option<&'static str> {
    path.split('/')
        .any(|segment| {
            let (name, parameters) = segment.split_once(';').map_or((segment, None), |(name, rest)| (name, Some(rest)));
            let hollow = name.chars().all(|c| matches!(c, '.' | ' '));
            hollow && (parameters.is_some() || !name.is_empty())
        })
        .then_some("the path holds dot segments or empty path parameters")
}

fn percent_decode(bytes: &[u8]) -> Vec<u8> {
    let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        match (first, tail) {
            (b'%', [high, low, after @ ..]) if digit(*high).is_some() && digit(*low).is_some() => {
                decoded.push(digit(*high).unwrap_or_default() << 4 | digit(*low).unwrap_or_default());
                rest = after;
            }
            _ => {
                decoded.push(*first);
                rest = tail;
            }
        }
    }
    decoded
}

/// Keeps the names of a query's fields, up to a length that no name needs; the values may be anybody's secret.
fn redact_query(query: &str) -> String {
    const NAME: usize = 40;
    let fields: Vec<_> = query
        .split('&')
        .take(20)
        .map(|field| match field.split_once('=') {
            Some((name, _)) if name.len() <= NAME => format!("{name}=*"),
            _ => "*".to_owned(),
        })
        .collect();
    fields.join("&")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: Result<&str, UrlRefusal>) {
        let found = CheckedUrl::parse(text, 8192);
        assert_eq!(found.as_ref().map(CheckedUrl::as_str).map_err(|refusal| *refusal), expected, "{text}");
    }

    #[test]
    fn attack_07_a_url_has_one_reading() {
        use UrlRefusal as R;
        check("https://api.example.com", Ok("https://api.example.com/"));
        check("HTTPS://API.example.com:443/a?b#c", Ok("https://api.example.com/a?b"));
        check("https://api.example.com./x", Ok("https://api.example.com/x"));
        check("https://api.example.com:/x", Ok("https://api.example.com/x"));
        check("https://münchen.example/", Ok("https://xn--mnchen-3ya.example/"));
        check("https://api.example.com/a b?c d", Ok("https://api.example.com/a%20b?c%20d"));
        check("https://[2606:4700::1]:8443/", Ok("https://[2606:4700::1]:8443/"));
        check("https://api.example.com/@user?x=a@b", Ok("https://api.example.com/@user?x=a@b"));
        check("https://u@api.example.com/", Err(R::UserInfo));
        check("https://@api.example.com/", Err(R::UserInfo));
        check("https:api.example.com", Err(R::Syntax));
        check("https:///api.example.com", Err(R::Host));
        check("https:\\\\api.example.com", Err(R::Backslash));
        check("https://api.example.com\\@evil.example", Err(R::Backslash));
        check("https://api.exa\tmple.com", Err(R::Control));
        check(" https://api.example.com", Err(R::Control));
        check("https://api.example.com/\r\nHost: x", Err(R::Control));
        check("https://%61pi.example.com/", Err(R::Host));
        check("https://ａｐｉ.example.com/", Err(R::Host));
        check("https://api.example․com/", Err(R::Host));
        check("https://api.example.com../", Err(R::Host));
        check("https://a,b.example/", Err(R::Host));
        check("https://127.1/", Err(R::Address));
        check("https://0x7f.0.0.1/", Err(R::Address));
        check("https://2130706433/", Err(R::Address));
        check("https://0177.0.0.1/", Err(R::Address));
        check("https://127.0.0.1./", Err(R::Address));
        check("https://api.example.com:0/", Err(R::Port));
        check("https://api.example.com:65536/", Err(R::Port));
        check("ftp://api.example.com/", Err(R::Scheme));
        check("api.example.com", Err(R::Syntax));
        check(&format!("https://a.example/{}", "a".repeat(9000)), Err(R::TooLong));
    }

    #[test]
    fn attack_12_tricks_of_encoding_put_the_path_in_doubt() {
        for (path, clear) in [
            ("/v1/items", true),
            ("/v1/%E2%9C%93", true),
            ("/v1/a;b=c", true),
            ("/v1//x", true),
            ("/v1/.well-known/..x", true),
            ("/v1/../admin", false),
            ("/v1/%2e%2E/admin", false),
            ("/v1/.%2e/admin", false),
            ("/v1/..;/admin", false),
            ("/v1/..;a=b/admin", false),
            ("/v1/;/admin", false),
            ("/v1/.%20./x", false),
            ("/v1/%c0%ae%c0%ae/admin", false),
            ("/v1/%ef%bc%8fadmin", false),
            ("/v1/x%00.png", false),
            ("/v1/%0d%0a", false),
            ("/v1/%252e%252e/admin", false),
            ("/v1/%u002e%u002e/admin", false),
            ("/v1/.../x", false),
        ] {
            let url = CheckedUrl::parse(&format!("https://api.example.com{path}"), 8192).unwrap();
            assert_eq!(url.path_doubt().is_none(), clear, "{path}");
        }
    }

    proptest! {
        #[test]
        fn attack_08_the_checked_url_is_what_is_sent(
            text in "(https?|HTTPS|ftp)?[:/\\\\]{0,4}[a-zA-Z0-9@.:\\[\\]%\u{ff41}\u{3002}\u{fc}-]{0,24}[/?#\\\\;]{0,2}[ -~\u{e9}\u{ff0f}]{0,24}"
        ) {
            if let Ok(url) = CheckedUrl::parse(&text, 8192) {
                let again = CheckedUrl::parse(url.as_str(), 8192);
                prop_assert_eq!(again.as_ref().map(CheckedUrl::as_str), Ok(url.as_str()));
                let again = again.unwrap();
                prop_assert!(again.same_origin(&url) && again.target() == url.target());
                let written = url.target().parse::<http::Uri>();
                let written = written.as_ref().map(|uri| uri.path_and_query().map(|target| target.as_str()));
                prop_assert_eq!(written.ok().flatten(), Some(url.target()));
                prop_assert!(url.as_str().bytes().all(|b| b.is_ascii_graphic()));
            }
        }

        #[test]
        fn reading_never_panics(text in "\\PC{0,60}", location in "\\PC{0,60}") {
            let base = CheckedUrl::parse("https://api.example.com/a/b", 8192).unwrap();
            for url in [CheckedUrl::parse(&text, 8192), base.join(&location, 8192)].into_iter().flatten() {
                prop_assert!(url.redacted().starts_with(url.scheme().as_str()));
                prop_assert!(url.path_doubt().is_none() || url.path().len() > 1);
            }
        }
    }

    #[test]
    fn records_show_no_query_value() {
        let url = CheckedUrl::parse("https://a.example/p?token=abc&q=1&bare", 8192).unwrap();
        assert_eq!(url.redacted(), "https://a.example/p?token=*&q=*&*");
        assert_eq!(url.authority(), "a.example");
        assert_eq!(url.target(), "/p?token=abc&q=1&bare");
        let other = url.join("//b.example:8443/x", 8192).unwrap();
        assert_eq!(other.authority(), "b.example:8443");
        assert!(!other.same_origin(&url));
    }
}
