//! What opening refuses, by name and with its remedy.

use crate::support::{
    admin, alter_topic, broker, fresh_log, fresh_options, make_topic, run, soon, wanted,
};
use rdkafka::admin::{AdminOptions, NewPartitions};
use spine_log::{
    Error, EventLog, NewRecord, TopicPartition, Urgency,
    kafka::{Access, KafkaLog, Options, create},
};
use std::{sync::Arc, time::Duration};

const SOUND: [(&str, &str); 5] = [
    ("cleanup.policy", "delete"),
    ("retention.ms", "-1"),
    ("retention.bytes", "-1"),
    ("message.timestamp.type", "LogAppendTime"),
    ("max.message.bytes", "4000000"),
];

#[test]
fn settings_that_break_a_promise_are_refused_by_name() {
    let Some(broker) = broker() else { return };
    run(async {
        for (setting, bad) in [
            ("cleanup.policy", "compact"),
            ("retention.ms", "604800000"),
            ("retention.bytes", "1000000000"),
            ("message.timestamp.type", "CreateTime"),
            ("max.message.bytes", "1000000"),
        ] {
            let options = fresh_options(&broker);
            let settings =
                SOUND.map(|(name, sound)| (name, if name == setting { bad } else { sound }));
            let steps = options.topics().steps;
            make_topic(&options, &steps, 1, &settings).await;
            create(&options, &wanted(1)).await.unwrap();
            let refusal = KafkaLog::open(&options).await.unwrap_err();
            let Error::Refused(why) = &refusal else { panic!("{refusal:?}") };
            let named = format!("topic {steps} has {setting}={bad}");
            assert!(why.contains(&named) && why.contains("kafka-configs.sh"), "{why}");
        }
    });
}

/// An admin or a broker that makes topics by itself gives them its own defaults. Identity and schemas
/// would be gone after a week, and with the identity every idempotency key.
#[test]
fn topics_that_would_forget_are_refused_by_name() {
    let Some(broker) = broker() else { return };
    run(async {
        let (options, log) = fresh_log(&broker, 1).await.unwrap();
        let topics = log.topics();
        for (topic, setting, bad, good) in [
            (&topics.control, "cleanup.policy", "delete", "compact"),
            (&topics.control, "cleanup.policy", "compact,delete", "compact"),
            (&topics.schemas, "cleanup.policy", "delete", "compact"),
            (&topics.audit, "cleanup.policy", "compact", "delete"),
            (&topics.audit, "retention.ms", "604800000", "-1"),
            (&topics.audit, "retention.bytes", "1000000000", "-1"),
        ] {
            alter_topic(&options, topic, setting, bad).await;
            let refusal = KafkaLog::open(&options).await.unwrap_err();
            let Error::Refused(why) = &refusal else { panic!("{refusal:?}") };
            let remedy = format!("--entity-name {topic} --add-config {setting}={good}");
            assert!(why.contains(&format!("topic {topic} has {setting}={bad}")), "{why}");
            assert!(why.contains("kafka-configs.sh") && why.contains(&remedy), "{why}");
            alter_topic(&options, topic, setting, good).await;
        }
        KafkaLog::open(&options).await.unwrap();
        let grown = [NewPartitions::new(&topics.control, 2)];
        admin(&options).create_partitions(&grown, &AdminOptions::new()).await.unwrap();
        let refusal = soon(async {
            loop {
                match KafkaLog::open(&options).await {
                    Err(error) => break error.to_string(),
                    Ok(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        });
        let refusal = refusal.await;
        assert!(
            refusal.contains(&format!("topic {} has 2 partitions", topics.control)),
            "{refusal}"
        );
    });
}

/// A topic that wants more copies in sync than it has takes no append, and no broker is down.
#[test]
fn a_topic_that_can_take_no_append_is_refused() {
    let Some(broker) = broker() else { return };
    run(async {
        let (options, log) = fresh_log(&broker, 1).await.unwrap();
        let letters = &log.topics().letters;
        alter_topic(&options, letters, "min.insync.replicas", "2").await;
        let refusal = KafkaLog::open(&options).await.unwrap_err();
        let Error::Refused(why) = &refusal else { panic!("{refusal:?}") };
        assert!(why.contains(&format!("topic {letters} has min.insync.replicas=2")), "{why}");
        assert!(why.ends_with("--add-config min.insync.replicas=1"), "{why}");
        let looked_at = Options { access: Access::ReadOnly, ..options };
        let log = KafkaLog::open(&looked_at).await.unwrap();
        let said =
            log.warnings().iter().any(|warning| warning.contains("nothing can be appended to"));
        assert!(said, "{:?}", log.warnings());
    });
}

#[test]
fn added_partitions_are_refused() {
    let Some(broker) = broker() else { return };
    run(async {
        let (options, log) = fresh_log(&broker, 1).await.unwrap();
        for (topic, refused_for) in
            [(&log.topics().steps, "must be equal"), (&log.topics().letters, "was created with 1")]
        {
            let grown = [NewPartitions::new(topic, 2)];
            admin(&options).create_partitions(&grown, &AdminOptions::new()).await.unwrap();
            let refusal = KafkaLog::open(&options).await.unwrap_err().to_string();
            assert!(refusal.contains(refused_for), "{refusal}");
        }
    });
}

#[test]
fn a_log_opened_for_reading_takes_no_appends() {
    let Some(broker) = broker() else { return };
    run(async {
        let (options, _) = fresh_log(&broker, 1).await.unwrap();
        let log = KafkaLog::open(&Options { access: Access::ReadOnly, ..options }).await.unwrap();
        let steps = TopicPartition::new(Arc::clone(&log.topics().steps), 0);
        let record = NewRecord { key: None, headers: Vec::new(), value: None };
        let refusal = log.append(&steps, vec![record], Urgency::Normal).await;
        assert!(matches!(refusal, Err(Error::Refused(_))), "{refusal:?}");
    });
}
