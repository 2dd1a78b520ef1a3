//! A secret that is a URL as a whole, such as a webhook's: which such text is one, and what of it is secret.

use url::{Position, Url, form_urlencoded};

/// What is long enough to be the secret of a URL, and no word of an API.
const LONG: usize = 16;

/// Whether `text` is a URL that can be sent as it is: https, without a user and without a fragment.
pub(crate) fn is_whole_url(text: &str) -> bool {
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    let Some(url) = Url::parse(text).ok().filter(|_| plain) else { return false };
    url.scheme() == "https"
        && url.host_str().is_some_and(|host| !host.is_empty())
        && url.username().is_empty()
        && url.password().is_none()
        && url.fragment().is_none()
        && (url.path().len() > 1 || url.query().is_some())
}

/// The parts that are secret, to be looked for in whatever comes back: segments and values that are no number and too long
/// for a word; where there is none, all behind the host. The URL itself is not: half of it is what every request there has.
pub(crate) fn secret_parts(text: &str) -> Vec<String> {
    let Ok(url) = Url::parse(text) else { return vec![text.to_owned()] };
    let segments = url.path_segments().into_iter().flatten().map(str::to_owned);
    let values = url.query().into_iter().flat_map(|query| query.split('&'));
    let values = values.map(|pair| pair.split_once('=').map_or(pair, |(_, value)| value).to_owned());
    let is_secret = |part: &String| part.len() >= LONG && !part.bytes().all(|byte| byte.is_ascii_digit());
    let mut parts: Vec<String> = segments.chain(values).filter(is_secret).collect();
    if parts.is_empty() {
        parts.push(url[Position::BeforePath..Position::AfterQuery].to_owned());
    }
    // As they are written, and as a reader decodes them.
    let decoded: Vec<String> = parts.iter().map(|part| decoded(part)).collect();
    parts.extend(decoded);
    parts.sort();
    parts.dedup();
    parts
}

fn decoded(part: &str) -> String {
    let one = part.replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    form_urlencoded::parse(one.as_bytes()).map(|(name, _)| name.into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_sent_as_it_is_is_a_url() {
        for text in [
            "https://hooks.example/services/T0/B0/abcdefghijklmnop",
            "https://a.example:8443/?sig=abc",
            "https://[::1]/x",
        ] {
            assert!(is_whole_url(text), "{text}");
        }
        for text in [
            "http://hooks.example/x",
            "https://hooks.example/",
            "https://hooks.example",
            "https://u:p@hooks.example/x",
            "https://hooks.example/x#y",
            "https://hooks.example/x y",
            "https://hooks.example\\x",
            "hooks.example/x",
            "",
        ] {
            assert!(!is_whole_url(text), "{text}");
        }
    }

    #[test]
    fn of_a_url_what_no_other_request_has_is_secret() {
        let check = |text: &str, expected: &[&str]| assert_eq!(secret_parts(text), expected, "{text}");
        check("https://a.example/api/webhooks/123456789012345678/abcDEF_ghi-jkl123", &["abcDEF_ghi-jkl123"]);
        check(
            "https://a.example/workflows/run?sig=abcdefgh%2Fijklmnop&v=1",
            &["abcdefgh%2Fijklmnop", "abcdefgh/ijklmnop"],
        );
        check("https://a.example/hook/abc?k=v", &["/hook/abc?k=v"]);
    }
}
