//! What every handler works with: the log, the store, the owner's verdicts, time and chance.

use crate::{
    Code, Leases, Problem, Steering, Streams, Verdicts, ids, in_flight::InFlight, limits,
    query::AtLeast, watch::Alarms,
};
use spine_log::{EventLog, TopicPartition};
use spine_runs::RunState;
use spine_schemas::{RunKey, codec::SchemaBook, keys, time::Micros};
use spine_store::RunStore;
use std::{collections::BTreeSet, net::SocketAddr, ops::Deref, sync::Arc, time::Duration};
use tokio::sync::{Mutex, OnceCell, Semaphore};

/// Tells the time.
pub type Clock = Arc<dyn Fn() -> Micros + Send + Sync>;
/// Gives 16 bytes that nobody can guess, for identities that callers leave out.
pub type Random = Arc<dyn Fn() -> [u8; 16] + Send + Sync>;
/// Renders the metrics of the process as Prometheus text.
pub type MetricsText = Arc<dyn Fn() -> String + Send + Sync>;

/// What the surface is told at its start.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The address that is listened on, with its real port.
    pub listen: SocketAddr,
    /// Further `Host` values (with port, if any) under which clients reach us.
    pub allowed_hosts: Vec<String>,
    /// The topic of events.
    pub topic: Arc<str>,
    /// The topic of letters.
    pub letters_topic: Arc<str>,
    /// The topic of what steers the installation.
    pub control_topic: Arc<str>,
    /// The topic that transitions are told on; `None`: they are not told.
    pub lifecycle_topic: Option<Arc<str>>,
    /// A partition in which nothing moves for so long although something should is unattended; zero turns that off.
    pub stall_after: Duration,
    /// The identity of the installation; part of every idempotency key.
    pub installation_id: String,
    /// Tenants whose plans may inject faults.
    pub test_tenants: BTreeSet<String>,
    /// Requests that are answered at one time; further ones are told to come back.
    pub requests_in_flight: usize,
    /// Bytes of bodies that are held at one time; further ones are told to come back.
    pub body_bytes_in_flight: usize,
}

impl Settings {
    /// The default settings for an address and an installation.
    pub fn new(listen: SocketAddr, installation_id: impl Into<String>) -> Self {
        Self {
            listen,
            allowed_hosts: Vec::new(),
            topic: "spine.steps".into(),
            letters_topic: "spine.steps.dlq".into(),
            control_topic: "spine.control".into(),
            lifecycle_topic: None,
            stall_after: Duration::ZERO,
            installation_id: installation_id.into(),
            test_tenants: BTreeSet::new(),
            requests_in_flight: limits::REQUESTS_IN_FLIGHT,
            body_bytes_in_flight: limits::BODY_BYTES_IN_FLIGHT,
        }
    }
}

/// What an [`App`] is made of.
pub struct Parts<L, S, V> {
    /// Where events go.
    pub log: L,
    /// Where questions are answered from.
    pub store: S,
    /// Where requests are answered from.
    pub verdicts: V,
    /// The schemas that other versions wrote with.
    pub book: Arc<SchemaBook>,
    /// The time.
    pub clock: Clock,
    /// Chance.
    pub random: Random,
    /// The metrics of the process.
    pub metrics_text: MetricsText,
    /// What holds steps back.
    pub steering: Steering,
    /// The owners, as workers of queues ask them.
    pub leases: Arc<dyn Leases>,
    /// The owners, as listeners and attempts meet them.
    pub streams: Arc<dyn Streams>,
    /// The rest.
    pub settings: Settings,
}

/// The surface's parts and its bounds, shared by all requests.
pub struct App<L, S, V>(Arc<Shared<L, S, V>>);

/// What requests share. Handlers reach it through [`App`].
pub struct Shared<L, S, V> {
    /// What the surface was made of.
    pub(crate) parts: Parts<L, S, V>,
    /// What is going on now, and how much more may.
    pub(crate) in_flight: InFlight,
    /// Held while the record of a letter that was closed long ago is looked for and put back.
    pub(crate) putting_back: Mutex<()>,
    /// Held while single records of the log are read.
    pub(crate) log_reads: Semaphore,
    /// Held while all open runs are looked at.
    pub(crate) failing: Semaphore,
    /// Partitions that nobody seems to attend to.
    pub(crate) alarms: Alarms,
    partitions: OnceCell<u32>,
}

impl<L, S, V> Clone for App<L, S, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<L, S, V> Deref for App<L, S, V> {
    type Target = Shared<L, S, V>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<L: EventLog, S: RunStore, V: Verdicts> App<L, S, V> {
    /// Puts the parts together.
    pub fn new(parts: Parts<L, S, V>) -> Self {
        let in_flight =
            InFlight::new(parts.settings.requests_in_flight, parts.settings.body_bytes_in_flight);
        Self(Arc::new(Shared {
            parts,
            in_flight,
            putting_back: Mutex::new(()),
            log_reads: Semaphore::new(limits::LOG_READS),
            failing: Semaphore::new(1),
            alarms: Alarms::default(),
            partitions: OnceCell::new(),
        }))
    }
}

impl<L: EventLog, S: RunStore, V: Verdicts> Shared<L, S, V> {
    pub(crate) fn log(&self) -> &L {
        &self.parts.log
    }

    pub(crate) fn store(&self) -> &S {
        &self.parts.store
    }

    pub(crate) fn verdicts(&self) -> &V {
        &self.parts.verdicts
    }

    pub(crate) fn settings(&self) -> &Settings {
        &self.parts.settings
    }

    pub(crate) fn now(&self) -> Micros {
        (self.parts.clock)()
    }

    /// An identity of 32 hexadecimal digits.
    pub(crate) fn fresh_id(&self) -> String {
        ids::by_chance((self.parts.random)())
    }

    /// A partition of the topic of events.
    pub(crate) fn events_of(&self, partition: u32) -> TopicPartition {
        TopicPartition::new(self.settings().topic.clone(), partition)
    }

    /// The number of partitions; it is fixed for the life of the topic, so it is asked for once.
    pub(crate) async fn partitions(&self) -> Result<u32, Problem> {
        let ask = || async { Ok(self.log().partitions(&self.settings().topic).await?) };
        self.partitions.get_or_try_init(ask).await.copied()
    }

    /// The partition of a run.
    pub(crate) async fn partition_of(&self, run: &RunKey) -> Result<u32, Problem> {
        Ok(keys::partition_of(&run.record_key(), self.partitions().await?))
    }

    /// A run as it is stored.
    pub(crate) async fn find_run(
        &self,
        partition: u32,
        run: &RunKey,
    ) -> Result<Option<RunState>, Problem> {
        let found = self.store().load_runs(partition, std::slice::from_ref(run)).await?;
        Ok(found.into_iter().next().flatten())
    }

    /// A run as it is stored, at an offset or later if one is named.
    pub(crate) async fn load_run(
        &self,
        run: &RunKey,
        at_least: Option<AtLeast>,
    ) -> Result<(u32, RunState), Problem> {
        let partition = self.partition_of(run).await?;
        self.wait_stored(partition, at_least).await?;
        let found = self.find_run(partition, run).await?;
        let state =
            found.ok_or_else(|| Problem::new(Code::RunAbsent, format!("there is no run {run}")))?;
        Ok((partition, state))
    }

    /// Waits until the store has what the caller wants to see.
    pub(crate) async fn wait_stored(
        &self,
        partition: u32,
        at_least: Option<AtLeast>,
    ) -> Result<(), Problem> {
        let Some(wanted) = at_least else { return Ok(()) };
        let partition = wanted.partition.unwrap_or(partition);
        if partition >= self.partitions().await? {
            let detail = format!("at_least: there is no partition {partition}");
            return Err(Problem::new(Code::BadQuery, detail));
        }
        self.verdicts().stored(partition, wanted.offset).await.map_err(|error| {
            let detail = format!("{partition}:{} is not stored yet: {error}", wanted.offset);
            Problem::new(Code::NotStoredYet, detail)
        })
    }
}
