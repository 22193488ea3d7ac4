//! Where those who asked for something learn what the fold made of it, and how far the store is.

use crate::limits;
use spine_runs::{Answer, Verdict};
use spine_schemas::mutants::{Mutant, planted};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use thiserror::Error;
use tokio::sync::watch;

/// Why a verdict cannot be told.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum VerdictError {
    /// The partition was not folded that far in time. Ask again by position.
    #[error("the partition has not been folded that far yet")]
    TimedOut,
    /// The verdict is no longer remembered here; the store has the refusals.
    #[error("the verdict is no longer remembered")]
    Forgotten,
    /// There is no such partition.
    #[error("no such partition")]
    NoPartition,
}

/// The verdicts of all partitions of one process.
#[derive(Clone, Debug)]
pub struct VerdictHub {
    partitions: Arc<[Partition]>,
}

#[derive(Debug)]
struct Partition {
    folded: watch::Sender<Option<u64>>,
    stored: watch::Sender<Option<u64>>,
    ready: watch::Sender<Result<(), String>>,
    recent: Mutex<Recent>,
}

#[derive(Debug, Default)]
struct Recent {
    verdicts: VecDeque<(u64, Verdict)>,
    /// Verdicts at and below this offset may have been dropped.
    forgotten: Option<u64>,
}

impl VerdictHub {
    /// A hub for a number of partitions, none of them ready.
    pub fn new(partitions: u32) -> Self {
        let one = || Partition {
            folded: watch::Sender::new(None),
            stored: watch::Sender::new(None),
            ready: watch::Sender::new(Err("no owner yet".into())),
            recent: Mutex::default(),
        };
        Self { partitions: (0..partitions).map(|_| one()).collect() }
    }

    fn partition(&self, partition: u32) -> Result<&Partition, VerdictError> {
        self.partitions.get(partition as usize).ok_or(VerdictError::NoPartition)
    }

    /// Waits for the verdict on the event at a position.
    ///
    /// # Errors
    /// See [`VerdictError`].
    pub async fn wait(
        &self,
        partition: u32,
        offset: u64,
        at_most: Duration,
    ) -> Result<Verdict, VerdictError> {
        if planted(Mutant::AnswerBeforeVerdict) {
            return Ok(Verdict::Applied(Answer::Ok));
        }
        let partition = self.partition(partition)?;
        reach(&partition.folded, offset, at_most).await?;
        let recent = partition.recent();
        let found = recent.verdicts.binary_search_by_key(&offset, |(at, _)| *at);
        match found {
            Ok(index) => Ok(recent.verdicts[index].1.clone()),
            Err(_) if recent.forgotten.is_some_and(|forgotten| offset <= forgotten) => {
                Err(VerdictError::Forgotten)
            }
            Err(_) => Ok(Verdict::Applied(Answer::Ok)),
        }
    }

    /// Waits until the store has an offset.
    ///
    /// # Errors
    /// See [`VerdictError`].
    pub async fn stored(
        &self,
        partition: u32,
        offset: u64,
        at_most: Duration,
    ) -> Result<(), VerdictError> {
        reach(&self.partition(partition)?.stored, offset, at_most).await
    }

    /// How far the store is.
    pub(crate) fn stored_offset(&self, partition: u32) -> Option<u64> {
        self.partition(partition).ok().and_then(|partition| *partition.stored.borrow())
    }

    /// Whether every partition has an owner that has caught up.
    ///
    /// # Errors
    /// Names the first partition that has none, and why.
    pub fn ready(&self) -> Result<(), String> {
        for (number, partition) in self.partitions.iter().enumerate() {
            if let Err(why) = &*partition.ready.borrow() {
                return Err(format!("partition {number}: {why}"));
            }
        }
        Ok(())
    }

    /// Waits until every partition is ready.
    pub async fn wait_ready(&self) {
        for partition in self.partitions.iter() {
            let mut ready = partition.ready.subscribe();
            // The sender lives as long as the hub, so waiting cannot fail.
            let _ = ready.wait_for(Result::is_ok).await;
        }
    }

    /// Verdicts up to here were given by an earlier owner and are not remembered.
    pub(crate) fn begin_after(&self, partition: u32, offset: u64) {
        let Ok(one) = self.partition(partition) else {
            return;
        };
        let mut recent = one.recent();
        let newest = recent.verdicts.back().map(|(newest, _)| *newest);
        if newest < Some(offset) {
            recent.verdicts.clear();
            recent.forgotten = recent.forgotten.max(Some(offset));
        }
        drop(recent);
        advance(&one.folded, offset);
        advance(&one.stored, offset);
    }

    pub(crate) fn set_ready(&self, partition: u32, ready: Result<(), String>) {
        if let Ok(partition) = self.partition(partition) {
            partition.ready.send_if_modified(|before| {
                let changed = *before != ready;
                *before = ready;
                changed
            });
        }
    }

    /// Remembers verdicts that differ from "applied" or carry an answer; in offset order.
    pub(crate) fn note(&self, partition: u32, offset: u64, verdict: Verdict) {
        let Ok(partition) = self.partition(partition) else {
            return;
        };
        let mut recent = partition.recent();
        // A new owner may fold offsets again that an earlier one has told already.
        if recent.verdicts.back().is_some_and(|(newest, _)| *newest >= offset) {
            return;
        }
        recent.verdicts.push_back((offset, verdict));
        if recent.verdicts.len() > limits::VERDICTS {
            recent.forgotten = recent.verdicts.pop_front().map(|(offset, _)| offset);
        }
    }

    pub(crate) fn set_folded(&self, partition: u32, offset: u64) {
        if let Ok(partition) = self.partition(partition) {
            advance(&partition.folded, offset);
        }
    }

    pub(crate) fn set_stored(&self, partition: u32, offset: u64) {
        if let Ok(partition) = self.partition(partition) {
            advance(&partition.stored, offset);
        }
    }
}

impl Partition {
    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn advance(mark: &watch::Sender<Option<u64>>, offset: u64) {
    mark.send_if_modified(|before| {
        let later = Some(offset) > *before;
        if later {
            *before = Some(offset);
        }
        later
    });
}

async fn reach(
    mark: &watch::Sender<Option<u64>>,
    offset: u64,
    at_most: Duration,
) -> Result<(), VerdictError> {
    let mut mark = mark.subscribe();
    let reached = mark.wait_for(|now| *now >= Some(offset));
    match tokio::time::timeout(at_most, reached).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(VerdictError::TimedOut),
    }
}
