//! Readers: gaps that transactions leave, topics that go away, slow readers, many readers.

use crate::support::{
    broker, delete_topic, foreign_producer, fresh_log, make_topic, number, numbered, read_to, run,
    soon,
};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use spine_log::{Error, EventLog, NewRecord, PartitionReader, ReadLimit, TopicPartition, Urgency};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

const WAIT: Duration = Duration::from_secs(20);

fn transact(producer: &BaseProducer, topic: &str, values: std::ops::Range<u64>, commit: bool) {
    producer.begin_transaction().unwrap();
    for value in values {
        let value = value.to_be_bytes();
        let record = BaseRecord::<(), [u8]>::to(topic).partition(0).payload(&value[..]);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(WAIT).unwrap();
    if commit {
        producer.commit_transaction(WAIT).unwrap();
    } else {
        producer.abort_transaction(WAIT).unwrap();
    }
}

/// The marks of a transaction are written after its producer was answered.
async fn end_at(log: &impl EventLog, of: &TopicPartition, end: u64) {
    let arrived = async {
        while log.bounds(of).await.unwrap().end < end {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    soon(arrived).await;
    assert_eq!(log.bounds(of).await.unwrap().end, end);
}

#[test]
fn a_reader_reaches_an_end_behind_marks_of_transactions() {
    let Some(broker) = broker() else { return };
    run(async {
        let (options, log) = fresh_log(&broker, 1).await.unwrap();
        let of = TopicPartition::new(Arc::clone(&log.topics().steps), 0);
        let id = of.topic.to_string();
        let producer = foreign_producer(&options, &[("transactional.id", &id)]);
        producer.init_transactions(WAIT).unwrap();
        let mut waiting = log.reader(&of, 0).await.unwrap();
        // Two records and a mark; one record, aborted, and a mark; one record and a mark.
        transact(&producer, &of.topic, 0..2, true);
        end_at(&log, &of, 3).await;
        let begun = Instant::now();
        let values =
            |records: &[spine_log::Record]| records.iter().filter_map(number).collect::<Vec<_>>();
        assert_eq!(values(&read_to(&mut waiting, 3).await), [0, 1]);
        println!("a mark at the end was passed after {:?}", begun.elapsed());
        let least = spine_log::limits::KAFKA_GAP_AGAIN;
        assert!(begun.elapsed() >= least, "a gap is believed with a second look only");
        transact(&producer, &of.topic, 2..3, false);
        end_at(&log, &of, 5).await;
        assert_eq!(values(&read_to(&mut waiting, 5).await), [0; 0]);
        transact(&producer, &of.topic, 3..4, true);
        end_at(&log, &of, 7).await;
        assert_eq!(values(&read_to(&mut waiting, 7).await), [3]);
        assert_eq!(waiting.position(), 7);
        // A reader that begins on a mark, and one that begins at the end.
        let mut on_a_mark = log.reader(&of, 6).await.unwrap();
        assert_eq!(values(&read_to(&mut on_a_mark, 7).await), [0; 0]);
        let mut whole = log.reader(&of, 0).await.unwrap();
        assert_eq!(values(&read_to(&mut whole, 7).await), [0, 1, 3]);
        let at = log.append(&of, vec![numbered(9)], Urgency::Normal).await.unwrap();
        assert_eq!(at.first_offset, 7);
        for reader in [&mut waiting, &mut on_a_mark, &mut whole] {
            assert_eq!(values(&read_to(reader, 8).await), [9]);
        }
    });
}

#[test]
fn an_open_transaction_holds_the_end_and_its_readers_back() {
    let Some(broker) = broker() else { return };
    run(async {
        let (options, log) = fresh_log(&broker, 1).await.unwrap();
        let of = TopicPartition::new(Arc::clone(&log.topics().steps), 0);
        let id = of.topic.to_string();
        let producer = foreign_producer(&options, &[("transactional.id", &id)]);
        producer.init_transactions(WAIT).unwrap();
        producer.begin_transaction().unwrap();
        let record = BaseRecord::<(), [u8]>::to(&of.topic).partition(0).payload(&b"x"[..]);
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.flush(WAIT).unwrap();
        let at = log.append(&of, vec![numbered(1)], Urgency::Normal).await.unwrap();
        assert_eq!(at.first_offset, 1);
        assert_eq!(log.bounds(&of).await.unwrap().end, 0, "not beyond the open transaction");
        producer.abort_transaction(WAIT).unwrap();
        end_at(&log, &of, 3).await;
        let mut reader = log.reader(&of, 0).await.unwrap();
        let records = read_to(&mut reader, 3).await;
        assert_eq!(records.iter().filter_map(number).collect::<Vec<_>>(), [1]);
    });
}

#[test]
fn a_slow_reader_gets_each_record_once_and_holds_no_other_back() {
    let Some(broker) = broker() else { return };
    run(async {
        let (_, log) = fresh_log(&broker, 2).await.unwrap();
        let topic = Arc::clone(&log.topics().steps);
        let large = |number: u64| {
            let value = [&number.to_be_bytes()[..], &vec![7; 100_000]].concat();
            NewRecord::plain(None, value)
        };
        let slow = TopicPartition::new(Arc::clone(&topic), 0);
        for start in (0..400).step_by(20) {
            let batch = (start..start + 20).map(large).collect();
            log.append(&slow, batch, Urgency::Normal).await.unwrap();
        }
        let quick = TopicPartition::new(topic, 1);
        let mut slow = log.reader(&slow, 0).await.unwrap();
        let mut tail = log.reader(&quick, 0).await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        for value in 0..20 {
            log.append(&quick, vec![numbered(value)], Urgency::Normal).await.unwrap();
            let records = read_to(&mut tail, value + 1).await;
            assert_eq!(number(&records[0]), Some(value), "while the other is full");
        }
        let mut seen = Vec::new();
        while slow.position() < 400 {
            let limit = ReadLimit { records: 7, bytes: usize::MAX };
            let records = soon(slow.next(limit)).await.unwrap();
            seen.extend(records.iter().map(|record| {
                let value = record.value.as_deref().unwrap();
                u64::from_be_bytes(value[..8].try_into().unwrap())
            }));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(seen, (0..400).collect::<Vec<_>>());
    });
}

#[test]
fn readers_of_one_partition_do_not_disturb_each_other() {
    let Some(broker) = broker() else { return };
    run(async {
        let (_, log) = fresh_log(&broker, 1).await.unwrap();
        let of = TopicPartition::new(Arc::clone(&log.topics().steps), 0);
        for value in 0..50 {
            log.append(&of, vec![numbered(value)], Urgency::Normal).await.unwrap();
        }
        let mut readers = Vec::new();
        for from in [0, 10, 20, 50] {
            readers.push((from, log.reader(&of, from).await.unwrap()));
        }
        log.append(&of, vec![numbered(50)], Urgency::Normal).await.unwrap();
        for (from, reader) in &mut readers {
            let records = read_to(reader, 51).await;
            let numbers: Vec<_> = records.iter().filter_map(number).collect();
            assert_eq!(numbers, (*from..51).collect::<Vec<_>>());
        }
        // Many readers one after the other, as looking up single records makes them.
        let begun = Instant::now();
        for from in 0..50 {
            let mut reader = log.reader(&of, from).await.unwrap();
            let records = soon(reader.next(ReadLimit { records: 1, bytes: 1 })).await.unwrap();
            assert_eq!(number(&records[0]), Some(from));
        }
        println!("a reader for one record took {:?}", begun.elapsed() / 50);
    });
}

#[test]
fn a_reader_of_a_deleted_topic_ends() {
    let Some(broker) = broker() else { return };
    run(async {
        let (options, log) = fresh_log(&broker, 1).await.unwrap();
        let of = TopicPartition::new(Arc::clone(&log.topics().steps), 0);
        let stays = TopicPartition::new(Arc::clone(&log.topics().letters), 0);
        log.append(&of, vec![numbered(0)], Urgency::Normal).await.unwrap();
        let mut reader = log.reader(&of, 0).await.unwrap();
        let mut other = log.reader(&stays, 0).await.unwrap();
        read_to(&mut reader, 1).await;
        delete_topic(&options, &of.topic).await;
        let begun = Instant::now();
        let ended = soon(reader.next(ReadLimit { records: 1, bytes: 1 })).await;
        assert!(
            matches!(&ended, Err(Error::Missing(what)) if what.contains(&*of.topic)),
            "{ended:?}"
        );
        println!("the deleted topic was noticed after {:?}", begun.elapsed());
        log.append(&stays, vec![numbered(1)], Urgency::Normal).await.unwrap();
        assert_eq!(read_to(&mut other, 1).await.len(), 1, "the other reader goes on");
    });
}

#[test]
fn a_reader_of_a_recreated_topic_ends() {
    let Some(broker) = broker() else { return };
    run(async {
        let (options, log) = fresh_log(&broker, 1).await.unwrap();
        let of = TopicPartition::new(Arc::clone(&log.topics().steps), 0);
        for value in 0..5 {
            log.append(&of, vec![numbered(value)], Urgency::Normal).await.unwrap();
        }
        let mut reader = log.reader(&of, 0).await.unwrap();
        read_to(&mut reader, 5).await;
        delete_topic(&options, &of.topic).await;
        make_topic(&options, &of.topic, 1, &[]).await;
        let ended = soon(reader.next(ReadLimit { records: 1, bytes: 1 })).await;
        assert!(matches!(ended, Err(Error::Missing(_))), "never from the beginning: {ended:?}");
    });
}
