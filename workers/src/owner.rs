//! The owner of a partition: read → fold → decide → act → append, in one loop; the store follows.
//!
//! One task owns everything here and takes one input at a time from a closed set, so there are no
//! locks and no order of events that another run of the same inputs would not give again.

mod act;
mod append;
mod attempts;
mod brain;
mod claim;
mod decide;
mod grants;
mod held;
mod hold;
mod late;
mod letters;
mod lifecycle;
mod listeners;
mod messages;
#[cfg(feature = "mutants")]
mod mutants;
mod originals;
mod outcomes;
mod probes;
mod queued;
mod read;
mod start;
mod starved;
mod timers;
mod turns;
mod window;

pub(crate) use late::Inherited;
use late::Late;
pub(crate) use originals::Originals;
pub(crate) use read::{Read, read_event};
pub(crate) use start::Scan;

use crate::{
    Clock, Error, Result,
    cache::RunCache,
    health::Health,
    limits,
    materialize::Materializer,
    memos::Memos,
    metrics,
    order::{Order, Orders},
    polls::Polls,
    schema_source::SchemaSource,
    streams::Streams,
    tools::{CallEnd, Tools},
    verdicts::{Phase, Resumed, VerdictHub},
};
use append::Appends;
use attempts::Attempts;
use claim::ClaimPhase;
use grants::Granted;
use held::HeldRuns;
use hold::Holding;
use lifecycle::Telling;
use queued::Queued;
use spine_log::{EventLog, PartitionReader, Record, TopicPartition};
use spine_runs::Stamp;
use spine_schemas::{RunKey, codec::SchemaBook};
use spine_store::RunStore;
use starved::Starved;
use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};
use timers::Timers;
use tokio::{
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
    /// Whether the store belongs to this process alone although the log may have several.
    pub private_store: bool,
    /// Whether such a store may take over from another one that holds the claim.
    pub take_over: bool,
    /// Open attempts of a partition.
    pub attempts: usize,
    /// Open attempts of one run.
    pub attempts_per_run: usize,
    /// Open attempts of one tenant.
    pub attempts_per_tenant: usize,
    /// Open attempts of one tool.
    pub attempts_per_tool: usize,
    /// How long running attempts may take to end when the process stops.
    pub drain: Duration,
    /// A run that no event moves for so long is stalled; zero turns that off.
    pub stall_after: Duration,
    /// The topic that transitions are told on, with as many partitions as that of events; `None`: they
    /// are not told.
    pub lifecycle: Option<Arc<str>>,
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
    /// Where schemas come from that the book lacks.
    pub schemas: Arc<dyn SchemaSource>,
    /// What is known of the tools, and held back.
    pub health: Health,
    /// Results of calls that stand in for equal ones.
    pub memos: Memos,
    /// Workers that ask for steps of queues.
    pub polls: Polls,
    /// Those who listen to what attempts say.
    pub streams: Streams,
    /// Settings.
    pub config: Arc<Config>,
}

/// One partition's owner.
pub(crate) struct Owner<L: EventLog, S, T, C> {
    node: Node<L, S, T, C>,
    tp: TopicPartition,
    letters_to: TopicPartition,
    /// Transitions for the lifecycle topic.
    telling: Telling,
    partitions: u32,
    reader: L::Reader,
    /// Records that were read and not folded yet.
    unread: VecDeque<Record>,
    /// Why they are not folded, if they must wait.
    holding: Holding,
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
    /// Runs that found no slot for a start.
    starved: Starved,
    /// Runs that are held back.
    held: HeldRuns,
    /// Runs with steps that wait for workers.
    queued: Queued,
    /// Steps on their way to workers.
    granted: Granted,
    /// Attempts that ended since the starved were last looked at.
    freed: usize,
    /// Where the look at every open run goes on; `None` when it is done.
    sweep: Option<Option<String>>,
    /// Whether every open run was looked at once since this owner began.
    has_swept: bool,
    calls: JoinSet<(u64, CallEnd)>,
    /// What tools are asked about attempts whose outcome is not known.
    probes: probes::Probes,
    writes: JoinSet<append::Written>,
    storing: JoinSet<std::result::Result<(), spine_store::Error>>,
    stored: Option<u64>,
    storing_offset: Option<u64>,
    pace: window::Pace,
    batches: u64,
    #[cfg(feature = "mutants")]
    early: mutants::Early,
    drain_until: Option<Instant>,
    /// The order that is followed.
    order: Order,
    orders: Orders,
}

/// What the loop can be woken by.
enum Input {
    Order(Order),
    Records(spine_log::Result<Vec<Record>>),
    Call(u64, CallEnd),
    Probed(probes::Answered),
    Written(append::Written),
    Stored(std::result::Result<(), spine_store::Error>),
    Told(Result<()>),
    Refreshed(std::result::Result<(), String>),
    Resumed(Resumed),
    Asked,
    Listening,
    Tick,
}

impl<L, S, T, C> Owner<L, S, T, C>
where
    L: EventLog,
    S: RunStore,
    T: Tools,
    C: Clock,
{
    /// Runs the partition until told to stop. What is still under way then is left to the caller,
    /// who also tells what earlier owners of this process know.
    ///
    /// # Errors
    /// [`Error`]; after a retryable one the caller starts a new owner.
    pub(crate) async fn run(
        node: Node<L, S, T, C>,
        partition: u32,
        orders: Orders,
        inherited: Inherited,
    ) -> (Result<()>, Option<Late<L, C>>) {
        let (hub, polls, streams) = (node.hub.clone(), node.polls.clone(), node.streams.clone());
        let mut going = orders.clone();
        let started = tokio::select! {
            biased;
            _ = going.other_than(Order::Own) => Ok(None),
            started = Self::start(node, partition, orders, &inherited) => started,
        };
        let (ended, late) = match started {
            Ok(Some(mut owner)) => (owner.work().await, owner.leave(inherited)),
            Ok(None) => (Ok(()), None),
            Err(error) => (Err(error), None),
        };
        metrics::observe_partition_stopped(partition, false);
        metrics::observe_queued(partition, 0);
        polls.leave(partition);
        streams.leave(partition);
        let why = ended.as_ref().err().map_or("stopped".to_owned(), ToString::to_string);
        hub.set_phase(partition, Phase::Waiting(why));
        (ended, late)
    }

    async fn work(&mut self) -> Result<()> {
        loop {
            if self.is_drained() {
                return self.finish().await;
            }
            match self.next_input().await {
                Input::Order(order) => self.begin_drain(order),
                Input::Records(records) => {
                    self.unread.extend(records?);
                    self.fold_unread().await?;
                }
                Input::Call(lease, end) => self.call_ended(lease, end),
                Input::Probed(answered) => {
                    self.ready.insert(self.probes.answered(answered));
                }
                Input::Written(written) => self.written(written)?,
                Input::Stored(result) => self.stored(result)?,
                Input::Told(result) => result?,
                Input::Refreshed(result) => self.refreshed(result),
                Input::Resumed(resumed) => self.resumed(resumed).await?,
                Input::Asked => self.queued.is_fresh = true,
                Input::Listening => self.admit_listeners().await,
                Input::Tick => {}
            }
            self.turn().await?;
        }
    }

    /// What is done after every input: decide, append, store, let go.
    async fn turn(&mut self) -> Result<()> {
        self.appends.end_pause();
        self.go_on_with_schema().await?;
        self.claim_if_due()?;
        self.sweep_some().await?;
        self.fire_timers().await?;
        self.watch_some().await?;
        self.wake_held();
        self.ready.extend(self.probes.wake_waiting());
        self.decide_ready().await?;
        self.tell_some();
        self.grant().await?;
        self.store_some();
        let (attempts, appends) = (&self.attempts, &self.appends);
        let share = limits::share(self.node.hub.owned());
        self.cache.evict(share, self.stored, |key| attempts.pins(key) || appends.is_latched(key));
        #[cfg(feature = "mutants")]
        self.check_awake();
        Ok(())
    }

    async fn next_input(&mut self) -> Input {
        let read = self.may_read();
        let wake = self.next_wake();
        let (partition, flooded) = (self.tp.partition, self.holding.is_flooded());
        let (gathers, waits) = (self.store_due_in().is_some(), !self.held.is_empty());
        tokio::select! {
            biased;
            order = self.orders.other_than(self.order) => Input::Order(order),
            Some(ended) = self.storing.join_next() => Input::Stored(ended.unwrap_or_else(broken)),
            Some(told) = self.telling.appending.join_next() => Input::Told(told.unwrap_or_else(broken)),
            Some(ended) = self.writes.join_next() => Input::Written(ended.unwrap_or_else(broken)),
            records = self.reader.next(limits::READ), if read => Input::Records(records),
            Some(ended) = self.calls.join_next() => {
                let (lease, end) = ended.unwrap_or_else(broken);
                Input::Call(lease, end)
            }
            Some(answered) = self.probes.calls.join_next() => {
                Input::Probed(answered.unwrap_or_else(broken))
            }
            Some(ended) = self.holding.refreshing.join_next() => {
                Input::Refreshed(ended.unwrap_or_else(broken))
            }
            resumed = self.node.hub.resumed(partition), if flooded => Input::Resumed(resumed),
            () = self.node.polls.called(partition) => Input::Asked,
            () = self.node.streams.asked(partition) => Input::Listening,
            () = self.node.hub.store_wanted(partition), if gathers => Input::Tick,
            Ok(()) = self.held.healthier.changed(), if waits => Input::Tick,
            () = sleep_until(wake) => Input::Tick,
        }
    }

    /// Takes nothing new: running attempts may end, starts that were not sent are handed back.
    fn begin_drain(&mut self, order: Order) {
        let (bound, phase) = match order {
            Order::Own => return,
            Order::Stop => (self.node.config.drain, Phase::Waiting("stopping".into())),
            Order::HandOver => (self.node.config.drain.min(limits::HAND_OVER), Phase::Leaving),
        };
        tracing::info!(partition = self.tp.partition, ?order, "running attempts may end");
        let until = Instant::now() + bound;
        self.order = order;
        self.drain_until = Some(self.drain_until.map_or(until, |before| before.min(until)));
        self.node.hub.set_phase(self.tp.partition, phase);
    }

    /// Whether nothing is under way any more, or the time to wait for it is over.
    fn is_drained(&self) -> bool {
        let Some(until) = self.drain_until else {
            return false;
        };
        let idle = self.attempts.is_empty() && self.appends.is_empty();
        // What is held is not read back: then it is enough that it is in the log.
        let sent = self.calls.is_empty() && self.writes.is_empty() && self.attempts.all_appended();
        let done = idle || (self.holding.is_held() && sent);
        (done && self.storing.is_empty()) || Instant::now() >= until
    }

    /// What was folded is stored; a store that does not answer is not waited for.
    async fn finish(&mut self) -> Result<()> {
        match tokio::time::timeout(limits::LAST_STORE, self.store_rest()).await {
            Ok(stored) => stored?,
            Err(_) => tracing::warn!(partition = self.tp.partition, "went before all was stored"),
        }
        metrics::observe_owner_stopped();
        Ok(())
    }

    fn stamp(&mut self) -> Stamp {
        self.batches += 1;
        let claim = self.claim.held().map_or(0, |claim| claim.offset);
        Stamp {
            // Claims of two partitions may lie at one offset, and ids are to be told apart everywhere.
            batch_id: format!(
                "{}-{}-{claim}-{}",
                self.node.config.worker, self.tp.partition, self.batches
            ),
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
