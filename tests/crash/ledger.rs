//! What clients know: what they were told, and where they were not, what may be.

use crate::harness::{Answer, Key};
use std::collections::BTreeMap;

/// A call with an effect, which the upstream knows by `name`.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) name: String,
    /// Whether it carries its name as its idempotency key.
    pub(super) repeatable: bool,
    /// The last answer that arrived in full.
    pub(super) told: Option<Told>,
}

/// What the gateway said of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) call: String,
    pub(super) status: String,
}

impl Told {
    #[track_caller]
    pub(super) fn by(answer: &Answer) -> Self {
        assert!(matches!(answer.status, 200 | 202), "{} {}", answer.status, answer.text());
        let answer = answer.json();
        let text = |field: &str| answer[field].as_str().unwrap_or_else(|| panic!("{field}: {answer}")).to_owned();
        Self { call: text("call_id"), status: text("status") }
    }

    pub(super) fn is_final(&self) -> bool {
        self.status != "running"
    }
}

/// How the skill `lamp` is installed, where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    /// The last part of its version.
    pub(super) version: u64,
    pub(super) enabled: bool,
}

/// What is known of the skill `lamp`: one thing, or two while a change is not acknowledged.
#[derive(Debug)]
pub(super) struct Lamp {
    possible: Vec<Option<Shape>>,
    /// Versions only rise, those that were never acknowledged too.
    versions: u64,
}

impl Default for Lamp {
    fn default() -> Self {
        Self { possible: vec![None], versions: 0 }
    }
}

impl Lamp {
    pub(super) fn next_version(&mut self) -> u64 {
        self.versions += 1;
        self.versions
    }

    pub(super) fn shape(&self) -> Option<Shape> {
        assert_eq!(self.possible.len(), 1, "{:?}", self.possible);
        self.possible[0]
    }

    pub(super) fn may_be(&mut self, shape: Option<Shape>) {
        self.possible.push(shape);
    }

    /// It is so: a client was told, or it was looked at after a restart.
    #[track_caller]
    pub(super) fn is(&mut self, shape: Option<Shape>) {
        assert!(self.possible.contains(&shape), "lamp is {shape:?}, and not one of {:?}", self.possible);
        self.possible = vec![shape];
    }
}

/// Keys and a credential.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    /// Keys that were acknowledged and that nobody has tried to revoke.
    pub(super) live: Vec<Key>,
    /// Keys whose end was acknowledged.
    pub(super) revoked: Vec<Key>,
    tokens: Vec<String>,
    count: u64,
}

impl Accounts {
    pub(super) fn next_token(&mut self) -> String {
        self.count += 1;
        let token = format!("tok_of_the_crash_test_{:08}", self.count);
        self.tokens.push(token.clone());
        token
    }

    #[track_caller]
    pub(super) fn token_is(&mut self, token: &str) {
        assert!(self.tokens.iter().any(|possible| possible == token), "{token} is not one of {:?}", self.tokens);
        self.tokens = vec![token.to_owned()];
    }
}

/// What the upstream has seen: for each order, the credentials that its requests came with.
#[derive(Debug, Default)]
pub(super) struct Effects(BTreeMap<String, Vec<String>>);

impl Effects {
    pub(super) fn add(&mut self, order: String, credential: String) {
        self.0.entry(order).or_default().push(credential);
    }

    pub(super) fn of(&self, order: &str) -> &[String] {
        self.0.get(order).map(Vec::as_slice).unwrap_or_default()
    }

    pub(super) fn total(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    pub(super) fn twice(&self) -> Vec<&String> {
        self.0.iter().filter(|(_, seen)| seen.len() > 1).map(|(name, _)| name).collect()
    }
}
