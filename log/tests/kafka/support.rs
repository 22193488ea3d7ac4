//! Fresh logs on a real broker.

use bytes::Bytes;
use rdkafka::{
    ClientConfig,
    admin::{
        AdminClient, AdminOptions, AlterConfig, ConfigSource, NewTopic, ResourceSpecifier,
        TopicReplication,
    },
    client::DefaultClientContext,
    producer::BaseProducer,
};
use spine_log::{
    NewRecord, PartitionReader, ReadLimit, Record, Result,
    kafka::{BookEntry, CreateTopics, KafkaLog, Options, create},
};
use std::{
    hash::{BuildHasher, RandomState},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// The broker, or `None` after saying that the test is skipped.
pub(crate) fn broker() -> Option<String> {
    if let Ok(address) = std::env::var("SPINE_TEST_KAFKA") {
        return Some(address);
    }
    let is_required = std::env::var("SPINE_LIVE").is_ok_and(|live| live == "required");
    assert!(!is_required, "SPINE_LIVE=required, but SPINE_TEST_KAFKA names no broker");
    println!("skipped: SPINE_TEST_KAFKA names no broker");
    None
}

/// A name that no other test has, and no other time that this one runs.
pub(crate) fn random_hex() -> String {
    static CALLS: AtomicU64 = AtomicU64::new(0);
    format!("{:016x}", RandomState::new().hash_one(CALLS.fetch_add(1, Ordering::Relaxed)))
}

/// Options of a log that nobody else has.
pub(crate) fn fresh_options(brokers: &str) -> Options {
    Options { prefix: format!("t{}", random_hex()), ..Options::new(brokers) }
}

/// What a small log is created with.
pub(crate) fn wanted(partitions: u32) -> CreateTopics {
    CreateTopics {
        partitions,
        replication: 1,
        min_insync: 1,
        log_id: random_hex(),
        installation_id: random_hex(),
        schemas: vec![entry("00000000000000aa", r#"{"type":"string"}"#)],
    }
}

/// An entry of the schema book.
pub(crate) fn entry(fingerprint: &str, json: &str) -> BookEntry {
    BookEntry { fingerprint: fingerprint.into(), subject: "test".into(), json: json.into() }
}

/// A new log with its topics.
pub(crate) async fn fresh_log(brokers: &str, partitions: u32) -> Result<(Options, KafkaLog)> {
    let options = fresh_options(brokers);
    create(&options, &wanted(partitions)).await?;
    let log = KafkaLog::open(&options).await?;
    Ok((options, log))
}

/// A record whose value is a number.
pub(crate) fn numbered(number: u64) -> NewRecord {
    let value = Some(Bytes::copy_from_slice(&number.to_be_bytes()));
    NewRecord { key: Some(Bytes::from_static(b"key")), headers: Vec::new(), value }
}

/// A runtime as the server has one.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(test)
}

/// A client to set the stage with.
pub(crate) fn admin(options: &Options) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", &options.brokers).create().unwrap()
}

/// Makes a topic as someone else would.
pub(crate) async fn make_topic(
    options: &Options,
    name: &str,
    partitions: i32,
    settings: &[(&str, &str)],
) {
    let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
    for (setting, value) in settings {
        topic = topic.set(setting, value);
    }
    let made = admin(options).create_topics([&topic], &AdminOptions::new()).await.unwrap();
    assert_eq!(made, [Ok(name.to_owned())]);
}

/// Deletes a topic under whoever uses it.
pub(crate) async fn delete_topic(options: &Options, name: &str) {
    let gone = admin(options).delete_topics(&[name], &AdminOptions::new()).await.unwrap();
    assert_eq!(gone, [Ok(name.to_owned())]);
}

/// Changes one setting of a topic and keeps the others.
pub(crate) async fn alter_topic(options: &Options, name: &str, setting: &str, value: &str) {
    let topic = ResourceSpecifier::Topic(name);
    let settings = AdminOptions::new();
    let admin = admin(options);
    let found = admin.describe_configs([&topic], &settings).await.unwrap().remove(0).unwrap();
    let own = found
        .entries
        .iter()
        .filter(|entry| entry.name != setting && entry.source == ConfigSource::DynamicTopic);
    let own = own.filter_map(|entry| Some((entry.name.as_str(), entry.value.as_deref()?)));
    let change = own.fold(AlterConfig::new(topic), |all, (name, value)| all.set(name, value));
    let changed = admin.alter_configs([&change.set(setting, value)], &settings).await.unwrap();
    assert!(changed.iter().all(std::result::Result::is_ok), "{changed:?}");
    soon(async {
        loop {
            let found = admin.describe_configs([&topic], &settings).await.unwrap().remove(0);
            let found = found.unwrap();
            if found.get(setting).and_then(|entry| entry.value.as_deref()) == Some(value) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

/// A producer as someone else has one.
pub(crate) fn foreign_producer(options: &Options, settings: &[(&str, &str)]) -> BaseProducer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &options.brokers);
    for (name, value) in settings {
        config.set(*name, *value);
    }
    config.create().unwrap()
}

/// Reads until a reader's position reaches an offset.
pub(crate) async fn read_to(reader: &mut impl PartitionReader, end: u64) -> Vec<Record> {
    let mut records = Vec::new();
    while reader.position() < end {
        let limit = ReadLimit { records: 1000, bytes: usize::MAX };
        records.extend(soon(reader.next(limit)).await.unwrap());
    }
    records
}

/// Waits for something that must come, and not for ever.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(45), what).await.expect("it came in time")
}

/// The number in a record's value.
pub(crate) fn number(record: &Record) -> Option<u64> {
    record.value.as_deref().and_then(|value| value.try_into().ok()).map(u64::from_be_bytes)
}
