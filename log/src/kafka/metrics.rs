//! What the log on Kafka measures. One function per metric, the unit in its name.

use crate::{Error, TopicPartition};
use metrics::{Label, counter, gauge, histogram};
use std::time::Duration;

fn labels(of: &TopicPartition) -> Vec<Label> {
    vec![
        Label::new("topic", of.topic.to_string()),
        Label::new("partition", of.partition.to_string()),
    ]
}

/// A batch that all replicas in sync have: its records, their bytes, and how long it took.
pub(crate) fn observe_append(of: &TopicPartition, records: usize, bytes: usize, took: Duration) {
    counter!("spine_log_append_records_total", labels(of)).increment(records as u64);
    counter!("spine_log_append_bytes_total", labels(of)).increment(bytes as u64);
    histogram!("spine_log_append_seconds", labels(of)).record(took.as_secs_f64());
}

/// A batch that was refused or not acknowledged, by cause.
pub(crate) fn observe_refused_total(of: &TopicPartition, error: &Error) {
    let cause = match error {
        Error::Busy => "busy",
        Error::Full { .. } => "full",
        Error::Poisoned(_) => "poisoned",
        Error::TooLarge { .. } => "too_large",
        Error::Unavailable(_) => "unknown",
        Error::Missing(_) => "missing",
        Error::Damaged(_) | Error::Refused(_) => "other",
    };
    let mut labels = labels(of);
    labels.push(Label::new("cause", cause));
    counter!("spine_log_refused_total", labels).increment(1);
}

/// Producers that failed for good and were replaced.
pub(crate) fn observe_producers_replaced_total() {
    counter!("spine_log_producers_replaced_total").increment(1);
}

/// Records that readers took from a partition.
pub(crate) fn observe_read_records_total(of: &TopicPartition, records: usize) {
    counter!("spine_log_read_records_total", labels(of)).increment(records as u64);
}

/// Consumers of this process that read partitions.
pub(crate) fn observe_consumers(consumers: usize) {
    gauge!("spine_log_consumers").set(consumers as f64);
}

/// Records between what a group's owner has noted and the end that was last seen.
pub(crate) fn observe_lag_records(of: &TopicPartition, group: &str, lag_records: u64) {
    let mut labels = labels(of);
    labels.push(Label::new("group", group.to_owned()));
    gauge!("spine_log_lag_records", labels).set(lag_records as f64);
}
