//! A secret that is a URL as a whole, such as a webhook's: which such text is one, and what of it is secret.

use sophon_guard::MIN_SECRET_BYTES;
use url::{Position, Url, form_urlencoded};

/// What is long enough to be the secret of a URL wherever it stands, and no word of an API.
const LONG: usize = 16;
/// Words that stand where secrets do and that skills have to be able to send: Google Chat's webhooks end in the first one.
const WORDS: [&str; 8] =
    ["messages", "webhooks", "incoming", "triggers", "services", "callback", "markdown", "notifications"];

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

/// All behind the host, which is secret as a whole.
pub(crate) fn behind_host(text: &str) -> String {
    Url::parse(text).map_or_else(|_| text.to_owned(), |url| url[Position::BeforePath..Position::AfterQuery].to_owned())
}

/// The parts that are secret by themselves, to be looked for in whatever comes back: the end of the path and the values of the
/// query, other segments where they are too long for a word; where there is none, all behind the host.
pub(crate) fn secret_parts(text: &str) -> Vec<String> {
    let Ok(url) = Url::parse(text) else { return vec![text.to_owned()] };
    let mut segments: Vec<&str> = url.path().split('/').filter(|segment| !segment.is_empty()).collect();
    let end = segments.pop();
    let values = url.query().into_iter().flat_map(|query| query.split('&'));
    let values = values.map(|pair| pair.split_once('=').map_or(pair, |(_, value)| value));
    // Those before the end name what it is about.
    let names = segments.into_iter().filter(|part| part.len() >= LONG && !part.bytes().all(|b| b.is_ascii_digit()));
    let mut parts: Vec<String> =
        end.into_iter().chain(values).filter(|part| may_be_secret(part)).map(Into::into).collect();
    parts.extend(names.map(str::to_owned));
    if parts.is_empty() {
        parts.push(behind_host(text));
    }
    // As they are written, and as a reader decodes them.
    let decoded: Vec<String> = parts.iter().map(|part| decoded(part)).collect();
    parts.extend(decoded);
    parts.sort();
    parts.dedup();
    parts
}

/// Whether a part that stands where secrets do may be one: a short one is none where it is a number, a date or a word of an API.
fn may_be_secret(part: &str) -> bool {
    let is_word = || WORDS.iter().any(|word| part.eq_ignore_ascii_case(word));
    let is_named = || part.bytes().any(|byte| byte.is_ascii_alphabetic()) && !is_word();
    part.len() >= LONG || (part.len() >= MIN_SECRET_BYTES && is_named())
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
        // A short secret beside a long word.
        check("https://a.example/incoming-webhooks-prod/s3cr3tABC", &["incoming-webhooks-prod", "s3cr3tABC"]);
        check("https://a.example/incoming-webhooks-prod/s3cr3tABC/", &["incoming-webhooks-prod", "s3cr3tABC"]);
        check("https://a.example/incoming-webhooks-prod?k=hunterhunter", &["hunterhunter", "incoming-webhooks-prod"]);
        // Numbers where they are too long for one of a list.
        check("https://a.example/hook/1234567890123456?n=12345678", &["1234567890123456"]);
        check("https://a.example/v1/spaces/AAAA/messages?key=AIza-0123&api-version=2016-10-01", &["AIza-0123"]);
    }
}
