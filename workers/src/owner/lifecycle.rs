//! Telling transitions: each applied event that somebody outside may want becomes a record of the
//! lifecycle topic. Repeated until acknowledged, in the order of the log; progress waits for it.
//!
//! It goes on beside the loop, so that folding never waits for it. What waits is bounded by the window of
//! events that wait for the store, since those wait for this.

use super::{Config, Owner, letters::append_until_there};
use crate::{Clock, Result, limits, materialize::Told, metrics, tools::Tools};
use bytes::Bytes;
use spine_log::{EventLog, NewRecord, TopicPartition};
use spine_store::RunStore;
use std::sync::Arc;
use tokio::{sync::watch, task::JoinSet};

/// What is to be told, and how far that is done.
#[derive(Debug)]
pub(super) struct Telling {
    to: Option<TopicPartition>,
    /// Records with the offsets of their events.
    waiting: Vec<(u64, NewRecord)>,
    /// Offset of the newest event that was to be told.
    newest: Option<u64>,
    /// Offset of the newest event that was told.
    told: Arc<watch::Sender<Option<u64>>>,
    /// At most one append.
    pub(super) appending: JoinSet<Result<()>>,
}

impl Telling {
    pub(super) fn of(config: &Config, partition: u32) -> Self {
        let to = config.lifecycle.clone().map(|topic| TopicPartition::new(topic, partition));
        let told = Arc::new(watch::Sender::new(None));
        Self { to, waiting: Vec::new(), newest: None, told, appending: JoinSet::new() }
    }

    /// Whether transitions are told at all.
    pub(super) fn is_on(&self) -> bool {
        self.to.is_some()
    }

    pub(super) fn add(&mut self, offset: u64, told: &Told) {
        let key = told.run.as_ref().map(|run| Bytes::from(run.record_key()));
        let record = NewRecord::plain(key, told.record.to_json());
        self.waiting.push((offset, record));
        self.newest = Some(offset);
    }

    /// What the store must wait for before it hears of anything that was folded so far.
    pub(super) fn barrier(&self) -> Barrier {
        Barrier { newest: self.newest, told: self.told.subscribe() }
    }

    fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.appending.is_empty()
    }
}

/// Open once everything is told that was folded when it was made.
pub(super) struct Barrier {
    newest: Option<u64>,
    told: watch::Receiver<Option<u64>>,
}

impl Barrier {
    /// Waits until it is open. `false` when the owner went before.
    pub(super) async fn passed(&mut self) -> bool {
        let newest = self.newest;
        self.told.wait_for(|told| *told >= newest).await.is_ok()
    }
}

impl<L, S, T, C> Owner<L, S, T, C>
where
    L: EventLog,
    S: RunStore,
    T: Tools,
    C: Clock,
{
    /// Appends what waits, if nothing is being appended.
    pub(super) fn tell_some(&mut self) {
        let Some(to) = self.telling.to.clone() else { return };
        if self.telling.waiting.is_empty() || !self.telling.appending.is_empty() {
            return;
        }
        let mut bytes = 0;
        let size = |(_, record): &(u64, NewRecord)| record.value.as_ref().map_or(0, Bytes::len);
        let fits = self.telling.waiting.iter().take_while(|record| {
            bytes += size(record);
            bytes <= limits::LETTERS_BYTES
        });
        let count = fits.count().clamp(1, limits::APPEND_RECORDS);
        let batch: Vec<_> = self.telling.waiting.drain(..count).collect();
        // An event of which more is to be told is not told yet.
        let next = self.telling.waiting.first().map(|(offset, _)| *offset);
        let newest = batch.last().map(|(offset, _)| *offset);
        let newest = newest.and_then(|newest| match next == Some(newest) {
            true => newest.checked_sub(1),
            false => Some(newest),
        });
        let records: Vec<NewRecord> = batch.into_iter().map(|(_, record)| record).collect();
        let (log, orders, told) =
            (self.node.log.clone(), self.orders.clone(), self.telling.told.clone());
        self.telling.appending.spawn(async move {
            let count = records.len();
            append_until_there(&log, &orders, &to, records).await?;
            metrics::observe_lifecycle(count);
            told.send_replace(newest);
            Ok(())
        });
    }

    /// Before the owner goes: everything that was folded is told.
    pub(super) async fn tell_rest(&mut self) -> Result<()> {
        while !self.telling.is_done() {
            self.tell_some();
            match self.telling.appending.join_next().await {
                Some(Ok(result)) => result?,
                Some(Err(_)) | None => return Ok(()),
            }
        }
        Ok(())
    }
}
