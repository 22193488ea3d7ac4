//! The embedded world: the real embedded log over a simulated disk, one process at a time, killed and
//! cut off from power at any moment.

use crate::{
    check,
    clock::SimClock,
    node::{CONTROL, Process, RELEASES, RULES, Start},
    pauses::Heard,
    random::Random,
    store::SimStore,
    tools::SimTools,
    transitions::LIFECYCLE,
    worker::Doors,
    workload::{Access, Clients, Ledger, TOPIC},
};
use spine_log::{
    EventLog, TopicPartition,
    embedded::{
        CommitStage, DatumSchema, Driver, EmbeddedLog, Options, SimDisk, TopicOptions,
        seeded_random,
    },
};
use spine_runs::Verdict;
use spine_schemas::{HeldBy, RunKey, codec, time::Micros};
use spine_workers::{Clock, VerdictHub};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

/// The process that is up, if one is.
#[derive(Clone, Default)]
pub(crate) struct Current(Arc<Mutex<Option<Up>>>);

struct Up {
    log: EmbeddedLog,
    hub: VerdictHub,
    name: String,
    heard: Heard,
}

impl Access for Current {
    type Log = EmbeddedLog;

    fn log(&self) -> Option<EmbeddedLog> {
        self.0.lock().unwrap().as_ref().map(|up| up.log.clone())
    }

    async fn verdict(&self, offset: u64) -> Option<Verdict> {
        let hub = self.0.lock().unwrap().as_ref().map(|up| up.hub.clone())?;
        hub.wait(0, offset, Duration::from_secs(1)).await.ok()
    }

    fn pause_of(&self, tenant: &str, tool: &str) -> Option<HeldBy> {
        let current = self.0.lock().unwrap();
        let up = current.as_ref()?;
        up.heard.pause_of(&up.name, Micros(i64::MAX), (tenant, tool))
    }
}

/// The door of the only process.
const DOOR: &str = "alone";

/// How often, at half a second each, a world is asked whether all runs have ended.
const SETTLE_ROUNDS: u32 = 400;

struct World {
    disk: SimDisk,
    store: SimStore,
    tools: SimTools,
    clock: SimClock,
    random: Random,
    current: Current,
    doors: Doors,
    heard: Heard,
    lives: u64,
}

/// Lives one simulated history and checks it; gives its digest and the number of its events.
pub(crate) async fn live(seed: u64) -> (spine_schemas::Digest, u64) {
    let random = Random::new(seed);
    let clock = SimClock::new();
    let mut world = World {
        disk: SimDisk::new(),
        store: SimStore::new("live", random.fork()),
        tools: SimTools::new(&random, 10 + random.below(50)),
        clock: clock.clone(),
        current: Current::default(),
        doors: Doors::default(),
        heard: Heard::default(),
        lives: 0,
        random: random.fork(),
    };
    let ledger = Ledger::default();
    let clients = Arc::new(Clients {
        access: world.current.clone(),
        store: world.store.clone(),
        tools: world.tools.clone(),
        clock: clock.clone(),
        random: random.fork(),
        ledger: ledger.clone(),
        partitions: 1,
        doors: world.doors.clone(),
    });
    let submitting = tokio::spawn({
        let clients = clients.clone();
        let runs = 4 + random.below(8);
        async move { clients.submit(runs).await }
    });
    let working = tokio::spawn({
        let clients = clients.clone();
        async move { clients.work().await }
    });
    let operating = tokio::spawn({
        let clients = clients.clone();
        async move { clients.operate().await }
    });
    // What its agents ask people for follows from its name.
    let driven = RunKey::new("default", &format!("driven-{}", random.below(6)));
    let agents = random.chance(50).then(|| {
        ledger.runs.lock().unwrap().push(driven.clone());
        let clients = clients.clone();
        tokio::spawn(async move { clients.drive(&driven).await })
    });
    for _ in 0..2 + random.below(6) {
        world.one_troubled_life().await;
    }
    world.tools.heal();
    world.store.set_failing(false);
    world.store.set_slow_ms(0);
    let process = world.start();
    submitting.await.unwrap();
    if let Some(agents) = agents {
        agents.await.unwrap();
    }
    world.settle(&ledger).await;
    operating.abort();
    working.abort();
    // What was appended last is still on its way into the store.
    tokio::time::sleep(Duration::from_secs(3)).await;
    process.stop().await;
    world.check(&ledger).await
}

impl World {
    /// A process lives for a while, with trouble, and ends without warning.
    async fn one_troubled_life(&mut self) {
        if self.random.chance(30) {
            self.disk.die_after_changes(1 + self.random.below(120));
        }
        self.store.set_slow_ms(if self.random.chance(20) { 300 } else { 0 });
        let process = self.start();
        let outage = self.random.chance(25);
        let long = Duration::from_millis(50 + self.random.below(2500));
        if outage {
            tokio::time::sleep(long / 3).await;
            self.store.set_failing(true);
            tokio::time::sleep(long / 3).await;
            self.store.set_failing(false);
        }
        tokio::time::sleep(long).await;
        self.current.0.lock().unwrap().take();
        self.doors.close(DOOR);
        if self.random.chance(10) {
            process.stop().await;
        } else {
            process.kill().await;
        }
        self.store.forget_held();
        if self.random.chance(40) {
            self.disk.power_loss(self.random.next());
            self.store.power_loss();
        } else {
            self.disk.kill();
        }
        tokio::time::sleep(Duration::from_millis(self.random.below(300))).await;
    }

    fn start(&mut self) -> Process {
        let log = self.open();
        self.lives += 1;
        let (name, heard) = (format!("p{}", self.lives), self.heard.clone());
        let process = Process::start(Start {
            log: log.clone(),
            store: &self.store,
            tools: &self.tools,
            clock: self.clock.clone(),
            name: name.clone(),
            partitions: 1,
            exclusive: true,
            rules: RULES,
            releases: RELEASES,
            heard: heard.clone(),
        });
        let hub = process.hub.clone();
        *self.current.0.lock().unwrap() = Some(Up { log, hub, name, heard });
        self.doors.open(DOOR, process.polls.clone());
        process
    }

    /// Opens the log; a disk that dies during recovery begins another life.
    fn open(&self) -> EmbeddedLog {
        loop {
            let clock = self.clock.clone();
            let options = options(self.random.next());
            let opened = EmbeddedLog::open(
                &options,
                Arc::new(self.disk.clone()),
                Arc::new(move || clock.now()),
                Driver::Task { latency: Some(self.latency()) },
            );
            match opened {
                Ok(log) => return log,
                Err(spine_log::Error::Damaged(message)) => {
                    panic!("damage by itself: {message}: {:?}", self.disk.paths())
                }
                Err(_) => self.disk.power_loss(self.random.next()),
            }
        }
    }

    fn latency(&self) -> spine_log::embedded::Latency {
        let random = self.random.fork();
        Arc::new(move |stage: CommitStage| {
            let most = if stage == CommitStage::Written { 900 } else { 200 };
            let wait = Duration::from_micros(50 + random.below(most));
            Box::pin(tokio::time::sleep(wait))
        })
    }

    /// Waits until every run has ended and everything is stored.
    async fn settle(&self, ledger: &Ledger) {
        for _ in 0..SETTLE_ROUNDS {
            tokio::time::sleep(Duration::from_millis(500)).await;
            let rows = self.store.rows();
            let runs = ledger.runs.lock().unwrap().clone();
            let ended = |key| rows.runs.get(key).is_some_and(|run| !run.is_open());
            if runs.iter().all(ended) {
                return;
            }
        }
    }

    async fn check(&mut self, ledger: &Ledger) -> (spine_schemas::Digest, u64) {
        self.current.0.lock().unwrap().take();
        self.disk.kill();
        let log = self.open();
        let at = TopicPartition::new(TOPIC, 0);
        let end = log.bounds(&at).await.unwrap().end;
        let stored = self.store.progress_of(0).unwrap().offset;
        assert_eq!(stored + 1, end, "the store does not end where the log does");
        let reading = check::read_log(&log, 1, &self.heard).await;
        reading.check_store(&log, 1, &self.store).await;
        reading.check_acked(&log, ledger).await;
        reading.check_letters(&log, 1, &self.store.rows()).await;
        reading.transitions.check(&log, 1).await;
        reading.check_effects(&self.tools.effects());
        reading.check_ended(ledger);
        (reading.history.unwrap(), reading.events)
    }
}

fn options(seed: u64) -> Options {
    let datum = |json: &str, fingerprint| Some(DatumSchema { json: json.to_owned(), fingerprint });
    let steps = TopicOptions {
        name: TOPIC.into(),
        partitions: 1,
        datum: datum(codec::step_event_schema(), codec::step_event_fingerprint()),
    };
    let letters = TopicOptions {
        name: format!("{TOPIC}.dlq"),
        partitions: 1,
        datum: datum(codec::dead_letter_schema(), codec::dead_letter_fingerprint()),
    };
    let plain = |name: &str| TopicOptions { name: name.into(), partitions: 1, datum: None };
    Options {
        segment_bytes: 64 * 1024,
        // Some logs reserve space from the beginning, some never.
        reserve_from_bytes: if seed.is_multiple_of(2) { 0 } else { u64::MAX },
        random: seeded_random(seed),
        owner: "simulated".into(),
        ..Options::new("/log", vec![steps, letters, plain(CONTROL), plain(LIFECYCLE)])
    }
}
