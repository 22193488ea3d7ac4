//! Reading and decoding ahead of the fold, in a task of its own: on a machine with several cores the two go on
//! at once.

use crate::{
    Result, limits,
    owner::{Read, Scan, read_event},
};
use spine_log::{PartitionReader, Record, TopicPartition};
use spine_schemas::codec::SchemaBook;
use std::sync::Arc;
use tokio::{
    sync::mpsc,
    task::{JoinError, JoinSet},
};

/// Reads that wait for the fold.
const AHEAD: usize = 2;

/// What one read brought, decoded.
type Decoded = Vec<(Record, Read)>;

/// The records of a range, as they are decoded.
pub(super) struct Decoding {
    decoded: mpsc::Receiver<Result<Decoded>>,
    /// Ends with this.
    task: JoinSet<()>,
}

impl Decoding {
    /// Begins to read. The scan has seen everything before `end`.
    pub(super) fn start<R: PartitionReader>(
        reader: R,
        tp: &TopicPartition,
        partitions: u32,
        book: &Arc<SchemaBook>,
        scan: Scan,
        end: u64,
    ) -> Self {
        let (sender, decoded) = mpsc::channel(AHEAD);
        let partition = tp.partition;
        let range = Range { partition, partitions, book: Arc::clone(book), scan, end };
        let mut task = JoinSet::new();
        task.spawn(range.decode(reader, sender));
        Self { decoded, task }
    }

    /// The next records; `None` at the end of the range.
    pub(super) async fn next(&mut self) -> Result<Option<Decoded>> {
        if let Some(decoded) = self.decoded.recv().await {
            return decoded.map(Some);
        }
        // It ends when all was read, or because it is broken.
        let broken = |error: JoinError| std::panic::resume_unwind(error.into_panic());
        self.task.join_next().await.unwrap_or(Ok(())).unwrap_or_else(broken);
        Ok(None)
    }
}

struct Range {
    partition: u32,
    partitions: u32,
    book: Arc<SchemaBook>,
    scan: Scan,
    end: u64,
}

impl Range {
    async fn decode<R: PartitionReader>(self, mut reader: R, to: mpsc::Sender<Result<Decoded>>) {
        while reader.position() < self.end {
            let records = reader.next(limits::READ).await.map_err(Into::into);
            let decoded = records.and_then(|records| self.decoded(records));
            let is_last = decoded.is_err();
            // Where nobody waits any more, nothing more is to be read.
            if to.send(decoded).await.is_err() || is_last {
                return;
            }
        }
    }

    fn decoded(&self, records: Vec<Record>) -> Result<Decoded> {
        let mut decoded = Vec::with_capacity(records.len());
        for record in records.into_iter().filter(|record| record.offset < self.end) {
            let read = match self.scan.is_set_aside(record.offset) {
                true => Read::Aside,
                false => read_event(&record, self.partition, self.partitions, &self.book)?,
            };
            decoded.push((record, read));
        }
        Ok(decoded)
    }
}
