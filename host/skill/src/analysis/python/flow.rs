//! Where the secrets of a connection go in a skill's requests, as far as its source shows it: what whoever connects the account
//! is proposed as places for their placeholders.
//!
//! Follows names: from `params["api_key"]` through assignments, calls of the package's own functions, dictionaries, and texts
//! that are put together, into a header, a URL or a body. It is a guess both ways: what it finds may never be sent, and what
//! is put together in other ways it overlooks. Nothing is granted by it.

mod place;
mod tokens;
mod value;

use super::{Kind, Source, Token, dotted, is_mark, is_name};
use crate::analysis::report::Placement;
use crate::manifest::{FieldKind, Manifest};
use place::{Part, is_headers, is_library, position, url_position};
use std::cell::Cell;
use std::collections::{BTreeSet, HashMap};
pub(super) use tokens::brackets;
use tokens::{defined, parameters, text};
use value::{Entry, ITEMS, Value};

/// Brackets within brackets that are looked into.
const DEEPEST: usize = 16;
/// How often the sources are gone through: a secret that is handed on more often is lost sight of.
const PASSES: usize = 6;
/// Tokens that are followed. The largest public skill has fewer than a tenth of them.
const MOST_TOKENS: usize = 400_000;
/// Steps in all: each token once in every pass at every depth. What takes more was not written to be read.
const MOST_STEPS: usize = MOST_TOKENS * PASSES * DEEPEST;
/// Targets of one assignment, and values that are put into one text.
const MOST_TARGETS: usize = 8;
const MOST_PUT_IN: usize = 64;
/// Bytes of a text that is put together for a URL.
const LONGEST_URL: usize = 4096;
/// Positions of one field. A connection takes no more.
const MOST_POSITIONS: usize = 16;

/// Methods of a text or a dictionary that give the same secrets again.
const SAME: [&str; 11] = [
    "strip",
    "lstrip",
    "rstrip",
    "encode",
    "decode",
    "lower",
    "upper",
    "replace",
    "removeprefix",
    "removesuffix",
    "copy",
];
/// Functions whose result holds what they are given.
const PASS_ON: [&str; 6] = ["str", "bytes", "quote", "quote_plus", "unquote", "repr"];
/// What is said to people and logs is no request.
const SAID: [&str; 8] = ["print", "write", "debug", "info", "warning", "error", "exception", "log"];

/// The positions that the sources show, by field and in the order in which they are found.
pub(in crate::analysis) fn positions(sources: &[Source<'_>], manifest: &Manifest) -> Vec<Placement> {
    let Some(integration) = &manifest.integration else { return Vec::new() };
    let fields = integration.fields.iter().filter(|field| field.kind == FieldKind::Secret);
    let fields: Vec<&str> = fields.map(|field| field.key.as_str()).collect();
    let tokens: usize = sources.iter().map(|source| source.tokens.len()).sum();
    if fields.is_empty() || tokens > MOST_TOKENS {
        return Vec::new();
    }
    let mut follower = Follower::new(sources, fields, MOST_STEPS);
    follower.follow();
    let named = |(field, position, place): (usize, String, String)| {
        let field = follower.fields[field].to_owned();
        Placement { service: integration.service.clone(), field, position, place }
    };
    std::mem::take(&mut follower.found).into_iter().map(named).collect()
}

/// Where an expression stands.
#[derive(Debug, Clone, Copy)]
struct Here {
    file: usize,
    scope: usize,
    depth: usize,
}

impl Here {
    fn deeper(self) -> Self {
        Self { depth: self.depth + 1, ..self }
    }
}

/// An argument of a call: its name, and its tokens.
type Argument<'a> = (Option<&'a str>, (usize, usize));

struct Follower<'a> {
    sources: &'a [Source<'a>],
    fields: Vec<&'a str>,
    /// Names of a function, or of a file outside its functions.
    names: HashMap<(usize, String), Value>,
    /// The package's own functions: the scope, and the parameters in their order.
    functions: HashMap<&'a str, (usize, Vec<&'a str>)>,
    results: HashMap<usize, Value>,
    found: Vec<(usize, String, String)>,
    /// Within how many calls that say something to people.
    said: usize,
    changed: bool,
    /// Steps that may still be taken.
    left: Cell<usize>,
}

impl<'a> Follower<'a> {
    fn new(sources: &'a [Source<'a>], fields: Vec<&'a str>, steps: usize) -> Self {
        let mut functions = HashMap::new();
        // The first scopes are the files' own.
        let mut scope = sources.len();
        for source in sources {
            let mut before = None;
            for (at, name) in defined(&source.tokens) {
                scope += usize::from(before.replace(at) != Some(at));
                functions.insert(name, (scope, parameters(&source.tokens, &source.closes, at + 2)));
            }
        }
        Self {
            sources,
            fields,
            names: HashMap::new(),
            functions,
            results: HashMap::new(),
            found: Vec::new(),
            said: 0,
            changed: false,
            left: Cell::new(steps),
        }
    }

    /// Goes through all sources until nothing new is found. Where the steps do not suffice nothing is.
    fn follow(&mut self) {
        for _ in 0..PASSES {
            self.changed = false;
            for file in 0..self.sources.len() {
                self.file(file);
            }
            if !self.changed {
                break;
            }
        }
        if self.is_spent() {
            self.found.clear();
        }
        self.found.sort_by_key(|(field, ..)| *field);
    }

    /// Takes so many steps, where they are left.
    fn step(&self, steps: usize) -> bool {
        let left = self.left.get().checked_sub(steps);
        self.left.set(left.unwrap_or(0));
        left.is_some()
    }

    fn is_spent(&self) -> bool {
        self.left.get() == 0
    }

    fn tokens(&self, file: usize) -> &'a [Token] {
        &self.sources[file].tokens
    }

    /// All statements of a file. What stands behind a function's head belongs to it, up to the next one.
    fn file(&mut self, file: usize) {
        let tokens = self.tokens(file);
        let mut here = Here { file, scope: file, depth: 0 };
        let mut start = 0;
        for (end, _) in tokens.iter().enumerate().filter(|(_, token)| token.kind == Kind::End) {
            if self.is_spent() {
                return;
            }
            self.statement(&mut here, start, end);
            start = end + 1;
        }
    }

    fn statement(&mut self, here: &mut Here, mut from: usize, to: usize) {
        let tokens = self.tokens(here.file);
        while let Some(word) = is_name(tokens.get(from).filter(|_| from < to)) {
            match word {
                "async" | "else" | "try" | "finally" if from + 1 < to => {
                    from += 1 + usize::from(is_mark(tokens.get(from + 1), ":"));
                }
                "if" | "elif" | "while" | "for" | "with" | "except" | "class" => {
                    let body = self.body(*here, from, to);
                    self.value(*here, from + 1, body);
                    from = body;
                }
                "def" => {
                    let known = is_name(tokens.get(from + 1)).and_then(|name| self.functions.get(name));
                    here.scope = known.map_or(here.file, |(scope, _)| *scope);
                    from = self.body(*here, from, to);
                }
                "return" | "yield" => {
                    let value = self.value(*here, from + 1, to);
                    let result = self.results.entry(here.scope).or_default();
                    self.changed |= result.add(value);
                    return;
                }
                "import" | "from" | "global" | "nonlocal" => return,
                _ => break,
            }
        }
        if from < to {
            self.assignment(*here, from, to);
        }
    }

    /// What comes behind the colon of a statement's head.
    fn body(&self, here: Here, from: usize, to: usize) -> usize {
        self.outside(here, from, to, &[":"]).map_or(to, |colon| colon + 1)
    }

    /// `name = value`, `name: type = value`, `name += value`, `name["key"] = value`, or an expression by itself.
    fn assignment(&mut self, here: Here, from: usize, to: usize) {
        let tokens = self.tokens(here.file);
        let mut targets = Vec::new();
        let mut start = from;
        let mut at = from;
        while at < to && self.step(1) {
            if is_mark(tokens.get(at), "=") {
                if is_mark(tokens.get(at + 1), "=") {
                    at += 2;
                    continue;
                }
                let before = at.checked_sub(1).and_then(|before| tokens.get(before));
                let is = |marks: &[&str]| marks.iter().any(|mark| is_mark(before, mark));
                if !is(&["!", "<", ">", ":"]) {
                    let augmented = is(&["+", "|", "-", "*", "/", "%"]);
                    targets.push((start, at - usize::from(augmented && at > start)));
                    start = at + 1;
                }
            }
            at = self.after(here, at);
        }
        let value = self.value(here, start, to);
        targets.truncate(MOST_TARGETS);
        for (from, to) in targets {
            let to = self.outside(here, from, to, &[":"]).unwrap_or(to);
            let parts = self.split(here, from, to);
            if parts.len() == 1 {
                self.assign(here, (from, to), value.clone());
                continue;
            }
            let given = self.split(here, start, self.end_of(here, start));
            if given.len() == parts.len() {
                for (target, given) in parts.into_iter().zip(given) {
                    let value = self.value(here, given.0, given.1);
                    self.assign(here, target, value);
                }
            }
        }
    }

    /// The end of the statement that `at` stands in.
    fn end_of(&self, here: Here, at: usize) -> usize {
        let tokens = self.tokens(here.file);
        tokens[at..].iter().position(|token| token.kind == Kind::End).map_or(tokens.len(), |end| at + end)
    }

    fn assign(&mut self, here: Here, (from, to): (usize, usize), value: Value) {
        let tokens = self.tokens(here.file);
        let Some((path, mut at)) = dotted(tokens, from).filter(|(_, next)| *next <= to) else { return };
        let mut keys = Vec::new();
        while at < to && is_mark(tokens.get(at), "[") {
            let close = self.close(here, at);
            let Some(key) = text(tokens, at + 1, close) else { return };
            keys.push(key);
            at = close + 1;
        }
        if at != to {
            return;
        }
        let line = tokens[from].line;
        let held = keys
            .iter()
            .rev()
            .fold(value, |value, key| Value { entries: value.below(key, here.file, line), ..Value::default() });
        if is_headers(&path) {
            self.leave(Part::Headers, &held.entries);
        }
        self.hold(here, &path, held);
    }

    /// A name holds something more.
    fn hold(&mut self, here: Here, path: &str, value: Value) {
        // What hangs on an object is known to all of its functions.
        let scope = if path.contains('.') { here.file } else { here.scope };
        let held = self.names.entry((scope, path.to_owned())).or_default();
        self.changed |= held.add(value);
    }

    fn held(&self, here: Here, path: &str) -> Option<&Value> {
        let of = |scope: usize| self.names.get(&(scope, path.to_owned()));
        of(here.scope).or_else(|| of(here.file))
    }

    /// What the tokens from `from` to `to` may hold. What leaves within them is noted.
    fn value(&mut self, here: Here, from: usize, to: usize) -> Value {
        let mut whole = Value::default();
        if here.depth > DEEPEST {
            return whole;
        }
        let tokens = self.tokens(here.file);
        // The text that an operand stands behind, as far as it is known.
        let mut before = String::new();
        let mut at = from;
        while at < to && self.step(1) {
            if before.len() > LONGEST_URL {
                before.clear();
            }
            let token = &tokens[at];
            match (token.kind, token.text.as_str()) {
                (Kind::Text(_), _) => {
                    let (value, text, next) = self.literal(here, at, to, &before);
                    whole.add(value);
                    before.push_str(&text);
                    at = next;
                    continue;
                }
                (Kind::Name, "lambda") => at = self.outside(here, at, to, &[":"]).unwrap_or(to),
                (Kind::Name, "if" | "else" | "or" | "and" | "not" | "in" | "is" | "for" | "await" | "as") => {
                    before.clear()
                }
                (Kind::Name, _) => {
                    let (value, next) = self.operand(here, at, to);
                    self.join(&mut whole, value, &mut before, (here.file, token.line));
                    at = next;
                    continue;
                }
                (Kind::Mark, "(" | "[" | "{") => {
                    let close = self.close(here, at).min(to);
                    let inside = self.brackets(here, token.text.as_str(), at + 1, close);
                    let (value, next) = self.chain(here, inside, close + 1, to);
                    self.join(&mut whole, value, &mut before, (here.file, token.line));
                    at = next;
                    continue;
                }
                (Kind::Number, _) => before.push_str("{}"),
                (Kind::Mark, "+") => {}
                _ => before.clear(),
            }
            at += 1;
        }
        whole
    }

    /// Adds an operand that stands behind `before`.
    fn join(&mut self, whole: &mut Value, mut value: Value, before: &mut String, at: (usize, usize)) {
        self.in_url(before, &value, at);
        if !before.is_empty() {
            let encoded = std::mem::take(&mut value.encoded);
            self.leave(Part::Query, &encoded);
        }
        whole.add(value);
        before.push_str("{}");
    }

    /// A literal, with what is put into it: what that holds, the text with `{}` where something is put in, and what comes next.
    fn literal(&mut self, here: Here, at: usize, to: usize, before: &str) -> (Value, String, usize) {
        let tokens = self.tokens(here.file);
        let token = &tokens[at];
        let formatted = matches!(token.kind, Kind::Text(literal) if literal.formatted);
        let mut put_in = Vec::new();
        let mut next = at + 1;
        let mut shown = token.text.clone();
        let method = || is_name(tokens.get(at + 2)).filter(|_| is_mark(tokens.get(at + 3), "("));
        if formatted {
            while next < to && is_mark(tokens.get(next), "(") {
                let close = self.close(here, next).min(to);
                put_in.push((next + 1, close));
                next = close + 1;
            }
        } else if is_mark(tokens.get(next), "%") && next + 1 < to {
            shown = ["%s", "%d", "%r"].iter().fold(shown, |text, mark| text.replace(mark, "{}"));
            if is_mark(tokens.get(next + 1), "(") {
                let close = self.close(here, next + 1).min(to);
                put_in = self.split(here, next + 2, close);
                next = close + 1;
            } else {
                let end = self.outside(here, next + 1, to, &["+", ","]).unwrap_or(to);
                put_in.push((next + 1, end));
                next = end;
            }
        } else if is_mark(tokens.get(next), ".") && matches!(method(), Some("format" | "join")) {
            let close = self.close(here, at + 3).min(to);
            put_in = self.split(here, at + 4, close);
            if method() == Some("join") {
                shown = "{}".into();
            }
            next = close + 1;
        }
        let places: Vec<usize> = shown.match_indices("{}").map(|(at, _)| at).collect();
        let mut whole = Value::default();
        for (index, (from, to)) in put_in.into_iter().take(MOST_PUT_IN).enumerate() {
            // A field of a format may be named.
            let (name, (from, to)) = self.argument(here, (from, to));
            let mut value = self.value(here.deeper(), from, to);
            let named = name.and_then(|name| shown.find(&format!("{{{name}}}")));
            let place = named.or_else(|| places.get(index).copied()).unwrap_or(0);
            let text = format!("{before}{}", shown.get(..place).unwrap_or_default());
            self.in_url(&text, &value, (here.file, token.line));
            self.leave(Part::Query, &std::mem::take(&mut value.encoded));
            value.entries.clear();
            whole.add(value);
        }
        (whole, shown, next)
    }

    /// A dotted name with what hangs on it: calls, items, attributes.
    fn operand(&mut self, here: Here, at: usize, to: usize) -> (Value, usize) {
        let tokens = self.tokens(here.file);
        let Some((path, next)) = dotted(tokens, at) else { return (Value::default(), at + 1) };
        // The longest beginning that is known to hold something.
        let parts: Vec<&str> = path.split('.').collect();
        let known = (1..=parts.len()).rev().find(|length| self.held(here, &parts[..*length].join(".")).is_some());
        let value = known.and_then(|length| self.held(here, &parts[..length].join("."))).cloned().unwrap_or_default();
        let whole = known == Some(parts.len());
        let called = next < to && is_mark(tokens.get(next), "(");
        if !called {
            return self.chain(here, if whole { value } else { Value::default() }, next, to);
        }
        let close = self.close(here, next).min(to);
        let (name, holder) = match parts.split_last() {
            Some((name, [])) => (*name, None),
            Some((name, holder)) => (*name, Some(holder.join("."))),
            None => return (value, next),
        };
        let receiver = if whole { Value::default() } else { value };
        let result = self.call(here, (name, holder.as_deref()), receiver, (next + 1, close));
        self.chain(here, result, close + 1, to)
    }

    /// Items, attributes and calls that hang on a value.
    fn chain(&mut self, here: Here, mut value: Value, mut at: usize, to: usize) -> (Value, usize) {
        let tokens = self.tokens(here.file);
        while at < to {
            if is_mark(tokens.get(at), "[") {
                let close = self.close(here, at).min(to);
                value = match text(tokens, at + 1, close) {
                    Some(key) => self.secret(key).unwrap_or_else(|| value.under(key)),
                    None => {
                        self.value(here.deeper(), at + 1, close);
                        Value::default()
                    }
                };
                at = close + 1;
            } else if is_mark(tokens.get(at), ".") && is_name(tokens.get(at + 1)).is_some() {
                let name = is_name(tokens.get(at + 1)).unwrap_or_default();
                at += 2;
                if at < to && is_mark(tokens.get(at), "(") {
                    let close = self.close(here, at).min(to);
                    value = self.call(here, (name, None), value, (at + 1, close));
                    at = close + 1;
                } else {
                    value = Value::default();
                }
            } else if is_mark(tokens.get(at), "(") {
                let close = self.close(here, at).min(to);
                self.value(here.deeper(), at + 1, close);
                value = Value::default();
                at = close + 1;
            } else {
                break;
            }
        }
        (value, at)
    }

    /// What a call gives; what leaves with it is noted.
    fn call(
        &mut self,
        here: Here,
        (name, holder): (&str, Option<&str>),
        receiver: Value,
        (from, to): (usize, usize),
    ) -> Value {
        let here = here.deeper();
        let tokens = self.tokens(here.file);
        let arguments: Vec<Argument<'a>> =
            self.split(here, from, to).into_iter().map(|part| self.argument(here, part)).collect();
        let first = arguments.first().map(|(_, place)| *place);
        // `params.get("api_key")`, and a function of the package's own that does the like.
        let named = arguments.iter().find_map(|(_, (from, to))| self.secret(text(tokens, *from, *to)?));
        let own = self.functions.get(name).filter(|_| !holder.is_some_and(is_library));
        let own = own.filter(|(_, parameters)| self.step(parameters.len())).cloned();
        if let Some((scope, parameters)) = own {
            let mut result = self.own_call(here, scope, &parameters, arguments);
            result.add(named.unwrap_or_default());
            return result;
        }
        if matches!(name, "get" | "pop" | "getattr" | "setdefault") {
            if let Some(secret) = named {
                return secret;
            }
            if let Some(key) = first.and_then(|(from, to)| text(tokens, from, to)).filter(|key| !key.contains('/')) {
                return receiver.under(key);
            }
        }
        if SAID.contains(&name) {
            self.said += 1;
            self.value(here, from, to);
            self.said -= 1;
            return Value::default();
        }
        if SAME.contains(&name) {
            self.value(here, from, to);
            let mut receiver = receiver;
            if name == "encode" {
                self.leave(Part::Form, &std::mem::take(&mut receiver.encoded));
            }
            return receiver;
        }
        let line = tokens.get(from).map_or(0, |token| token.line);
        let mut values = Vec::with_capacity(arguments.len());
        for (name, (from, to)) in &arguments {
            values.push((*name, self.value(here, *from, *to)));
        }
        match name {
            _ if PASS_ON.contains(&name) => {
                let (_, value) = values.into_iter().next().unwrap_or_default();
                Value { entries: BTreeSet::new(), ..value }
            }
            "urlencode" => {
                let (_, value) = values.into_iter().next().unwrap_or_default();
                let encoded = value.entries.into_iter().filter(|entry| entry.path.len() == 1).collect();
                Value { encoded, ..Value::default() }
            }
            "dumps" => {
                if let Some((_, value)) = values.first() {
                    self.leave(Part::Json, &value.entries);
                }
                Value::default()
            }
            "dict" | "OrderedDict" | "update" => {
                let mut whole = Value::default();
                for (name, value) in values {
                    let entries = match name {
                        Some(name) => value.below(name, here.file, line),
                        None => value.entries,
                    };
                    whole.add(Value { entries, ..Value::default() });
                }
                let Some(holder) = holder.filter(|_| name == "update") else { return whole };
                if is_headers(holder) {
                    self.leave(Part::Headers, &whole.entries);
                }
                self.hold(here, holder, whole);
                Value::default()
            }
            "append" => {
                let (Some(holder), Some((_, value))) = (holder, values.into_iter().next()) else {
                    return Value::default();
                };
                let is_pair = first.is_some_and(|(from, _)| is_mark(tokens.get(from), "("));
                let entries = if is_pair { value.entries } else { value.below(ITEMS, here.file, line) };
                self.hold(here, holder, Value { entries, ..Value::default() });
                Value::default()
            }
            "add_header" | "add_unredirected_header" | "putheader" => {
                let key = first.and_then(|(from, to)| text(tokens, from, to));
                if let (Some(key), Some((_, value))) = (key, values.into_iter().nth(1)) {
                    self.leave(Part::Headers, &value.below(key, here.file, line));
                }
                Value::default()
            }
            _ => {
                for (index, (parameter, value)) in values.into_iter().enumerate() {
                    self.handed(name, index, parameter, &value);
                }
                Value::default()
            }
        }
    }

    /// A call of one of the package's own functions.
    fn own_call(&mut self, here: Here, scope: usize, parameters: &[&'a str], arguments: Vec<Argument<'a>>) -> Value {
        let tokens = self.tokens(here.file);
        let positional = parameters.iter().filter(|name| !matches!(**name, "self" | "cls")).copied();
        let mut positional = positional.collect::<Vec<_>>().into_iter();
        for (name, (from, to)) in arguments {
            // Each is looked for among all parameters.
            if !self.step(parameters.len()) {
                break;
            }
            if is_mark(tokens.get(from), "*") {
                // `f(**params)`: the fields by their names.
                for (field, key) in self.fields.clone().into_iter().enumerate() {
                    if parameters.contains(&key) {
                        let held = self.names.entry((scope, key.to_owned())).or_default();
                        self.changed |= held.add(Value::of(field));
                    }
                }
                continue;
            }
            let value = self.value(here, from, to);
            let parameter = match name {
                Some(name) => parameters.iter().copied().find(|parameter| *parameter == name),
                None => positional.next(),
            };
            match parameter {
                Some(parameter) => {
                    if is_headers(parameter) {
                        self.leave(Part::Headers, &value.entries);
                    }
                    let held = self.names.entry((scope, parameter.to_owned())).or_default();
                    self.changed |= held.add(value);
                }
                // It is handed on by its name, as to a library.
                None => self.handed("", usize::MAX, name, &value),
            }
        }
        self.results.get(&scope).cloned().unwrap_or_default()
    }

    /// What a function of a library does with what it is handed, by the names that the usual ones have.
    fn handed(&mut self, function: &str, index: usize, parameter: Option<&str>, value: &Value) {
        let sends = matches!(function, "post" | "put" | "patch" | "urlopen");
        match (parameter, index, function) {
            (Some("headers"), ..) | (None, 2, "Request") => self.leave(Part::Headers, &value.entries),
            (Some("params"), ..) => {
                self.leave(Part::Query, &value.entries);
                self.leave(Part::Query, &value.encoded);
            }
            (Some("json"), ..) => self.leave(Part::Json, &value.entries),
            (Some("data" | "body"), ..) | (None, 1, "Request") => {
                self.leave(Part::Form, &value.entries);
                self.leave(Part::Form, &value.encoded);
            }
            (None, 1, _) if sends => {
                self.leave(Part::Form, &value.entries);
                self.leave(Part::Form, &value.encoded);
            }
            _ => {}
        }
    }

    /// What stands in brackets that follow no name.
    fn brackets(&mut self, here: Here, open: &str, from: usize, to: usize) -> Value {
        let here = here.deeper();
        let tokens = self.tokens(here.file);
        let parts = self.split(here, from, to);
        let mut whole = Value::default();
        match open {
            "{" => {
                for (from, to) in parts {
                    let line = tokens.get(from).map_or(0, |token| token.line);
                    let Some(colon) = self.outside(here, from, to, &[":"]) else {
                        // `**others`, or an item of a set.
                        let from = from + tokens[from..to].iter().take_while(|token| token.text == "*").count();
                        let entries = self.value(here, from, to).entries;
                        whole.add(Value { entries, ..Value::default() });
                        continue;
                    };
                    let value = self.value(here, colon + 1, to);
                    if let Some(key) = text(tokens, from, colon) {
                        whole.add(Value { entries: value.below(key, here.file, line), ..Value::default() });
                    }
                }
            }
            "[" => {
                for (from, to) in parts {
                    let line = tokens.get(from).map_or(0, |token| token.line);
                    let value = self.value(here, from, to);
                    let is_pair = is_mark(tokens.get(from), "(");
                    let entries = if is_pair { value.entries } else { value.below(ITEMS, here.file, line) };
                    whole.add(Value { entries, ..Value::default() });
                }
            }
            _ if parts.len() == 2 && text(tokens, parts[0].0, parts[0].1).is_some() => {
                let key = text(tokens, parts[0].0, parts[0].1).unwrap_or_default();
                let line = tokens.get(from).map_or(0, |token| token.line);
                let value = self.value(here, parts[1].0, parts[1].1);
                whole.add(Value { entries: value.below(key, here.file, line), ..Value::default() });
            }
            _ => {
                for (from, to) in parts {
                    let value = self.value(here, from, to);
                    whole.add(value);
                }
            }
        }
        whole
    }

    /// The field of that name.
    fn secret(&self, key: &str) -> Option<Value> {
        self.fields.iter().position(|field| *field == key).map(Value::of)
    }

    /// A value stands behind `before` in a text: that may be a URL.
    fn in_url(&mut self, before: &str, value: &Value, at: (usize, usize)) {
        if value.secrets.is_empty() {
            return;
        }
        if let Some(position) = url_position(before) {
            for field in &value.secrets {
                self.note(*field, position.clone(), at);
            }
        }
    }

    /// What leaves in something that has keys.
    fn leave(&mut self, part: Part, entries: &BTreeSet<Entry>) {
        for entry in entries {
            if let Some(position) = position(part, &entry.path) {
                self.note(entry.field, position, (entry.file, entry.line));
            }
        }
    }

    fn note(&mut self, field: usize, position: String, (file, line): (usize, usize)) {
        let of_field = || self.found.iter().filter(|(known, ..)| *known == field);
        if self.said > 0 || of_field().count() >= MOST_POSITIONS || of_field().any(|(_, known, _)| *known == position) {
            return;
        }
        self.found.push((field, position, format!("{}, line {line}", self.sources[file].name)));
    }

    /// The bracket that closes the one at `at`.
    fn close(&self, here: Here, at: usize) -> usize {
        self.sources[here.file].closes[at]
    }

    /// What comes after `at`, brackets passed over.
    fn after(&self, here: Here, at: usize) -> usize {
        let token = &self.tokens(here.file)[at];
        let opens = token.kind == Kind::Mark && matches!(token.text.as_str(), "(" | "[" | "{");
        if opens { self.close(here, at) + 1 } else { at + 1 }
    }

    /// Where the first of the marks stands outside all brackets.
    fn outside(&self, here: Here, from: usize, to: usize, marks: &[&str]) -> Option<usize> {
        let tokens = self.tokens(here.file);
        let mut at = from;
        while at < to && self.step(1) {
            if marks.iter().any(|mark| is_mark(tokens.get(at), mark)) {
                return Some(at);
            }
            at = self.after(here, at);
        }
        None
    }

    /// The parts between commas.
    fn split(&self, here: Here, from: usize, to: usize) -> Vec<(usize, usize)> {
        let mut parts = Vec::new();
        let mut start = from;
        while start < to {
            let end = self.outside(here, start, to, &[","]).unwrap_or(to);
            if start < end {
                parts.push((start, end));
            }
            start = end + 1;
        }
        parts
    }

    fn argument(&self, here: Here, (from, to): (usize, usize)) -> Argument<'a> {
        let tokens = self.tokens(here.file);
        let named = is_mark(tokens.get(from + 1), "=") && !is_mark(tokens.get(from + 2), "=") && from + 1 < to;
        match is_name(tokens.get(from)) {
            Some(name) if named => (Some(name), (from + 2, to)),
            _ => (None, (from, to)),
        }
    }
}

#[cfg(test)]
mod tests;
