//! Creating a log: once, again, half, twice at once, and over what others left.

use crate::support::{
    broker, delete_topic, entry, fresh_log, fresh_options, make_topic, numbered, run, wanted,
};
use spine_log::{
    Error, EventLog, TopicPartition, Urgency,
    kafka::{CreateTopics, KafkaLog, create},
};
use std::sync::Arc;

#[test]
fn creating_again_changes_nothing() {
    let Some(broker) = broker() else { return };
    run(async {
        let options = fresh_options(&broker);
        let first = create(&options, &wanted(3)).await.unwrap();
        assert!(first.is_new);
        assert_eq!(first.made.len(), 5);
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
        assert_eq!(done.made.len(), 3, "{:?}", done.made);
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
        assert_eq!(one.made.len() + other.made.len(), 5, "each topic was made once");
        assert!(!(one.is_new && other.is_new), "one of them won");
        assert_eq!(*KafkaLog::open(&options).await.unwrap().identity(), one.identity);
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
