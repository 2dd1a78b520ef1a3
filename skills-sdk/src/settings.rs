//! Configuration that is not secret, set by the person in charge. Declare each key in the manifest's `settings`, with a
//! default where there is a sensible one.

use std::fmt::Display;
use std::str::FromStr;

use crate::error::{Result, ToolError};
use crate::host::settings as host;

/// The value of `key`, or its default in the manifest, or nothing.
pub fn value(key: &str) -> Option<String> {
    host::value(key)
}

/// The value of `key`; where nothing is set, `default`.
pub fn value_or(key: &str, default: &str) -> String {
    value(key).unwrap_or_else(|| default.to_owned())
}

/// The value of `key`; the call fails where nothing is set, and says how to set it.
pub fn required(key: &str) -> Result<String> {
    value(key).ok_or_else(|| ToolError::failed(format_args!("the setting `{key}` is not set; set it for this skill")))
}

/// The value of `key` as another type, such as a number.
pub fn parsed<T>(key: &str) -> Result<Option<T>>
where
    T: FromStr<Err: Display>,
{
    let Some(text) = value(key) else { return Ok(None) };
    match text.parse() {
        Ok(value) => Ok(Some(value)),
        Err(error) => Err(ToolError::failed(format_args!("the setting `{key}` is not valid: {error}"))),
    }
}
