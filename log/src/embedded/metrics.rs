//! What the log measures. One function per metric, the unit in its name.

use crate::{Error, TopicPartition};
use metrics::{Label, counter, gauge, histogram};
use std::time::Duration;

fn labels(of: &TopicPartition) -> Vec<Label> {
    vec![
        Label::new("topic", of.topic.to_string()),
        Label::new("partition", of.partition.to_string()),
    ]
}

/// Records that became durable.
pub(crate) fn observe_append_records_total(of: &TopicPartition, records: u64) {
    counter!("spine_log_append_records_total", labels(of)).increment(records);
}

/// Bytes of the blocks that became durable.
pub(crate) fn observe_append_bytes(of: &TopicPartition, bytes: u64) {
    counter!("spine_log_append_bytes_total", labels(of)).increment(bytes);
}

/// How long one sync took.
pub(crate) fn observe_sync_seconds(of: &TopicPartition, took: Duration) {
    histogram!("spine_log_sync_seconds", labels(of)).record(took.as_secs_f64());
}

/// Batches that shared one sync.
pub(crate) fn observe_group_batches(of: &TopicPartition, batches: usize) {
    histogram!("spine_log_group_batches", labels(of)).record(batches as f64);
}

/// Batches that were refused, by cause.
pub(crate) fn observe_refused_total(of: &TopicPartition, error: &Error, batches: usize) {
    let cause = match error {
        Error::Busy => "busy",
        Error::Full { .. } => "full",
        Error::Poisoned(_) => "poisoned",
        Error::TooLarge { .. } => "too_large",
        Error::Unavailable(_) => "closed",
        Error::Missing(_) | Error::Damaged(_) | Error::Refused(_) => "other",
    };
    let mut labels = labels(of);
    labels.push(Label::new("cause", cause));
    counter!("spine_log_refused_total", labels).increment(batches as u64);
}

/// Segments that were begun.
pub(crate) fn observe_segments_total(of: &TopicPartition) {
    counter!("spine_log_segments_total", labels(of)).increment(1);
}

/// 1 once the log takes nothing more until it is opened again.
pub(crate) fn observe_poisoned() {
    gauge!("spine_log_poisoned").set(1.0);
}

/// Records between a group's committed offset and the end.
pub(crate) fn observe_lag_records(of: &TopicPartition, group: &str, lag_records: u64) {
    let mut labels = labels(of);
    labels.push(Label::new("group", group.to_owned()));
    gauge!("spine_log_lag_records", labels).set(lag_records as f64);
}
