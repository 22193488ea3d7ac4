//! The short number of a run, by which its rows lie in the file.
//!
//! Run ids are often random. Rows that lie by them would touch another page with nearly every
//! event; a number that follows the log keeps the rows of recent runs together. It is a fold of
//! the log like everything else: partition and offset of the first event that names the run.

use crate::{Error, Result, StoreBatch, form::offset_column};
use rusqlite::{Connection, OptionalExtension, Statement, params};
use spine_schemas::RunKey;
use std::collections::HashMap;

/// Bits of the offset; those above it are the partition's.
const OFFSET_BITS: u32 = 47;

const FIND: &str = "SELECT run FROM run_keys WHERE tenant = ?1 AND run_id = ?2";

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
    let mut select = connection.prepare_cached(FIND)?;
    Ok(select.query_row(params![key.tenant, key.run_id], |row| row.get(0)).optional()?)
}

/// The numbers of the runs that a batch names, in the order of its rows.
#[derive(Default)]
pub(super) struct RunNumbers {
    pub(super) events: Vec<i64>,
    pub(super) runs: Vec<i64>,
    pub(super) decisions: Vec<i64>,
}

impl RunNumbers {
    /// Finds the numbers, and gives one to each run that is new. Events come first: it is their
    /// offsets that make the numbers.
    pub(super) fn of_batch(connection: &Connection, batch: &StoreBatch) -> Result<Self> {
        let mut known = HashMap::with_capacity(batch.runs.len());
        let mut find = connection.prepare_cached(FIND)?;
        let mut give = connection
            .prepare_cached("INSERT INTO run_keys (tenant, run_id, run) VALUES (?1, ?2, ?3)")?;
        let mut number_of = |key, offset| -> Result<i64> {
            if let Some(run) = known.get(key) {
                return Ok(*run);
            }
            let run = find_or_give(&mut find, &mut give, key, number(batch.partition, offset))?;
            known.insert(key, run);
            Ok(run)
        };
        let mut numbers = Self::default();
        for event in &batch.events {
            numbers.events.push(number_of(&event.key, event.offset)?);
        }
        for change in &batch.runs {
            numbers.runs.push(number_of(&change.run.key, change.run.created_offset)?);
        }
        for row in &batch.decisions {
            numbers.decisions.push(number_of(&row.key, row.offset)?);
        }
        Ok(numbers)
    }
}

fn find_or_give(
    find: &mut Statement<'_>,
    give: &mut Statement<'_>,
    key: &RunKey,
    new: i64,
) -> Result<i64> {
    let stored = find.query_row(params![key.tenant, key.run_id], |row| row.get(0)).optional()?;
    let Some(run) = stored else {
        give.execute(params![key.tenant, key.run_id, new])?;
        return Ok(new);
    };
    let (stored, given) = (partition_of(run), partition_of(new));
    if stored == given {
        return Ok(run);
    }
    Err(Error::Damaged(format!(
        "run {key}: stored from partition {stored}, now written from partition {given}"
    )))
}
