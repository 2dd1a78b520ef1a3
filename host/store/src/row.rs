//! Reading typed values out of rows. What does not parse was not written by this host: [`StoreError::Corrupt`].

use crate::StoreError;
use crate::engine::{Engine, Row, classify};
use sophon_types::{Digest, Timestamp};
use sqlx::{Decode, Row as _, Type};
use std::fmt::Display;
use std::str::FromStr;

/// Every row that a query found, read.
pub(crate) fn all<T>(
    found: Result<Vec<Row>, sqlx::Error>,
    read: fn(&Row) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    found.map_err(|error| classify(&error))?.iter().map(read).collect()
}

/// The row that a query found, read.
pub(crate) fn one<T>(
    found: Result<Option<Row>, sqlx::Error>,
    read: fn(&Row) -> Result<T, StoreError>,
) -> Result<Option<T>, StoreError> {
    found.map_err(|error| classify(&error))?.as_ref().map(read).transpose()
}

/// A column as the engine gives it.
pub(crate) fn column<'r, T>(row: &'r Row, name: &str) -> Result<T, StoreError>
where
    T: Decode<'r, Engine> + Type<Engine>,
{
    row.try_get(name).map_err(|error| classify(&error))
}

/// A text column, parsed.
pub(crate) fn parsed<T>(row: &Row, name: &str) -> Result<T, StoreError>
where
    T: FromStr<Err: Display>,
{
    column::<&str>(row, name)?.parse().map_err(|error| corrupt(name, error))
}

/// A text column of JSON.
pub(crate) fn json<T: serde::de::DeserializeOwned>(row: &Row, name: &str) -> Result<T, StoreError> {
    serde_json::from_str(column::<&str>(row, name)?).map_err(|error| corrupt(name, error))
}

/// A moment.
pub(crate) fn time(row: &Row, name: &str) -> Result<Timestamp, StoreError> {
    Ok(Timestamp::from_micros(column(row, name)?))
}

/// A moment that may be null.
pub(crate) fn time_opt(row: &Row, name: &str) -> Result<Option<Timestamp>, StoreError> {
    Ok(column::<Option<i64>>(row, name)?.map(Timestamp::from_micros))
}

/// A column of exactly `N` bytes.
pub(crate) fn bytes<const N: usize>(row: &Row, name: &str) -> Result<[u8; N], StoreError> {
    let found = column::<&[u8]>(row, name)?;
    found.try_into().map_err(|_length| corrupt(name, format!("{} bytes instead of {N}", found.len())))
}

/// A digest.
pub(crate) fn digest(row: &Row, name: &str) -> Result<Digest, StoreError> {
    Ok(Digest::from_bytes(bytes(row, name)?))
}

/// A count that cannot be negative.
pub(crate) fn count(row: &Row, name: &str) -> Result<u64, StoreError> {
    u64::try_from(column::<i64>(row, name)?).map_err(|error| corrupt(name, error))
}

/// Says which column is damaged.
pub(crate) fn corrupt(name: &str, error: impl Display) -> StoreError {
    StoreError::Corrupt { what: format!("column {name}: {error}") }
}

/// A count as the engine stores it. Counts here are sequences and sizes, far below 2^63.
pub(crate) fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
