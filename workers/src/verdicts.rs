//! Where those who asked for something learn what the fold made of it, and how far the store is.
//!
//! The hub knows only what owners of this process folded. Who owns a partition elsewhere is not known
//! here, only the newest claim that was folded.

mod recent;
mod standing;
#[cfg(test)]
mod tests;

pub(crate) use standing::{Phase, Resumed};

use recent::Recent;
use spine_runs::{Answer, Verdict};
use spine_schemas::mutants::{Mutant, planted};
use standing::Standing;
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use thiserror::Error;
use tokio::sync::{Notify, watch};

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
    /// No owner in this process: ask the process that holds the claim.
    #[error("the partition is owned by another process")]
    NotOwner,
}

/// Why a partition cannot be resumed here.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum ResumeError {
    /// It is not stopped: there is nothing to resume.
    #[error("the partition is not stopped")]
    NotStopped,
    /// No owner in this process: ask the process that holds the claim.
    #[error("the partition is owned by another process")]
    NotOwner,
}

/// The verdicts of all partitions of one process. Clones share them.
#[derive(Clone, Debug)]
pub struct VerdictHub {
    partitions: Arc<[Partition]>,
    /// Counts changes of phases, for those who wait until all are ready.
    changes: Arc<watch::Sender<u64>>,
    /// How many partitions have an owner here.
    owned: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Partition {
    standing: watch::Sender<Standing>,
    resumed: watch::Sender<Option<Resumed>>,
    claim: Mutex<Option<(u64, String)>>,
    recent: Mutex<Recent>,
    /// How many wait for the store.
    wanting: AtomicUsize,
    /// Told when one more does.
    wanted: Notify,
}

impl VerdictHub {
    /// A hub for a number of partitions, before the group has said which of them are ours.
    pub fn new(partitions: u32) -> Self {
        Self::of(partitions, &Phase::Joining)
    }

    /// A hub of a process without owners: every partition is somebody else's.
    pub fn without_owners(partitions: u32) -> Self {
        Self::of(partitions, &Phase::NotAssigned)
    }

    fn of(partitions: u32, phase: &Phase) -> Self {
        let one = |_| Partition {
            standing: watch::Sender::new(Standing::begin(phase.clone())),
            resumed: watch::Sender::new(None),
            claim: Mutex::default(),
            recent: Mutex::default(),
            wanting: AtomicUsize::new(0),
            wanted: Notify::new(),
        };
        let partitions = (0..partitions).map(one).collect();
        Self { partitions, changes: Arc::default(), owned: Arc::default() }
    }

    fn partition(&self, partition: u32) -> Result<&Partition, VerdictError> {
        self.partitions.get(partition as usize).ok_or(VerdictError::NoPartition)
    }

    /// Waits for the verdict on the event at a position. What was folded here is answered even if
    /// the partition is no longer ours.
    ///
    /// # Errors
    /// See [`VerdictError`]; [`VerdictError::NotOwner`] at once, also when the partition is lost
    /// while waiting.
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
        let is_folded = partition.standing.borrow().folded >= Some(offset);
        if !is_folded {
            partition.reach(at_most, |standing| standing.folded >= Some(offset)).await?;
        }
        partition.recent().verdict_at(offset).ok_or(VerdictError::Forgotten)
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
        let partition = self.partition(partition)?;
        if partition.standing.borrow().stored >= Some(offset) {
            return Ok(());
        }
        let _waits = Waits::for_store(partition);
        partition.reach(at_most, |standing| standing.stored >= Some(offset)).await
    }

    /// How far the store is.
    pub(crate) fn stored_offset(&self, partition: u32) -> Option<u64> {
        self.partition(partition).ok().and_then(|partition| partition.standing.borrow().stored)
    }

    /// The newest claim on a partition that was folded here: its offset, and the address of the
    /// process that made it. It may be an old one where the partition is not ours.
    pub fn claim_of(&self, partition: u32) -> Option<(u64, String)> {
        let partition = self.partition(partition).ok()?;
        partition.claim.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many partitions there are.
    pub fn partitions(&self) -> u32 {
        u32::try_from(self.partitions.len()).unwrap_or(u32::MAX)
    }

    /// Whether a partition has an owner in this process.
    pub fn owns(&self, partition: u32) -> bool {
        self.partition(partition).is_ok_and(|one| one.standing.borrow().phase.is_owned())
    }

    /// Whether every partition that is ours has an owner that has caught up.
    ///
    /// # Errors
    /// Names the first partition that has none, and why; or says that the group has not dealt the
    /// partitions out yet.
    pub fn ready(&self) -> Result<(), String> {
        for (number, partition) in self.partitions.iter().enumerate() {
            partition.standing.borrow().phase.is_ready(number)?;
        }
        Ok(())
    }

    /// Waits until every partition that is ours is ready.
    pub async fn wait_ready(&self) {
        let mut changes = self.changes.subscribe();
        while self.ready().is_err() {
            // The sender lives as long as the hub, so waiting cannot fail.
            let _ = changes.changed().await;
        }
    }

    /// Lets a partition go on that stopped at a flood of bad records; gives the offset at which it
    /// stopped. Who did it and why stands in the log with the next record that is set aside.
    ///
    /// # Errors
    /// See [`ResumeError`].
    pub fn resume(&self, partition: u32, actor: &str, reason: &str) -> Result<u64, ResumeError> {
        let one = self.partition(partition).map_err(|_| ResumeError::NotOwner)?;
        let phase = one.standing.borrow().phase.clone();
        let Phase::Stopped { offset, .. } = phase else {
            let lacking =
                if phase.is_owned() { ResumeError::NotStopped } else { ResumeError::NotOwner };
            return Err(lacking);
        };
        one.resumed.send_replace(Some(Resumed { actor: actor.into(), reason: reason.into() }));
        self.set_phase(partition, Phase::Waiting("resuming".into()));
        Ok(offset)
    }
}

/// What the owners and the group tell.
impl VerdictHub {
    /// The group has said which partitions are ours: those that it named, and no other.
    pub(crate) fn joined(&self) {
        self.turn_all(Phase::NotAssigned, |phase| *phase == Phase::Joining);
    }

    /// The process goes: nothing is ours any more, nor will be.
    pub(crate) fn close(&self) {
        self.turn_all(Phase::Gone, |_| true);
    }

    fn turn_all(&self, to: Phase, which: impl Fn(&Phase) -> bool) {
        for (number, partition) in (0..).zip(self.partitions.iter()) {
            let turns = which(&partition.standing.borrow().phase);
            if turns {
                self.set_phase(number, to.clone());
            }
        }
    }

    /// How many partitions have an owner in this process.
    pub(crate) fn owned(&self) -> usize {
        self.owned.load(Ordering::Relaxed)
    }

    /// Says where an owner stands.
    pub(crate) fn set_phase(&self, partition: u32, phase: Phase) {
        let Ok(partition) = self.partition(partition) else { return };
        let changed = partition.standing.send_if_modified(|standing| {
            match (standing.phase.is_owned(), phase.is_owned()) {
                (false, true) => _ = self.owned.fetch_add(1, Ordering::Relaxed),
                (true, false) => _ = self.owned.fetch_sub(1, Ordering::Relaxed),
                (true, true) | (false, false) => {}
            }
            let changed = standing.phase != phase;
            standing.phase = phase;
            changed
        });
        if changed {
            self.changes.send_modify(|count| *count += 1);
        }
    }

    /// An owner begins after an offset: what others folded up to there is not known here.
    pub(crate) fn begin_after(&self, partition: u32, offset: Option<u64>) {
        let Ok(one) = self.partition(partition) else { return };
        one.resumed.send_replace(None);
        let Some(offset) = offset else { return };
        let folded = one.standing.borrow().folded;
        if folded < Some(offset) {
            one.recent().forget_up_to(offset);
        }
        one.standing.send_if_modified(|standing| standing.advance(Some(offset), Some(offset)));
    }

    /// Remembers verdicts that differ from "applied" or carry an answer; in offset order.
    pub(crate) fn note(&self, partition: u32, offset: u64, verdict: Verdict) {
        if let Ok(partition) = self.partition(partition) {
            partition.recent().note(offset, verdict);
        }
    }

    /// Remembers who holds the claim.
    pub(crate) fn note_claim(&self, partition: u32, offset: u64, address: &str) {
        let Ok(partition) = self.partition(partition) else { return };
        let mut claim = partition.claim.lock().unwrap_or_else(PoisonError::into_inner);
        if claim.as_ref().is_none_or(|(known, _)| *known < offset) {
            *claim = Some((offset, address.to_owned()));
        }
    }

    pub(crate) fn set_folded(&self, partition: u32, offset: u64) {
        if let Ok(partition) = self.partition(partition) {
            partition.standing.send_if_modified(|standing| standing.advance(Some(offset), None));
        }
    }

    pub(crate) fn set_stored(&self, partition: u32, offset: u64) {
        if let Ok(partition) = self.partition(partition) {
            partition.standing.send_if_modified(|standing| standing.advance(None, Some(offset)));
        }
    }

    /// Whether somebody waits for the store.
    pub(crate) fn is_store_wanted(&self, partition: u32) -> bool {
        self.partition(partition).is_ok_and(|one| one.wanting.load(Ordering::Relaxed) > 0)
    }

    /// Waits until somebody waits for the store. May also return when nobody does any more.
    pub(crate) async fn store_wanted(&self, partition: u32) {
        match self.partition(partition) {
            Ok(one) => one.wanted.notified().await,
            Err(_) => std::future::pending().await,
        }
    }

    /// Waits until somebody lets a stopped partition go on.
    pub(crate) async fn resumed(&self, partition: u32) -> Resumed {
        let Ok(partition) = self.partition(partition) else {
            return std::future::pending().await;
        };
        let mut resumed = partition.resumed.subscribe();
        match resumed.wait_for(Option::is_some).await.map(|resumed| resumed.clone()) {
            Ok(Some(resumed)) => {
                // Told once.
                partition.resumed.send_replace(None);
                resumed
            }
            Ok(None) | Err(_) => std::future::pending().await,
        }
    }
}

/// Somebody who waits for the store, until it is dropped.
struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn for_store(partition: &'a Partition) -> Self {
        partition.wanting.fetch_add(1, Ordering::Relaxed);
        partition.wanted.notify_one();
        Self(&partition.wanting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Partition {
    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn reach(
        &self,
        at_most: Duration,
        reached: impl Fn(&Standing) -> bool,
    ) -> Result<(), VerdictError> {
        let mut standing = self.standing.subscribe();
        // While the group has not dealt the partitions out, this one may still become ours.
        let settled = standing.wait_for(|now| reached(now) || now.phase.is_elsewhere());
        match tokio::time::timeout(at_most, settled).await {
            Ok(Ok(standing)) if reached(&standing) => Ok(()),
            Ok(Ok(_)) => Err(VerdictError::NotOwner),
            Ok(Err(_)) | Err(_) => Err(VerdictError::TimedOut),
        }
    }
}
