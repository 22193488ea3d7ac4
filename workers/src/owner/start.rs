//! How an owner begins: is this the log that the store was folded from, and what did earlier owners
//! set aside between the store's progress and now.

use super::{
    Inherited, Node, Owner, append::Appends, attempts::Attempts, claim::ClaimPhase,
    lifecycle::Telling, timers::Timers,
};
use crate::{
    Clock, Error, Result, chain, limits,
    materialize::Materializer,
    order::{Order, Orders},
    tools::Tools,
    verdicts::VerdictHub,
};
use spine_log::{EventLog, PartitionReader, ReadLimit, Record, TopicPartition};
use spine_runs::{PartitionState, Place, Verdict, fold};
use spine_schemas::{
    Body, Claim, Event, PartitionEvent, codec,
    mutants::{Mutant, planted},
};
use spine_store::{Progress, RunStore};
use std::collections::{BTreeMap, BTreeSet};
use tokio::task::JoinSet;

/// Control events read ahead of the fold: claims, and the records that owners set aside.
///
/// Only records without a key are decoded, so that reading ahead over a long log is cheap.
#[derive(Debug)]
pub(crate) struct Scan {
    partition: u32,
    state: PartitionState,
    next_offset: u64,
    /// Bad records with an accepted decision, and the offset of that decision.
    set_aside: BTreeMap<u64, u64>,
}

impl Scan {
    /// A scan that goes on after the folded state.
    pub(crate) fn new(partition: u32, progress: Option<&Progress>) -> Self {
        Self {
            partition,
            state: progress.map(|p| p.partition_state.clone()).unwrap_or_default(),
            next_offset: progress.map_or(0, |progress| progress.offset + 1),
            set_aside: BTreeMap::new(),
        }
    }

    /// The next offset to scan.
    pub(crate) fn next_offset(&self) -> u64 {
        self.next_offset
    }

    /// Everything below an offset has been taken, or holds no record.
    pub(crate) fn reach(&mut self, offset: u64) {
        self.next_offset = self.next_offset.max(offset);
    }

    /// Offset of the newest claim that was scanned.
    pub(crate) fn current_claim(&self) -> Option<u64> {
        self.state.claim.as_ref().map(|claim| claim.offset)
    }

    /// The newest claim that was scanned.
    pub(crate) fn newest_claim(&self) -> Option<&Claim> {
        self.state.claim.as_ref().map(|claim| &claim.claim)
    }

    /// Whether an owner decided to set the record at an offset aside. The decision rules, whatever
    /// the record seems to be by now, so that everybody folds the same.
    pub(crate) fn is_set_aside(&self, offset: u64) -> bool {
        self.set_aside.contains_key(&offset)
    }

    /// Takes one record; gives the control event in it, with its verdict.
    pub(crate) fn take(
        &mut self,
        record: &Record,
        book: &codec::SchemaBook,
    ) -> Option<(Event, Verdict)> {
        if record.offset < self.next_offset {
            return None;
        }
        self.next_offset = record.offset + 1;
        if record.key.is_some() {
            return None;
        }
        let event = codec::decode(record.value.as_deref()?, book).ok()?;
        if !matches!(event.body, Body::Partition(_)) {
            return None;
        }
        let place =
            Place { partition: self.partition, offset: record.offset, at: record.timestamp };
        let verdict = fold(&mut self.state, &mut None, &event, place);
        if let (
            Body::Partition(PartitionEvent::RecordDeadLettered { offset, .. }),
            Verdict::Applied(_),
        ) = (&event.body, &verdict)
        {
            self.set_aside.insert(*offset, record.offset);
        }
        Some((event, verdict))
    }

    /// Forgets decisions about records that the fold has passed.
    pub(crate) fn forget_below(&mut self, offset: u64) {
        self.set_aside = self.set_aside.split_off(&offset);
    }
}

impl<L, S, T, C> Owner<L, S, T, C>
where
    L: EventLog,
    S: RunStore,
    T: Tools,
    C: Clock,
{
    /// Checks the store against the log and claims the partition. `None` when told to stop.
    pub(super) async fn start(
        node: Node<L, S, T, C>,
        partition: u32,
        orders: Orders,
        inherited: &Inherited,
    ) -> Result<Option<Self>> {
        let tp = TopicPartition::new(node.config.topic.clone(), partition);
        let letters_to = TopicPartition::new(format!("{}.dlq", node.config.topic), partition);
        let partitions = node.log.partitions(&tp.topic).await?;
        let progress = node.store.progress(partition).await?;
        check_log(&node.log, &tp, progress.as_ref()).await?;
        let stored = progress.as_ref().map(|progress| progress.offset);
        node.hub.begin_after(partition, stored);
        note_claim(&node.hub, partition, progress.as_ref());
        let scan = Scan::new(partition, progress.as_ref());
        let telling = Telling::of(&node.config, partition);
        let fold = Materializer::new(partition, tp.topic.clone(), node.log.log_id(), progress);
        let fold = fold.telling(telling.is_on());
        let mut from = fold.next_offset();
        if planted(Mutant::StartFromCommitted) {
            from = from.max(node.log.bounds(&tp).await?.end);
        }
        let reader = node.log.reader(&tp, from).await?;
        let mut owner = Self {
            tp,
            letters_to,
            telling,
            partitions,
            reader,
            unread: std::collections::VecDeque::new(),
            holding: super::hold::Holding::default(),
            scan,
            fold,
            cache: crate::cache::RunCache::default(),
            claim: ClaimPhase::default(),
            attempts: Attempts::default(),
            appends: Appends::default(),
            timers: Timers::default(),
            ready: BTreeSet::new(),
            starved: super::Starved::default(),
            held: super::HeldRuns::new(node.health.subscribe()),
            queued: super::Queued::default(),
            granted: super::Granted::default(),
            freed: 0,
            sweep: None,
            has_swept: false,
            calls: JoinSet::new(),
            probes: super::probes::Probes::default(),
            writes: JoinSet::new(),
            storing: JoinSet::new(),
            stored,
            storing_offset: None,
            pace: Default::default(),
            batches: 0,
            #[cfg(feature = "mutants")]
            early: Default::default(),
            drain_until: None,
            order: Order::Own,
            orders,
            node,
        };
        // Before the log is read up to the claim: an outcome that is appended after this look is read after it, and
        // one that was appended before is read before anything is decided.
        let known = inherited.of(partition);
        owner.attempts.hold(known.leases);
        owner.claim.own = known.claims;
        Ok(owner.claim_first().await?.then_some(owner))
    }

    /// Reads control events up to, not including, an offset that is surely there.
    pub(super) async fn scan_to(&mut self, end: u64) -> Result<()> {
        if self.scan.next_offset() >= end {
            return Ok(());
        }
        let mut reader = self.node.log.reader(&self.tp, self.scan.next_offset()).await?;
        let (mut orders, followed) = (self.orders.clone(), self.order);
        while reader.position() < end {
            let read = reader.next_keyless(limits::READ);
            for record in read_on(read, &mut orders, followed).await? {
                if record.offset < end {
                    self.scan.take(&record, &self.node.book);
                }
            }
        }
        self.scan.reach(end);
        Ok(())
    }
}

/// Who held the claim, as far as the store knows.
fn note_claim(hub: &VerdictHub, partition: u32, progress: Option<&Progress>) {
    if let Some(claim) = progress.and_then(|progress| progress.partition_state.claim.as_ref()) {
        hub.note_claim(partition, claim.offset, &claim.claim.address);
    }
}

/// Reads what is surely there. An order ends the wait, and so does a log that goes silent, since a
/// reader waits for brokers as long as it takes.
pub(super) async fn read_on(
    read: impl Future<Output = spine_log::Result<Vec<Record>>>,
    orders: &mut Orders,
    followed: Order,
) -> Result<Vec<Record>> {
    let unavailable = |why: &str| Err(spine_log::Error::Unavailable(why.to_owned()).into());
    tokio::select! {
        biased;
        _ = orders.other_than(followed) => unavailable("ordered to go while reading"),
        read = tokio::time::timeout(limits::READ_PATIENCE, read) => match read {
            Ok(read) => Ok(read?),
            Err(_) => unavailable("the log brings nothing although there is more to read"),
        }
    }
}

/// Refuses a log without its beginning: a fresh store cannot be folded from the rest.
async fn check_whole<L: EventLog>(log: &L, tp: &TopicPartition) -> Result<()> {
    let first = log.bounds(tp).await?.first;
    if first == 0 {
        return Ok(());
    }
    Err(Error::RolledBack(format!(
        "{tp} begins at offset {first}, not at 0, and the store has nothing of it: bring back the \
         store, or the whole log"
    )))
}

/// The log is the one that the store has followed; a store that is new has it from its beginning.
async fn check_log<L: EventLog>(
    log: &L,
    tp: &TopicPartition,
    progress: Option<&Progress>,
) -> Result<()> {
    match progress {
        Some(progress) => check_same_log(log, tp, progress).await,
        None => check_whole(log, tp).await,
    }
}

/// Refuses a log that ends before the store's progress, or that has another record there.
pub(crate) async fn check_same_log<L: EventLog>(
    log: &L,
    tp: &TopicPartition,
    progress: &Progress,
) -> Result<()> {
    let remedy = "bring back the log that belongs to this store, or remove the store so that it is \
                  rebuilt (with --restored if the log comes from a backup)";
    if progress.log_id != log.log_id() {
        return Err(Error::RolledBack(format!(
            "the store was folded from log {}, this is log {}: {remedy}",
            progress.log_id,
            log.log_id()
        )));
    }
    let bounds = log.bounds(tp).await?;
    if progress.offset >= bounds.end {
        return Err(Error::RolledBack(format!(
            "{tp} ends at offset {}, but the store has seen offset {}: the log was rolled back; \
             {remedy}",
            bounds.end, progress.offset
        )));
    }
    let record = read_one(log, tp, progress.offset).await?;
    let chain = chain::link(&progress.chain_before, log.log_id(), tp.partition, &record);
    if chain != progress.chain {
        return Err(Error::RolledBack(format!(
            "{tp} has another record at offset {} than the store has seen: {remedy}",
            progress.offset
        )));
    }
    Ok(())
}

/// Reads the record at an offset that is surely there.
async fn read_one<L: EventLog>(log: &L, tp: &TopicPartition, offset: u64) -> Result<Record> {
    let mut reader = log.reader(tp, offset).await?;
    let records = reader.next(ReadLimit { records: 1, bytes: 1 }).await?;
    records
        .into_iter()
        .next()
        .filter(|record| record.offset == offset)
        .ok_or_else(|| spine_log::Error::Missing(format!("{tp} offset {offset}")).into())
}
