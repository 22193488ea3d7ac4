//! Reading a partition: bounds are checked once, then a shared consumer fetches.

use super::{
    inbox::Inbox,
    pool::{Place, Pool},
    query::Queries,
};
use crate::{Error, PartitionReader, ReadLimit, Record, Result, TopicPartition};
use std::{fmt, sync::Arc};

/// Reads one partition of a log on Kafka.
pub struct KafkaReader {
    of: TopicPartition,
    position: u64,
    inbox: Arc<Inbox>,
    _place: Place,
}

impl fmt::Debug for KafkaReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaReader")
            .field("of", &self.of)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

impl KafkaReader {
    /// A reader that begins at an offset between the partition's bounds. Blocks for a moment.
    pub(crate) fn new(
        queries: &Queries,
        pool: &Arc<Pool>,
        of: &TopicPartition,
        from: u64,
    ) -> Result<Self> {
        let bounds = queries.bounds(of)?;
        if !(bounds.first..=bounds.end).contains(&from) {
            return Err(Error::Missing(format!("offset {from} of {of}")));
        }
        let inbox = Arc::new(Inbox::new(from));
        let place = pool.seat(of, &inbox)?;
        Ok(Self { of: of.clone(), position: from, inbox, _place: place })
    }
}

impl PartitionReader for KafkaReader {
    async fn next(&mut self, limit: ReadLimit) -> Result<Vec<Record>> {
        loop {
            if let Some(taken) = self.inbox.take(limit, self.position) {
                let (records, behind) = taken?;
                self.position = behind;
                return Ok(records);
            }
            self.inbox.bell.notified().await;
        }
    }

    fn position(&self) -> u64 {
        self.position
    }
}
