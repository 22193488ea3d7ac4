//! Appends of several handles, of others, and to topics that go away.

use crate::support::{
    broker, delete_topic, foreign_producer, fresh_log, number, numbered, read_to, run, soon,
};
use rdkafka::{
    message::{Header, OwnedHeaders},
    producer::{BaseRecord, Producer},
};
use spine_log::{Error, EventLog, NewRecord, TopicPartition, Urgency, kafka::KafkaLog};
use spine_schemas::keys::partition_of;
use std::{sync::Arc, time::Duration};
use tokio::task::JoinSet;

const TURNS: u64 = 10;

#[test]
fn batches_of_two_processes_keep_their_order_and_their_offsets() {
    let Some(broker) = broker() else { return };
    run(async {
        let (options, one) = fresh_log(&broker, 1).await.unwrap();
        let other = KafkaLog::open(&options).await.unwrap();
        let to = TopicPartition::new(Arc::clone(&one.topics().steps), 0);
        let mut callers = JoinSet::new();
        for caller in 0..20 {
            let (log, to) = (if caller % 2 == 0 { &one } else { &other }.clone(), to.clone());
            callers.spawn(async move {
                let mut appended = Vec::new();
                // So many records take more than one request, and others may come between.
                let large = if caller >= 16 { 12_000 } else { 0 };
                for turn in 0..TURNS {
                    let start = caller * 1_000_000 + turn * 50_000;
                    let batch = (start..=start + large + caller % 7).map(numbered).collect();
                    appended.push((start, log.append(&to, batch, Urgency::Normal).await.unwrap()));
                }
                appended
            });
        }
        let appended = callers.join_all().await;
        let end = one.bounds(&to).await.unwrap().end;
        let mut reader = one.reader(&to, 0).await.unwrap();
        let records = read_to(&mut reader, end).await;
        let sent: usize = appended.iter().flatten().map(|(_, at)| at.offsets().count()).sum();
        assert_eq!(records.len(), sent);
        let mut scattered = 0;
        for (start, at) in appended.iter().flatten() {
            for (place, offset) in at.offsets().enumerate() {
                let found = number(&records[offset as usize]);
                assert_eq!(found, Some(start + place as u64), "at {offset}");
            }
            assert_eq!(records[at.last_offset as usize].timestamp, at.timestamp);
            scattered += u32::from(at.spans().len() > 1);
        }
        println!("{scattered} of {} batches were scattered", appended.iter().flatten().count());
    });
}

#[test]
fn keys_lie_where_kafkas_own_partitioner_puts_them() {
    let Some(broker) = broker() else { return };
    run(async {
        let (options, log) = fresh_log(&broker, 7).await.unwrap();
        let topic = &*log.topics().steps;
        let producer = foreign_producer(&options, &[("partitioner", "murmur2_random")]);
        for number in 0..500_u64 {
            let key =
                format!("tenant-{}/run-{}", number % 3, number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            producer.send(BaseRecord::to(topic).key(&key).payload("x")).unwrap();
        }
        producer.flush(Duration::from_secs(10)).unwrap();
        let mut seen = 0;
        for partition in 0..7 {
            let of = TopicPartition::new(topic, partition);
            let end = log.bounds(&of).await.unwrap().end;
            let mut reader = log.reader(&of, 0).await.unwrap();
            for record in read_to(&mut reader, end).await {
                assert_eq!(partition_of(&record.key.unwrap(), 7), partition);
                seen += 1;
            }
        }
        assert_eq!(seen, 500);
    });
}

#[test]
fn records_of_others_come_as_they_are() {
    let Some(broker) = broker() else { return };
    run(async {
        let (options, log) = fresh_log(&broker, 1).await.unwrap();
        let topic = &*log.topics().steps;
        let producer = foreign_producer(&options, &[]);
        let headers = ["a", "b", "a"].iter().fold(OwnedHeaders::new(), |headers, key| {
            headers.insert(Header { key, value: Some("v") })
        });
        let headers = headers.insert(Header { key: "null", value: None::<&str> });
        let to = || BaseRecord::<(), [u8]>::to(topic).partition(0);
        producer.send(to().headers(headers)).map_err(|(error, _)| error).unwrap();
        producer.send(to().payload(&b"x"[..])).map_err(|(error, _)| error).unwrap();
        producer.flush(Duration::from_secs(10)).unwrap();
        let mut reader = log.reader(&TopicPartition::new(topic, 0), 0).await.unwrap();
        let records = read_to(&mut reader, 2).await;
        assert_eq!((&records[0].key, &records[0].value), (&None, &None));
        let names: Vec<_> = records[0].headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a", "b", "a", "null"]);
        assert_eq!(records[1].value.as_deref(), Some(&b"x"[..]));
    });
}

#[test]
fn appending_to_a_deleted_topic_fails_and_others_go_on() {
    let Some(broker) = broker() else { return };
    run(async {
        let (options, log) = fresh_log(&broker, 1).await.unwrap();
        let gone = TopicPartition::new(Arc::clone(&log.topics().steps), 0);
        let stays = TopicPartition::new(Arc::clone(&log.topics().letters), 0);
        for to in [&gone, &stays] {
            log.append(to, vec![numbered(0)], Urgency::Normal).await.unwrap();
        }
        delete_topic(&options, &gone.topic).await;
        let failing = log.append(&gone, vec![numbered(1)], Urgency::Normal);
        let (failed, went_on) = tokio::join!(soon(failing), async {
            log.append(&stays, vec![numbered(1)], Urgency::Normal).await
        });
        assert!(matches!(failed, Err(Error::Missing(_) | Error::Unavailable(_))), "{failed:?}");
        println!("the append to the deleted topic: {failed:?}");
        assert_eq!(went_on.unwrap().first_offset, 1);
    });
}

#[test]
fn a_header_name_that_kafka_would_cut_is_refused() {
    let Some(broker) = broker() else { return };
    run(async {
        let (_, log) = fresh_log(&broker, 1).await.unwrap();
        let to = TopicPartition::new(Arc::clone(&log.topics().steps), 0);
        let headers = vec![("a\0b".to_owned(), "v".into())];
        let record = NewRecord { key: None, headers, value: None };
        let refusal = log.append(&to, vec![record], Urgency::Normal).await;
        assert!(matches!(refusal, Err(Error::Refused(_))), "{refusal:?}");
        assert_eq!(log.bounds(&to).await.unwrap().end, 0);
    });
}

/// A closed log has drained its appends and says so to later ones.
#[test]
fn closing_finishes_what_is_in_flight() {
    let Some(broker) = broker() else { return };
    run(async {
        let (_, log) = fresh_log(&broker, 1).await.unwrap();
        let to = TopicPartition::new(Arc::clone(&log.topics().steps), 0);
        let mut appends = JoinSet::new();
        for value in 0..200 {
            let (log, to) = (log.clone(), to.clone());
            appends.spawn(
                async move { log.append(&to, vec![numbered(value)], Urgency::Normal).await },
            );
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        log.close().await;
        let acknowledged = soon(appends.join_all()).await.iter().flatten().count();
        assert_eq!(log.bounds(&to).await.unwrap().end, acknowledged as u64);
        let late = log.append(&to, vec![numbered(0)], Urgency::Normal).await;
        assert!(matches!(late, Err(Error::Unavailable(_))), "{late:?}");
        assert!(log.reader(&to, 0).await.is_err(), "readers are closed too");
    });
}
