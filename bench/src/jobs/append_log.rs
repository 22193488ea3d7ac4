//! How fast the log takes typed events: the encoding is part of it. Against one writer on a raw file, and a
//! raw producer that is given the bytes.

use crate::{
    bench::{Bench, Head, durable, parameters, times_of, watched},
    ceilings::{file, kafka},
    cpu::Watched,
    error::{Error, Result},
    events::{self, record},
    measure::Measure,
    place::{Opener, Place},
    row::Row,
    settings::Parts,
};
use serde_json::json;
use spine_log::{EventLog, TopicPartition, Urgency};
use spine_schemas::{Event, codec, keys};
use std::sync::Arc;
use tokio::task::JoinSet;

/// Events of one append where many are appended.
const BATCH: usize = 100;
/// Callers at once, for each partition.
const CALLERS: usize = 8;
/// How long the raw producer gathers; Spine's own setting.
const LINGER_MS: &str = "1";

pub(super) async fn rows<O: Opener>(bench: &Bench<O>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for parts in bench.settings.parts() {
        match parts {
            Parts::Embedded => rows.extend(embedded(bench).await?),
            Parts::Cluster => rows.extend(on_kafka(bench).await?),
        }
    }
    Ok(rows)
}

/// A batch for a caller, and where it belongs.
type Batch = (u32, Vec<Event>);

/// Runs whose events are appended in batches, each to its own partition.
fn batches(partitions: u32, total: usize) -> Vec<Vec<Batch>> {
    let lanes = partitions as usize * CALLERS;
    let runs = (total as u64).div_ceil(events::RUN_EVENTS);
    let mut by_partition: Vec<Vec<Event>> = vec![Vec::new(); partitions as usize];
    for run in 0..runs {
        for index in 0..events::RUN_EVENTS {
            let event = events::event("append", run, index);
            let key = event.run_key().expect("an event of a run");
            let partition = keys::partition_of(&key.record_key(), partitions);
            by_partition[partition as usize].push(event);
        }
    }
    let mut all: Vec<Vec<Batch>> = vec![Vec::new(); lanes];
    let mut next = 0;
    for (partition, events) in (0..).zip(by_partition) {
        for batch in events.chunks(BATCH) {
            all[next % lanes].push((partition, batch.to_vec()));
            next += 1;
        }
    }
    all
}

/// Appends all batches, each lane its own one after the other. The events are left to whoever has them:
/// letting go of them is no part of appending, on either side.
async fn append_all<L: EventLog>(
    log: &L,
    topic: &Arc<str>,
    lanes: &Arc<Vec<Vec<Batch>>>,
) -> Result<u64> {
    let mut tasks = JoinSet::new();
    for lane in 0..lanes.len() {
        let (log, topic, lanes) = (log.clone(), Arc::clone(topic), Arc::clone(lanes));
        tasks.spawn(async move {
            let mut appended = 0;
            for (partition, events) in &lanes[lane] {
                let records = events.iter().map(record).collect::<Vec<_>>();
                let to = TopicPartition::new(Arc::clone(&topic), *partition);
                appended += records.len() as u64;
                log.append(&to, records, Urgency::Normal).await?;
            }
            Ok::<_, Error>(appended)
        });
    }
    let mut appended = 0;
    while let Some(ended) = tasks.join_next().await {
        appended += ended.map_err(|error| Error::Server(error.to_string()))??;
    }
    Ok(appended)
}

async fn embedded<O: Opener>(bench: &Bench<O>) -> Result<Vec<Row>> {
    let total = bench.settings.of_size(2_000, 1_000_000);
    let raw_file = bench.settings.dir.join(format!("spine-bench-raw-{}", std::process::id()));
    let one = codec::encode(&events::event("append", 0, 2)).expect("a legal event");
    let many = bench
        .in_turns(
            async || through_log(bench, Parts::Embedded, total).await,
            async || raw_writes(bench, &raw_file, &one, CALLERS * BATCH),
        )
        .await?;
    let single = bench
        .in_turns(
            async || one_by_one(bench, Parts::Embedded).await,
            async || raw_writes(bench, &raw_file, &one, 1),
        )
        .await?;
    Ok(vec![
        Row::of("append.embedded", Parts::Embedded, many.0, many.1),
        Row::of("append.embedded.one", Parts::Embedded, single.0, single.1),
    ])
}

fn raw_writes<O: Opener>(
    bench: &Bench<O>,
    path: &std::path::Path,
    record: &[u8],
    group: usize,
) -> Result<Measure> {
    let took = file::write_and_sync(path, record, group, bench.settings.measured())?;
    let times = times_of(&took);
    let head = Head {
        of: "raw write + fdatasync",
        durability: durable::FILE,
        parameters: parameters([("bytes", json!(record.len())), ("group", json!(group))]),
    };
    let all: std::time::Duration = took.iter().sum();
    let measure = head.rate((took.len() * group) as u64, all, "events/s", None);
    Ok(Measure { times: times.times(), ..measure })
}

async fn through_log<O: Opener>(bench: &Bench<O>, parts: Parts, total: usize) -> Result<Measure> {
    let place = Place::make(&bench.settings, parts).await?;
    let (log, topic) = bench.opener.log(&place.log).await?;
    let partitions = log.partitions(&topic).await?;
    let lanes = Arc::new(batches(partitions, total));
    let mut processes = vec![Watched::this("log and callers")];
    processes.extend(bench.settings.servers(parts));
    let (count, took, usage) = watched(&processes, append_all(&log, &topic, &lanes)).await?;
    bench.opener.close(log).await;
    place.remove(&bench.settings).await?;
    let head = Head {
        of: "Spine's log",
        durability: durability(parts),
        parameters: parameters([
            ("batch", json!(BATCH)),
            ("callers", json!(partitions as usize * CALLERS)),
            ("partitions", json!(partitions)),
        ]),
    };
    Ok(head.rate(count, took, "events/s", usage))
}

fn durability(parts: Parts) -> &'static str {
    match parts {
        Parts::Embedded => durable::EMBEDDED,
        Parts::Cluster => durable::KAFKA,
    }
}

/// One caller, one event at a time.
async fn one_by_one<O: Opener>(bench: &Bench<O>, parts: Parts) -> Result<Measure> {
    let place = Place::make(&bench.settings, parts).await?;
    let (log, topic) = bench.opener.log(&place.log).await?;
    let to = TopicPartition::new(topic, 0);
    let (begun, mut took) = (tokio::time::Instant::now(), Vec::new());
    for number in 0.. {
        if begun.elapsed() >= bench.settings.measured() {
            break;
        }
        let before = tokio::time::Instant::now();
        let event = events::event("one", number / events::RUN_EVENTS, number % events::RUN_EVENTS);
        log.append(&to, vec![record(&event)], Urgency::Normal).await?;
        took.push(before.elapsed());
    }
    let elapsed = begun.elapsed();
    bench.opener.close(log).await;
    place.remove(&bench.settings).await?;
    let head = Head {
        of: "Spine's log",
        durability: durability(parts),
        parameters: parameters([("batch", json!(1)), ("callers", json!(1))]),
    };
    let measure = head.rate(took.len() as u64, elapsed, "events/s", None);
    Ok(Measure { times: times_of(&took).times(), ..measure })
}

async fn on_kafka<O: Opener>(bench: &Bench<O>) -> Result<Vec<Row>> {
    let total = bench.settings.of_size(2_000, 1_000_000);
    let many = bench
        .in_turns(
            async || through_log(bench, Parts::Cluster, total).await,
            async || raw_producer(bench, total).await,
        )
        .await?;
    let single = bench
        .in_turns(
            async || one_by_one(bench, Parts::Cluster).await,
            async || raw_one_by_one(bench).await,
        )
        .await?;
    Ok(vec![
        Row::of("append.kafka", Parts::Cluster, many.0, many.1),
        Row::of("append.kafka.one", Parts::Cluster, single.0, single.1),
    ])
}

fn outgoing(lanes: &[Vec<Batch>]) -> Result<Vec<kafka::Outgoing>> {
    let mut all = Vec::new();
    for (partition, events) in lanes.iter().flatten() {
        for event in events {
            let record = record(event);
            let (key, value) = (record.key.unwrap_or_default(), record.value.unwrap_or_default());
            all.push(kafka::Outgoing { partition: *partition as i32, key, value });
        }
    }
    Ok(all)
}

async fn raw_producer<O: Opener>(bench: &Bench<O>, total: usize) -> Result<Measure> {
    let place = Place::make(&bench.settings, Parts::Cluster).await?;
    let raw = kafka::Raw::new(&place.log, &place.steps_topic(), LINGER_MS)?;
    let records = outgoing(&batches(place.partitions(), total))?;
    let count = records.len() as u64;
    let mut processes = vec![Watched::this("producer")];
    processes.extend(bench.settings.servers(Parts::Cluster));
    let sending = async { off_thread(move || raw.send_all(&records)).await };
    let (took, _, usage) = watched(&processes, sending).await?;
    let partitions = place.partitions();
    place.remove(&bench.settings).await?;
    let head = Head {
        of: "raw producer, values encoded before",
        durability: durable::KAFKA,
        parameters: parameters([
            ("linger_ms", json!(LINGER_MS)),
            ("partitions", json!(partitions)),
        ]),
    };
    Ok(head.rate(count, took, "events/s", usage))
}

async fn raw_one_by_one<O: Opener>(bench: &Bench<O>) -> Result<Measure> {
    let place = Place::make(&bench.settings, Parts::Cluster).await?;
    let raw = kafka::Raw::new(&place.log, &place.steps_topic(), "0")?;
    let record = outgoing(&batches(place.partitions(), 1))?.remove(0);
    let measured = bench.settings.measured();
    let took = off_thread(move || raw.send_for(&record, measured)).await?;
    place.remove(&bench.settings).await?;
    let head = Head {
        of: "raw producer, one in flight",
        durability: durable::KAFKA,
        parameters: parameters([("linger_ms", json!("0"))]),
    };
    let all = took.iter().sum();
    let measure = head.rate(took.len() as u64, all, "events/s", None);
    Ok(Measure { times: times_of(&took).times(), ..measure })
}

async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::Peer(error.to_string()))?
}
