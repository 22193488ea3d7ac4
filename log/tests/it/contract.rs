//! The contract suite on both disks and both drivers.

use crate::support::{DIR, TASK, TOPIC, note_schema, open_os, options, run, ticking_clock, topic};
use spine_log::{
    Result,
    contract::{self, Fresh},
    embedded::{Driver, EmbeddedLog, Latency, Options, SimDisk},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

fn fresh_on(disk: SimDisk, driver: &Driver, partitions: u32) -> Result<Fresh<EmbeddedLog>> {
    let mut options = options(DIR);
    options.topics = vec![topic(partitions, Some(note_schema()))];
    let log = EmbeddedLog::open(&options, Arc::new(disk), ticking_clock(), driver.clone())?;
    Ok(Fresh { log, topic: TOPIC.into() })
}

/// Runs the suite on the system's disk, each case in a directory of its own.
async fn on_the_systems_disk(with: Options) {
    let dir = tempfile::tempdir().unwrap();
    let made = AtomicU64::new(0);
    let fresh = async |partitions| {
        let mut options = with.clone();
        options.dir = dir.path().join(made.fetch_add(1, Ordering::Relaxed).to_string());
        options.topics = vec![topic(partitions, None)];
        Ok(Fresh { log: open_os(&options, Driver::Thread), topic: TOPIC.into() })
    };
    contract::all(fresh).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_holds_on_the_systems_disk_with_threads() {
    on_the_systems_disk(options(DIR)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_contract_holds_when_every_read_comes_from_small_files() {
    on_the_systems_disk(Options { tail_bytes: 0, segment_bytes: 2000, ..options(DIR) }).await;
}

#[test]
fn the_contract_holds_in_a_simulation() {
    run(async {
        let fresh = async |partitions| fresh_on(SimDisk::new(), &TASK, partitions);
        contract::all(fresh).await.unwrap();
    });
}

#[test]
fn the_contract_holds_in_a_simulation_with_slow_commits() {
    let latency: Latency = Arc::new(|_| Box::pin(tokio::time::sleep(Duration::from_millis(3))));
    let driver = Driver::Task { latency: Some(latency) };
    run(async {
        let fresh = async |partitions| fresh_on(SimDisk::new(), &driver, partitions);
        contract::all(fresh).await.unwrap();
    });
}
