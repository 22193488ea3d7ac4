//! Logs and records for the tests.

use bytes::Bytes;
use spine_log::{
    Appended, Error, EventLog, NewRecord, PartitionReader, ReadLimit, Record, Result,
    TopicPartition, Urgency,
    embedded::{
        Clock, DatumSchema, Disk, Driver, EmbeddedLog, Options, OsDisk, SimDisk, TopicOptions,
        seeded_random,
    },
};
use spine_schemas::time::Micros;
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

pub(crate) const TOPIC: &str = "steps";
pub(crate) const DIR: &str = "/log";
pub(crate) const EVERYTHING: ReadLimit = ReadLimit { records: usize::MAX, bytes: usize::MAX };
pub(crate) const FINGERPRINT: [u8; 8] = [0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88];
pub(crate) const SCHEMA: &str = r#"{"type":"record","name":"Note","namespace":"test","fields":[
    {"name":"number","type":"long"},{"name":"text","type":["null","string"]}]}"#;

pub(crate) const TASK: Driver = Driver::Task { latency: None };

/// Settings for one partition of plain values, repeatable.
pub(crate) fn options(dir: impl Into<PathBuf>) -> Options {
    Options {
        headroom_bytes: 0,
        random: seeded_random(7),
        owner: "process 42 at 127.0.0.1:7700".into(),
        ..Options::new(dir, vec![topic(1, None)])
    }
}

pub(crate) fn topic(partitions: u32, datum: Option<DatumSchema>) -> TopicOptions {
    TopicOptions { name: TOPIC.into(), partitions, datum }
}

pub(crate) fn note_schema() -> DatumSchema {
    DatumSchema { json: SCHEMA.into(), fingerprint: FINGERPRINT }
}

/// A clock that moves by one millisecond a look.
pub(crate) fn ticking_clock() -> Clock {
    let now = AtomicI64::new(1_700_000_000_000_000);
    Arc::new(move || Micros(now.fetch_add(1000, Ordering::Relaxed)))
}

pub(crate) fn open(options: &Options, disk: &SimDisk) -> Result<EmbeddedLog> {
    EmbeddedLog::open(options, Arc::new(disk.clone()), ticking_clock(), TASK)
}

pub(crate) fn open_os(options: &Options, driver: Driver) -> EmbeddedLog {
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    EmbeddedLog::open(options, disk, ticking_clock(), driver).unwrap()
}

pub(crate) fn place() -> TopicPartition {
    TopicPartition::new(TOPIC, 0)
}

pub(crate) fn record(value: impl Into<Bytes>) -> NewRecord {
    let key = Some(Bytes::from_static(b"tenant/run"));
    NewRecord::plain(key, value)
}

pub(crate) async fn append(log: &EmbeddedLog, value: impl Into<Bytes>) -> Result<Appended> {
    log.append(&place(), vec![record(value)], Urgency::Normal).await
}

/// Every durable record, read from the files or from memory as the log sees fit.
pub(crate) async fn read_all(log: &EmbeddedLog) -> Result<Vec<Record>> {
    let bounds = log.bounds(&place()).await?;
    let mut reader = log.reader(&place(), bounds.first).await?;
    let mut records: Vec<Record> = Vec::new();
    while bounds.first + (records.len() as u64) < bounds.end {
        records.extend(reader.next(EVERYTHING).await?);
    }
    Ok(records)
}

pub(crate) async fn values(log: &EmbeddedLog) -> Result<Vec<Bytes>> {
    Ok(read_all(log).await?.into_iter().filter_map(|record| record.value).collect())
}

/// The path of a file of partition 0.
pub(crate) fn segment(first_offset: u64, kind: &str) -> PathBuf {
    Path::new(DIR).join(TOPIC).join("0").join(format!("{first_offset:020}.{kind}"))
}

/// The noted length of the first segment of partition 0.
pub(crate) fn noted_bytes(disk: &SimDisk) -> usize {
    let note = disk.contents(&segment(0, "durable")).unwrap();
    u64::from_le_bytes(note[..8].try_into().unwrap()) as usize
}

/// Runs a test on one thread with paused time.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap().block_on(test)
}

/// The message of a damage report.
pub(crate) fn damage<T>(outcome: Result<T>) -> String {
    match outcome {
        Err(Error::Damaged(message)) => message,
        Err(error) => panic!("not damage: {error}"),
        Ok(_) => panic!("damage went unseen"),
    }
}
