//! Reading a partition: from memory at the tail, else block by block from the files.

use super::{
    block::BlockCursor,
    lock,
    partition::{Partition, Tip},
    segment::{OpenSegment, Segment, damaged},
    tail::count_within,
};
use crate::{Error, PartitionReader, ReadLimit, Record, Result, limits::READ_BYTES};
use spine_schemas::time::Micros;
use std::{collections::VecDeque, sync::Arc};
use tokio::{
    sync::watch,
    task::{JoinError, JoinHandle},
};

/// Reads one partition of an embedded log.
#[derive(Debug)]
pub struct EmbeddedReader {
    partition: Arc<Partition>,
    tip: watch::Receiver<Tip>,
    /// Offset of the next record to return.
    next_offset: u64,
    /// Records that were read from a file and not returned yet.
    ready: VecDeque<Record>,
    /// Where the last read of files ended.
    place: Option<Place>,
    /// The next read of files, under way while the caller works on the last.
    ahead: Option<JoinHandle<Result<Chunk>>>,
}

/// What one read of files brought, and where it ended.
#[derive(Debug)]
struct Chunk {
    records: Vec<Record>,
    place: Place,
}

/// Which records of a chunk are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    All,
    Keyless,
}

/// A place in the files of a partition.
#[derive(Debug)]
struct Place {
    segment: Arc<Segment>,
    opened: Arc<OpenSegment>,
    cursor: BlockCursor,
}

impl EmbeddedReader {
    /// A reader that begins at an offset between the partition's bounds.
    pub(crate) fn new(partition: Arc<Partition>, from: u64) -> Result<Self> {
        let bounds = partition.bounds();
        if !(bounds.first..=bounds.end).contains(&from) {
            return Err(Error::Missing(format!("offset {from} of {}", partition.name)));
        }
        let tip = partition.tip.subscribe();
        let ready = VecDeque::new();
        Ok(Self { partition, tip, next_offset: from, ready, place: None, ahead: None })
    }

    /// Waits until the next record is durable.
    async fn wait(&mut self) -> Result<()> {
        let next_offset = self.next_offset;
        let reached = |tip: &Tip| tip.end_offset > next_offset || tip.ended.is_some();
        let Ok(tip) = self.tip.wait_for(reached).await else {
            return Err(Error::Unavailable("the log is closed".into()));
        };
        match &tip.ended {
            Some(error) if tip.end_offset <= next_offset => Err(error.clone()),
            Some(_) | None => Ok(()),
        }
    }

    fn take_ready(&mut self, limit: ReadLimit) -> Vec<Record> {
        let count = count_within(self.ready.iter(), limit);
        let records: Vec<_> = self.ready.drain(..count).collect();
        self.next_offset += records.len() as u64;
        records
    }

    /// Durable records at this position from memory; none where they are no longer, or not yet, there.
    fn read_tail(&mut self, limit: ReadLimit) -> Vec<Record> {
        let records = lock(&self.partition.tail).read(self.next_offset, limit);
        if !records.is_empty() {
            self.next_offset += records.len() as u64;
            // The files are left behind; a later read of them seeks anew.
            self.place = None;
        }
        records
    }

    /// The next chunk of the files.
    async fn read_chunk(&mut self, wanted: Wanted) -> Result<Chunk> {
        if let Some(reading) = &mut self.ahead {
            let read = finished(reading.await);
            self.ahead = None;
            return read;
        }
        let partition = Arc::clone(&self.partition);
        let next_offset = self.next_offset;
        // If this call is dropped while the job runs, the place is lost and only sought again.
        let place = self.place.take();
        let job = move || read_files(&partition, place, next_offset, wanted);
        self.partition.shared.runs.run(job).await
    }

    /// Begins to read what follows the chunk that was read, if that is in the files.
    fn read_ahead(&mut self) {
        let Some(from) = self.place.as_ref().map(|place| place.cursor.offset) else { return };
        let is_there = self.tip.borrow().end_offset > from;
        if !is_there || lock(&self.partition.tail).holds(from) {
            return;
        }
        let partition = Arc::clone(&self.partition);
        let job = |place| move || read_files(&partition, place, from, Wanted::All);
        self.ahead = self.partition.shared.runs.begin(|| job(self.place.take()));
    }
}

impl PartitionReader for EmbeddedReader {
    async fn next(&mut self, limit: ReadLimit) -> Result<Vec<Record>> {
        if !self.ready.is_empty() {
            return Ok(self.take_ready(limit));
        }
        self.wait().await?;
        if self.ahead.is_none() {
            let records = self.read_tail(limit);
            if !records.is_empty() {
                return Ok(records);
            }
        }
        let Chunk { records, place } = self.read_chunk(Wanted::All).await?;
        self.ready = records.into();
        self.place = Some(place);
        self.read_ahead();
        Ok(self.take_ready(limit))
    }

    async fn next_keyless(&mut self, limit: ReadLimit) -> Result<Vec<Record>> {
        if self.ready.is_empty() && self.ahead.is_none() {
            self.wait().await?;
            let mut records = self.read_tail(limit);
            if records.is_empty() {
                let chunk = self.read_chunk(Wanted::Keyless).await?;
                self.next_offset = chunk.place.cursor.offset;
                self.place = Some(chunk.place);
                return Ok(chunk.records);
            }
            records.retain(|record| record.key.is_none());
            return Ok(records);
        }
        let mut records = self.next(limit).await?;
        records.retain(|record| record.key.is_none());
        Ok(records)
    }

    fn position(&self) -> u64 {
        self.next_offset
    }
}

fn finished(read: std::result::Result<Result<Chunk>, JoinError>) -> Result<Chunk> {
    let broken = |error| Error::Unavailable(format!("a read did not finish: {error}"));
    read.map_err(broken)?
}

/// Reads at least one durable record, from `next_offset` on, and gives those that are wanted.
fn read_files(
    partition: &Partition,
    place: Option<Place>,
    next_offset: u64,
    wanted: Wanted,
) -> Result<Chunk> {
    let mut place = match place {
        Some(place) if place.cursor.offset == next_offset => place,
        Some(_) | None => seek(partition, next_offset)?,
    };
    loop {
        place = next_segment(partition, place)?;
        let mut records = read_blocks(&mut place, wanted)?;
        refuse_overlap(partition, &place)?;
        let seen = records.partition_point(|record| record.offset < next_offset);
        records.drain(..seen);
        if place.cursor.offset > next_offset {
            return Ok(Chunk { records, place });
        }
    }
}

/// The place of the last indexed block at or before an offset.
fn seek(partition: &Partition, offset: u64) -> Result<Place> {
    let (segment, _) = partition.segment_at(offset)?;
    let opened = partition.open(&segment)?;
    let disk = &*partition.shared.disk;
    let mark = segment.look_up(disk, &opened, |index| index.before_offset(offset))?;
    let cursor = opened.cursor(mark);
    Ok(Place { segment, opened, cursor })
}

/// Goes on to the next segment where this one ends.
fn next_segment(partition: &Partition, place: Place) -> Result<Place> {
    let (_, successor) = partition.segment_at(place.segment.first_offset)?;
    let at_end = place.cursor.byte >= place.segment.durable_bytes(&place.opened)?;
    match successor {
        Some(first) if at_end && place.cursor.offset == first => seek(partition, first),
        Some(first) if at_end => Err(misplaced_end(&place, first)),
        Some(_) | None => Ok(place),
    }
}

/// Two segments that hold the same offsets cannot both be what was written.
fn refuse_overlap(partition: &Partition, place: &Place) -> Result<()> {
    let (_, successor) = partition.segment_at(place.segment.first_offset)?;
    match successor {
        Some(first) if place.cursor.offset > first => Err(misplaced_end(place, first)),
        Some(_) | None => Ok(()),
    }
}

fn misplaced_end(place: &Place, next_first: u64) -> Error {
    let Place { opened, cursor, .. } = place;
    Error::Damaged(format!(
        "{} is damaged at byte {}, record {}: it should end where the next segment begins, at \
         record {next_first}",
        opened.path.display(),
        cursor.byte,
        cursor.offset
    ))
}

/// Reads the blocks that one fetch from the disk brings.
fn read_blocks(place: &mut Place, wanted: Wanted) -> Result<Vec<Record>> {
    let Place { segment, opened, cursor } = place;
    let durable_bytes = segment.durable_bytes(opened)?;
    let frame = opened.header.frame();
    let start = cursor.byte;
    let mut records = Vec::new();
    while let Some(block) = cursor.next(durable_bytes).map_err(|fault| opened.fault(fault))? {
        let read = match wanted {
            Wanted::All => block.records(frame.as_ref(), &mut records),
            Wanted::Keyless => block.keyless(frame.as_ref(), &mut records),
        };
        read.map_err(|bad| damaged(&opened.path, &bad))?;
        if !cursor.is_loaded() || cursor.byte - start >= READ_BYTES as u64 {
            break;
        }
    }
    if cursor.byte == start {
        let offset = cursor.offset;
        return Err(Error::Unavailable(format!("record {offset} is not in its segment yet")));
    }
    Ok(records)
}

/// An offset at or before the first record that is not older than `time`, found by the indexes.
pub(crate) fn seek_time(partition: &Partition, time: Micros) -> Result<u64> {
    let segments = lock(&partition.segments).clone();
    let disk = &*partition.shared.disk;
    let (mut low, mut high) = (0, segments.len());
    let mut from = partition.bounds().first;
    // The last segment with a mark before the time is sought; only its index tells.
    while low < high {
        let middle = low + (high - low) / 2;
        let opened = partition.open(&segments[middle])?;
        match segments[middle].look_up(disk, &opened, |index| index.before_time(time))? {
            Some(mark) => (from, low) = (mark.offset, middle + 1),
            None => high = middle,
        }
    }
    Ok(from)
}
