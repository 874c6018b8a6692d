//! Reading and writing domain types in SQL rows. A value that does not read is an error that names
//! its column, never a default.

use std::cell::Cell;
use std::fmt::Display;
use std::str::FromStr;

use rusqlite::Row;
use rusqlite::types::Type;
use serde::de::DeserializeOwned;

use super::StoreError;
use crate::domain::base::{Digest, TimeMs};
use crate::domain::world::SignatureState;

thread_local! {
    /// Rows that the read under way on this thread has left out.
    static LEFT_OUT: Cell<usize> = const { Cell::new(0) };
}

/// The next row of a list that is only shown: one that does not read is left out and counted, so that it does not
/// hide the others. Lists that the gate, the start or a check go by are read whole or not at all.
pub(super) fn next_readable<T>(
    rows: &mut impl Iterator<Item = rusqlite::Result<T>>,
) -> Result<Option<T>, StoreError> {
    use rusqlite::Error::{
        FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, Utf8Error,
    };
    for row in rows {
        match row {
            Ok(row) => return Ok(Some(row)),
            Err(
                error @ (FromSqlConversionFailure(..)
                | IntegralValueOutOfRange(..)
                | InvalidColumnType(..)
                | Utf8Error(..)),
            ) => {
                tracing::debug!(%error, "a row is left out");
                LEFT_OUT.set(LEFT_OUT.get() + 1);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

/// As [`next_readable`], all of them.
pub(super) fn readable<T>(
    mut rows: impl Iterator<Item = rusqlite::Result<T>>,
) -> Result<Vec<T>, StoreError> {
    std::iter::from_fn(|| next_readable(&mut rows).transpose()).collect()
}

/// How many rows were left out on this thread since this was asked last.
pub(super) fn left_out() -> usize {
    LEFT_OUT.take()
}

/// A column that does not hold what it should.
pub(super) fn unreadable(column: usize, why: impl Display) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, why.to_string().into())
}

/// A text column as the type it holds.
pub(super) fn parsed<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T: FromStr,
    T::Err: Display,
{
    let text = row
        .get_ref(column)?
        .as_str()
        .map_err(|e| unreadable(column, e))?;
    text.parse().map_err(|e| unreadable(column, e))
}

/// A text column that may be NULL.
pub(super) fn parsed_opt<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<T>>
where
    T: FromStr,
    T::Err: Display,
{
    let value = row.get_ref(column)?;
    let Some(text) = value.as_str_or_null().map_err(|e| unreadable(column, e))? else {
        return Ok(None);
    };
    text.parse().map(Some).map_err(|e| unreadable(column, e))
}

/// A column of JSON text.
pub(super) fn json<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text = row
        .get_ref(column)?
        .as_str()
        .map_err(|e| unreadable(column, e))?;
    serde_json::from_str(text).map_err(|e| unreadable(column, e))
}

/// A column of JSON text that may be NULL.
pub(super) fn json_opt<T: DeserializeOwned>(
    row: &Row<'_>,
    column: usize,
) -> rusqlite::Result<Option<T>> {
    match row.get_ref(column)? {
        rusqlite::types::ValueRef::Null => Ok(None),
        _ => json(row, column).map(Some),
    }
}

/// A moment.
pub(super) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<TimeMs> {
    row.get(column).map(TimeMs::from_i64)
}

/// A count that is never negative.
pub(super) fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|e| unreadable(column, e))
}

/// A digest.
pub(super) fn digest(row: &Row<'_>, column: usize) -> rusqlite::Result<Digest> {
    row.get(column).map(Digest)
}

/// State of a signature.
pub(super) fn signature(row: &Row<'_>, column: usize) -> rusqlite::Result<SignatureState> {
    // A number we do not know is believed least.
    Ok(match row.get::<_, i64>(column)? {
        0 => SignatureState::Verified,
        1 => SignatureState::FirstHand,
        _ => SignatureState::Unverifiable,
    })
}

/// The stored number of a signature's state.
pub(super) fn signature_number(state: SignatureState) -> i64 {
    match state {
        SignatureState::Verified => 0,
        SignatureState::FirstHand => 1,
        SignatureState::Unverifiable => 2,
    }
}

/// A count as SQLite's signed number; what does not fit is clamped.
pub(super) fn number(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A row limit as SQLite's signed number.
pub(super) fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// A value as JSON text.
pub(super) fn to_json<T: serde::Serialize>(
    what: &'static str,
    value: &T,
) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|e| StoreError::Invalid {
        what,
        why: e.to_string(),
    })
}

/// A text column as the type whose serde name it holds.
pub(super) fn named<T: DeserializeOwned>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    let text: String = row.get(column)?;
    serde_json::from_value(serde_json::Value::String(text)).map_err(|e| unreadable(column, e))
}

/// A value's serde name.
pub(super) fn name_of<T: serde::Serialize>(
    what: &'static str,
    value: &T,
) -> Result<String, StoreError> {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => Ok(name),
        _ => Err(StoreError::Invalid {
            what,
            why: "the value has no name to store".to_owned(),
        }),
    }
}
