//! What tokens say without being followed: which brackets belong together, what is defined, and what stands by itself.

use crate::analysis::python::{Kind, Token, is_mark, is_name};

/// For each opening bracket the one that closes it; the end, where none does.
pub(in crate::analysis::python) fn brackets(tokens: &[Token]) -> Vec<usize> {
    let mut closes = vec![tokens.len(); tokens.len()];
    let mut open = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        match (token.kind, token.text.as_str()) {
            (Kind::Mark, "(" | "[" | "{") => open.push(at),
            (Kind::Mark, ")" | "]" | "}") => {
                if let Some(opened) = open.pop() {
                    closes[opened] = at;
                }
            }
            _ => {}
        }
    }
    closes
}

/// The functions that are defined: where, and their names. A class is called by its own.
pub(super) fn defined(tokens: &[Token]) -> Vec<(usize, &str)> {
    let (mut class, mut found) = (None, Vec::new());
    for (at, token) in tokens.iter().enumerate().filter(|(_, token)| token.kind == Kind::Name) {
        match (token.text.as_str(), is_name(tokens.get(at + 1))) {
            ("class", name) => class = name,
            ("def", Some(name)) if is_mark(tokens.get(at + 2), "(") => {
                found.push((at, name));
                found.extend(class.filter(|_| name == "__init__").map(|class| (at, class)));
            }
            _ => {}
        }
    }
    found
}

/// The names of the parameters in the brackets that open at `open`.
pub(super) fn parameters<'a>(tokens: &'a [Token], closes: &[usize], open: usize) -> Vec<&'a str> {
    let close = closes[open].min(tokens.len());
    let mut names = Vec::new();
    let (mut at, mut begins) = (open + 1, true);
    while at < close {
        let token = &tokens[at];
        match (token.kind, token.text.as_str()) {
            (Kind::Name, name) if begins => {
                names.push(name);
                begins = false;
            }
            (Kind::Mark, ",") => begins = true,
            (Kind::Mark, "(" | "[" | "{") => at = closes[at],
            _ => {}
        }
        at += 1;
    }
    names
}

/// The text of a literal that stands by itself.
pub(super) fn text(tokens: &[Token], from: usize, to: usize) -> Option<&str> {
    let token = tokens.get(from).filter(|_| to == from + 1)?;
    matches!(token.kind, Kind::Text(literal) if !literal.formatted).then_some(token.text.as_str())
}
