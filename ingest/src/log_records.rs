//! Single records read back from the log, where the store keeps only their positions.

use crate::{Code, Problem, limits};
use spine_log::{EventLog, PartitionReader, ReadLimit, Record, TopicPartition};
use std::collections::VecDeque;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

/// Reads records of one partition at growing offsets. Near ones are read through, far ones sought.
pub(crate) struct LogRecords<'a, L: EventLog> {
    log: &'a L,
    reads: &'a Semaphore,
    of: TopicPartition,
    open: Option<Open<L::Reader>>,
    /// Given back after the reader is gone.
    place: Option<SemaphorePermit<'a>>,
}

struct Open<R> {
    reader: R,
    /// The offset that the reader gives next.
    next: u64,
    read: VecDeque<Record>,
}

impl<'a, L: EventLog> LogRecords<'a, L> {
    /// Reads from a log, once there is a place among `reads`.
    pub(crate) fn new(log: &'a L, reads: &'a Semaphore, of: TopicPartition) -> Self {
        Self { log, reads, of, open: None, place: None }
    }

    /// The record at an offset that is known to be durable.
    pub(crate) async fn at(&mut self, offset: u64) -> Result<Record, Problem> {
        match timeout(limits::LOG_READ_TIMEOUT, self.read(offset)).await {
            Ok(read) => Ok(read?),
            Err(_) => {
                let detail = format!("{}:{offset} could not be read in time", self.of);
                Err(Problem::new(Code::LogUnavailable, detail))
            }
        }
    }

    async fn read(&mut self, offset: u64) -> spine_log::Result<Record> {
        if self.place.is_none() {
            self.place = self.reads.acquire().await.ok();
        }
        let mut open = match self.open.take() {
            Some(open) if open.reaches(offset) => open,
            Some(_) | None => {
                let reader = self.log.reader(&self.of, offset).await?;
                Open { reader, next: offset, read: VecDeque::new() }
            }
        };
        let record = open.read_to(offset, &self.of).await?;
        self.open = Some(open);
        Ok(record)
    }
}

impl<R: PartitionReader> Open<R> {
    fn reaches(&self, offset: u64) -> bool {
        let first = self.read.front().map_or(self.next, |record| record.offset);
        (first..=self.next + limits::SKIP_RECORDS).contains(&offset)
    }

    async fn read_to(&mut self, offset: u64, of: &TopicPartition) -> spine_log::Result<Record> {
        loop {
            while let Some(record) = self.read.pop_front() {
                match record.offset.cmp(&offset) {
                    std::cmp::Ordering::Less => {}
                    std::cmp::Ordering::Equal => return Ok(record),
                    std::cmp::Ordering::Greater => {
                        return Err(spine_log::Error::Missing(format!("{of}:{offset}")));
                    }
                }
            }
            let limit = ReadLimit { records: 64, bytes: 1024 * 1024 };
            if self.reader.position() > offset {
                return Err(spine_log::Error::Missing(format!("{of}:{offset}")));
            }
            let records = self.reader.next(limit).await?;
            self.next = self.reader.position();
            self.read.extend(records);
        }
    }
}
