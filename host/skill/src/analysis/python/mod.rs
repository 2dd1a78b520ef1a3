//! Python sources as the rules look at them: which names are used, under what they are imported, and what the string
//! literals hold.
//!
//! Reads tokens, not the grammar: a name that is mentioned counts, whether it is called or only passed on. What is put
//! together at run time passes; the rules about dynamic code are about that, and the sandbox holds without any of it.

mod flow;
mod lexer;

pub(super) use flow::positions;
pub(super) use lexer::{Flaw, Kind, Literal, Token};

use flow::brackets;
use lexer::{MAX_SOURCE, tokens};
use std::collections::{BTreeMap, HashSet};

/// Bytes of all sources of a package. The largest public skill has 200 KB.
pub(super) const MAX_SOURCES: usize = 16 << 20;
/// Bytes of all imported and used names of a file, each spelled out.
const MAX_SPELLED: usize = 8 * MAX_SOURCE;
/// Names that are joined by dots and followed.
const MAX_PARTS: usize = 12;

/// One Python file.
#[derive(Debug)]
pub(super) struct Source<'a> {
    pub(super) name: &'a str,
    pub(super) tokens: Vec<Token>,
    /// For each opening bracket the one that closes it; the end, where none does.
    closes: Vec<usize>,
    /// Modules that are imported, and the lines.
    pub(super) imports: Vec<(String, usize)>,
    /// The outermost parts of their names.
    imported: HashSet<String>,
    /// Dotted names that are used, under their full names.
    pub(super) uses: Vec<Use>,
}

/// A dotted name where it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Use {
    /// With the module that an alias stands for: `s.run` after `import subprocess as s` is `subprocess.run`.
    pub(super) path: String,
    pub(super) line: usize,
    /// Whether an opening bracket follows.
    pub(super) called: bool,
    /// The token that ends it.
    pub(super) token: usize,
}

/// A file that cannot be read as Python.
#[derive(Debug)]
pub(super) struct Unread<'a> {
    pub(super) name: &'a str,
    pub(super) flaw: Flaw,
}

impl<'a> Source<'a> {
    /// Reads a file.
    pub(super) fn read(name: &'a str, content: &[u8]) -> Result<Self, Unread<'a>> {
        let unread = |line, message| Unread { name, flaw: Flaw { line, message } };
        if content.len() > MAX_SOURCE {
            return Err(unread(1, "it has more than 2 MiB"));
        }
        let text = std::str::from_utf8(content).map_err(|error| {
            unread(1 + content[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count(), "it is not UTF-8")
        })?;
        for (index, line) in text.lines().take(2).enumerate() {
            if declared_encoding(line).is_some_and(|encoding| !is_utf8(encoding)) {
                return Err(unread(index + 1, "it declares another encoding than UTF-8"));
            }
        }
        let tokens = tokens(text).map_err(|flaw| Unread { name, flaw })?;
        // A name that is short where it is used may stand for a long one.
        let mut room = MAX_SPELLED;
        let too_long = || unread(1, "the names in it are too long, spelled out");
        let (imports, aliases) = imports(&tokens, &mut room).ok_or_else(too_long)?;
        let uses = uses(&tokens, &aliases, &mut room).ok_or_else(too_long)?;
        let outermost = |name: &str| name.split('.').next().unwrap_or(name).to_owned();
        let imported = imports.iter().map(|(name, _)| outermost(name)).collect();
        let closes = brackets(&tokens);
        Ok(Self { name, tokens, closes, imports, imported, uses })
    }

    /// Uses of exactly that name, or of anything below it where it ends in a dot.
    pub(super) fn uses_of<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s Use> {
        self.uses.iter().filter(move |used| match name.strip_suffix('.') {
            Some(module) => used.path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')),
            None => used.path == name,
        })
    }

    /// Whether a module of the outermost level, or one below it, is imported.
    pub(super) fn imports(&self, module: &str) -> bool {
        self.imported.contains(module)
    }

    /// String literals that are not documentation: a literal that is a statement of its own does nothing.
    pub(super) fn literals(&self) -> impl Iterator<Item = (&Token, Literal)> {
        let ends = |token: Option<&Token>| token.is_none_or(|token| token.kind == Kind::End);
        self.tokens.iter().enumerate().filter_map(move |(index, token)| {
            let Kind::Text(literal) = token.kind else { return None };
            let before = index.checked_sub(1).and_then(|index| self.tokens.get(index));
            let alone = ends(before) && ends(self.tokens.get(index + 1));
            (!alone || literal.formatted).then_some((token, literal))
        })
    }

    /// What stands in the brackets that open after `token`, both left out; nothing where none opens.
    pub(super) fn arguments(&self, token: usize) -> &[Token] {
        let start = token + 2;
        if self.tokens.get(token + 1).is_none_or(|token| token.text != "(" || token.kind != Kind::Mark) {
            return &[];
        }
        &self.tokens[start..self.closes[token + 1]]
    }
}

/// PEP 263: `^[ \t\f]*#.*?coding[:=][ \t]*([-_.a-zA-Z0-9]+)`.
fn declared_encoding(line: &str) -> Option<&str> {
    let comment = line.trim_start_matches(['\u{feff}', ' ', '\t', '\x0c']).strip_prefix('#')?;
    // The first that has a name behind it: one without is passed over.
    comment.match_indices("coding").find_map(|(at, word)| {
        let name = comment[at + word.len()..].strip_prefix([':', '='])?.trim_start_matches([' ', '\t']);
        let end = name.find(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c))).unwrap_or(name.len());
        (end > 0).then(|| &name[..end])
    })
}

fn is_utf8(encoding: &str) -> bool {
    let name = encoding.to_ascii_lowercase().replace('_', "-");
    matches!(name.as_str(), "utf-8" | "utf8" | "ascii" | "us-ascii" | "utf-8-sig")
}

fn is_name(token: Option<&Token>) -> Option<&str> {
    token.filter(|token| token.kind == Kind::Name).map(|token| token.text.as_str())
}

fn is_mark(token: Option<&Token>, mark: &str) -> bool {
    token.is_some_and(|token| token.kind == Kind::Mark && token.text == mark)
}

/// `a.b.c` from `at`; the index after it.
fn dotted(tokens: &[Token], at: usize) -> Option<(String, usize)> {
    let mut path = is_name(tokens.get(at))?.to_owned();
    let mut next = at + 1;
    for _ in 0..MAX_PARTS {
        let (true, Some(part)) = (is_mark(tokens.get(next), "."), is_name(tokens.get(next + 1))) else { break };
        path.push('.');
        path.push_str(part);
        next += 2;
    }
    Some((path, next))
}

/// Whether a statement begins at `at`: what is imported there is no use of it.
fn begins(tokens: &[Token], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|before| tokens.get(before));
    before.is_none_or(|before| before.kind == Kind::End) || is_mark(before, ":")
}

/// Takes what a name is long off the `room` there is; nothing where that is too little.
fn spelled(name: String, room: &mut usize) -> Option<String> {
    *room = room.checked_sub(name.len())?;
    Some(name)
}

/// Imported modules with their lines, and what each name then stands for.
#[expect(clippy::type_complexity, reason = "two lists that are made together")]
fn imports(tokens: &[Token], room: &mut usize) -> Option<(Vec<(String, usize)>, BTreeMap<String, String>)> {
    let (mut modules, mut aliases) = (Vec::new(), BTreeMap::new());
    let mut at = 0;
    while at < tokens.len() {
        let line = tokens[at].line;
        match is_name(tokens.get(at)) {
            Some("import") if begins(tokens, at) => {
                at += 1;
                while let Some((path, next)) = dotted(tokens, at) {
                    at = next;
                    if is_name(tokens.get(at)) == Some("as") {
                        if let Some(alias) = is_name(tokens.get(at + 1)) {
                            aliases.insert(alias.to_owned(), path.clone());
                        }
                        at += 2;
                    }
                    modules.push((path, line));
                    if !is_mark(tokens.get(at), ",") {
                        break;
                    }
                    at += 1;
                }
            }
            Some("from") if begins(tokens, at) => {
                let Some((module, next)) = dotted(tokens, at + 1) else {
                    at += 1;
                    continue;
                };
                if is_name(tokens.get(next)) != Some("import") {
                    at += 1;
                    continue;
                }
                at = next + 1;
                if is_mark(tokens.get(at), "(") {
                    at += 1;
                }
                if is_mark(tokens.get(at), "*") {
                    modules.push((format!("{module}.*"), line));
                }
                while let Some(name) = is_name(tokens.get(at)) {
                    let path = spelled(format!("{module}.{name}"), room)?;
                    at += 1;
                    let mut known_as = name;
                    if is_name(tokens.get(at)) == Some("as") {
                        known_as = is_name(tokens.get(at + 1)).unwrap_or(name);
                        at += 2;
                    }
                    aliases.insert(known_as.to_owned(), path.clone());
                    modules.push((path, line));
                    if !is_mark(tokens.get(at), ",") {
                        break;
                    }
                    at += 1;
                }
            }
            _ => at += 1,
        }
    }
    Some((modules, aliases))
}

/// Words that are no names.
const KEYWORDS: [&str; 35] = [
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del",
    "elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal",
    "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
];

/// Every dotted name that is used as a value, an alias replaced by what it stands for.
fn uses(tokens: &[Token], aliases: &BTreeMap<String, String>, room: &mut usize) -> Option<Vec<Use>> {
    let mut uses = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if matches!(is_name(tokens.get(at)), Some("import" | "from")) && begins(tokens, at) {
            at += tokens[at..].iter().position(|token| token.kind == Kind::End).unwrap_or(tokens.len() - at);
            continue;
        }
        let before = at.checked_sub(1).and_then(|before| tokens.get(before));
        let Some((path, next)) = dotted(tokens, at) else {
            at += 1;
            continue;
        };
        let defined = matches!(is_name(before), Some("def" | "class" | "as"));
        // Of what is not a name (a call, an item) only the attributes are known.
        let attribute = is_mark(before, ".");
        // A keyword argument or the target of an assignment.
        let assigned = is_mark(tokens.get(next), "=") && !is_mark(tokens.get(next + 1), "=");
        if !(defined || KEYWORDS.contains(&path.as_str()) || assigned && !path.contains('.')) {
            let (first, rest) = path.split_once('.').map_or((path.as_str(), ""), |(first, rest)| (first, rest));
            let full = match aliases.get(first) {
                Some(module) if rest.is_empty() => module.clone(),
                Some(module) => format!("{module}.{rest}"),
                None => path.clone(),
            };
            let path = spelled(if attribute { format!("?.{path}") } else { full }, room)?;
            uses.push(Use { path, line: tokens[at].line, called: is_mark(tokens.get(next), "("), token: next - 1 });
        }
        at = next;
    }
    Some(uses)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(source: &str) -> Vec<String> {
        let source = Source::read("main.py", source.as_bytes()).unwrap();
        source.uses.iter().map(|used| format!("{}{}", used.path, if used.called { "()" } else { "" })).collect()
    }

    #[test]
    fn names_are_followed_through_imports() {
        let check = |source: &str, expected: &[&str]| assert_eq!(paths(source), expected, "{source}");
        check("import subprocess as s\ns.run(['x'])", &["subprocess.run()"]);
        check("from os import system as go, path\ngo('x')\npath", &["os.system()", "os.path"]);
        check("from urllib import (\n  request,\n  parse as p,\n)\np.quote(a)", &["urllib.parse.quote()", "a"]);
        check("f = exec\nf(x)", &["exec", "f()", "x"]);
        check("def exec(): pass\nrun(compile=1)", &["run()"]);
        check("x().y.z()", &["x()", "?.y.z()"]);
        check("if a == b: import socket\nsocket.socket()", &["a", "b", "socket.socket()"]);
    }

    #[test]
    fn documentation_is_told_from_values() {
        let source = "\"\"\"See https://a.example.\"\"\"\nURL = 'https://b.net'\ndef f():\n    'doc'\n    return 'c'\n";
        let source = Source::read("main.py", source.as_bytes()).unwrap();
        assert_eq!(source.literals().map(|(token, _)| token.text.as_str()).collect::<Vec<_>>(), ["https://b.net", "c"]);
    }

    #[test]
    fn an_encoding_that_hides_code_is_refused() {
        let check = |first: &str, reads: bool| {
            let read = Source::read("main.py", format!("{first}\nprint(1)\n").as_bytes());
            assert_eq!(read.is_ok(), reads, "{first}");
        };
        check("# coding: ! coding: utf-7", false);
        check("# -*- coding: utf-8 -*-", true);
        check("# vim: set fileencoding=UTF_8 :", true);
        check("# coding: rot13", false);
        check("#!/usr/bin/python\n# -*- coding: unicode_escape -*-", false);
        check("# coding=utf-7", false);
        assert!(Source::read("main.py", b"x = '\xff'").is_err());
    }
}
