//! The owner of a partition: read → fold → decide → act → append, in one loop; the store follows.
//!
//! One task owns everything here and takes one input at a time from a closed set, so there are no
//! locks and no order of events that another run of the same inputs would not give again.

mod act;
mod append;
mod claim;
mod decide;
mod letters;
#[cfg(feature = "mutants")]
mod mutants;
mod read;
mod start;
mod timers;
mod window;

pub(crate) use read::{Read, read_event};
pub(crate) use start::{Scan, read_one};

use crate::{
    Clock, Error, Result,
    cache::RunCache,
    limits,
    materialize::Materializer,
    metrics,
    tools::{CallEnd, Tools},
    verdicts::VerdictHub,
};
use act::Attempts;
use append::Appends;
use claim::ClaimPhase;
use spine_log::{EventLog, PartitionReader, ReadLimit, Record, TopicPartition};
use spine_runs::Stamp;
use spine_schemas::{RunKey, codec::SchemaBook};
use spine_store::RunStore;
use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};
use timers::Timers;
use tokio::{
    sync::watch,
    task::{JoinError, JoinSet},
    time::Instant,
};

/// What an owner is told by its operator.
#[derive(Clone, Debug)]
pub struct Config {
    /// The topic of step events; letters go to `<topic>.dlq`.
    pub topic: Arc<str>,
    /// Names this process in claims and as the actor of decisions.
    pub worker: String,
    /// Where other nodes reach this process.
    pub address: String,
    /// From which idempotency keys derive; never changes for an installation.
    pub installation_id: Arc<str>,
    /// Whether the log belongs to one process, so that earlier owners are surely gone.
    pub exclusive: bool,
    /// Whether to claim a log that was restored from a backup.
    pub restored: bool,
    /// Open attempts of a partition.
    pub attempts: usize,
    /// Open attempts of one run.
    pub attempts_per_run: usize,
    /// Open attempts of one tool.
    pub attempts_per_tool: usize,
    /// How long running attempts may take to end when the process stops.
    pub drain: Duration,
}

/// Everything that the owners of one process share.
#[derive(Clone)]
pub struct Node<L, S, T, C> {
    /// The log.
    pub log: L,
    /// The store.
    pub store: S,
    /// The tools.
    pub tools: T,
    /// The clock.
    pub clock: C,
    /// Where verdicts are told.
    pub hub: VerdictHub,
    /// Schemas of records.
    pub book: Arc<SchemaBook>,
    /// Settings.
    pub config: Arc<Config>,
}

/// One partition's owner.
pub struct Owner<L: EventLog, S, T, C> {
    node: Node<L, S, T, C>,
    tp: TopicPartition,
    letters_to: TopicPartition,
    partitions: u32,
    reader: L::Reader,
    /// Records that were read and not folded yet.
    unread: VecDeque<Record>,
    /// Offsets of bad records that claimed owners decided to set aside.
    scan: Scan,
    fold: Materializer,
    cache: RunCache,
    claim: ClaimPhase,
    attempts: Attempts,
    appends: Appends,
    timers: Timers,
    /// Runs to decide for: something happened to them, or their time came.
    ready: BTreeSet<RunKey>,
    /// Runs that found no slot for a start, in the order in which they asked.
    starved: VecDeque<RunKey>,
    /// Attempts that ended since the starved were last looked at.
    freed: usize,
    /// Where the look at every open run goes on; `None` when it is done.
    sweep: Option<Option<String>>,
    calls: JoinSet<(u64, CallEnd)>,
    writes: JoinSet<append::Written>,
    storing: JoinSet<std::result::Result<(), spine_store::Error>>,
    stored: Option<u64>,
    storing_offset: Option<u64>,
    batches: u64,
    #[cfg(feature = "mutants")]
    early: mutants::Early,
    drain_until: Option<Instant>,
    stop: watch::Receiver<bool>,
}

/// What the loop can be woken by.
enum Input {
    Stop,
    Records(spine_log::Result<Vec<Record>>),
    Call(u64, CallEnd),
    Written(append::Written),
    Stored(std::result::Result<(), spine_store::Error>),
    Tick,
}

impl<L, S, T, C> Owner<L, S, T, C>
where
    L: EventLog,
    S: RunStore,
    T: Tools,
    C: Clock,
{
    /// Runs the partition until told to stop.
    ///
    /// # Errors
    /// [`Error`]; after a retryable one the caller starts a new owner.
    pub async fn run(
        node: Node<L, S, T, C>,
        partition: u32,
        stop: watch::Receiver<bool>,
    ) -> Result<()> {
        let hub = node.hub.clone();
        let ended = match Self::start(node, partition, stop).await {
            Ok(Some(mut owner)) => owner.work().await,
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        let why = ended.as_ref().err().map_or("stopped".to_owned(), ToString::to_string);
        hub.set_ready(partition, Err(why));
        ended
    }

    async fn work(&mut self) -> Result<()> {
        loop {
            if self.is_drained() {
                return self.finish().await;
            }
            match self.next_input().await {
                Input::Stop => self.begin_drain(),
                Input::Records(records) => {
                    self.unread.extend(records?);
                    self.fold_unread().await?;
                }
                Input::Call(lease, end) => self.call_ended(lease, end),
                Input::Written(written) => self.written(written)?,
                Input::Stored(result) => self.stored(result)?,
                Input::Tick => {}
            }
            self.turn().await?;
        }
    }

    /// What is done after every input: decide, append, store, let go.
    async fn turn(&mut self) -> Result<()> {
        self.claim_if_due();
        self.sweep_some().await?;
        self.fire_timers().await?;
        self.decide_ready().await?;
        self.store_some();
        let (attempts, appends) = (&self.attempts, &self.appends);
        self.cache.evict(self.stored, |key| attempts.pins(key) || appends.is_latched(key));
        Ok(())
    }

    async fn next_input(&mut self) -> Input {
        let read = self.may_read();
        let wake = self.next_wake();
        let limit = ReadLimit { records: limits::READ_RECORDS, bytes: limits::READ_BYTES };
        let stopping = self.drain_until.is_some();
        tokio::select! {
            biased;
            _ = self.stop.wait_for(|stop| *stop), if !stopping => Input::Stop,
            Some(ended) = self.storing.join_next() => Input::Stored(ended.unwrap_or_else(broken)),
            Some(ended) = self.writes.join_next() => Input::Written(ended.unwrap_or_else(broken)),
            records = self.reader.next(limit), if read => Input::Records(records),
            Some(ended) = self.calls.join_next() => {
                let (lease, end) = ended.unwrap_or_else(broken);
                Input::Call(lease, end)
            }
            () = sleep_until(wake) => Input::Tick,
        }
    }

    fn begin_drain(&mut self) {
        let until = Instant::now() + self.node.config.drain;
        tracing::info!(partition = self.tp.partition, "stopping: running attempts may end");
        self.drain_until = Some(until);
        self.node.hub.set_ready(self.tp.partition, Err("stopping".into()));
    }

    /// Whether nothing is under way any more, or the time to wait for it is over.
    fn is_drained(&self) -> bool {
        let Some(until) = self.drain_until else {
            return false;
        };
        let idle = self.attempts.is_empty() && self.appends.is_empty() && self.storing.is_empty();
        idle || Instant::now() >= until
    }

    async fn finish(&mut self) -> Result<()> {
        self.store_rest().await?;
        metrics::observe_owner_stopped();
        Ok(())
    }

    fn stamp(&mut self) -> Stamp {
        self.batches += 1;
        let claim = self.claim.held().map_or(0, |claim| claim.offset);
        Stamp {
            batch_id: format!("{}-{claim}-{}", self.node.config.worker, self.batches),
            actor: format!("owner:{}", self.node.config.worker),
            now: self.node.clock.now(),
        }
    }
}

/// A task of ours panicked: so does the owner, since its state can no longer be trusted.
fn broken<R>(error: JoinError) -> R {
    std::panic::resume_unwind(error.into_panic())
}

async fn sleep_until(wake: Option<Duration>) {
    match wake {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}

impl<L: EventLog, S, T, C> std::fmt::Debug for Owner<L, S, T, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Owner({})", self.tp)
    }
}

fn is_transient(error: &spine_log::Error) -> bool {
    Error::from(error.clone()).is_retryable()
}
