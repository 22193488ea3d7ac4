//! Replay: reads a range of the log again into a fresh store. It calls no tool and appends nothing.
//!
//! Three things go on at once: decoding what comes next, folding, and storing what was folded.

mod decoding;
mod known;
mod storing;

use crate::{
    Error, Result,
    cache::RunCache,
    limits,
    materialize::{LetterDue, Materializer},
    order::{Order, Orders},
    owner::{Originals, Read, Scan},
};
use decoding::Decoding;
use known::Known;
use spine_log::{EventLog, PartitionReader, Record, TopicPartition};
use spine_schemas::{RunKey, codec::SchemaBook};
use spine_store::RunStore;
use std::sync::Arc;
use storing::Storing;
use tokio::sync::watch;

/// As many partitions should be replayed at once.
pub use crate::limits::REPLAY_PARTITIONS as AT_ONCE;

/// What a replay did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Records read.
    pub records: u64,
    /// Offset of the last one.
    pub last_offset: Option<u64>,
}

/// Replays one partition up to, not including, `end`, into a store that may hold an earlier part of
/// the same replay. `progress` is called as batches are stored, with the records read so far.
///
/// # Errors
/// [`Error`] of the log or of the store.
pub async fn replay<L: EventLog, S: RunStore>(
    log: &L,
    store: &S,
    tp: &TopicPartition,
    end: u64,
    book: &Arc<SchemaBook>,
    mut progress: impl FnMut(Replayed),
) -> Result<Replayed> {
    let from = store.progress(tp.partition).await?;
    let partitions = log.partitions(&tp.topic).await?;
    let mut scan = Scan::new(tp.partition, from.as_ref());
    scan_control(log, tp, end, book, &mut scan).await?;
    let fold = Materializer::new(tp.partition, tp.topic.clone(), log.log_id(), from);
    if fold.next_offset() >= end {
        return Ok(Replayed::default());
    }
    let reader = log.reader(tp, fold.next_offset()).await?;
    let mut decoding = Decoding::start(reader, tp, partitions, book, scan, end);
    // Nobody orders a replay about; it ends with its process.
    let orders = watch::Sender::new(Order::Own);
    let known = Known::new(fold.folded().is_none());
    let originals = Originals::new(log.clone(), tp.clone(), Orders::of(&orders), Order::Own);
    let mut range = Range {
        tp,
        book,
        end,
        originals,
        store,
        storing: Storing::start(store.clone()),
        fold,
        cache: RunCache::default(),
        known,
        done: Replayed::default(),
    };
    while let Some(read) = decoding.next().await? {
        range.fold(read).await?;
        range.store_some().await?;
        progress(range.done);
    }
    range.store_rest().await?;
    progress(range.done);
    Ok(range.done)
}

async fn scan_control<L: EventLog>(
    log: &L,
    tp: &TopicPartition,
    end: u64,
    book: &SchemaBook,
    scan: &mut Scan,
) -> Result<()> {
    if scan.next_offset() >= end {
        return Ok(());
    }
    let mut reader = log.reader(tp, scan.next_offset()).await?;
    while reader.position() < end {
        for record in reader.next_keyless(limits::READ).await? {
            if record.offset < end {
                scan.take(&record, book);
            }
        }
    }
    scan.reach(end);
    Ok(())
}

struct Range<'a, L: EventLog, S> {
    tp: &'a TopicPartition,
    book: &'a SchemaBook,
    end: u64,
    originals: Originals<L>,
    store: &'a S,
    storing: Storing,
    fold: Materializer,
    cache: RunCache,
    known: Known,
    done: Replayed,
}

impl<L: EventLog, S: RunStore> Range<'_, L, S> {
    async fn fold(&mut self, read: Vec<(Record, Read)>) -> Result<()> {
        self.load(&read).await?;
        for (record, event) in read {
            self.done.records += 1;
            self.done.last_offset = Some(record.offset);
            match event {
                Read::Event(event) => {
                    if let Some(due) = self.fold.fold(&mut self.cache, &record, &event).letter {
                        self.open_letter(&due).await?;
                    }
                }
                Read::Aside => self.fold.pass_over(&record),
                Read::Bad(class, message) => {
                    let message = format!(
                        "{} offset {} is bad ({class}: {message}) and no decision of an owner to \
                         set it aside lies before offset {}, where this replay ends: replay further, \
                         or bring what it lacks",
                        self.tp, record.offset, self.end
                    );
                    return Err(Error::Log(spine_log::Error::Damaged(message)));
                }
            }
        }
        Ok(())
    }

    /// Brings in the runs of a read that are not in memory.
    async fn load(&mut self, read: &[(Record, Read)]) -> Result<()> {
        let mut missing: Vec<RunKey> = Vec::new();
        for key in read.iter().filter_map(|(_, read)| read.event()?.run_key()) {
            if self.cache.knows(&key) {
                continue;
            }
            if self.known.meet(&key) {
                missing.push(key);
            } else {
                self.cache.insert(key, None);
            }
        }
        missing.sort_unstable();
        missing.dedup();
        if missing.is_empty() {
            return Ok(());
        }
        let states = self.store.load_runs(self.tp.partition, &missing).await?;
        for (key, state) in missing.into_iter().zip(states) {
            self.cache.insert(key, state);
        }
        Ok(())
    }

    /// Hands what was folded to the store where it would not wait; waits only when too much has gathered.
    async fn store_some(&mut self) -> Result<()> {
        let (events, bytes) = self.fold.pending_size();
        let share = limits::REPLAY;
        let is_full = events >= share.window_events || bytes >= share.window_bytes;
        if is_full || (events >= limits::REPLAY_BATCH_EVENTS && self.storing.has_room()) {
            self.store_all().await?;
        }
        self.cache.evict(share, self.storing.stored(), |_| false);
        Ok(())
    }

    async fn store_all(&mut self) -> Result<()> {
        match self.fold.take_batch(&self.cache) {
            Some(batch) => self.storing.hand_over(batch).await,
            None => Ok(()),
        }
    }

    async fn store_rest(&mut self) -> Result<()> {
        self.store_all().await?;
        self.storing.end().await
    }

    /// The row of a record letter that another event decided.
    async fn open_letter(&mut self, due: &LetterDue) -> Result<()> {
        let LetterDue::Record { offset, decided, .. } = due else {
            return Ok(());
        };
        if offset == decided {
            return Ok(());
        }
        let original = self.originals.get(*offset).await?;
        let event = due.event_in(&original, self.book);
        self.fold.open_record_letter(due, &original, event.as_ref());
        Ok(())
    }
}

/// Partitions of a topic, for replaying all of them.
///
/// # Errors
/// [`Error`] of the log.
pub async fn partitions<L: EventLog>(log: &L, topic: &Arc<str>) -> Result<Vec<TopicPartition>> {
    let count = log.partitions(topic).await?;
    Ok((0..count).map(|partition| TopicPartition::new(topic.clone(), partition)).collect())
}
