//! Several whole processes, each a way in and an owner, on one log and one store.

use crate::fleet::{self, Held, held};
use spine_schemas::keys;
use spine_tests::{Servers, Spine, remove_store, waits};
use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
    time::{Duration, Instant},
};

pub(crate) const PARTITIONS: u32 = 12;

pub(crate) struct Nodes {
    store: String,
    pub(crate) nodes: Vec<Spine>,
}

impl Nodes {
    /// So many, each of which owns its share.
    pub(crate) fn start(servers: &Servers, count: usize, flags: &[&str]) -> Self {
        let (log, store) = (servers.fresh_log(PARTITIONS, 1), servers.fresh_store());
        let node = |_| Spine::on(&log, &store).with(flags);
        let mut nodes = Self { nodes: (0..count).map(node).collect(), store };
        thread::scope(|scope| {
            for node in &mut nodes.nodes {
                scope.spawn(|| node.restart());
            }
        });
        let share = PARTITIONS as usize / count;
        waits::until("a share for each", || {
            let all = (0..count).map(|at| nodes.partitions_of(at).len());
            all.into_iter().all(|own| own == share).then_some(())
        });
        nodes
    }

    fn held(&self) -> BTreeMap<u32, Held> {
        held(self.nodes[0].port())
    }

    fn claims_of(&self, at: usize) -> BTreeMap<u32, u64> {
        fleet::of_address(&self.held(), &format!("127.0.0.1:{}", self.nodes[at].port()))
    }

    /// What a node owns, as the store has it.
    pub(crate) fn partitions_of(&self, at: usize) -> BTreeSet<u32> {
        self.claims_of(at).into_keys().collect()
    }

    /// Names of runs of the tenant `default` that lie in partitions of a node.
    pub(crate) fn runs_of(&self, at: usize, name: &str) -> impl Iterator<Item = String> + use<> {
        let (own, name) = (self.partitions_of(at), name.to_owned());
        (0..)
            .map(move |number| format!("{name}-{number}"))
            .filter(move |run| own.contains(&partition_of("default", run)))
    }

    /// Kills a node; gives when, and the claims that it leaves.
    pub(crate) fn kill(&mut self, at: usize) -> (Instant, BTreeMap<u32, u64>) {
        let left = self.claims_of(at);
        assert!(!left.is_empty(), "it owned nothing");
        self.nodes[at].kill();
        (Instant::now(), left)
    }

    /// How long others took until they had what a killed node left.
    pub(crate) fn taken_over(&self, (since, left): &(Instant, BTreeMap<u32, u64>)) -> Duration {
        fleet::takeover(self.nodes[0].port(), left, *since)
    }

    /// Ends all that run as an operator does; the live store is then what a fresh replay gives.
    pub(crate) fn are_fold_of_log(&mut self) {
        thread::scope(|scope| {
            for node in self.nodes.iter_mut().filter(|node| !node.is_down()) {
                scope.spawn(|| {
                    let ended = node.stop();
                    assert!(ended.success(), "it ended with {ended}:\n{}", node.words());
                });
            }
        });
        self.nodes[0].is_fold_of_log();
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        self.nodes.iter_mut().for_each(Spine::kill);
        remove_store(&self.store);
    }
}

pub(crate) fn partition_of(tenant: &str, run: &str) -> u32 {
    keys::partition_of(format!("{tenant}/{run}").as_bytes(), PARTITIONS)
}
