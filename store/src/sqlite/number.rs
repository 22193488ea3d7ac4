//! The short number of a run, by which its rows lie in the file.
//!
//! Run ids are often random. Rows that lie by them would touch another page with nearly every
//! event; a number that follows the log keeps the rows of recent runs together. It is a fold of
//! the log like everything else: partition and offset of the first event that names the run.

use crate::{Error, Result, StoreBatch, form::offset_column};
use rusqlite::{CachedStatement, Connection, OptionalExtension, params};
use spine_schemas::RunKey;
use std::collections::{HashMap, HashSet};

/// Bits of the offset; those above it are the partition's.
const OFFSET_BITS: u32 = 47;

const FIND: &str = "SELECT run FROM run_keys WHERE tenant = ?1 AND run_id = ?2";
const GIVE: &str =
    "INSERT INTO run_keys (tenant, run_id, run) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";

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
    /// Whether the store held nothing of the run before this batch, for each of `runs`.
    pub(super) is_new: Vec<bool>,
    pub(super) decisions: Vec<i64>,
}

impl RunNumbers {
    /// Finds the numbers, and gives one to each run that is new. Events come first: it is their
    /// offsets that make the numbers.
    pub(super) fn of_batch(connection: &Connection, batch: &StoreBatch) -> Result<Self> {
        let created = batch.runs.iter().filter(|change| change.created);
        let mut numbering = Numbering {
            partition: batch.partition,
            created: created.map(|change| &change.run.key).collect(),
            known: HashMap::with_capacity(batch.runs.len()),
            find: connection.prepare_cached(FIND)?,
            give: connection.prepare_cached(GIVE)?,
        };
        let mut numbers = Self::default();
        for event in &batch.events {
            numbers.events.push(numbering.number_of(&event.key, event.offset)?.run);
        }
        for change in &batch.runs {
            let run = &change.run;
            let Number { run, is_new } = numbering.number_of(&run.key, run.created_offset)?;
            numbers.runs.push(run);
            numbers.is_new.push(is_new);
        }
        for row in &batch.decisions {
            numbers.decisions.push(numbering.number_of(&row.key, row.offset)?.run);
        }
        Ok(numbers)
    }
}

/// The number of a run, and whether it was given just now.
#[derive(Clone, Copy)]
struct Number {
    run: i64,
    is_new: bool,
}

struct Numbering<'a> {
    partition: u32,
    created: HashSet<&'a RunKey>,
    known: HashMap<&'a RunKey, Number>,
    find: CachedStatement<'a>,
    give: CachedStatement<'a>,
}

impl<'a> Numbering<'a> {
    fn number_of(&mut self, key: &'a RunKey, offset: u64) -> Result<Number> {
        if let Some(number) = self.known.get(key) {
            return Ok(*number);
        }
        let run = number(self.partition, offset);
        // A run that is created here nearly always has no number yet: it is not sought in vain.
        let number = match self.created.contains(key) && self.give(key, run)? {
            true => Number { run, is_new: true },
            false => self.find_or_give(key, run)?,
        };
        self.known.insert(key, number);
        Ok(number)
    }

    /// Gives the number, unless the run has one.
    fn give(&mut self, key: &RunKey, new: i64) -> Result<bool> {
        Ok(self.give.execute(params![key.tenant, key.run_id, new])? == 1)
    }

    fn find_or_give(&mut self, key: &RunKey, new: i64) -> Result<Number> {
        let find = &mut self.find;
        let stored =
            find.query_row(params![key.tenant, key.run_id], |row| row.get(0)).optional()?;
        let Some(run) = stored else {
            self.give(key, new)?;
            return Ok(Number { run: new, is_new: true });
        };
        let (stored, given) = (partition_of(run), partition_of(new));
        if stored == given {
            return Ok(Number { run, is_new: false });
        }
        Err(Error::Damaged(format!(
            "run {key}: stored from partition {stored}, now written from partition {given}"
        )))
    }
}
