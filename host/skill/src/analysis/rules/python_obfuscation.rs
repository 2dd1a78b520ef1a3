//! SA027: code that is meant to be read can be read.

use super::python_dynamic::is;
use super::{Check, Context, Findings, Rule};
use crate::analysis::python::{Kind, Source};
use crate::analysis::report::Severity;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE_NO_PAD};

pub(super) const RULE: Rule = Rule {
    id: "SA027",
    title: "obfuscated source",
    severity: Severity::Warning,
    what: "A Python file hides what it holds: literals written in numeric escapes, literals that decode to text or code, \
           text put together from character codes, attributes looked up under computed names, lines or names that \
           nobody can read.",
    why: "A reader who cannot see what a skill does cannot agree to it, and the other rules look at what is written.",
    advice: "write text as text and names as names; embed data in plain form",
    check: Check::Python(check),
};

/// Visible characters that are written as numbers before a literal counts as disguised.
const MOST_DISGUISED: usize = 12;
/// Characters of a literal that is tried as an encoding of something.
const ENCODED: usize = 24;
/// Numbers in a row that look like text.
const CODES: usize = 16;
/// Tokens on one line.
const CROWDED: usize = 400;
/// Names of look-alike letters only (`O0Il1`) that may occur.
const UNREADABLE: usize = 3;

fn check(context: &Context<'_>, findings: &mut Findings) {
    for source in &context.python {
        let at = |line: usize| format!("{}, line {line}", source.name);
        for (token, literal) in source.literals() {
            if literal.disguised > MOST_DISGUISED {
                let message = format!("{} visible characters of a literal are written as numbers", literal.disguised);
                findings.warning(&at(token.line), message, RULE.advice);
            }
            if let Some(what) = encoded(&token.text) {
                findings.warning(&at(token.line), format!("a literal is {what}"), RULE.advice);
            }
        }
        for used in source.uses.iter().filter(|used| used.called) {
            if (is(&used.path, "getattr") || is(&used.path, "setattr")) && computed_name(source, used.token) {
                let message = format!("{} is given a computed name", used.path);
                findings.warning(&at(used.line), message, RULE.advice);
            }
            if !matches!(used.path.as_str(), "bytes" | "bytearray" | "map") {
                continue;
            }
            let codes = source.arguments(used.token);
            let numbers = codes.iter().filter(|token| token.kind == Kind::Number).count();
            if numbers >= CODES {
                let message = format!("{numbers} numbers are made into bytes or text");
                findings.warning(&at(used.line), message, RULE.advice);
            }
        }
        let chars = source.uses_of("chr").filter(|used| used.called).count();
        if chars >= CODES {
            let line = source.uses_of("chr").next().map_or(1, |used| used.line);
            findings.warning(&at(line), format!("text is put together from {chars} character codes"), RULE.advice);
        }
        shape(source, findings);
    }
}

/// Lines and names that are made not to be read.
fn shape(source: &Source<'_>, findings: &mut Findings) {
    let place = |line: usize| format!("{}, line {line}", source.name);
    let code = |kind| matches!(kind, Kind::Name | Kind::Mark);
    // Data may fill a line: what counts are calls and names.
    for line in source.tokens.chunk_by(|a, b| a.line == b.line) {
        let tokens = line.iter().filter(|token| code(token.kind) && token.text != ",").count();
        let names = line.iter().filter(|token| token.kind == Kind::Name).count();
        if tokens > CROWDED && names > CROWDED / 4 {
            findings.warning(&place(line[0].line), format!("one line holds {tokens} names and signs"), RULE.advice);
        }
    }
    let unreadable =
        |name: &str| name.len() >= 5 && name.chars().all(|c| matches!(c, 'O' | '0' | 'I' | 'l' | '1' | '_'));
    let mut names: Vec<_> = source.tokens.iter().filter(|token| token.kind == Kind::Name).collect();
    names.retain(|token| unreadable(&token.text) && token.text.chars().any(|c| c != '_'));
    if names.len() > UNREADABLE {
        let message = format!("{} names are made of letters that look alike", names.len());
        findings.warning(&place(names[0].line), message, RULE.advice);
    }
}

/// `getattr(x, a + b)`, with `a` a literal: a name that is put together, not one that is handed in.
fn computed_name(source: &Source<'_>, token: usize) -> bool {
    let arguments = source.arguments(token);
    let mut depth = 0_usize;
    let comma = arguments.iter().position(|token| {
        match token.text.as_str() {
            _ if token.kind != Kind::Mark => {}
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            "," => return depth == 0,
            _ => {}
        }
        false
    });
    let Some(comma) = comma else { return false };
    let name: Vec<_> =
        arguments[comma + 1..].iter().take_while(|token| !(token.kind == Kind::Mark && token.text == ",")).collect();
    let texts = name.iter().filter(|token| matches!(token.kind, Kind::Text(_))).count();
    let joins = name.iter().any(|token| token.kind == Kind::Mark && matches!(token.text.as_str(), "+" | "%"));
    // `"metsys"[::-1]`.
    let sliced = name.windows(2).any(|two| matches!(two[0].kind, Kind::Text(_)) && two[1].text == "[");
    let decodes = name.iter().any(|token| matches!(token.text.as_str(), "join" | "decode" | "chr" | "reversed"));
    texts > 0 && (joins || sliced) || decodes
}

/// What `text` decodes to, where that is text or code.
fn encoded(text: &str) -> Option<&'static str> {
    let text: String = text.split_ascii_whitespace().collect();
    if text.len() < ENCODED || !text.is_ascii() {
        return None;
    }
    if text.len().is_multiple_of(2) && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let bytes = hex::decode(&text).ok()?;
        return is_readable(&bytes).then_some("hexadecimal for a text");
    }
    let decoded =
        STANDARD.decode(&text).or_else(|_| STANDARD_NO_PAD.decode(&text)).or_else(|_| URL_SAFE_NO_PAD.decode(&text));
    let bytes = decoded.ok()?;
    let packed =
        bytes.starts_with(&[0x1f, 0x8b]) || bytes.starts_with(&[0x78, 0x9c]) || bytes.starts_with(&[0x78, 0xda]);
    if packed {
        return Some("base64 of compressed data");
    }
    is_readable(&bytes).then_some("base64 for a text")
}

/// Nearly all of it ASCII that shows: random bytes are that once in 2^40 at this length.
fn is_readable(bytes: &[u8]) -> bool {
    let shows = bytes.iter().filter(|byte| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\n' | b'\t')).count();
    bytes.len() >= 16 && shows * 20 >= bytes.len() * 19
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_decodes_to_text_is_told_from_what_does_not() {
        let check = |text: &str, expected: Option<&str>| assert_eq!(encoded(text), expected, "{text}");
        check(&STANDARD.encode("import os; os.system('id')"), Some("base64 for a text"));
        check(&hex::encode("http://evil.example/collect"), Some("hexadecimal for a text"));
        check("H4sIAAAAAAAAA8tIzcnJVyjPL8pJUQQAlRmFGwwAAAA=", Some("base64 of compressed data"));
        check("applicationxwwwformurlencoded", None);
        check("d41d8cd98f00b204e9800998ecf8427e", None);
        check("a sentence of several words, as messages are", None);
    }
}
