//! The topic of control: what processes and operators say about tools and tenants, read by every process
//! from its beginning, and appended to when this one has something to say.

use crate::{Clock, Result, health::Health, limits};
use bytes::Bytes;
use spine_log::{EventLog, NewRecord, PartitionReader, Record, TopicPartition, Urgency};
use spine_schemas::control::ControlRecord;
use tokio::sync::mpsc;

/// The topic, read up to now; see [`Control::run`].
pub struct Control<L: EventLog, C> {
    log: L,
    at: TopicPartition,
    reader: L::Reader,
    health: Health,
    said: mpsc::Receiver<ControlRecord>,
    clock: C,
}

impl<L: EventLog, C: Clock> Control<L, C> {
    /// Reads everything that was said before, so that nothing starts that is held back.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn open(
        log: L,
        topic: &str,
        (health, said): (Health, mpsc::Receiver<ControlRecord>),
        clock: C,
    ) -> Result<Self> {
        let at = TopicPartition::new(topic, 0);
        let bounds = log.bounds(&at).await?;
        let mut reader = log.reader(&at, bounds.first).await?;
        while reader.position() < bounds.end {
            parsed(reader.next(limits::READ).await?).for_each(|said| health.recall(said));
        }
        health.recalled(clock.now());
        Ok(Self { log, at, reader, health, said, clock })
    }

    /// Hears and says, as long as it is run. It decides nothing, so it may end at any moment.
    pub async fn run(mut self) {
        let mut pause = limits::RETRY_FIRST;
        loop {
            tokio::select! {
                biased;
                Some(record) = self.said.recv() => append(&self.log, &self.at, record).await,
                records = self.reader.next(limits::READ) => match records {
                    Ok(records) => {
                        pause = limits::RETRY_FIRST;
                        let now = self.clock.now();
                        parsed(records).for_each(|said| self.health.hear(said, now));
                    }
                    Err(error) => {
                        tracing::warn!(topic = %self.at, %error, "what others say cannot be read now");
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(limits::RETRY_MOST);
                        if let Ok(reader) = self.log.reader(&self.at, self.reader.position()).await {
                            self.reader = reader;
                        }
                    }
                },
            }
        }
    }
}

/// A record that the log does not take is dropped: it is news, and others learn the same by themselves.
async fn append(log: &impl EventLog, at: &TopicPartition, record: ControlRecord) {
    let new = NewRecord::plain(Some(Bytes::from(record.change.key())), record.to_json());
    if let Err(error) = log.append(at, vec![new], Urgency::Normal).await {
        tracing::warn!(topic = %at, %error, "others cannot be told about a tool now");
    }
}

fn parsed(records: Vec<Record>) -> impl Iterator<Item = ControlRecord> {
    records.into_iter().filter_map(|record| {
        let key = record.key.as_deref().and_then(|key| std::str::from_utf8(key).ok())?;
        ControlRecord::parse(key, record.value.as_deref()?).unwrap_or_else(|error| {
            tracing::warn!(offset = record.offset, %error, "a record of control is none of ours");
            None
        })
    })
}
