//! Tools for text that only compute: the component imports nothing, so it can reach nothing.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sophon_sdk::{Result, bail, ensure, tool};

sophon_sdk::skill!(echo, word_count, slugify, extract_links, diff_lines);

/// Returns the text as it is. Useful to see that a connection works.
#[tool(risk = "none")]
fn echo(
    /// Any text.
    text: String,
) -> String {
    text
}

#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
struct Counts {
    /// Words: runs of letters, digits and apostrophes.
    words: usize,
    /// Words that differ, without regard to case.
    distinct: usize,
    /// Lines.
    lines: usize,
    /// Unicode characters.
    characters: usize,
    /// The most frequent words, the most frequent first; words of one frequency in alphabetical order.
    top: Vec<Frequency>,
}

#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
struct Frequency {
    word: String,
    count: usize,
}

/// Counts the words, lines and characters of a text, and its most frequent words.
#[tool(risk = "none")]
fn word_count(
    /// The text.
    text: String,
    /// How many of the most frequent words to list.
    #[schemars(range(max = 100))]
    #[arg(default = 0)]
    top: usize,
) -> Counts {
    let mut frequencies: BTreeMap<String, usize> = BTreeMap::new();
    let mut words = 0;
    for word in text.split(|c: char| !(c.is_alphanumeric() || c == '\'')).filter(|w| !w.is_empty()) {
        words += 1;
        *frequencies.entry(word.to_lowercase()).or_default() += 1;
    }
    let distinct = frequencies.len();
    let mut ranked: Vec<Frequency> = frequencies.into_iter().map(|(word, count)| Frequency { word, count }).collect();
    // Stable, so that words of one frequency stay in alphabetical order.
    ranked.sort_by_key(|f| std::cmp::Reverse(f.count));
    ranked.truncate(top);
    Counts { words, distinct, lines: text.lines().count(), characters: text.chars().count(), top: ranked }
}

/// Makes a title fit for a URL or a file name: `Straße & Café!` becomes `strasse-cafe`.
#[tool(risk = "none")]
fn slugify(
    /// The title.
    title: String,
    /// The greatest length; the slug is cut between words where that is possible.
    #[schemars(range(min = 1, max = 200))]
    #[arg(default = 60)]
    max_length: usize,
) -> Result<String> {
    let mut plain = String::with_capacity(title.len());
    for c in title.chars().flat_map(char::to_lowercase) {
        match unaccented(c) {
            Some(text) => plain.push_str(text),
            None if c.is_ascii_alphanumeric() => plain.push(c),
            None => plain.push('-'),
        }
    }
    let mut slug = String::new();
    for word in plain.split('-').filter(|w| !w.is_empty()) {
        if slug.is_empty() {
            slug.extend(word.chars().take(max_length));
        } else if slug.len() + 1 + word.len() <= max_length {
            slug.push('-');
            slug.push_str(word);
        } else {
            break;
        }
    }
    if slug.is_empty() {
        bail!(invalid_arguments, "`title` has no letter or digit that fits a slug");
    }
    Ok(slug)
}

/// The plain form of the letters of western European languages.
fn unaccented(c: char) -> Option<&'static str> {
    Some(match c {
        'à' | 'á' | 'â' | 'ã' | 'å' => "a",
        'ä' | 'æ' => "ae",
        'ç' => "c",
        'è' | 'é' | 'ê' | 'ë' => "e",
        'ì' | 'í' | 'î' | 'ï' => "i",
        'ñ' => "n",
        'ò' | 'ó' | 'ô' | 'õ' | 'ø' => "o",
        'ö' | 'œ' => "oe",
        'ß' => "ss",
        'ù' | 'ú' | 'û' => "u",
        'ü' => "ue",
        'ý' | 'ÿ' => "y",
        _ => return None,
    })
}

#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
struct Link {
    url: String,
    /// The text of a Markdown link.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
}

#[derive(Clone, Copy, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Duplicates {
    /// A link is listed where it stands first.
    #[default]
    Drop,
    /// Every link is listed.
    Keep,
}

/// Lists the `http` and `https` links of a text in order, Markdown links with their text.
#[tool(risk = "none")]
fn extract_links(
    /// The text, plain or Markdown.
    text: String,
    /// What to do with a link that comes again.
    #[serde(default)]
    duplicates: Duplicates,
) -> Vec<Link> {
    let mut links = Vec::new();
    let mut seen = BTreeSet::new();
    let mut from = 0;
    while let Some(start) = next_link(&text, from) {
        let rest = &text[start..];
        let end = rest.find(|c: char| c.is_whitespace() || "<>\"`|".contains(c)).unwrap_or(rest.len());
        let (url, text_before) = match markdown_text(&text[..start]) {
            // The link ends at the bracket that closes it; a link may hold pairs of brackets of its own.
            Some(before) => (&rest[..closing_bracket(&rest[..end])], Some(before.to_owned())),
            None => (trim_punctuation(&rest[..end]), None),
        };
        from = start + url.len().max(1);
        if matches!(duplicates, Duplicates::Keep) || seen.insert(url) {
            links.push(Link { url: url.to_owned(), text: text_before });
        }
    }
    links
}

fn next_link(text: &str, from: usize) -> Option<usize> {
    let starts = ["https://", "http://"].iter().filter_map(|scheme| text[from..].find(scheme));
    starts.min().map(|at| from + at)
}

/// `[text](` at the end of `before`.
fn markdown_text(before: &str) -> Option<&str> {
    let inner = before.strip_suffix("](")?;
    inner.rfind('[').map(|open| &inner[open + 1..])
}

fn closing_bracket(link: &str) -> usize {
    let mut depth = 0usize;
    for (at, c) in link.char_indices() {
        match c {
            '(' => depth += 1,
            ')' if depth == 0 => return at,
            ')' => depth -= 1,
            _ => {}
        }
    }
    link.len()
}

/// A sentence's punctuation is not part of the link at its end.
fn trim_punctuation(link: &str) -> &str {
    let mut link = link;
    loop {
        let shorter = link.trim_end_matches(['.', ',', ';', ':', '!', '?', '\'', '*', '_']);
        let shorter = match shorter.strip_suffix([')', ']']) {
            Some(inner) if closing_bracket(shorter) < shorter.len() || shorter.ends_with(']') => inner,
            _ => shorter,
        };
        if shorter.len() == link.len() {
            return link;
        }
        link = shorter;
    }
}

#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
struct Diff {
    /// Lines only in `after`.
    added: usize,
    /// Lines only in `before`.
    removed: usize,
    /// Every line, with `+`, `-` or a space in front.
    lines: Vec<String>,
}

/// What one comparison may cost; its table has a cell for each pair of lines.
const MAX_CELLS: usize = 4_000_000;

/// Compares two texts line by line: the shortest list of lines added and removed.
#[tool(risk = "none")]
fn diff_lines(
    /// The older text.
    before: String,
    /// The newer text.
    after: String,
) -> Result<Diff> {
    let (a, b): (Vec<&str>, Vec<&str>) = (before.lines().collect(), after.lines().collect());
    let width = b.len() + 1;
    let cells = (a.len() + 1).checked_mul(width).filter(|&cells| cells <= MAX_CELLS);
    ensure!(cells.is_some(), invalid_arguments, "the texts are too long to compare: {} and {} lines", a.len(), b.len());

    // The length of the longest common subsequence of a[i..] and b[j..].
    let mut common = vec![0u32; cells.unwrap_or_default()];
    for i in (0..a.len()).rev() {
        for j in (0..b.len()).rev() {
            common[i * width + j] = if a[i] == b[j] {
                common[(i + 1) * width + j + 1] + 1
            } else {
                common[(i + 1) * width + j].max(common[i * width + j + 1])
            };
        }
    }
    let mut diff = Diff { added: 0, removed: 0, lines: Vec::new() };
    let (mut i, mut j) = (0, 0);
    while i < a.len() || j < b.len() {
        if i < a.len() && j < b.len() && a[i] == b[j] {
            diff.lines.push(format!(" {}", a[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == b.len() || (i < a.len() && common[(i + 1) * width + j] >= common[i * width + j + 1]) {
            diff.lines.push(format!("-{}", a[i]));
            diff.removed += 1;
            i += 1;
        } else {
            diff.lines.push(format!("+{}", b[j]));
            diff.added += 1;
            j += 1;
        }
    }
    Ok(diff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links() {
        #[track_caller]
        fn check(text: &str, want: &[&str]) {
            let links = extract_links(text.into(), Duplicates::Drop);
            assert_eq!(links.iter().map(|l| l.url.as_str()).collect::<Vec<_>>(), want);
        }
        check("see https://a.example/x, or http://b.example.", &["https://a.example/x", "http://b.example"]);
        check("(https://a.example/wiki/Rust_(language))", &["https://a.example/wiki/Rust_(language)"]);
        check("[a](https://a.example/p_(q)) https://a.example/p_(q)", &["https://a.example/p_(q)"]);
        check("ftp://a.example https://", &["https://"]);
        check("ä https://ö.example/ü?x=1#y ä", &["https://ö.example/ü?x=1#y"]);
    }

    #[test]
    fn slugs() {
        #[track_caller]
        fn check(title: &str, max: usize, want: Option<&str>) {
            assert_eq!(slugify(title.into(), max).ok().as_deref(), want);
        }
        check("Straße & Café!", 60, Some("strasse-cafe"));
        check("one two three", 8, Some("one-two"));
        check("incomprehensible", 5, Some("incom"));
        check("…", 60, None);
    }

    #[test]
    fn differences() {
        let diff = diff_lines("a\nb\nc".into(), "a\nx\nc\nd".into()).unwrap();
        assert_eq!(diff.lines, [" a", "-b", "+x", " c", "+d"]);
        assert_eq!((diff.added, diff.removed), (2, 1));
        let long = "x\n".repeat(3000);
        assert!(diff_lines(long.clone(), long).is_err());
    }
}
