//! Several processes of the real binary on one log and one store: ways in, and workers that come and go.

use serde_json::Value;
use spine_tests::{Http, Servers, Spine, remove_store, waits};
use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

/// A dead worker's partitions have new owners within this, or something is wrong.
const TAKEN_OVER: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(100);

/// Who holds a partition, as the store has it, and how far the store is.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) claim: u64,
    pub(crate) worker: String,
    pub(crate) address: String,
    pub(crate) lag: u64,
}

/// Two ways in, and workers.
pub(crate) struct Fleet {
    pub(crate) log: String,
    pub(crate) store: String,
    pub(crate) ingests: Vec<Spine>,
    pub(crate) workers: Vec<Spine>,
}

impl Fleet {
    /// Two ways in and no worker yet.
    pub(crate) fn without_workers(servers: &Servers, partitions: u32) -> Self {
        let (log, store) = (servers.fresh_log(partitions, 1), servers.fresh_store());
        let ingest = || Spine::on(&log, &store).with(&["--roles", "ingest"]);
        let (first, second) = (ingest().start(), ingest().start());
        Self { ingests: vec![first, second], workers: Vec::new(), log, store }
    }

    /// Two ways in, and workers of which all are ready.
    pub(crate) fn start(servers: &Servers, partitions: u32, workers: usize) -> Self {
        let mut fleet = Self::without_workers(servers, partitions);
        fleet.workers = (0..workers).map(|_| fleet.worker()).collect();
        thread::scope(|scope| {
            for worker in &mut fleet.workers {
                scope.spawn(|| worker.restart());
            }
        });
        fleet.wait_owned(partitions);
        fleet
    }

    /// A further worker, not started yet.
    pub(crate) fn worker(&self) -> Spine {
        // The faults of the load must not hold back a tool for long.
        let breaker = ["--breaker-open-ms", "100", "--breaker-most-open-ms", "400"];
        Spine::on(&self.log, &self.store).with(&[&["--roles", "workers"], &breaker[..]].concat())
    }

    /// A further worker that has begun to join; it takes what the group gives it.
    pub(crate) fn add_worker(&mut self) {
        let mut worker = self.worker();
        worker.launch();
        self.workers.push(worker);
    }

    /// The ports of the ways in.
    pub(crate) fn ports(&self) -> Vec<u16> {
        self.ingests.iter().map(Spine::port).collect()
    }

    /// Who holds what, as the first way in tells.
    pub(crate) fn held(&self) -> BTreeMap<u32, Held> {
        held(self.ingests[0].port())
    }

    fn wait_owned(&self, partitions: u32) {
        waits::until("an owner of every partition", || {
            (self.held().len() == partitions as usize).then_some(())
        });
    }

    /// Ends all workers and ways in as an operator does, and gives up on none.
    pub(crate) fn stop(&mut self) {
        let stop = |spine: &mut Spine| {
            let ended = spine.stop();
            assert!(ended.success(), "it ended with {ended}:\n{}", spine.words());
        };
        thread::scope(|scope| {
            for worker in &mut self.workers {
                scope.spawn(|| stop(worker));
            }
        });
        self.ingests.iter_mut().for_each(stop);
    }

    /// After all have ended: the live store is what a fresh replay gives.
    pub(crate) fn is_fold_of_log(&self) {
        self.ingests[0].is_fold_of_log();
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // Those that write the store end before it goes.
        self.workers.iter_mut().chain(&mut self.ingests).for_each(Spine::kill);
        remove_store(&self.store);
    }
}

/// Who holds what. A way in that cannot tell, because a broker did not answer it in time, is asked again: who
/// waits until nobody holds something any more must not take that for an answer.
pub(crate) fn held(port: u16) -> BTreeMap<u32, Held> {
    let body = waits::until("the partitions", || {
        let reply = Http::new(port).get("/v1/partitions").expect("an answer");
        (reply.status == 200).then(|| reply.json())
    });
    let rows = body["partitions"].as_array().cloned().unwrap_or_default();
    rows.iter().filter_map(|row| Some((row["partition"].as_u64()? as u32, one(row)?))).collect()
}

fn one(row: &Value) -> Option<Held> {
    let claim = &row["claim"];
    Some(Held {
        claim: claim["claim"].as_u64()?,
        worker: claim["worker"].as_str()?.to_owned(),
        address: claim["address"].as_str()?.to_owned(),
        lag: row["lag"].as_u64()?,
    })
}

/// The partitions that a process holds.
pub(crate) fn of_address(held: &BTreeMap<u32, Held>, address: &str) -> BTreeMap<u32, u64> {
    let theirs = held.iter().filter(|(_, held)| held.address == address);
    theirs.map(|(partition, held)| (*partition, held.claim)).collect()
}

/// How long until each of these partitions has another owner whose claim was folded and stored, so that
/// its runs go on. Counted from `since`.
pub(crate) fn takeover(port: u16, left: &BTreeMap<u32, u64>, since: Instant) -> Duration {
    loop {
        let now = held(port);
        let is_new = |(of, old): (&u32, &u64)| now.get(of).is_some_and(|held| held.claim > *old);
        if left.iter().all(is_new) {
            return since.elapsed();
        }
        assert!(since.elapsed() < TAKEN_OVER, "nobody took over {left:?}: {now:?}");
        waits::pass(LOOK);
    }
}
