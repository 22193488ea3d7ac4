//! Creating a log: once, again, half, twice at once, and over what others left.

use crate::support::{
    broker, delete_topic, entry, foreign_producer, fresh_log, fresh_options, make_topic, numbered,
    read_to, run, wanted,
};
use rdkafka::producer::{BaseRecord, Producer};
use spine_log::{
    Error, EventLog, TopicPartition, Urgency,
    kafka::{CreateTopics, KafkaLog, create},
};
use std::{sync::Arc, time::Duration};

#[test]
fn creating_again_changes_nothing() {
    let Some(broker) = broker() else { return };
    run(async {
        let options = fresh_options(&broker);
        let first = create(&options, &wanted(3)).await.unwrap();
        assert!(first.is_new);
        assert_eq!(first.made.len(), 6);
        let second = create(&options, &wanted(3)).await.unwrap();
        assert!(!second.is_new && second.made.is_empty());
        assert_eq!(second.identity, first.identity);
        let log = KafkaLog::open(&options).await.unwrap();
        assert_eq!(*log.identity(), first.identity);
        assert_eq!(log.log_id(), first.identity.log_id);
        assert!(log.warnings()[0].contains("replication is 1"), "{:?}", log.warnings());
        log.check_beginnings().await.unwrap();
        let other = create(&options, &wanted(4)).await.unwrap_err().to_string();
        assert!(other.contains("with 3 partitions"), "{other}");
        log.close().await;
    });
}

#[test]
fn a_half_done_creation_is_finished() {
    let Some(broker) = broker() else { return };
    run(async {
        let options = fresh_options(&broker);
        let absent = KafkaLog::open(&options).await.unwrap_err().to_string();
        assert!(absent.contains("spine topics create"), "{absent}");
        let topics = options.topics();
        let unlimited = [("retention.ms", "-1"), ("message.timestamp.type", "LogAppendTime")];
        make_topic(
            &options,
            &topics.steps,
            2,
            &[&unlimited[..], &[("max.message.bytes", "4000000")]].concat(),
        )
        .await;
        make_topic(&options, &topics.control, 1, &[("cleanup.policy", "compact")]).await;
        let done = create(&options, &wanted(2)).await.unwrap();
        assert!(done.is_new);
        assert_eq!(done.made.len(), 4, "{:?}", done.made);
        assert_eq!(*KafkaLog::open(&options).await.unwrap().identity(), done.identity);
    });
}

#[test]
fn two_that_create_at_once_agree() {
    let Some(broker) = broker() else { return };
    run(async {
        let options = fresh_options(&broker);
        let (one, other) = (wanted(1), wanted(1));
        let (one, other) = tokio::join!(create(&options, &one), create(&options, &other));
        let (one, other) = (one.unwrap(), other.unwrap());
        assert_eq!(one.identity, other.identity);
        assert_eq!(one.made.len() + other.made.len(), 6, "each topic was made once");
        assert!(!(one.is_new && other.is_new), "one of them won");
        assert_eq!(*KafkaLog::open(&options).await.unwrap().identity(), one.identity);
    });
}

/// Compaction keeps the newest record of a key. If a creator that lost the race is killed at the worst
/// moment, that record must not be its own.
#[test]
fn nothing_but_the_winner_ever_lies_under_the_identitys_key() {
    let Some(broker) = broker() else { return };
    run(async {
        let options = fresh_options(&broker);
        let wanted = [wanted(1), wanted(1), wanted(1)];
        let [a, b, c] = &wanted;
        let made = tokio::join!(create(&options, a), create(&options, b), create(&options, c));
        let winner = made.0.unwrap().identity;
        assert_eq!((&made.1.unwrap().identity, &made.2.unwrap().identity), (&winner, &winner));
        let log = KafkaLog::open(&options).await.unwrap();
        let of = TopicPartition::new(Arc::clone(&log.topics().control), 0);
        let end = log.bounds(&of).await.unwrap().end;
        let records = read_to(&mut log.reader(&of, 0).await.unwrap(), end).await;
        let under_key = records
            .iter()
            .filter(|record| record.key.as_deref() == Some(&b"default/installation/log"[..]));
        let ids: Vec<String> = under_key
            .map(|record| String::from_utf8(record.value.clone().unwrap().to_vec()).unwrap())
            .collect();
        assert!(!ids.is_empty());
        assert!(ids.iter().all(|json| json.contains(&winner.log_id)), "{winner:?}: {ids:?}");
    });
}

/// A creator that was killed after it had become a candidate has won, if it was the first.
#[test]
fn a_creation_that_was_cut_short_is_finished_by_the_next() {
    let Some(broker) = broker() else { return };
    run(async {
        let options = fresh_options(&broker);
        let control = options.topics().control;
        make_topic(&options, &control, 1, &[("cleanup.policy", "compact")]).await;
        let producer = foreign_producer(&options, &[]);
        for (id, partitions) in [("other", 9), ("dead", 1)] {
            let value = format!(
                r#"{{"log_id":"{id}","installation_id":"i-{id}","partitions":{partitions}}}"#
            );
            let key = format!("default/installation/candidate/{id}");
            producer.send(BaseRecord::to(&control).key(&key).payload(&value)).unwrap();
        }
        producer.flush(Duration::from_secs(10)).unwrap();
        let done = create(&options, &wanted(1)).await.unwrap();
        assert_eq!((&*done.identity.log_id, done.is_new), ("dead", false));
        assert_eq!(*KafkaLog::open(&options).await.unwrap().identity(), done.identity);
    });
}

#[test]
fn a_lost_identity_is_not_made_anew_over_records() {
    let Some(broker) = broker() else { return };
    run(async {
        let (options, log) = fresh_log(&broker, 1).await.unwrap();
        let steps = TopicPartition::new(Arc::clone(&log.topics().steps), 0);
        log.append(&steps, vec![numbered(1)], Urgency::Normal).await.unwrap();
        delete_topic(&options, &log.topics().control).await;
        let refusal = create(&options, &wanted(1)).await.unwrap_err();
        assert!(matches!(&refusal, Error::Refused(why) if why.contains("identity")), "{refusal}");
    });
}

#[test]
fn the_schema_book_takes_each_fingerprint_once() {
    let Some(broker) = broker() else { return };
    run(async {
        let (options, log) = fresh_log(&broker, 1).await.unwrap();
        let string = entry("00000000000000aa", r#"{"type":"string"}"#);
        assert_eq!(log.schemas().await.unwrap(), std::slice::from_ref(&string));
        let long = entry("00000000000000bb", r#"{"type":"long"}"#);
        log.publish_schema(&long).await.unwrap();
        log.publish_schema(&long).await.unwrap();
        assert_eq!(log.schemas().await.unwrap(), [string, long]);
        let clash = entry("00000000000000bb", r#"{"type":"int"}"#);
        assert!(matches!(log.publish_schema(&clash).await, Err(Error::Refused(_))));
        let again = CreateTopics { schemas: vec![clash], ..wanted(1) };
        assert!(matches!(create(&options, &again).await, Err(Error::Refused(_))));
    });
}
