//! The short number of a run, by which its rows lie in the file.
//!
//! Run ids are often random. Rows that lie by them would touch another page with nearly every
//! event; a number that follows the log keeps the rows of recent runs together. It is a fold of
//! the log like everything else: partition and offset of the first event that names the run.

use crate::{Error, Result, StoreBatch, form::offset_column};
use rusqlite::{Connection, OptionalExtension, params};
use spine_schemas::RunKey;
use std::collections::HashMap;

/// Bits of the offset; those above it are the partition's.
const OFFSET_BITS: u32 = 47;

/// The partition of a run's events.
pub(super) fn partition_of(run: i64) -> u32 {
    (run >> OFFSET_BITS) as u32
}

fn number(partition: u32, offset: u64) -> i64 {
    assert!(offset < 1 << OFFSET_BITS, "no log has 2^47 records in a partition");
    assert!(partition < 1 << (63 - OFFSET_BITS), "no topic has 65,536 partitions");
    i64::from(partition) << OFFSET_BITS | offset_column(offset)
}

/// The number of a run that an event has named.
pub(super) fn find(connection: &Connection, key: &RunKey) -> Result<Option<i64>> {
    let sql = "SELECT run FROM run_keys WHERE tenant = ?1 AND run_id = ?2";
    let mut select = connection.prepare_cached(sql)?;
    Ok(select.query_row(params![key.tenant, key.run_id], |row| row.get(0)).optional()?)
}

/// The numbers of all runs that a batch names. Looked up, never iterated.
pub(super) struct RunNumbers<'a>(HashMap<&'a RunKey, i64>);

impl<'a> RunNumbers<'a> {
    /// Finds the numbers, and gives one to each run that is new.
    pub(super) fn of_batch(connection: &Connection, batch: &'a StoreBatch) -> Result<Self> {
        let mut numbers = Self(HashMap::with_capacity(batch.runs.len()));
        let named = batch.events.iter().map(|event| (&event.key, event.offset));
        let changed = batch.runs.iter().map(|change| (&change.run.key, change.run.created_offset));
        let decided = batch.decisions.iter().map(|row| (&row.key, row.offset));
        for (key, offset) in named.chain(changed).chain(decided) {
            if !numbers.0.contains_key(key) {
                let run = find_or_give(connection, key, number(batch.partition, offset))?;
                numbers.0.insert(key, run);
            }
        }
        Ok(numbers)
    }

    /// The number of a run that the batch names.
    pub(super) fn of(&self, key: &RunKey) -> i64 {
        self.0[key]
    }
}

fn find_or_give(connection: &Connection, key: &RunKey, new: i64) -> Result<i64> {
    if let Some(run) = find(connection, key)? {
        if partition_of(run) == partition_of(new) {
            return Ok(run);
        }
        let (stored, given) = (partition_of(run), partition_of(new));
        return Err(Error::Damaged(format!(
            "run {key}: stored from partition {stored}, now written from partition {given}"
        )));
    }
    connection
        .prepare_cached("INSERT INTO run_keys (tenant, run_id, run) VALUES (?1, ?2, ?3)")?
        .execute(params![key.tenant, key.run_id, new])?;
    Ok(new)
}
