//! What appending and reading cost, beside a bare producer. Figures, not promises: run with
//! `--ignored --nocapture`.

use crate::support::{broker, fresh_log, numbered, run};
use rdkafka::{
    ClientConfig, ClientContext,
    message::DeliveryResult,
    producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer},
};
use spine_log::{
    EventLog, NewRecord, PartitionReader, ReadLimit, TopicPartition, Urgency,
    kafka::{KafkaLog, Options},
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{task::JoinSet, time::Instant};

const ALL: ReadLimit = ReadLimit { records: 100_000, bytes: usize::MAX };
const RECORDS: u64 = 500_000;
const PARTITIONS: u32 = 12;

fn record() -> NewRecord {
    NewRecord::plain(Some("tenant/run".into()), vec![b'x'; 600])
}

#[test]
#[ignore = "measures; nothing is asserted"]
fn latency_of_one_record() {
    let Some(broker) = broker() else { return };
    run(async {
        for linger_ms in ["0", "1", "5"] {
            println!("linger.ms={linger_ms}");
            measure_latency(&broker, linger_ms).await;
        }
    });
}

async fn measure_latency(broker: &str, linger_ms: &str) {
    let (mut options, _) = fresh_log(broker, 1).await.unwrap();
    options.settings.insert("linger.ms".into(), linger_ms.into());
    let log = KafkaLog::open(&options).await.unwrap();
    let of = TopicPartition::new(Arc::clone(&log.topics().steps), 0);
    let mut reader = log.reader(&of, 0).await.unwrap();
    let (mut appends, mut reads) = (Vec::new(), Vec::new());
    for value in 0..1000 {
        let begun = Instant::now();
        let append = async {
            log.append(&of, vec![numbered(value)], Urgency::Normal).await.unwrap();
            Instant::now()
        };
        let read = async {
            reader.next(ALL).await.unwrap();
            Instant::now()
        };
        let (appended, read) = tokio::join!(append, read);
        appends.push(appended - begun);
        reads.push(read.saturating_duration_since(appended));
    }
    for (what, mut times) in [("append", appends), ("from its end to next()", reads)] {
        times.sort();
        println!("{what}: p50 {:?}, p99 {:?}, most {:?}", times[500], times[990], times[999]);
    }
}

#[test]
#[ignore = "measures; nothing is asserted"]
fn cost_of_idle_readers() {
    let Some(broker) = broker() else { return };
    run(async {
        let (_, log) = fresh_log(&broker, 48).await.unwrap();
        let mut readers = Vec::new();
        for partition in 0..48 {
            let of = TopicPartition::new(Arc::clone(&log.topics().steps), partition);
            readers.push(log.reader(&of, 0).await.unwrap());
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        let before = cpu_ticks();
        tokio::time::sleep(Duration::from_secs(10)).await;
        println!("48 idle readers: {} ms of processor in 10 s", 10 * (cpu_ticks() - before));
    });
}

/// Processor time of this process, in hundredths of a second.
fn cpu_ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after_name = stat.rsplit(')').next().unwrap();
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
#[ignore = "measures; nothing is asserted"]
fn throughput_beside_a_bare_producer() {
    let Some(broker) = broker() else { return };
    run(async {
        let (options, first) = fresh_log(&broker, PARTITIONS).await.unwrap();
        let topic = Arc::clone(&first.topics().steps);
        let bare = bare_producer(&options.brokers, &topic);
        for linger_ms in ["0", "1", "5"] {
            let settings = BTreeMap::from([("linger.ms".to_owned(), linger_ms.to_owned())]);
            let log = KafkaLog::open(&Options { settings, ..options.clone() }).await.unwrap();
            for (callers, batch) in [(1000, 1), (48, 100)] {
                let took = append_all(&log, &topic, callers, batch).await;
                let rate = RECORDS as f64 / took.as_secs_f64();
                let ratio = rate / bare;
                println!(
                    "linger {linger_ms}, {callers} callers, of {batch}: {rate:.0}/s, {ratio:.2} of {bare:.0}"
                );
            }
        }
        let log = first;
        let begun = Instant::now();
        let mut readers = JoinSet::new();
        for partition in 0..PARTITIONS {
            let (log, of) = (log.clone(), TopicPartition::new(Arc::clone(&topic), partition));
            readers.spawn(async move {
                let end = log.bounds(&of).await.unwrap().end;
                let mut reader = log.reader(&of, 0).await.unwrap();
                while reader.position() < end {
                    reader.next(ALL).await.unwrap();
                }
                end
            });
        }
        let read: u64 = readers.join_all().await.iter().sum();
        println!("read {read} records: {:.0}/s", read as f64 / begun.elapsed().as_secs_f64());
    });
}

async fn append_all(log: &impl EventLog, topic: &Arc<str>, callers: u64, batch: u64) -> Duration {
    let begun = Instant::now();
    let mut tasks = JoinSet::new();
    for caller in 0..callers {
        let to = TopicPartition::new(Arc::clone(topic), caller as u32 % PARTITIONS);
        let log = log.clone();
        tasks.spawn(async move {
            for _ in 0..RECORDS / callers / batch {
                let records = vec![record(); batch as usize];
                log.append(&to, records, Urgency::Outcome).await.unwrap();
            }
        });
    }
    tasks.join_all().await;
    begun.elapsed()
}

struct Count(Arc<AtomicU64>);

impl ClientContext for Count {}

impl ProducerContext for Count {
    type DeliveryOpaque = ();

    fn delivery(&self, report: &DeliveryResult<'_>, (): ()) {
        self.0.fetch_add(u64::from(report.is_ok()), Ordering::Relaxed);
    }
}

/// Records per second of a loop around the client alone, with the same settings.
fn bare_producer(brokers: &str, topic: &str) -> f64 {
    let count = Arc::new(AtomicU64::new(0));
    let producer: ThreadedProducer<Count> = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "true")
        .set("compression.type", "lz4")
        .set("linger.ms", "1")
        .set("queue.buffering.max.messages", "2000000")
        .create_with_context(Count(Arc::clone(&count)))
        .unwrap();
    let record = record();
    let (key, value) = (record.key.unwrap(), record.value.unwrap());
    let begun = Instant::now();
    for number in 0..RECORDS {
        let to = BaseRecord::to(topic)
            .partition((number % u64::from(PARTITIONS)) as i32)
            .key(&key[..])
            .payload(&value[..]);
        producer.send(to).map_err(|(error, _)| error).unwrap();
    }
    while count.load(Ordering::Relaxed) < RECORDS {
        std::thread::sleep(Duration::from_millis(1));
    }
    let rate = RECORDS as f64 / begun.elapsed().as_secs_f64();
    producer.flush(Duration::from_secs(10)).unwrap();
    rate
}
