//! JSON in the one form that is hashed, shown and run: RFC 8785 (JCS).
//!
//! What a person approves and what runs must be the same bytes, so whatever two parsers could read differently
//! is refused here: duplicate keys, integers that a double cannot hold, deep nesting.

use crate::{Digest, Fault, FaultKind, Stage};
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use std::fmt;

/// The largest integer that every JSON reader holds exactly: 2^53 - 1 (RFC 7493, section 2.2).
const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;
/// From here on RFC 8785 writes a double with an exponent, below it as an integer (ECMA-262, Number::toString).
const MIN_EXPONENT: f64 = 1e21;
/// Levels of arrays and objects; serde_json itself stops at 128.
const MAX_DEPTH: usize = 64;

/// A JSON value together with its canonical bytes (RFC 8785). Cannot hold a value that has no canonical form.
#[derive(Clone, PartialEq)]
pub struct CanonicalJson {
    value: Value,
    text: String,
}

impl CanonicalJson {
    /// Reads JSON text strictly and brings it into canonical form.
    ///
    /// # Errors
    /// [`JsonError`] where the text is not JSON, has a key twice, an integer beyond ±(2^53 - 1) (also one that is written
    /// with an exponent, and that the canonical form would write out), or more than 64 levels.
    pub fn parse(text: &[u8]) -> Result<Self, JsonError> {
        if let Some(number) = long_integer(text) {
            return Err(JsonError::new(inexact(number)));
        }
        let mut reader = serde_json::Deserializer::from_slice(text);
        let value = Strict { depth: 0 }.deserialize(&mut reader).map_err(JsonError::from_serde)?;
        reader.end().map_err(JsonError::from_serde)?;
        Self::canonicalise(value)
    }

    /// The canonical form of a value that is already read.
    ///
    /// # Errors
    /// [`JsonError`] where a number or the nesting is out of bounds, as for [`CanonicalJson::parse`].
    pub fn of(value: Value) -> Result<Self, JsonError> {
        check(&value, 0)?;
        Self::canonicalise(value)
    }

    fn canonicalise(value: Value) -> Result<Self, JsonError> {
        let text = serde_json_canonicalizer::to_string(&value).map_err(JsonError::from_serde)?;
        Ok(Self { value, text })
    }

    /// The value.
    #[must_use]
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The canonical text (UTF-8, no white space, keys sorted by UTF-16 code units).
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// SHA-256 of the canonical text.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(self.text.as_bytes())
    }

    /// Gives the value away.
    #[must_use]
    pub fn into_value(self) -> Value {
        self.value
    }
}

impl fmt::Debug for CanonicalJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Arguments may hold what a user typed in confidence; a debug line must not.
        write!(f, "CanonicalJson({} bytes, {})", self.text.len(), self.digest())
    }
}

/// Why JSON text has no canonical form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not acceptable JSON: {message}")]
pub struct JsonError {
    message: String,
}

impl JsonError {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }

    fn from_serde(error: serde_json::Error) -> Self {
        Self::new(error.to_string())
    }
}

impl Fault for JsonError {
    fn stage(&self) -> Stage {
        Stage::Validate
    }
    fn kind(&self) -> FaultKind {
        FaultKind::Invalid
    }
    fn code(&self) -> &'static str {
        "invalid_json"
    }
    fn hint(&self) -> Option<String> {
        Some("send one JSON value with each key once; write integers beyond 2^53 - 1 as strings".into())
    }
}

fn check(value: &Value, depth: usize) -> Result<(), JsonError> {
    if depth >= MAX_DEPTH && matches!(value, Value::Array(_) | Value::Object(_)) {
        return Err(JsonError::new(format!("nested deeper than {MAX_DEPTH} levels")));
    }
    match value {
        Value::Number(number) if !is_exact(number) => Err(JsonError::new(inexact(number))),
        Value::Array(items) => items.iter().try_for_each(|item| check(item, depth + 1)),
        Value::Object(fields) => fields.values().try_for_each(|field| check(field, depth + 1)),
        _ => Ok(()),
    }
}

fn is_exact(number: &Number) -> bool {
    match (number.as_u64(), number.as_i64()) {
        (Some(n), _) => n <= MAX_SAFE_INTEGER,
        (None, Some(n)) => n.unsigned_abs() <= MAX_SAFE_INTEGER,
        (None, None) => number.as_f64().is_some_and(is_exact_double),
    }
}

/// Whether the canonical text of `value` would be accepted: as an integer it has to be one that is held exactly.
fn is_exact_double(value: f64) -> bool {
    let size = value.abs();
    value.is_finite() && (size <= MAX_SAFE_INTEGER as f64 || size >= MIN_EXPONENT)
}

/// The first integer in `text`, where there is one, of more digits than serde_json hands over as an integer: it would
/// round it to a double without a word.
fn long_integer(text: &[u8]) -> Option<&str> {
    const LONG: usize = 20;
    let (mut at, mut quoted) = (0, false);
    while let Some(&byte) = text.get(at) {
        let digits = text[at..].iter().take_while(|b| b.is_ascii_digit()).count();
        match byte {
            b'"' => quoted = !quoted,
            b'\\' if quoted => at += 1,
            b'0'..=b'9' if !quoted => {
                // Behind a point or an exponent it is no integer, and neither is what goes on with one.
                let fraction = at > 0 && matches!(text[at - 1], b'.' | b'e' | b'E' | b'+')
                    || at > 1 && text[at - 1] == b'-' && matches!(text[at - 2], b'e' | b'E')
                    || matches!(text.get(at + digits), Some(b'.' | b'e' | b'E'));
                if digits >= LONG && !fraction {
                    return std::str::from_utf8(&text[at..at + digits.min(80)]).ok();
                }
                at += digits - 1;
            }
            _ => {}
        }
        at += 1;
    }
    None
}

fn inexact(number: impl fmt::Display) -> String {
    format!("the number {number} is beyond what a double holds exactly")
}

/// Reads a value, refusing a key that stands twice in one object.
#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: de::Error>(&self) -> Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            return Err(E::custom(format!("nested deeper than {MAX_DEPTH} levels")));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        if value > MAX_SAFE_INTEGER {
            return Err(E::custom(inexact(value)));
        }
        Ok(value.into())
    }
    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        if value.unsigned_abs() > MAX_SAFE_INTEGER {
            return Err(E::custom(inexact(value)));
        }
        Ok(value.into())
    }
    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        let number = Number::from_f64(value).filter(|_| is_exact_double(value));
        number.map(Value::Number).ok_or_else(|| E::custom(inexact(value)))
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }
    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let (mut array, inside) = (Vec::new(), self.deeper()?);
        while let Some(item) = items.next_element_seed(inside)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let (mut object, inside) = (Map::new(), self.deeper()?);
        while let Some(key) = fields.next_key::<String>()? {
            let value = fields.next_value_seed(inside)?;
            if object.insert(key.clone(), value).is_some() {
                return Err(de::Error::custom(format!("the key {key:?} stands twice in one object")));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn canonical(text: &str) -> Result<String, JsonError> {
        CanonicalJson::parse(text.as_bytes()).map(|json| json.as_str().to_owned())
    }

    #[test]
    fn writes_what_rfc_8785_writes() {
        // RFC 8785, sections 3.2.2 and 3.2.3.
        assert_eq!(
            canonical("{\"numbers\":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],\"literals\":[null,true,false]}").unwrap(),
            "{\"literals\":[null,true,false],\"numbers\":[333333333.3333333,1e+30,4.5,0.002,1e-27]}"
        );
        assert_eq!(
            canonical("{\"\\u20ac\":1,\"\\r\":2,\"\\ud83d\\ude00\":5,\"\\ufb33\":3,\"1\":4}").unwrap(),
            "{\"\\r\":2,\"1\":4,\"€\":1,\"😀\":5,\"\u{fb33}\":3}"
        );
    }

    #[test]
    fn refuses_what_two_readers_could_read_differently() {
        for text in [
            "{\"a\":1,\"a\":2}",
            "{\"a\":{\"b\":1,\"\\u0062\":2}}",
            "9007199254740993",
            "-9007199254740993",
            "100000000000000000001",
            "[-123456789012345678901234567890]",
            "{\"a\\\"\":18446744073709551616}",
            "1e16",
            "9007199254740992.0",
            "[1] 2",
            "",
            "{\"a\":1,}",
            "NaN",
        ] {
            assert!(canonical(text).is_err(), "{text}");
        }
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let nested = |levels: usize| format!("{}{}", open.repeat(levels), close.repeat(levels));
            let filled = |levels: usize| nested(levels).replacen(&format!(":{close}"), &format!(":{{}}{close}"), 1);
            assert!(canonical(&filled(if open == "[" { 64 } else { 63 })).is_ok());
            assert!(canonical(&filled(if open == "[" { 65 } else { 64 })).is_err());
        }
        let deep = (0..64).fold(serde_json::json!([]), |inner, _| serde_json::json!([inner]));
        assert!(CanonicalJson::of(deep).is_err());
        assert!(CanonicalJson::of(serde_json::json!({"n": u64::MAX})).is_err());
    }

    proptest! {
        #[test]
        fn is_a_fixed_point(text in "\\PC{0,40}", number in -1_000_000_i64..1_000_000, float in any::<f64>()) {
            let value = serde_json::json!({ text.clone(): [number, float, null, {"nested": text}] });
            let Ok(once) = CanonicalJson::of(value) else { return Ok(()) };
            let twice = CanonicalJson::parse(once.as_str().as_bytes()).unwrap();
            prop_assert_eq!(once.as_str(), twice.as_str());
            prop_assert_eq!(once.digest(), twice.digest());
        }
    }
}
