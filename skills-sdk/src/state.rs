//! A small key-value store that belongs to this skill and this tenant. Every call runs in a fresh instance: what has to
//! last goes here. A write is durable when it returns.
//!
//! ```no_run
//! # fn main() -> Result<(), sophon_sdk::ToolError> {
//! use sophon_sdk::state;
//! let visits: u32 = state::update("visits", |n: Option<u32>| Ok(n.unwrap_or(0) + 1))?;
//! # Ok(()) }
//! ```

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{ErrorKind, Result, ToolError};
use crate::host::state as host;

/// The value of `key`, from JSON; nothing where there is none.
pub fn read<T: DeserializeOwned>(key: &str) -> Result<Option<T>, Error> {
    let Some(bytes) = read_bytes(key)? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| Error::Json(key.to_owned(), error.to_string()))
}

/// Writes `value` as JSON.
pub fn write<T: Serialize + ?Sized>(key: &str, value: &T) -> Result<(), Error> {
    write_bytes(key, &json(key, value)?)
}

/// The bytes of `key`.
pub fn read_bytes(key: &str) -> Result<Option<Vec<u8>>, Error> {
    host::read(key).map_err(Error::from_wit)
}

/// Writes bytes as they are.
pub fn write_bytes(key: &str, value: &[u8]) -> Result<(), Error> {
    host::write(key, value).map_err(Error::from_wit)
}

/// Removes `key`; not an error where there is none.
pub fn delete(key: &str) -> Result<(), Error> {
    host::delete(key).map_err(Error::from_wit)
}

/// Every key that starts with `prefix`, in byte order.
pub fn keys(prefix: &str) -> Result<Vec<String>, Error> {
    let mut all: Vec<String> = Vec::new();
    loop {
        let page = host::keys(prefix, all.last().map(String::as_str)).map_err(Error::from_wit)?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

/// Up to 1,000 keys that start with `prefix`, in byte order, after `after` where that is given.
pub fn keys_page(prefix: &str, after: Option<&str>) -> Result<Vec<String>, Error> {
    host::keys(prefix, after).map_err(Error::from_wit)
}

/// Changes a value that other calls may change at the same time: reads it, asks `change` for the new one and writes
/// that, again where another call was quicker (ten times at most, then [`Error::Conflict`]).
pub fn update<T, F>(key: &str, mut change: F) -> Result<T>
where
    T: Serialize + DeserializeOwned,
    F: FnMut(Option<T>) -> Result<T>,
{
    for _ in 0..10 {
        let old = read_bytes(key)?;
        let present = match &old {
            Some(bytes) => {
                Some(serde_json::from_slice(bytes).map_err(|error| Error::Json(key.to_owned(), error.to_string()))?)
            }
            None => None,
        };
        let new = change(present)?;
        match host::compare_and_set(key, old.as_deref(), &json(key, &new)?) {
            Ok(()) => return Ok(new),
            Err(host::StateError::Conflict) => {}
            Err(error) => return Err(Error::from_wit(error).into()),
        }
    }
    Err(ToolError::from(Error::Conflict))
}

/// Writes `value` only where the present bytes are `expected` (nothing: only where there is none).
pub fn compare_and_set(key: &str, expected: Option<&[u8]>, value: &[u8]) -> Result<(), Error> {
    host::compare_and_set(key, expected, value).map_err(Error::from_wit)
}

fn json<T: Serialize + ?Sized>(key: &str, value: &T) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|error| Error::Json(key.to_owned(), error.to_string()))
}

/// Why the store did not do it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The key is empty, too long (256 bytes) or holds control characters.
    InvalidKey(String),
    /// The value is larger than allowed; the limit in bytes.
    ValueTooLarge(u64),
    /// The skill's quota is used up; the limit in bytes.
    QuotaExceeded(u64),
    /// Another value stands there by now.
    Conflict,
    /// The store cannot be used now.
    Unavailable(String),
    /// The value of this key is not the JSON that was expected.
    Json(String, String),
}

impl Error {
    pub(crate) fn kind(&self) -> ErrorKind {
        match self {
            Self::Unavailable(_) => ErrorKind::Unavailable,
            _ => ErrorKind::Failed,
        }
    }

    fn from_wit(error: host::StateError) -> Self {
        match error {
            host::StateError::InvalidKey(key) => Self::InvalidKey(key),
            host::StateError::ValueTooLarge(limit) => Self::ValueTooLarge(limit),
            host::StateError::QuotaExceeded(limit) => Self::QuotaExceeded(limit),
            host::StateError::Conflict => Self::Conflict,
            host::StateError::Unavailable(why) => Self::Unavailable(why),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidKey(key) => write!(f, "not a key for the state: {key}"),
            Self::ValueTooLarge(limit) => write!(f, "a value of the state has {limit} bytes at most"),
            Self::QuotaExceeded(limit) => write!(f, "the state of this skill is full ({limit} bytes)"),
            Self::Conflict => f.write_str("another value stands there by now"),
            Self::Unavailable(why) => write!(f, "the state cannot be used now: {why}"),
            Self::Json(key, why) => write!(f, "the state's `{key}` is not what was expected: {why}"),
        }
    }
}

impl std::error::Error for Error {}
