//! JSON read string by string, in the order in which the strings stand: a text with a key that stands twice says two
//! things, and a map would keep one of them.

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use std::collections::BTreeSet;
use std::fmt;

/// What becomes of a text in which an object has a key twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Twice {
    /// It is no text that anybody can say what it means: refused.
    Refused,
    /// Both are read.
    Read,
}

/// Where a string stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// It is a key.
    Key,
    /// It is a value.
    Value {
        /// The innermost key above it; empty where there is none.
        name: &'a str,
        /// The keys down to it, as a position names them; nothing where a key is written like two of them.
        path: Option<&'a str>,
    },
}

/// Shows `visit` every string of `text`, keys included.
pub(super) fn read(text: &str, twice: Twice, visit: &mut dyn FnMut(Place<'_>, &str)) -> serde_json::Result<()> {
    let mut reading = Reading { twice, visit, name: String::new(), path: String::new(), plain: true };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    Below(&mut reading).deserialize(&mut deserializer)?;
    deserializer.end()
}

struct Reading<'v> {
    twice: Twice,
    visit: &'v mut dyn FnMut(Place<'_>, &str),
    name: String,
    path: String,
    /// Whether no key above holds what joins keys.
    plain: bool,
}

struct Below<'r, 'v>(&'r mut Reading<'v>);

impl<'de> DeserializeSeed<'de> for Below<'_, '_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Below<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        let Reading { visit, name, path, plain, .. } = self.0;
        visit(Place::Value { name, path: plain.then_some(path.as_str()) }, text);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let length = self.0.path.len();
        self.0.path.push_str("[]");
        while items.next_element_seed(Below(self.0))?.is_some() {}
        self.0.path.truncate(length);
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        let reading = self.0;
        let (length, plain, above) = (reading.path.len(), reading.plain, std::mem::take(&mut reading.name));
        let mut keys = BTreeSet::new();
        while let Some(key) = fields.next_key::<String>()? {
            (reading.visit)(Place::Key, &key);
            if reading.twice == Twice::Refused && !keys.insert(key.clone()) {
                return Err(A::Error::custom("a key stands twice"));
            }
            if length > 0 {
                reading.path.push('.');
            }
            reading.path.push_str(&key);
            reading.plain = plain && !key.is_empty() && !key.contains(['.', '[', ']']);
            reading.name = key;
            fields.next_value_seed(Below(reading))?;
            reading.path.truncate(length);
        }
        (reading.plain, reading.name) = (plain, above);
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }
    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }
    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }
    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }
    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, twice: Twice) -> Option<Vec<String>> {
        let mut shown = Vec::new();
        let read = read(text, twice, &mut |place, text| {
            shown.push(match place {
                Place::Key => format!("{text}:"),
                Place::Value { name, path } => format!("{text} in {name:?} at {path:?}"),
            });
        });
        read.is_ok().then_some(shown)
    }

    #[test]
    fn strings_come_in_the_order_in_which_they_stand() {
        let check =
            |text: &str, expected: &[&str]| assert_eq!(shown(text, Twice::Refused).unwrap(), expected, "{text}");
        check(r#""a""#, &[r#"a in "" at Some("")"#]);
        check(
            r#"{"a": {"b": ["x", {"c": "y"}], "d": 1}, "e": "z"}"#,
            &[
                "a:",
                "b:",
                r#"x in "b" at Some("a.b[]")"#,
                "c:",
                r#"y in "c" at Some("a.b[].c")"#,
                "d:",
                "e:",
                r#"z in "e" at Some("e")"#,
            ],
        );
        // Written like a path, and none.
        check(r#"{"a.b": "x", "c": "y"}"#, &["a.b:", r#"x in "a.b" at None"#, "c:", r#"y in "c" at Some("c")"#]);
        check(r#"{"a[]": {"b": "x"}}"#, &["a[]:", "b:", r#"x in "b" at None"#]);
        check(r#"[1, -2.5, true, null, {}, []]"#, &[]);
    }

    #[test]
    fn a_key_that_stands_twice_is_refused_or_read_twice() {
        let twice = r#"{"a": "x", "\u0061": "y"}"#;
        assert_eq!(shown(twice, Twice::Refused), None);
        assert_eq!(shown(twice, Twice::Read).unwrap().len(), 4);
        assert_eq!(shown(r#"{"a": {"b": 1, "b": 2}}"#, Twice::Refused), None);
        for text in ["", "{", "x", "1 2", "{'a': 1}", "\u{feff}1"] {
            assert_eq!(shown(text, Twice::Read), None, "{text}");
        }
        assert_eq!(shown(&"[".repeat(100_000), Twice::Read), None);
    }
}
