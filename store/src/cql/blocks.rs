//! How the history of a run lies in rows: all that a batch brings of it in one row, a list a column.
//!
//! A row costs the servers more than what it holds. A *block* is named by its newest and its oldest event
//! and holds every event of the run from the one to the other, so whoever writes a block of this name
//! writes the same. Owners cut where time cut them: after a crash the blocks of two may overlap.
//!
//! Why none is missed and none is out of order, if blocks are read by their newest events and what was given
//! before is left out: a batch begins behind a progress that was stored, and its blocks of a run are written
//! in their order (`write`). So whatever precedes the oldest event of a block was acknowledged before the block
//! was written, and lies in blocks that end before it begins.

use super::cells::{Cells, Values, partition};
use crate::{
    EventRow, Result,
    form::{self, name_of, offset_column, step_column},
    limits,
};
use scylla::value::CqlValue;

/// The columns that hold a value of each event, in the order in which they are written.
pub(super) const LISTS: [&str; 9] =
    ["offsets", "times", "kinds", "steps", "attempts", "actors", "verdicts", "reasons", "bytes"];

/// Events of one run, each with its bytes, in the order of their offsets.
#[derive(Default)]
pub(super) struct Block<'a> {
    events: Vec<(&'a EventRow, &'a [u8])>,
    bytes: usize,
}

impl<'a> Block<'a> {
    /// Whether it can take so many bytes more. An empty one takes everything.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        let fits = self.bytes + bytes <= limits::CQL_BLOCK_BYTES;
        self.events.is_empty() || (fits && self.events.len() < limits::CQL_BLOCK_EVENTS)
    }

    pub(super) fn push(&mut self, event: &'a EventRow, bytes: &'a [u8]) {
        let last = self.events.last();
        assert!(last.is_none_or(|(last, _)| last.offset < event.offset), "in the order of the log");
        self.bytes += bytes.len();
        self.events.push((event, bytes));
    }

    /// Its newest event.
    pub(super) fn newest(&self) -> &'a EventRow {
        self.events.last().expect("a block holds an event").0
    }

    /// Appends its values behind the key of its CQL partition.
    pub(super) fn write(&self, key: Values) -> Result<Values> {
        let (newest, oldest) = (self.newest(), self.events[0].0);
        let reasons = self.texts(|event| match &event.reason {
            Some(reason) => name_of("reason", reason),
            None => Ok(String::new()),
        })?;
        Ok(key
            .bigs([offset_column(newest.offset), offset_column(oldest.offset)])
            .int(partition(newest.partition))
            .list(self.bigs(|event| offset_column(event.offset)))
            .list(self.bigs(|event| event.at.0))
            .list(self.texts(|event| Ok(event.kind.clone()))?)
            .list(self.texts(|event| Ok(step_column(event.step.as_ref())))?)
            .list(self.bigs(|event| event.attempt.map_or(-1, i64::from)))
            .list(self.texts(|event| Ok(event.actor.clone()))?)
            .list(self.texts(|event| Ok(event.verdict.as_str().to_owned()))?)
            .list(reasons)
            .list(self.events.iter().map(|(_, bytes)| CqlValue::Blob(bytes.to_vec())).collect()))
    }

    fn bigs(&self, of: impl Fn(&EventRow) -> i64) -> Vec<CqlValue> {
        self.events.iter().map(|(event, _)| CqlValue::BigInt(of(event))).collect()
    }

    fn texts(&self, of: impl Fn(&EventRow) -> Result<String>) -> Result<Vec<CqlValue>> {
        self.events.iter().map(|(event, _)| of(event).map(CqlValue::Text)).collect()
    }
}

/// The events of a row in their order: of each list its value, of each other column that of the row.
///
/// # Errors
/// Damaged, where lists have different lengths.
pub(super) fn events_of(row: Cells) -> Result<Vec<Cells>> {
    let columns: Vec<Option<CqlValue>> = row.rest().collect();
    let lengths = columns.iter().filter_map(|column| match column {
        Some(CqlValue::List(list)) => Some(list.len()),
        _ => None,
    });
    let count = lengths.clone().next().unwrap_or(0);
    if count == 0 || lengths.clone().any(|length| length != count) {
        let lengths: Vec<usize> = lengths.collect();
        return Err(form::damaged("a block of events", format!("its lists hold {lengths:?}")));
    }
    let mut events: Vec<Vec<Option<CqlValue>>> = Vec::new();
    events.resize_with(count, || Vec::with_capacity(columns.len()));
    for column in columns {
        match column {
            Some(CqlValue::List(list)) => {
                for (event, value) in events.iter_mut().zip(list) {
                    event.push(Some(value));
                }
            }
            of_all => events.iter_mut().for_each(|event| event.push(of_all.clone())),
        }
    }
    Ok(events.into_iter().map(Cells::of).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(numbers: &[i64]) -> Option<CqlValue> {
        Some(CqlValue::List(numbers.iter().copied().map(CqlValue::BigInt).collect()))
    }

    #[test]
    fn each_event_has_its_values_of_the_lists_and_those_of_the_row() {
        let row = vec![list(&[4, 6]), Some(CqlValue::Int(1)), list(&[7, 8])];
        let events = events_of(Cells::of(row)).unwrap();
        let read = |mut event: Cells| -> Result<(i64, i32, i64)> {
            Ok((event.big()?, event.int()?, event.big()?))
        };
        let read: Result<Vec<_>> = events.into_iter().map(read).collect();
        assert_eq!(read, Ok(vec![(4, 1, 7), (6, 1, 8)]));
    }

    #[test]
    fn lists_of_different_lengths_are_damage() {
        for row in [vec![list(&[4, 6]), list(&[7])], vec![list(&[])], vec![Some(CqlValue::Int(1))]]
        {
            let found = events_of(Cells::of(row)).map(|events| events.len());
            assert!(matches!(found, Err(crate::Error::Damaged(_))), "{found:?}");
        }
    }
}
