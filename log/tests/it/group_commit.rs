//! One sync serves all who wait; the queue before it is bounded; readers follow the sync.

use crate::support::{
    DIR, EVERYTHING, TASK, append, open, options, place, record, run, ticking_clock, values,
};
use spine_log::{
    Error, EventLog, PartitionReader, Urgency,
    embedded::{CommitStage, Driver, EmbeddedLog, Latency, SimDisk},
};
use std::{sync::Arc, time::Duration};
use tokio::task::JoinSet;

fn slow(stage: CommitStage) -> Driver {
    let latency: Latency = Arc::new(move |at| {
        Box::pin(async move {
            if at == stage {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
    });
    Driver::Task { latency: Some(latency) }
}

fn open_slow(disk: &SimDisk, stage: CommitStage) -> EmbeddedLog {
    let disk = Arc::new(disk.clone());
    EmbeddedLog::open(&options(DIR), disk, ticking_clock(), slow(stage)).unwrap()
}

#[test]
fn appends_that_wait_share_one_sync() {
    run(async {
        let disk = SimDisk::new();
        let log = open_slow(&disk, CommitStage::Written);
        let before = disk.syncs();
        let mut callers = JoinSet::new();
        for caller in 0..100 {
            let log = log.clone();
            callers.spawn(async move { append(&log, format!("{caller}")).await });
        }
        let outcomes = callers.join_all().await;
        assert!(outcomes.iter().all(Result::is_ok));
        assert!(disk.syncs() - before <= 2, "{} syncs for 100 appends", disk.syncs() - before);
    });
}

#[test]
fn no_reader_sees_a_record_before_it_is_synced() {
    run(async {
        let disk = SimDisk::new();
        let log = open_slow(&disk, CommitStage::Written);
        let syncs = disk.syncs();
        let mut reader = log.reader(&place(), 0).await.unwrap();
        let appending = {
            let log = log.clone();
            tokio::spawn(async move { append(&log, "first").await })
        };
        let early = tokio::time::timeout(Duration::from_millis(9), reader.next(EVERYTHING)).await;
        assert!(early.is_err(), "seen before the sync");
        assert_eq!((disk.syncs(), log.bounds(&place()).await.unwrap().end), (syncs, 0));
        assert_eq!(reader.next(EVERYTHING).await.unwrap().len(), 1);
        assert_eq!(disk.syncs(), syncs + 1);
        appending.await.unwrap().unwrap();
    });
}

#[test]
fn a_process_killed_before_the_sync_has_acknowledged_nothing() {
    run(async {
        let disk = SimDisk::new();
        let log = open_slow(&disk, CommitStage::Written);
        append(&log, "kept").await.unwrap();
        let late = tokio::time::timeout(Duration::from_millis(5), append(&log, "lost")).await;
        assert!(late.is_err(), "acknowledged before the sync");
        drop(log);
        disk.power_loss(3);
        let log = open(&options(DIR), &disk).unwrap();
        assert_eq!(values(&log).await.unwrap().first().unwrap(), "kept");
    });
}

#[test]
fn a_full_queue_refuses_and_takes_again_later() {
    run(async {
        let disk = SimDisk::new();
        let mut options = options(DIR);
        options.queue_records = 10;
        let disk = Arc::new(disk);
        let driver = slow(CommitStage::Written);
        let log = EmbeddedLog::open(&options, disk, ticking_clock(), driver).unwrap();
        let mut callers = JoinSet::new();
        for caller in 0..40 {
            let log = log.clone();
            callers.spawn(async move { append(&log, format!("{caller}")).await });
        }
        let outcomes = callers.join_all().await;
        let taken = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        let busy = outcomes.iter().filter(|outcome| **outcome == Err(Error::Busy)).count();
        assert_eq!((taken + busy, busy > 0), (40, true), "{taken} taken, {busy} busy");
        assert_eq!(log.bounds(&place()).await.unwrap().end, taken as u64);
        append(&log, "later").await.unwrap();
    });
}

#[test]
fn a_batch_larger_than_the_queue_passes_when_nothing_waits() {
    run(async {
        let mut options = options(DIR);
        (options.queue_records, options.queue_bytes) = (1, 1);
        let log = open(&options, &SimDisk::new()).unwrap();
        let batch = vec![record("a"), record("b"), record("c")];
        assert_eq!(log.append(&place(), batch, Urgency::Normal).await.unwrap().last_offset, 2);
    });
}

#[test]
fn closing_commits_what_waits_and_ends_readers() {
    run(async {
        let disk = SimDisk::new();
        let log = open_slow(&disk, CommitStage::Synced);
        let mut reader = log.reader(&place(), 0).await.unwrap();
        let mut callers = JoinSet::new();
        for caller in 0..5 {
            let log = log.clone();
            callers.spawn(async move { append(&log, format!("{caller}")).await });
        }
        tokio::task::yield_now().await;
        log.close().await;
        assert!(callers.join_all().await.iter().all(Result::is_ok));
        let mut seen = 0;
        while seen < 5 {
            seen += reader.next(EVERYTHING).await.unwrap().len();
        }
        assert!(matches!(reader.next(EVERYTHING).await, Err(Error::Unavailable(_))));
        assert!(matches!(append(&log, "late").await, Err(Error::Unavailable(_))));
        let again = EmbeddedLog::open(&options(DIR), Arc::new(disk), ticking_clock(), TASK);
        assert_eq!(values(&again.unwrap()).await.unwrap().len(), 5);
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_log_with_threads_frees_its_lock_at_once() {
    let dir = tempfile::tempdir().unwrap();
    for turn in 0..20 {
        let log = crate::support::open_os(&options(dir.path()), Driver::Thread);
        assert_eq!(append(&log, format!("{turn}")).await.unwrap().first_offset, turn);
    }
}

#[test]
fn record_times_never_go_back_although_the_clock_does() {
    run(async {
        let clock_says = Arc::new(std::sync::atomic::AtomicI64::new(100));
        let clock = {
            let says = Arc::clone(&clock_says);
            Arc::new(move || {
                spine_schemas::time::Micros(says.load(std::sync::atomic::Ordering::Relaxed))
            })
        };
        let disk = SimDisk::new();
        let open = || {
            let disk = Arc::new(disk.clone());
            EmbeddedLog::open(&options(DIR), disk, clock.clone(), TASK).unwrap()
        };
        let log = open();
        assert_eq!(append(&log, "a").await.unwrap().timestamp.0, 100);
        clock_says.store(50, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(append(&log, "b").await.unwrap().timestamp.0, 100);
        drop(log);
        assert_eq!(append(&open(), "c").await.unwrap().timestamp.0, 100, "after a restart too");
    });
}
