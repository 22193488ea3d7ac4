//! What runs tell other runs, because one is a step of the other: appended to the partition of the receiver
//! again and again until it is there, before progress passes the event that it follows from.
//!
//! A message has no claim, and is judged by the receiver's fold like what anybody asks or reports. After a
//! crash the same messages are sent again, with the same ids; that changes nothing.

use super::Owner;
use crate::{Clock, Error, Result, limits, materialize::Folded, metrics, tools::Tools};
use bytes::Bytes;
use spine_log::{EventLog, NewRecord, Record, TopicPartition, Urgency};
use spine_runs::{Place, messages};
use spine_schemas::{
    Event, codec, fault_points, keys,
    mutants::{Mutant, planted},
};
use spine_store::RunStore;
use std::collections::BTreeMap;

impl<L, S, T, C> Owner<L, S, T, C>
where
    L: EventLog,
    S: RunStore,
    T: Tools,
    C: Clock,
{
    /// What other runs must have been told before progress may pass an event that was just folded.
    pub(super) fn messages_of(
        &self,
        record: &Record,
        event: &Event,
        folded: &Folded,
    ) -> Vec<Event> {
        let place =
            Place { partition: self.tp.partition, offset: record.offset, at: record.timestamp };
        let run = folded.run.as_ref().and_then(|key| self.cache.get(key));
        run.map_or_else(Vec::new, |run| messages(run, event, &folded.verdict, place))
    }

    /// Sends the messages of events just folded, in their order for each receiver.
    pub(super) async fn tell_runs(&mut self, messages: Vec<Event>) -> Result<()> {
        if messages.is_empty() {
            return Ok(());
        }
        metrics::observe_messages(messages.len());
        let mut waiting: BTreeMap<u32, (Vec<NewRecord>, usize)> = BTreeMap::new();
        for event in messages {
            let key = event.run_key().map(|run| Bytes::from(run.record_key())).unwrap_or_default();
            let partition = keys::partition_of(&key, self.partitions);
            let value = codec::encode(&event.fit()).map_err(|e| Error::Encode(e.to_string()))?;
            let (records, bytes) = waiting.entry(partition).or_default();
            *bytes += value.len();
            records.push(NewRecord::plain(Some(key), value));
            if *bytes >= limits::LETTERS_BYTES || records.len() >= limits::APPEND_RECORDS {
                let (records, _) = waiting.remove(&partition).unwrap_or_default();
                self.append_messages(partition, records).await?;
            }
        }
        for (partition, (records, _)) in waiting {
            self.append_messages(partition, records).await?;
        }
        Ok(())
    }

    async fn append_messages(&mut self, partition: u32, records: Vec<NewRecord>) -> Result<()> {
        let to = TopicPartition::new(self.tp.topic.clone(), partition);
        if planted(Mutant::MessagesTriedOnce) {
            let _ = self.node.log.append(&to, records, Urgency::Outcome).await;
            return Ok(());
        }
        fault_points::reach("telling");
        self.append_patiently(&to, records).await?;
        fault_points::reach("told");
        Ok(())
    }
}
