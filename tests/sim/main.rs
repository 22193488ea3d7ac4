//! The simulation: the real loops under a simulated world, by seed.
//!
//! Determinism rests on: one thread, Tokio's paused clock, `biased` selects and sorted maps in our
//! loops, time only through `Clock`, and chance only from the seed. The same seed gives the same
//! history, which is itself a test here.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod agent;
mod approvals;
mod check;
mod children;
mod clock;
mod cluster;
mod embedded;
mod folded;
mod forks;
mod holds;
mod kafka;
mod large;
mod late;
mod mark;
mod memo;
#[cfg(feature = "mutants")]
mod mutants;
mod node;
mod outage;
mod pauses;
mod plans;
mod random;
mod rebalance;
mod recovery;
mod sessions;
mod signals;
mod store;
mod tools;
mod transitions;
mod turns;
mod worker;
mod workload;

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Seeds that a CI run lives through in each world; `SPINE_SIM_SEEDS` asks for more.
const SEEDS: u64 = 2500;

/// Which world a history is lived in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum World {
    Embedded,
    Cluster,
    #[cfg(feature = "mutants")]
    Outage,
}

/// One thread, whose time passes only when nothing else is left to do.
fn paused_runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime")
}

fn live(world: World, seed: u64) -> (spine_schemas::Digest, u64) {
    let runtime = paused_runtime();
    #[cfg(feature = "mutants")]
    spine_schemas::mutants::watch();
    match world {
        World::Embedded => runtime.block_on(embedded::live(seed)),
        World::Cluster => runtime.block_on(cluster::live(seed)),
        #[cfg(feature = "mutants")]
        World::Outage => runtime.block_on(outage::live(seed)),
    }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

fn all_seeds_are_clean(world: World) {
    let name = if world == World::Embedded { "embedded" } else { "cluster" };
    if let Some(seed) = setting("SEED") {
        let (history, events) = live(world, seed);
        println!("{name} seed {seed}: {events} events, history {history}");
        return;
    }
    let first = setting("SPINE_SIM_FIRST").unwrap_or(0);
    let seeds = setting("SPINE_SIM_SEEDS").unwrap_or(SEEDS);
    let mut events = 0;
    for seed in first..first + seeds {
        match catch_unwind(AssertUnwindSafe(|| live(world, seed))) {
            Ok((_, more)) => events += more,
            Err(panic) => {
                eprintln!("seed {seed} fails; repeat it with: make sim WORLD={name} SEED={seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    println!("{name}: {seeds} seeds, {events} events, clean");
}

#[test]
fn embedded_seeds_are_clean() {
    all_seeds_are_clean(World::Embedded);
}

#[test]
fn cluster_seeds_are_clean() {
    all_seeds_are_clean(World::Cluster);
}

#[test]
fn the_same_seed_gives_the_same_history() {
    for seed in [1, 2, 3] {
        assert_eq!(live(World::Embedded, seed), live(World::Embedded, seed));
        assert_eq!(live(World::Cluster, seed), live(World::Cluster, seed));
    }
}
