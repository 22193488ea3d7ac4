//! The cluster world: several nodes over one simulated Kafka, with rebalances, kills, zombies, skewed
//! clocks, lost and late acknowledgements.

use crate::{
    check,
    clock::SimClock,
    kafka::SimKafka,
    node::{Process, RELEASES, RULES, Start},
    pauses::Heard,
    random::Random,
    store::SimStore,
    tools::SimTools,
    worker::Doors,
    workload::{Access, Clients, Ledger},
};
use spine_runs::Verdict;
use spine_schemas::HeldBy;
use std::{sync::Arc, time::Duration};

const PARTITIONS: u32 = 2;

impl Access for SimKafka {
    type Log = Self;

    fn log(&self) -> Option<Self> {
        Some(self.clone())
    }

    async fn verdict(&self, _offset: u64) -> Option<Verdict> {
        None
    }

    fn pause_of(&self, _tenant: &str, _tool: &str) -> Option<HeldBy> {
        None
    }
}

/// How often, at half a second each, a world is asked whether all runs have ended.
const SETTLE_ROUNDS: u32 = 400;

struct World {
    log: SimKafka,
    store: SimStore,
    tools: SimTools,
    clock: SimClock,
    random: Random,
    nodes: Vec<(u64, Process)>,
    started: u64,
    doors: Doors,
    heard: Heard,
}

/// Lives one simulated history and checks it; gives its digest and the number of its events.
pub(crate) async fn live(seed: u64) -> (spine_schemas::Digest, u64) {
    let random = Random::new(seed ^ 0x6b61_666b);
    let clock = SimClock::new();
    let log = SimKafka::new(PARTITIONS, clock.clone(), random.fork());
    let mut world = World {
        log: log.clone(),
        store: SimStore::new("live", random.fork()),
        tools: SimTools::new(&random, 10 + random.below(40)),
        clock: clock.clone(),
        nodes: Vec::new(),
        started: 0,
        doors: Doors::default(),
        heard: Heard::default(),
        random: random.fork(),
    };
    let ledger = Ledger::default();
    let clients = Arc::new(Clients {
        access: log.clone(),
        store: world.store.clone(),
        tools: world.tools.clone(),
        clock: clock.clone(),
        random: random.fork(),
        ledger: ledger.clone(),
        partitions: PARTITIONS,
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
    log.set_trouble_percent(random.below(12));
    world.start_node().await;
    for _ in 0..3 + random.below(6) {
        world.one_trouble().await;
    }
    world.tools.heal();
    world.store.set_failing(false);
    log.set_trouble_percent(0);
    world.start_node().await;
    submitting.await.unwrap();
    world.settle(&ledger).await;
    operating.abort();
    working.abort();
    // What was appended last is still on its way into the store.
    tokio::time::sleep(Duration::from_secs(3)).await;
    for (_, node) in world.nodes.drain(..) {
        node.stop().await;
    }
    world.check(&ledger).await
}

impl World {
    async fn start_node(&mut self) {
        self.started += 1;
        let before = self.log.group.newest_member();
        let skew_us = self.random.below(4_000_000) as i64 - 2_000_000;
        let node = Process::start(Start {
            log: self.log.of_process(),
            store: &self.store,
            tools: &self.tools,
            clock: self.clock.skewed(skew_us),
            name: format!("n{}", self.started),
            partitions: PARTITIONS,
            exclusive: false,
            rules: RULES,
            releases: RELEASES,
            heard: self.heard.clone(),
        });
        // It joins when it has read what is said of tools.
        let member = loop {
            tokio::time::sleep(Duration::from_millis(1)).await;
            match self.log.group.newest_member() {
                Some(member) if Some(member) != before => break member,
                Some(_) | None => {}
            }
        };
        self.doors.open(&member.to_string(), node.polls.clone());
        self.nodes.push((member, node));
        self.log.group.rebalance();
    }

    async fn one_trouble(&mut self) {
        tokio::time::sleep(Duration::from_millis(100 + self.random.below(2500))).await;
        match self.random.below(5) {
            0 => self.start_node().await,
            1 | 2 if self.nodes.len() > 1 => {
                let index = self.random.below(self.nodes.len() as u64) as usize;
                let (member, node) = self.nodes.remove(index);
                self.doors.close(&member.to_string());
                node.kill().await;
                self.store.forget_held();
                self.log.group.forget(member);
                self.log.group.rebalance();
            }
            3 => {
                self.store.set_failing(true);
                tokio::time::sleep(Duration::from_millis(self.random.below(1500))).await;
                self.store.set_failing(false);
            }
            _ => self.log.group.rebalance(),
        }
    }

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

    async fn check(&self, ledger: &Ledger) -> (spine_schemas::Digest, u64) {
        let reading = check::read_log(&self.log, PARTITIONS, &self.heard).await;
        reading.check_store(&self.log, PARTITIONS, &self.store).await;
        reading.check_acked(&self.log, ledger).await;
        reading.check_letters(&self.log, PARTITIONS, &self.store.rows()).await;
        reading.transitions.check(&self.log, PARTITIONS).await;
        reading.check_effects(&self.tools.effects());
        reading.check_ended(ledger);
        (reading.history.unwrap(), reading.events)
    }
}
