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
        let mut assigned = Assigned::of(source);
        for (name, how) in RUNS {
            for used in source.uses_of(name).filter(|used| !is_harmless(source, used)) {
                let place = format!("{}, line {}", source.name, used.line);
                let decoded = hidden(source, &mut assigned, used);
                let message = match &decoded {
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

/// What decodes the bytes that `used` runs: within its brackets, or, where it runs a name, where that is assigned.
fn hidden(source: &Source<'_>, assigned: &mut Assigned<'_>, used: &Use) -> Option<String> {
    let arguments = source.arguments(used.token);
    let first = used.token + 2;
    let name = arguments.first()?;
    decoder(source, first, first + arguments.len()).or_else(|| {
        // `code = zlib.decompress(…)` and later `exec(code)`.
        (name.kind == Kind::Name).then(|| assigned.decoder(source, &name.text)).flatten()
    })
}

/// The first use of what decodes among the tokens from one to another.
fn decoder(source: &Source<'_>, from: usize, to: usize) -> Option<String> {
    // Uses stand in the order of their tokens.
    let inside = &source.uses[source.uses.partition_point(|used| used.token < from)..];
    let mut inside = inside.iter().take_while(|used| used.token < to);
    inside.find(|used| DECODES.iter().any(|name| is(&used.path, name))).map(|used| used.path.clone())
}

/// Where names are assigned, each looked into once.
struct Assigned<'s> {
    places: HashMap<&'s str, Vec<usize>>,
    decoders: HashMap<&'s str, Option<String>>,
}

impl<'s> Assigned<'s> {
    fn of(source: &'s Source<'_>) -> Self {
        let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
        for (at, pair) in source.tokens.windows(2).enumerate() {
            if pair[0].kind == Kind::Name && pair[1].kind == Kind::Mark && pair[1].text == "=" {
                places.entry(&pair[0].text).or_default().push(at);
            }
        }
        Self { places, decoders: HashMap::new() }
    }

    /// What decodes where `name` is assigned.
    fn decoder(&mut self, source: &Source<'_>, name: &str) -> Option<String> {
        let (&name, places) = self.places.get_key_value(name)?;
        let look = || {
            places.iter().find_map(|&at| {
                let end = source.tokens[at..].iter().position(|token| token.kind == Kind::End)?;
                decoder(source, at + 2, at + end)
            })
        };
        self.decoders.entry(name).or_insert_with(look).clone()
    }
}

pub(super) fn is(path: &str, name: &str) -> bool {
    match name.strip_suffix('.') {
        Some(module) => path.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')),
        None => path == name,
    }
}
