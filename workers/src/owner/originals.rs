//! Reading the originals of letters. Those of a flood lie side by side, and a reader for each of them
//! costs far more than the records between.

use super::start::read_on;
use crate::{
    Result, limits,
    order::{Order, Orders},
};
use spine_log::{EventLog, PartitionReader, ReadLimit, Record, TopicPartition};
use std::collections::VecDeque;

/// Reads records of one partition, mostly in ascending order.
pub(crate) struct Originals<L: EventLog> {
    log: L,
    tp: TopicPartition,
    orders: Orders,
    followed: Order,
    reader: Option<L::Reader>,
    /// Read, and not asked for yet.
    ahead: VecDeque<Record>,
}

impl<L: EventLog> Originals<L> {
    /// A reader of originals that gives up when another order comes than the one that is followed.
    pub(crate) fn new(log: L, tp: TopicPartition, orders: Orders, followed: Order) -> Self {
        Self { log, tp, orders, followed, reader: None, ahead: VecDeque::new() }
    }

    /// The record at an offset that is surely there.
    pub(crate) async fn get(&mut self, offset: u64) -> Result<Record> {
        let is_near = self.reader.as_ref().is_some_and(|reader| {
            let from = self.ahead.front().map_or(reader.position(), |record| record.offset);
            (from..=from + limits::READ_RECORDS as u64).contains(&offset)
        });
        let missing = || spine_log::Error::Missing(format!("{} offset {offset}", self.tp));
        // Most letters come alone.
        let mut limit = limits::READ;
        if !is_near {
            limit = ReadLimit { records: 1, bytes: 1 };
            self.ahead.clear();
            self.reader = Some(self.log.reader(&self.tp, offset).await?);
        }
        let reader = self.reader.as_mut().ok_or_else(missing)?;
        loop {
            while let Some(record) = self.ahead.pop_front() {
                if record.offset == offset {
                    return Ok(record);
                }
            }
            if reader.position() > offset {
                return Err(missing().into());
            }
            let read = read_on(reader.next(limit), &mut self.orders, self.followed).await?;
            self.ahead.extend(read);
        }
    }
}
