//! A reader of JSON that knows where it is and goes on after a mistake.
//!
//! Every read gives an `Option`: nothing means that a violation is on record (or that an optional key is absent).
//! Whoever builds a value from several reads returns nothing where one is missing; at the end the record decides.

use super::pattern::Patterns;
use super::violation::Violation;
use crate::text::quote;
use serde_json::{Map, Value};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fmt::Display;
use std::str::FromStr;

/// Enough for any person to mend; a hostile manifest must not make a report of gigabytes.
const MAX_VIOLATIONS: usize = 100;

/// What was found while reading: violations, and keys that nobody knows.
#[derive(Default)]
pub(super) struct Record {
    violations: RefCell<Vec<Violation>>,
    unknown: RefCell<BTreeSet<String>>,
    overflow: Cell<bool>,
    pub(super) patterns: Patterns,
}

impl Record {
    pub(super) fn report(&self, field: &str, problem: impl Into<String>, hint: impl Into<String>) {
        let mut violations = self.violations.borrow_mut();
        if violations.len() < MAX_VIOLATIONS {
            violations.push(Violation { field: field.to_owned(), problem: problem.into(), hint: hint.into() });
        } else {
            self.overflow.set(true);
        }
    }

    pub(super) fn is_clean(&self) -> bool {
        self.violations.borrow().is_empty()
    }

    pub(super) fn into_parts(self) -> (Vec<Violation>, Vec<String>) {
        let mut violations = self.violations.into_inner();
        if self.overflow.get() {
            violations.push(Violation {
                field: String::new(),
                problem: format!("there are more than {MAX_VIOLATIONS} problems"),
                hint: "mend these first".into(),
            });
        }
        (violations, self.unknown.into_inner().into_iter().collect())
    }
}

/// What becomes of a key that the contract does not have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Unknown {
    /// Kept on record; the analysis warns. Public manifests may carry keys of other hosts.
    Note,
    /// A violation: in what grants power, a misspelt key must not be silently without effect.
    Refuse,
}

/// A value and its place.
#[derive(Clone)]
pub(super) struct Node<'a> {
    value: &'a Value,
    path: String,
    record: &'a Record,
}

impl<'a> Node<'a> {
    pub(super) fn root(value: &'a Value, record: &'a Record) -> Self {
        Self { value, path: String::new(), record }
    }

    pub(super) fn value(&self) -> &'a Value {
        self.value
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    pub(super) fn record(&self) -> &'a Record {
        self.record
    }

    pub(super) fn report(&self, problem: impl Into<String>, hint: impl Into<String>) {
        self.record.report(&self.path, problem, hint);
    }

    fn expected<T>(&self, what: &str) -> Option<T> {
        let found = match self.value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "text",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        };
        self.report(format!("this is {found}"), format!("write {what}"));
        None
    }

    pub(super) fn object(&self) -> Option<Object<'a>> {
        match self.value {
            Value::Object(fields) => Some(Object {
                fields,
                path: self.path.clone(),
                record: self.record,
                known: RefCell::new(BTreeSet::new()),
            }),
            _ => self.expected("an object"),
        }
    }

    /// The items, each with its place.
    pub(super) fn items(&self, max: usize) -> Option<Vec<Self>> {
        let Value::Array(items) = self.value else { return self.expected("an array") };
        if items.len() > max {
            self.report(format!("there are {} items", items.len()), format!("at most {max} are allowed"));
            return None;
        }
        let node = |(index, value)| Self { value, path: format!("{}[{index}]", self.path), record: self.record };
        Some(items.iter().enumerate().map(node).collect())
    }

    /// Reads every item, the ones after a mistake too; nothing where one of them is wrong.
    pub(super) fn each<T>(&self, max: usize, read: impl FnMut(&Self) -> Option<T>) -> Option<Vec<T>> {
        let read: Vec<Option<T>> = self.items(max)?.iter().map(read).collect();
        read.into_iter().collect()
    }

    /// Text of 1 to `max` characters.
    pub(super) fn text(&self, max: usize) -> Option<&'a str> {
        let text = self.text_or_empty(max)?;
        if text.trim().is_empty() {
            self.report("this is empty", "write some text");
            return None;
        }
        Some(text)
    }

    /// Text of 0 to `max` characters.
    pub(super) fn text_or_empty(&self, max: usize) -> Option<&'a str> {
        let Value::String(text) = self.value else { return self.expected("text") };
        let length = text.chars().count();
        if length > max {
            self.report(format!("this has {length} characters"), format!("write at most {max}"));
            return None;
        }
        Some(text)
    }

    /// Text that is read as a `T`, whose error says what the rule is.
    pub(super) fn parse<T: FromStr<Err: Display>>(&self, hint: &str) -> Option<T> {
        let text = self.text(512)?;
        text.parse().map_err(|error: T::Err| self.report(error.to_string(), hint)).ok()
    }

    /// One of a few words.
    pub(super) fn word<T: Clone>(&self, words: &[(&str, T)]) -> Option<T> {
        let names = || words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
        let Value::String(text) = self.value else { return self.expected(&format!("one of {}", names())) };
        let found = words.iter().find(|(word, _)| word == text).map(|(_, value)| value.clone());
        if found.is_none() {
            self.report(format!("{} is not known here", quote(text)), format!("write one of {}", names()));
        }
        found
    }

    pub(super) fn boolean(&self) -> Option<bool> {
        match self.value {
            Value::Bool(value) => Some(*value),
            _ => self.expected("true or false"),
        }
    }

    pub(super) fn integer(&self, min: u64, max: u64) -> Option<u64> {
        match self.value.as_u64() {
            Some(number) if (min..=max).contains(&number) => Some(number),
            _ if self.value.is_number() => {
                self.report(
                    format!("{} is out of range", self.value),
                    format!("write a whole number from {min} to {max}"),
                );
                None
            }
            _ => self.expected(&format!("a whole number from {min} to {max}")),
        }
    }
}

/// An object, its place, and which of its keys were asked for.
pub(super) struct Object<'a> {
    fields: &'a Map<String, Value>,
    path: String,
    record: &'a Record,
    known: RefCell<BTreeSet<&'static str>>,
}

impl<'a> Object<'a> {
    /// The value of `key`; nothing where it is absent or null.
    pub(super) fn optional(&self, key: &'static str) -> Option<Node<'a>> {
        self.known.borrow_mut().insert(key);
        let value = self.fields.get(key).filter(|value| !value.is_null())?;
        Some(Node { value, path: self.place(key), record: self.record })
    }

    /// The value of `key`, a violation where it is absent.
    pub(super) fn required(&self, key: &'static str, hint: &str) -> Option<Node<'a>> {
        let node = self.optional(key);
        if node.is_none() {
            self.record.report(&self.place(key), "this is missing", hint);
        }
        node
    }

    /// Deals with the keys that nobody asked for. Call it last.
    pub(super) fn finish(self, unknown: Unknown) {
        let known = self.known.borrow();
        for key in self.fields.keys().filter(|key| !known.contains(key.as_str())) {
            let shown: String = key.chars().take(80).collect();
            match unknown {
                Unknown::Note => {
                    let mut noted = self.record.unknown.borrow_mut();
                    if noted.len() < MAX_VIOLATIONS {
                        noted.insert(self.place(&shown));
                    }
                }
                Unknown::Refuse => {
                    let names: Vec<_> = known.iter().copied().collect();
                    self.record.report(
                        &self.place(&shown),
                        "this key is not known",
                        format!("remove it; known here: {}", names.join(", ")),
                    );
                }
            }
        }
    }

    fn place(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}
