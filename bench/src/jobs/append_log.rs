//! How fast the log takes typed events: the encoding is part of it. Against one writer on a raw file, and a
//! raw producer that is given the bytes.

use crate::{
    bench::{Bench, Head, parameters, spread, watched, watched_here},
    ceilings::{file, kafka},
    cpu::{Usage, Watched},
    durable,
    error::{Error, Result},
    events::{self, record},
    measure::Measure,
    place::{Opener, Place},
    row::Row,
    settings::Parts,
};
use bytes::Bytes;
use serde_json::json;
use spine_log::{EventLog, TopicPartition, Urgency};
use spine_schemas::{Event, keys};
use std::{sync::Arc, time::Duration};
use tokio::{task::JoinSet, time::Instant};

/// Events of one append where many are appended.
const BATCH: usize = 100;
/// Callers at once, for each partition.
const CALLERS: usize = 8;
/// The same on Kafka, whose raw producer is given 100,000 records before it waits for an answer.
const KAFKA_CALLERS: usize = 64;
/// How long the raw producer gathers, so that it sends many records at once. Spine's producer does not wait: its
/// callers bring batches.
const LINGER_MS: &str = "1";

pub(super) async fn rows<O: Opener>(bench: &Bench<O>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    if bench.settings.wants("append.embedded") {
        rows.push(many_to_file(bench).await?);
    }
    if bench.settings.wants("append.embedded.one") {
        rows.push(one_to_file(bench).await?);
    }
    if bench.settings.cluster.is_none() {
        return Ok(rows);
    }
    if bench.settings.wants("append.kafka") {
        rows.push(many_to_kafka(bench).await?);
    }
    if bench.settings.wants("append.kafka.one") {
        rows.push(one_to_kafka(bench).await?);
    }
    Ok(rows)
}

/// A batch for a caller, and where it belongs.
type Batch = (u32, Vec<Event>);

/// Runs whose events are appended in batches, each to its own partition; all partitions are busy at once.
fn batches(partitions: u32, lanes: usize, total: usize) -> Vec<Vec<Batch>> {
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
    let longest = by_partition.iter().map(Vec::len).max().unwrap_or(0);
    let mut all: Vec<Vec<Batch>> = vec![Vec::new(); lanes];
    let mut next = 0;
    for from in (0..longest).step_by(BATCH) {
        for (partition, events) in (0..).zip(&by_partition) {
            let batch: Vec<Event> = events.iter().skip(from).take(BATCH).cloned().collect();
            if !batch.is_empty() {
                all[next % lanes].push((partition, batch));
                next += 1;
            }
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

/// Events that one append takes in all, where many are appended.
fn total<O: Opener>(bench: &Bench<O>) -> usize {
    bench.settings.of_size(2_000, 1_000_000)
}

async fn many_to_file<O: Opener>(bench: &Bench<O>) -> Result<Row> {
    let (ours, raw) = bench
        .in_turns(
            async || through_log(bench, Parts::Embedded, total(bench)).await,
            async || raw_writes(bench, CALLERS * BATCH),
        )
        .await?;
    Ok(Row::of("append.embedded", Parts::Embedded, ours, raw))
}

async fn one_to_file<O: Opener>(bench: &Bench<O>) -> Result<Row> {
    let (ours, raw) = bench
        .in_turns(async || one_by_one(bench, Parts::Embedded).await, async || raw_writes(bench, 1))
        .await?;
    Ok(Row::of("append.embedded.one", Parts::Embedded, ours, raw))
}

/// One writer of groups of so many events that were encoded before.
fn raw_writes<O: Opener>(bench: &Bench<O>, group: usize) -> Result<Measure> {
    let path = bench.settings.dir.join(format!("spine-bench-raw-{}", std::process::id()));
    let bytes = events::encoded(group as u64).concat();
    let (took, usage) =
        watched_here("writer", || file::write_and_sync(&path, &bytes, bench.settings.measured()));
    let took = took?;
    let head = Head {
        of: "raw write + fdatasync",
        durability: durable::FILE,
        parameters: parameters([
            ("bytes_an_event", json!(bytes.len() / group)),
            ("group", json!(group)),
        ]),
    };
    let measure = head.rate((took.len() * group) as u64, took.iter().sum(), "events/s", usage);
    Ok(Measure { times: spread(&took, "a write with its sync"), ..measure })
}

async fn through_log<O: Opener>(bench: &Bench<O>, parts: Parts, total: usize) -> Result<Measure> {
    let place = Place::make(&bench.settings, parts).await?;
    let (log, topic) = bench.opener.log(&place.log).await?;
    let partitions = log.partitions(&topic).await?;
    let callers = partitions as usize
        * match parts {
            Parts::Embedded => CALLERS,
            Parts::Cluster => KAFKA_CALLERS,
        };
    let lanes = Arc::new(batches(partitions, callers, total));
    let mut processes = vec![Watched::this("log and callers")];
    processes.extend(bench.settings.servers(parts));
    let (count, took, usage) = watched(&processes, append_all(&log, &topic, &lanes)).await?;
    bench.opener.close(log).await;
    place.remove(&bench.settings).await?;
    let head = Head {
        of: "Spine's log",
        durability: bench.durable.log(parts),
        parameters: parameters([
            ("batch", json!(BATCH)),
            ("callers", json!(callers)),
            ("partitions", json!(partitions)),
        ]),
    };
    Ok(head.rate(count, took, "events/s", usage))
}

/// One caller, one event at a time.
async fn one_by_one<O: Opener>(bench: &Bench<O>, parts: Parts) -> Result<Measure> {
    let place = Place::make(&bench.settings, parts).await?;
    let (log, topic) = bench.opener.log(&place.log).await?;
    let mut processes = vec![Watched::this("log and caller")];
    processes.extend(bench.settings.servers(parts));
    let appending = append_for(&log, topic, bench.settings.measured());
    let (took, elapsed, usage) = watched(&processes, appending).await?;
    bench.opener.close(log).await;
    place.remove(&bench.settings).await?;
    let head = Head {
        of: "Spine's log",
        durability: bench.durable.log(parts),
        parameters: parameters([("batch", json!(1)), ("callers", json!(1))]),
    };
    let measure = head.rate(took.len() as u64, elapsed, "events/s", usage);
    Ok(Measure { times: spread(&took, "an append"), ..measure })
}

async fn append_for<L: EventLog>(
    log: &L,
    topic: Arc<str>,
    measured: Duration,
) -> Result<Vec<Duration>> {
    let to = TopicPartition::new(topic, 0);
    let (begun, mut took) = (Instant::now(), Vec::new());
    for number in 0.. {
        if begun.elapsed() >= measured {
            break;
        }
        let before = Instant::now();
        let event = events::event("one", number / events::RUN_EVENTS, number % events::RUN_EVENTS);
        log.append(&to, vec![record(&event)], Urgency::Normal).await?;
        took.push(before.elapsed());
    }
    Ok(took)
}

async fn many_to_kafka<O: Opener>(bench: &Bench<O>) -> Result<Row> {
    let (ours, raw) = bench
        .in_turns(
            async || through_log(bench, Parts::Cluster, total(bench)).await,
            async || raw_producer(bench, total(bench)).await,
        )
        .await?;
    Ok(Row::of("append.kafka", Parts::Cluster, ours, raw))
}

async fn one_to_kafka<O: Opener>(bench: &Bench<O>) -> Result<Row> {
    let (ours, raw) = bench
        .in_turns(
            async || one_by_one(bench, Parts::Cluster).await,
            async || raw_one_by_one(bench).await,
        )
        .await?;
    Ok(Row::of("append.kafka.one", Parts::Cluster, ours, raw))
}

/// The records of all batches, a batch of each lane in turn.
fn outgoing(lanes: &[Vec<Batch>]) -> Vec<kafka::Outgoing> {
    let longest = lanes.iter().map(Vec::len).max().unwrap_or(0);
    let batches = (0..longest).flat_map(|at| lanes.iter().filter_map(move |lane| lane.get(at)));
    let mut all = Vec::new();
    for (partition, events) in batches {
        for event in events {
            let record = record(event);
            let (key, value) = (record.key.unwrap_or_default(), record.value.unwrap_or_default());
            all.push(kafka::Outgoing { partition: *partition as i32, key, value });
        }
    }
    all
}

async fn raw_producer<O: Opener>(bench: &Bench<O>, total: usize) -> Result<Measure> {
    let place = Place::make(&bench.settings, Parts::Cluster).await?;
    let raw = kafka::Raw::new(&place.log, &place.steps_topic(), LINGER_MS)?;
    let records = outgoing(&batches(place.partitions(), place.partitions() as usize, total));
    let count = records.len() as u64;
    let mut processes = vec![Watched::this("producer")];
    processes.extend(bench.settings.servers(Parts::Cluster));
    let sending = async { off_thread(move || raw.send_all(&records)).await };
    let (took, _, usage) = watched(&processes, sending).await?;
    let partitions = place.partitions();
    place.remove(&bench.settings).await?;
    let head = Head {
        of: "raw producer, values encoded before",
        durability: bench.durable.log(Parts::Cluster),
        parameters: parameters([
            ("linger_ms", json!(LINGER_MS)),
            ("partitions", json!(partitions)),
        ]),
    };
    Ok(head.rate(count, took, "events/s", usage))
}

async fn raw_one_by_one<O: Opener>(bench: &Bench<O>) -> Result<Measure> {
    let values = events::encoded(events::RUN_EVENTS);
    let (took, usage) = one_in_flight(bench, values).await?;
    let head = Head {
        of: "raw producer, one in flight",
        durability: bench.durable.log(Parts::Cluster),
        parameters: parameters([("linger_ms", json!("0"))]),
    };
    let measure = head.rate(took.len() as u64, took.iter().sum(), "events/s", usage);
    Ok(Measure { times: spread(&took, "an append"), ..measure })
}

/// Sends values in turn through the raw producer, one in flight. Gives how long each took.
pub(super) async fn one_in_flight<O: Opener>(
    bench: &Bench<O>,
    values: Vec<Bytes>,
) -> Result<(Vec<Duration>, Option<Usage>)> {
    let outgoing = |value| kafka::Outgoing { partition: 0, key: "default/run".into(), value };
    let records: Vec<_> = values.into_iter().map(outgoing).collect();
    let place = Place::make(&bench.settings, Parts::Cluster).await?;
    let raw = kafka::Raw::new(&place.log, &place.steps_topic(), "0")?;
    let mut processes = vec![Watched::this("producer")];
    processes.extend(bench.settings.servers(Parts::Cluster));
    let measured = bench.settings.measured();
    let sending = off_thread(move || raw.send_for(&records, measured));
    let (took, _, usage) = watched(&processes, sending).await?;
    place.remove(&bench.settings).await?;
    Ok((took, usage))
}

async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::Peer(error.to_string()))?
}
