//! The stored form of a run, free of any adapter: which column holds what, and back again.
//!
//! Rules of every form here:
//! - Rows are written whole. What is absent is a typed empty value (`''`, `0`, an empty blob), never
//!   null. Where a given value may equal the empty one, `state` names the column under `given`.
//! - Equal state gives equal bytes: maps are sorted, JSON has one order of keys and no spaces.
//! - Payload bytes are blobs beside readable columns, never text inside JSON.
//! - Times are whole microseconds since 1970-01-01T00:00:00Z; booleans are 0 and 1.
//! - Columns that repeat or sum up something for readers (`waiting_for`, the counts, `stalled_since`,
//!   `workflow` in the head) are derived from the state and never read back.
//!
//! Where the columns lie is the adapter's business.

#[cfg(test)]
mod arbitrary;
mod decision;
mod exact;
mod given;
mod head;
mod names;
mod payload;
mod spec;
mod step;
#[cfg(test)]
mod tests;

pub use decision::DecisionForm;
pub use given::Given;
pub use head::HeadForm;
pub use names::{driver_name, name_of, parse_name, step_column, step_text, wait_name};
pub use spec::SpecForm;
pub use step::StepForm;

use crate::{Error, Result};
use serde::{Serialize, de::DeserializeOwned};
use spine_runs::{RunState, Steps};
use spine_schemas::{Digest, RunKey};
use std::sync::Arc;

/// Rebuilds a run from its rows; equal to the state that was stored.
///
/// # Errors
/// [`Error::Damaged`] naming the run and what cannot be read.
pub fn rebuild(
    key: RunKey,
    spec: &SpecForm<'_>,
    head: HeadForm<'_>,
    steps: Vec<StepForm<'_>>,
) -> Result<RunState> {
    let named = |error: Error| match error {
        Error::Damaged(what) => Error::Damaged(format!("run {key}: {what}")),
        other @ (Error::Lost { .. }
        | Error::Unavailable(_)
        | Error::Refused(_)
        | Error::BadQuery(_)) => other,
    };
    let created = spec.read().map_err(named)?;
    let mut read = Steps::default();
    for form in steps {
        read.insert(Arc::new(form.into_state().map_err(named)?));
    }
    head.into_state(key.clone(), created, read).map_err(named)
}

/// What `SpecForm` holds: the part of a run that never changes.
#[derive(Clone, Debug)]
pub(crate) struct Creation {
    pub(crate) created: Arc<spine_schemas::RunCreated>,
    pub(crate) created_digest: Digest,
    pub(crate) created_offset: u64,
    pub(crate) created_at: spine_schemas::time::Micros,
}

/// The column of an offset. Logs number records with 63 bits, so a larger one is our bug.
pub fn offset_column(offset: u64) -> i64 {
    i64::try_from(offset).expect("an offset has at most 63 bits")
}

/// The offset in a column.
///
/// # Errors
/// [`Error::Damaged`] for a negative number.
pub fn read_offset(column: &str, value: i64) -> Result<u64> {
    u64::try_from(value).map_err(|_| damaged(column, value))
}

/// The small count in a column.
///
/// # Errors
/// [`Error::Damaged`] when it is out of range.
pub fn read_count(column: &str, value: i64) -> Result<u32> {
    u32::try_from(value).map_err(|_| damaged(column, value))
}

/// The digest in a column.
///
/// # Errors
/// [`Error::Damaged`] when it has another length.
pub fn read_digest(column: &str, value: &[u8]) -> Result<Digest> {
    let bytes = value.try_into().map_err(|_| damaged(column, format!("{} bytes", value.len())))?;
    Ok(Digest(bytes))
}

/// The JSON text of a value, in the one order of its keys.
///
/// # Errors
/// [`Error::Damaged`] when a value has no JSON form, which only a bug can cause.
pub fn write_json(column: &str, value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(|error| damaged(column, error))
}

/// The value of a JSON text.
///
/// # Errors
/// [`Error::Damaged`] naming the column.
pub fn read_json<T: DeserializeOwned>(column: &str, text: &str) -> Result<T> {
    serde_json::from_str(text).map_err(|error| damaged(column, error))
}

/// A column that cannot be read.
pub(crate) fn damaged(column: &str, what: impl std::fmt::Display) -> Error {
    Error::Damaged(format!("{column}: {what}"))
}

/// A sum as a column: readers see the largest 63-bit number where it is larger; `state` is exact.
pub(crate) fn sum_column(sum: u64) -> i64 {
    i64::try_from(sum).unwrap_or(i64::MAX)
}
