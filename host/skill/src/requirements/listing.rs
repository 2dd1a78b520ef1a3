//! An index's list of the files of one package, in either form of the simple API (PEP 503, PEP 691).

use super::RequirementError;
use serde::Deserialize;
use sophon_types::Digest;
use std::collections::BTreeMap;

/// Files of one package that are looked at.
const MOST: usize = 20_000;

/// The media types of the two forms, in the order of preference.
const JSON: &str = "application/vnd.pypi.simple.v1+json";

/// The files of one package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing;

/// One file that an index has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    /// Its name.
    pub name: String,
    /// Where it is: absolute, or relative to the list.
    pub url: String,
    /// What the index says its digest is.
    pub sha256: Option<Digest>,
}

#[derive(Deserialize)]
struct Answer {
    files: Vec<File>,
}

#[derive(Deserialize)]
struct File {
    filename: String,
    url: String,
    #[serde(default)]
    hashes: BTreeMap<String, String>,
}

impl Listing {
    /// What to ask an index for (`Accept`).
    pub const ACCEPT: &'static str = "application/vnd.pypi.simple.v1+json, text/html;q=0.2";

    /// Reads a list, `media` being its content type. `subject` is the package, for errors.
    ///
    /// # Errors
    /// [`RequirementError::BadListing`].
    pub fn read(subject: &str, media: &str, body: &[u8]) -> Result<Vec<Offered>, RequirementError> {
        let bad = |what: String| RequirementError::BadListing(subject.to_owned(), what);
        let files = if media.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(JSON) {
            let answer: Answer = serde_json::from_slice(body).map_err(|error| bad(error.to_string()))?;
            let offered = |file: File| {
                let sha256 = file.hashes.get("sha256").and_then(|hex| digest(hex));
                Offered { name: file.filename, url: file.url, sha256 }
            };
            answer.files.into_iter().map(offered).collect()
        } else if media.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("text/html") {
            let text = std::str::from_utf8(body).map_err(|error| bad(error.to_string()))?;
            links(text)
        } else {
            return Err(bad(format!("it is of the type {:?}", media.chars().take(80).collect::<String>())));
        };
        if files.len() > MOST {
            return Err(bad(format!("it has {} files", files.len())));
        }
        Ok(files)
    }
}

fn digest(hex: &str) -> Option<Digest> {
    format!("sha256:{}", hex.to_ascii_lowercase()).parse().ok()
}

/// The anchors of a page: the only part of it that means anything.
fn links(page: &str) -> Vec<Offered> {
    let mut found = Vec::new();
    // Lower case of ASCII only, so that places in the two are the same.
    let lower = page.to_ascii_lowercase();
    let mut from = 0;
    while let Some(at) = lower[from..].find("<a").map(|at| from + at + 2) {
        let Some(end) = lower[at..].find('>').map(|end| at + end) else { break };
        if lower[at..end].starts_with(char::is_whitespace)
            && let Some(link) = href(&page[at..end], &lower[at..end])
        {
            found.push(link);
        }
        from = end;
    }
    found
}

fn href(tag: &str, lower: &str) -> Option<Offered> {
    let at = lower.find("href")? + "href".len();
    let value = tag[at..].trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let value = value[1..].split(quote).next()?.replace("&amp;", "&");
    let (url, fragment) = value.split_once('#').unwrap_or((&value, ""));
    let path = url.split('?').next().unwrap_or(url);
    let name = path.rsplit('/').next().unwrap_or(path).replace("%2B", "+").replace("%2b", "+");
    let sha256 = fragment.split('&').find_map(|part| part.strip_prefix("sha256=")).and_then(digest);
    Some(Offered { name, url: url.to_owned(), sha256 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_say_the_same() {
        let digest = Digest::of(b"wheel");
        let hex = digest.to_hex();
        let json = format!(
            r#"{{"meta": {{"api-version": "1.0"}}, "name": "foo", "files": [
                {{"filename": "foo-1.0+a-py3-none-any.whl", "url": "../../f/foo-1.0%2Ba-py3-none-any.whl?x=1&y=2",
                  "hashes": {{"sha256": "{hex}"}}}},
                {{"filename": "foo-1.0.tar.gz", "url": "https://files.example/foo-1.0.tar.gz", "hashes": {{}}}}]}}"#
        );
        let html = format!(
            "<!DOCTYPE html><html><body><abbr>x</abbr><h1>Links</h1>\n\
             <A class=x HREF=\"../../f/foo-1.0%2Ba-py3-none-any.whl?x=1&amp;y=2#sha256={hex}\" data-x='>'>foo</A><br>\n\
             <a href='https://files.example/foo-1.0.tar.gz'>foo</a></body></html>"
        );
        let of_json = Listing::read("foo", "application/vnd.pypi.simple.v1+json", json.as_bytes()).unwrap();
        let of_html = Listing::read("foo", "text/html; charset=utf-8", html.as_bytes()).unwrap();
        assert_eq!(of_json, of_html);
        assert_eq!(of_json[0].sha256, Some(digest));
        assert_eq!(of_json[1].sha256, None);
    }

    #[test]
    fn what_is_no_list_is_refused() {
        for (media, body) in [("text/plain", "x"), ("", "x"), ("application/vnd.pypi.simple.v1+json", "[]")] {
            assert!(Listing::read("foo", media, body.as_bytes()).is_err(), "{media}");
        }
        assert_eq!(Listing::read("foo", "text/html", b"<a href=\"").unwrap(), []);
        assert_eq!(Listing::read("foo", "text/html", "<a href=\u{e9}<a".as_bytes()).unwrap(), []);
    }
}
