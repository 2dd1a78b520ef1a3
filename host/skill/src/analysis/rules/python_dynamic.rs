//! SA024: code that is made at run time is code that nobody has read.

use super::{Check, Context, Findings, Rule};
use crate::analysis::python::{Kind, Source, Use};
use crate::analysis::report::Severity;
use std::collections::HashMap;

pub(super) const RULE: Rule = Rule {
    id: "SA024",
    title: "dynamic code",
    severity: Severity::Error,
    what: "A Python file runs text or bytes as code (exec, eval, compile, importlib, runpy, pickle, marshal, code \
           objects), installs packages when it is called, or reaches for what is not named (__builtins__, \
           __subclasses__, globals()). An error where what is run was decoded, unpacked or fetched just before; else a \
           warning.",
    why: "What is made at run time is seen by no rule and by no reader, and may be another thing at every call.",
    advice: "write the code out; read data with json or ast.literal_eval",
    check: Check::Python(check),
};

/// Names that run something, and how they do.
const RUNS: [(&str, &str); 22] = [
    ("exec", "runs text as code"),
    ("eval", "runs text as code"),
    ("compile", "makes code of text"),
    ("builtins.exec", "runs text as code"),
    ("builtins.eval", "runs text as code"),
    ("builtins.compile", "makes code of text"),
    ("__import__", "imports a module by a computed name"),
    ("builtins.__import__", "imports a module by a computed name"),
    ("importlib.import_module", "imports a module by a computed name"),
    ("importlib.util.", "loads modules by hand"),
    ("importlib.machinery.", "loads modules by hand"),
    ("runpy.", "runs a file or module"),
    ("code.", "runs text as code"),
    ("codeop.", "makes code of text"),
    ("marshal.", "makes code of bytes"),
    ("pickle.", "runs what the bytes name"),
    ("_pickle.", "runs what the bytes name"),
    ("shelve.", "runs what the bytes name"),
    ("types.FunctionType", "makes a function of a code object"),
    ("types.CodeType", "makes a code object"),
    ("pip.", "installs packages"),
    ("ensurepip.", "installs packages"),
];

/// Ways to what is not named.
const REACHES: [&str; 7] =
    ["__builtins__", "__subclasses__", "__globals__", "__code__", "__loader__", "__getattribute__", "__bases__"];

/// What turns hidden bytes into readable ones.
pub(super) const DECODES: [&str; 14] = [
    "base64.",
    "binascii.",
    "zlib.",
    "gzip.",
    "bz2.",
    "lzma.",
    "codecs.",
    "marshal.",
    "urllib.request.",
    "bytes.fromhex",
    "bytearray.fromhex",
    "chr",
    "http.client.",
    "requests.",
];

fn check(context: &Context<'_>, findings: &mut Findings) {
    for source in &context.python {
        let mut decoding = Decoding::of(source);
        for (name, how) in RUNS {
            for used in source.uses_of(name).filter(|used| !is_harmless(source, used)) {
                let place = format!("{}, line {}", source.name, used.line);
                let decoded = decoding.hidden(used);
                let message = match decoded {
                    Some(from) => format!("{} {how}, of what {from} makes of hidden bytes", used.path),
                    None => format!("{} {how}", used.path),
                };
                if decoded.is_some() {
                    findings.error(&place, message, RULE.advice);
                } else {
                    findings.warning(&place, message, RULE.advice);
                }
            }
        }
        for token in source.tokens.iter().filter(|token| token.kind == Kind::Name || is_text(token.kind)) {
            if let Some(name) = REACHES.iter().find(|name| token.text == **name) {
                let place = format!("{}, line {}", source.name, token.line);
                findings.warning(&place, format!("{name} reaches what is not named"), RULE.advice);
            }
        }
        for used in ["globals", "locals", "vars", "sys.modules"].iter().flat_map(|name| source.uses_of(name)) {
            let end = used.token + if used.called { 3 } else { 1 };
            let looked_up = source.tokens.get(end).is_some_and(|token| matches!(token.text.as_str(), "[" | "."));
            if looked_up {
                let place = format!("{}, line {}", source.name, used.line);
                findings.warning(&place, format!("{} is searched for a computed name", used.path), RULE.advice);
            }
        }
    }
}

fn is_text(kind: Kind) -> bool {
    matches!(kind, Kind::Text(_))
}

/// `__import__("json")` and `importlib.import_module("json")` say what they import. `code` is a common name of a value.
fn is_harmless(source: &Source<'_>, used: &Use) -> bool {
    let module = used.path.split('.').next().unwrap_or_default();
    if matches!(module, "code" | "pip" | "marshal" | "pickle" | "shelve" | "runpy" | "codeop")
        && !source.imports(module)
    {
        return true;
    }
    let imports = used.path.ends_with("__import__") || used.path.ends_with("import_module");
    let arguments = source.arguments(used.token);
    let literal = arguments.len() == 1 && matches!(arguments[0].kind, Kind::Text(literal) if !literal.formatted);
    imports && literal && !DANGEROUS.contains(&arguments[0].text.as_str())
}

/// Modules that a literal import does not excuse.
const DANGEROUS: [&str; 6] = ["os", "subprocess", "socket", "ctypes", "builtins", "marshal"];

/// Where a source decodes hidden bytes, and where it assigns names. Each is looked up, and nothing walked through again.
struct Decoding<'s> {
    source: &'s Source<'s>,
    /// For each use, the first one from there on that decodes.
    next: Vec<usize>,
    /// For each token, the first end of a statement from there on.
    ends: Vec<usize>,
    /// Where each name is assigned.
    assigned: HashMap<&'s str, Vec<usize>>,
    /// What decodes where a name is assigned.
    known: HashMap<&'s str, Option<&'s str>>,
}

impl<'s> Decoding<'s> {
    fn of(source: &'s Source<'s>) -> Self {
        let backwards = |count: usize, is_one: &dyn Fn(usize) -> bool| {
            let mut next = vec![count; count + 1];
            for at in (0..count).rev() {
                next[at] = if is_one(at) { at } else { next[at + 1] };
            }
            next
        };
        let decodes = |at: usize| DECODES.iter().any(|name| is(&source.uses[at].path, name));
        let mut assigned: HashMap<&str, Vec<usize>> = HashMap::new();
        for (at, pair) in source.tokens.windows(2).enumerate() {
            if pair[0].kind == Kind::Name && pair[1].kind == Kind::Mark && pair[1].text == "=" {
                assigned.entry(&pair[0].text).or_default().push(at);
            }
        }
        Self {
            source,
            next: backwards(source.uses.len(), &decodes),
            ends: backwards(source.tokens.len(), &|at| source.tokens[at].kind == Kind::End),
            assigned,
            known: HashMap::new(),
        }
    }

    /// What decodes the bytes that `used` runs: within its brackets, or, where it runs a name, where that is assigned.
    fn hidden(&mut self, used: &Use) -> Option<&'s str> {
        let arguments = self.source.arguments(used.token);
        let name = arguments.first()?;
        let first = used.token + 2;
        // `code = zlib.decompress(…)` and later `exec(code)`.
        self.within(first, first + arguments.len())
            .or_else(|| (name.kind == Kind::Name).then(|| self.assigned(&name.text)).flatten())
    }

    /// The first use of what decodes among the tokens from one to another.
    fn within(&self, from: usize, to: usize) -> Option<&'s str> {
        // Uses stand in the order of their tokens.
        let first = self.source.uses.partition_point(|used| used.token < from);
        let found = self.source.uses.get(self.next[first])?;
        (found.token < to).then_some(found.path.as_str())
    }

    fn assigned(&mut self, name: &str) -> Option<&'s str> {
        let (&name, places) = self.assigned.get_key_value(name)?;
        if let Some(known) = self.known.get(name) {
            return *known;
        }
        let found = places.iter().find_map(|&at| self.within(at + 2, self.ends[at]));
        self.known.insert(name, found);
        found
    }
}

pub(super) fn is(path: &str, name: &str) -> bool {
    match name.strip_suffix('.') {
        Some(module) => path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')),
        None => path == name,
    }
}
