//! The one writer of a partition: a group of batches becomes one block, one sync, many replies.
//!
//! Plain synchronous steps; `driver.rs` decides on which thread or task, and what may come between.

use super::{
    active::Active, block::BlockBuilder, disk::is_full, files, index::Mark, lock, metrics,
    partition::Partition, queue::Pending,
};
use crate::{Appended, Error, Record, Result, Urgency, limits::RESERVE_MOST_BYTES};
use spine_schemas::{
    fault_points,
    mutants::{Mutant, planted},
    time::Micros,
};
use std::{io, sync::Arc};
use tokio::time::Instant;

/// The writer of one partition.
#[derive(Debug)]
pub(crate) struct Committer {
    /// The partition that it writes.
    pub(crate) partition: Arc<Partition>,
    active: Active,
    block: BlockBuilder,
    end_offset: u64,
    last_time: Micros,
    /// A segment could not be begun, but its name may be there: nothing goes into the old one.
    must_roll: bool,
    /// Whether the disk has space for a reserve beside the head-room.
    reserves: bool,
}

/// A group whose block is in the file, durable or not.
#[derive(Debug)]
pub(crate) struct Group {
    waiting: Vec<Pending>,
    mark: Mark,
    end_byte: u64,
}

impl Committer {
    /// A writer that goes on after the active segment's recovered end.
    pub(crate) fn new(
        partition: Arc<Partition>,
        active: Active,
        end_offset: u64,
        last_time: Micros,
    ) -> Self {
        Self {
            partition,
            active,
            block: BlockBuilder::new(),
            end_offset,
            last_time,
            must_roll: false,
            reserves: false,
        }
    }

    /// Writes what may be written as one block. Whoever is refused has been answered.
    pub(crate) fn write(&mut self, waiting: Vec<Pending>) -> Option<Group> {
        let waiting = self.keep_headroom(waiting);
        if waiting.is_empty() {
            return None;
        }
        let time = (self.partition.shared.clock)().max(self.last_time);
        match self.write_block(&waiting, time) {
            Ok((byte, end_byte)) => {
                self.last_time = time;
                let mark = Mark { offset: self.end_offset, time, byte };
                Some(Group { waiting, mark, end_byte })
            }
            Err(error) => {
                self.refuse(waiting, &error);
                None
            }
        }
    }

    /// Makes a written group durable. If that fails the log is poisoned and the group answered.
    pub(crate) fn sync(&mut self, group: Group) -> Option<Group> {
        let started = Instant::now();
        let skipped = planted(Mutant::ReadBeforeSync);
        let outcome = if skipped { Ok(()) } else { self.active.sync() };
        metrics::observe_sync_seconds(&self.partition.name, started.elapsed());
        match outcome {
            Ok(()) => {
                fault_points::reach("durable");
                Some(group)
            }
            Err(error) => {
                let error = self.poison("fdatasync", &error);
                self.refuse(group.waiting, &error);
                None
            }
        }
    }

    /// Shows a durable group to readers, then answers its callers.
    pub(crate) fn publish(&mut self, group: Group) {
        let Group { waiting, mark, end_byte } = group;
        self.active.note_durable(mark, end_byte);
        let batches = waiting.len();
        let mut acknowledged = Vec::with_capacity(batches);
        let mut tail = lock(&self.partition.tail);
        for pending in waiting {
            let first_offset = self.end_offset;
            for record in pending.batch.records {
                let offset = self.end_offset;
                let (key, headers, value) = (record.key, record.headers, record.value);
                tail.push(Record { offset, timestamp: mark.time, key, headers, value });
                self.end_offset += 1;
            }
            let last_offset = self.end_offset - 1;
            let appended = Appended::contiguous(first_offset, last_offset, mark.time);
            acknowledged.push((pending.reply, appended));
        }
        drop(tail);
        self.partition.tip.send_modify(|tip| tip.end_offset = self.end_offset);
        for (reply, appended) in acknowledged {
            // A caller that left does not want the answer.
            let _ = reply.send(Ok(appended));
        }
        fault_points::reach("appended");
        let name = &self.partition.name;
        metrics::observe_append_records_total(name, self.end_offset - mark.offset);
        metrics::observe_append_bytes(name, end_byte - mark.byte);
        metrics::observe_group_batches(name, batches);
    }

    /// While space is short, answers new work with `Full` and returns the rest.
    fn keep_headroom(&mut self, waiting: Vec<Pending>) -> Vec<Pending> {
        let shared = &self.partition.shared;
        self.reserves = true;
        if shared.headroom_bytes == 0 {
            return waiting;
        }
        let wanted: usize = waiting.iter().map(|pending| pending.batch.cost_bytes).sum();
        // A disk that cannot say how full it is will say so when it is written.
        let free_bytes = shared.disk.free_bytes(&shared.dir).unwrap_or(u64::MAX);
        let left_bytes = free_bytes.saturating_sub(wanted as u64);
        self.reserves = left_bytes >= shared.headroom_bytes.saturating_add(RESERVE_MOST_BYTES);
        if left_bytes >= shared.headroom_bytes {
            return waiting;
        }
        let (kept, refused): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|pending| pending.urgency == Urgency::Outcome);
        self.refuse(refused, &self.full(free_bytes));
        kept
    }

    fn write_block(&mut self, waiting: &[Pending], time: Micros) -> Result<(u64, u64)> {
        self.block.clear();
        let mut offset = self.end_offset;
        for pending in waiting {
            self.block.add(&pending.batch, offset, time);
            offset += pending.batch.records.len() as u64;
        }
        let block_bytes = self.block.len_bytes() as u64;
        let segment_bytes = self.partition.shared.segment_bytes;
        if self.must_roll || self.active.is_full_for(block_bytes, segment_bytes) {
            self.roll(time)?;
        }
        let byte = self.active.durable_bytes();
        let reserve_from = self.partition.shared.reserve_from_bytes;
        let reserve_from = if self.reserves { reserve_from } else { u64::MAX };
        match self.active.write(&mut self.block, reserve_from) {
            Ok(end_byte) => Ok((byte, end_byte)),
            Err(error) => Err(self.give_up(&error)),
        }
    }

    /// Begins the next segment. All of the present one is durable, since nothing is in flight.
    fn roll(&mut self, floor: Micros) -> Result<()> {
        self.must_roll = true;
        if let Err(error) = self.active.complete() {
            return Err(if is_full(&error) {
                self.full(self.free_bytes())
            } else {
                self.poison("end", &error)
            });
        }
        let next = Active::create(&self.partition, self.end_offset, floor);
        let next = next.map_err(|error| match error {
            Error::Full { .. } => self.full(self.free_bytes()),
            error => self.partition.shared.poison(format!("could not begin a segment: {error}")),
        })?;
        self.must_roll = false;
        let sealed = std::mem::replace(&mut self.active, next);
        lock(&self.partition.segments).push(self.active.segment());
        sealed.seal(&self.partition);
        Ok(())
    }

    /// After a failed write: a full disk is refused and the file put back, all else is poison.
    fn give_up(&mut self, error: &io::Error) -> Error {
        if !is_full(error) {
            return self.poison("write", error);
        }
        match self.active.put_back() {
            Ok(()) => self.full(self.free_bytes()),
            Err(error) => self.poison("truncate", &error),
        }
    }

    /// Leaves the segment as others may keep it, with nothing reserved.
    pub(crate) fn leave(mut self) {
        if let Err(error) = self.active.trim() {
            // The next start takes the reserve for what it is.
            tracing::debug!(%error, partition = %self.partition.name, "reserved space not given back");
        }
    }

    fn free_bytes(&self) -> u64 {
        let shared = &self.partition.shared;
        shared.disk.free_bytes(&shared.dir).unwrap_or(0)
    }

    fn full(&self, free_bytes: u64) -> Error {
        Error::Full { path: self.partition.shared.dir.display().to_string(), free_bytes }
    }

    fn poison(&self, what: &'static str, error: &io::Error) -> Error {
        let path = self
            .partition
            .dir
            .join(files::name(self.active.segment().first_offset, files::Kind::Segment));
        self.partition.shared.poison(format!("{what} of {}: {error}", path.display()))
    }

    fn refuse(&self, waiting: Vec<Pending>, error: &Error) {
        metrics::observe_refused_total(&self.partition.name, error, waiting.len());
        for pending in waiting {
            // A caller that left does not want the answer.
            let _ = pending.reply.send(Err(error.clone()));
        }
    }
}
