//! Consumer groups on one process: the only member gains every partition and keeps it.

use super::{EmbeddedLog, EmbeddedReader, metrics};
use crate::{Change, Error, EventLog, GroupMember, Result, TopicPartition};
use std::{ops::Range, sync::Arc};

/// The only member of a group on an embedded log.
#[derive(Debug)]
pub struct EmbeddedMember {
    log: EmbeddedLog,
    topic: Arc<str>,
    group: String,
    partitions: u32,
    not_told: Range<u32>,
}

impl EmbeddedMember {
    /// A member that has been told of no partition yet.
    pub(crate) fn new(log: EmbeddedLog, topic: Arc<str>, group: &str, partitions: u32) -> Self {
        Self { log, topic, group: group.to_owned(), partitions, not_told: 0..partitions }
    }

    fn assigned(&self, partition: u32) -> Result<TopicPartition> {
        let name = TopicPartition::new(Arc::clone(&self.topic), partition);
        if partition >= self.partitions {
            return Err(Error::Missing(format!("partition {name}")));
        }
        Ok(name)
    }
}

impl GroupMember for EmbeddedMember {
    type Reader = EmbeddedReader;

    async fn next(&mut self) -> Result<Change> {
        match self.not_told.next() {
            Some(partition) => Ok(Change::Gained(partition)),
            // Nobody else can own this log, so nothing ever changes again.
            None => std::future::pending().await,
        }
    }

    async fn reader(&self, partition: u32, from: u64) -> Result<EmbeddedReader> {
        self.log.reader(&self.assigned(partition)?, from).await
    }

    async fn commit(&self, partition: u32, next: u64) -> Result<()> {
        let name = self.assigned(partition)?;
        let end = self.log.bounds(&name).await?.end;
        metrics::observe_lag_records(&name, &self.group, end.saturating_sub(next));
        Ok(())
    }

    async fn keep(&self, partition: u32, next: u64) -> Result<()> {
        self.log.keep(&self.assigned(partition)?, &self.group, next).await?;
        self.commit(partition, next).await
    }

    async fn kept(&self, partition: u32) -> Result<Option<u64>> {
        self.log.kept(&self.assigned(partition)?, &self.group).await
    }
}
