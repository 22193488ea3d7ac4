//! What opening refuses, by name and with its remedy.

use crate::support::{admin, broker, fresh_log, fresh_options, make_topic, run, wanted};
use rdkafka::admin::{AdminOptions, NewPartitions};
use spine_log::{
    Error, EventLog, NewRecord, TopicPartition, Urgency,
    kafka::{Access, KafkaLog, Options, create},
};
use std::sync::Arc;

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
