//! One simulated process: its workers, which end all at once when it is killed.

use crate::{
    clock::SimClock,
    pauses::{Heard, Listening},
    store::SimStore,
    transitions::LIFECYCLE,
    workload::TOPIC,
};
use spine_log::EventLog;
use spine_runs::breaker::Rules;
use spine_schemas::codec::SchemaBook;
use spine_workers::{
    Config, Control, Health, Memos, NoSchemas, Node, Polls, Streams, VerdictHub, group,
    tools::Tools,
};
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, task::JoinHandle};

/// What the idempotency keys of all processes are made of.
pub(crate) const INSTALLATION: &str = "simulated";

/// The topic of what processes say of tools.
pub(crate) const CONTROL: &str = "spine.control";

/// Runs that go on in a second, once nothing holds them back.
pub(crate) const RELEASES: u32 = 200;
/// Breakers that open and are probed often.
pub(crate) const RULES: Rules =
    Rules { failures: 5, percent: 50, open_ms: 300, most_open_ms: 1200 };

pub(crate) struct Process {
    task: JoinHandle<()>,
    stop: watch::Sender<bool>,
    pub(crate) hub: VerdictHub,
    pub(crate) polls: Polls,
}

/// What a process is started with.
pub(crate) struct Start<'a, L, T> {
    pub(crate) log: L,
    pub(crate) store: &'a SimStore,
    pub(crate) tools: &'a T,
    pub(crate) clock: SimClock,
    pub(crate) name: String,
    pub(crate) partitions: u32,
    pub(crate) exclusive: bool,
    pub(crate) rules: Rules,
    /// Runs that go on in a second, once nothing holds them back.
    pub(crate) releases: u32,
    /// Where it is noted what it hears.
    pub(crate) heard: Heard,
}

impl Process {
    pub(crate) fn start<L: EventLog, T: Tools>(start: Start<'_, L, T>) -> Self {
        let hub = VerdictHub::new(start.partitions);
        let polls = Polls::new(start.partitions);
        let stop = watch::Sender::new(false);
        let config = Config {
            topic: TOPIC.into(),
            worker: start.name.clone(),
            address: "simulated".into(),
            installation_id: INSTALLATION.into(),
            exclusive: start.exclusive,
            restored: false,
            private_store: false,
            take_over: false,
            attempts: 8,
            attempts_per_run: 4,
            attempts_per_tenant: 6,
            attempts_per_tool: 5,
            drain: Duration::from_secs(2),
            stall_after: Duration::from_secs(2),
            lifecycle: Some(LIFECYCLE.into()),
        };
        let (health, said) = Health::new(&start.name, start.rules, start.releases);
        let (process, clock) = (start.name.as_str().into(), start.clock.clone());
        let (log, heard) = (start.log.clone(), start.heard);
        let log = Listening { log, clock: clock.clone(), process, heard };
        let node = Node {
            log: start.log,
            store: start.store.clone(),
            tools: start.tools.clone(),
            clock: start.clock,
            hub: hub.clone(),
            book: Arc::new(SchemaBook::default()),
            schemas: Arc::new(NoSchemas),
            health: health.clone(),
            memos: Memos::default(),
            polls: polls.clone(),
            streams: Streams::new(start.partitions),
            config: Arc::new(config),
        };
        let receiver = stop.subscribe();
        let name = start.name;
        let task = tokio::spawn(async move {
            let ended = async {
                // A log that dies under its process takes the process with it.
                let opened = Control::open(log, CONTROL, (health, said), clock).await;
                let Ok(control) = opened else { return Ok(()) };
                tokio::select! {
                    biased;
                    ended = group::run(node, "spine", receiver) => ended,
                    () = control.run() => Ok(()),
                }
            };
            if let Err(error) = ended.await {
                // A log that dies under its process takes the process with it.
                let dead = matches!(&error, spine_workers::Error::Log(log) if !log.is_retryable());
                assert!(dead, "{name} ended: {error}");
            }
        });
        Self { task, stop, hub, polls }
    }

    /// Ends at once, in the middle of whatever it does.
    pub(crate) async fn kill(self) {
        self.task.abort();
        if let Err(error) = self.task.await
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
    }

    /// Ends in good order.
    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        self.task.await.unwrap();
    }
}
