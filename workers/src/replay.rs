//! Replay: reads a range of the log again into a fresh store. It calls no tool and appends nothing.

use crate::{
    Error, Result,
    cache::RunCache,
    limits,
    materialize::{LetterDue, Materializer},
    order::{Order, Orders},
    owner::{Originals, Read, Scan, read_event},
};
use spine_log::{EventLog, PartitionReader, ReadLimit, Record, TopicPartition};
use spine_schemas::{RunKey, codec::SchemaBook};
use spine_store::RunStore;
use std::sync::Arc;
use tokio::sync::watch;

/// What a replay did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Records read.
    pub records: u64,
    /// Offset of the last one.
    pub last_offset: Option<u64>,
}

/// Replays one partition up to, not including, `end`, into a store that may hold an earlier part of
/// the same replay. `progress` is called after each stored batch with the records read so far.
///
/// # Errors
/// [`Error`] of the log or of the store.
pub async fn replay<L: EventLog, S: RunStore>(
    log: &L,
    store: &S,
    tp: &TopicPartition,
    end: u64,
    book: &SchemaBook,
    mut progress: impl FnMut(Replayed),
) -> Result<Replayed> {
    let from = store.progress(tp.partition).await?;
    let partitions = log.partitions(&tp.topic).await?;
    let mut scan = Scan::new(tp.partition, from.as_ref());
    scan_control(log, tp, end, book, &mut scan).await?;
    let mut fold = Materializer::new(tp.partition, tp.topic.clone(), log.log_id(), from);
    let mut cache = RunCache::default();
    let mut done = Replayed::default();
    if fold.next_offset() >= end {
        return Ok(done);
    }
    let mut reader = log.reader(tp, fold.next_offset()).await?;
    let limit = ReadLimit { records: limits::READ_RECORDS, bytes: limits::READ_BYTES };
    // Nobody orders a replay about; it ends with its process.
    let orders = watch::Sender::new(Order::Own);
    let originals = Originals::new(log.clone(), tp.clone(), Orders::of(&orders), Order::Own);
    let mut range = Range { tp, book, partitions, scan: &scan, originals };
    while reader.position() < end {
        let mut records = reader.next(limit).await?;
        records.retain(|record| record.offset < end);
        range.fold(store, &mut fold, &mut cache, records, &mut done).await?;
        let stored = done.last_offset;
        if let Some(batch) = fold.take_batch(&cache) {
            store.apply(batch).await?;
        }
        cache.evict(limits::WHOLE, stored, |_| false);
        progress(done);
    }
    Ok(done)
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
    let limit = ReadLimit { records: limits::READ_RECORDS, bytes: limits::READ_BYTES };
    while reader.position() < end {
        for record in reader.next(limit).await? {
            if record.offset < end {
                scan.take(&record, book);
            }
        }
    }
    scan.reach(end);
    Ok(())
}

struct Range<'a, L: EventLog> {
    tp: &'a TopicPartition,
    book: &'a SchemaBook,
    partitions: u32,
    scan: &'a Scan,
    originals: Originals<L>,
}

impl<L: EventLog> Range<'_, L> {
    async fn fold<S: RunStore>(
        &mut self,
        store: &S,
        fold: &mut Materializer,
        cache: &mut RunCache,
        records: Vec<Record>,
        done: &mut Replayed,
    ) -> Result<()> {
        let mut read = Vec::with_capacity(records.len());
        for record in records {
            let event = if self.scan.is_set_aside(record.offset) {
                Read::Aside
            } else {
                read_event(&record, self.tp.partition, self.partitions, self.book)?
            };
            read.push((record, event));
        }
        self.load(store, cache, &read).await?;
        for (record, event) in read {
            done.records += 1;
            done.last_offset = Some(record.offset);
            match event {
                Read::Event(event) => {
                    if let Some(due) = fold.fold(cache, &record, &event).letter {
                        self.open_letter(fold, &due).await?;
                    }
                }
                Read::Aside => fold.pass_over(&record),
                Read::Bad(class, message) => {
                    let message = format!(
                        "{} offset {} is bad ({class}: {message}) and no decision of an owner to \
                         set it aside lies before offset {}, where this replay ends: replay further, \
                         or bring what it lacks",
                        self.tp,
                        record.offset,
                        self.scan.next_offset()
                    );
                    return Err(Error::Log(spine_log::Error::Damaged(message)));
                }
            }
        }
        Ok(())
    }

    async fn load<S: RunStore>(
        &self,
        store: &S,
        cache: &mut RunCache,
        read: &[(Record, Read)],
    ) -> Result<()> {
        let mut missing: Vec<RunKey> = read
            .iter()
            .filter_map(|(_, read)| read.event().and_then(|event| event.run_key()))
            .filter(|key| !cache.knows(key))
            .collect();
        missing.sort_unstable();
        missing.dedup();
        if missing.is_empty() {
            return Ok(());
        }
        let states = store.load_runs(self.tp.partition, &missing).await?;
        for (key, state) in missing.into_iter().zip(states) {
            cache.insert(key, state);
        }
        Ok(())
    }

    /// The row of a record letter that another event decided.
    async fn open_letter(&mut self, fold: &mut Materializer, due: &LetterDue) -> Result<()> {
        let LetterDue::Record { offset, decided, .. } = due else {
            return Ok(());
        };
        if offset == decided {
            return Ok(());
        }
        let original = self.originals.get(*offset).await?;
        let event = due.event_in(&original, self.book);
        fold.open_record_letter(due, &original, event.as_ref());
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
