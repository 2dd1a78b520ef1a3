//! Filters by any field of a record.

use std::str::FromStr;

/// The most parts of a field's name.
const DEPTH: usize = 6;
/// Bytes of a name and of a value.
const LONGEST: usize = 300;

/// A field that must have this value: `skill=mail`, `detail.cause=restart`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    name: String,
    value: String,
}

impl Field {
    /// The field `name`, its parts joined by dots, with the value as text.
    ///
    /// # Errors
    /// A sentence that says what a name is.
    pub fn new(name: &str, value: &str) -> Result<Self, String> {
        let plain = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
        };
        if name.len() > LONGEST || name.split('.').count() > DEPTH || !name.split('.').all(plain) {
            return Err(format!(
                "{:?} names no field: parts of letters, digits, '_' and '-', joined by dots, such as detail.cause",
                name.chars().take(80).collect::<String>()
            ));
        }
        if value.len() > LONGEST {
            return Err(format!("the value of {name} is longer than {LONGEST} bytes"));
        }
        Ok(Self { name: name.to_owned(), value: value.to_owned() })
    }

    /// Name and value, the name as a path into JSON.
    pub(crate) fn path(&self) -> (String, String) {
        let path: String = self.name.split('.').map(|part| format!(".\"{part}\"")).collect();
        (format!("${path}"), self.value.clone())
    }
}

impl FromStr for Field {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once('=').ok_or("is not written name=value, such as detail.cause=restart")?;
        Self::new(name, value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_no_way_into_the_query() {
        let field: Field = "detail.cause=re'start".parse().unwrap();
        assert_eq!(field.path(), ("$.\"detail\".\"cause\"".into(), "re'start".into()));
        for bad in ["cause", "=x", "a..b=x", "a\"b=x", "$.a=x", "a b=x", "a.b.c.d.e.f.g=x"] {
            assert!(bad.parse::<Field>().is_err(), "{bad}");
        }
    }
}
