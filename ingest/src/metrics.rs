//! What the surface measures. One function per metric, the unit in its name.

use metrics::{counter, gauge, histogram};
use std::time::Duration;

/// `spine_ingest_requests_total`, and `spine_ingest_request_seconds`: requests by route and status.
pub(crate) fn observe_request(route: &str, status: u16, took: Duration) {
    let route = route.to_owned();
    let labels = [("route", route.clone()), ("status", status.to_string())];
    counter!("spine_ingest_requests_total", &labels).increment(1);
    histogram!("spine_ingest_request_seconds", "route" => route).record(took.as_secs_f64());
}

/// `spine_ingest_events_total`: events that were appended through `/v1/events`.
pub(crate) fn observe_events(events: usize) {
    counter!("spine_ingest_events_total").increment(events as u64);
}

/// `spine_ingest_event_bytes_total`: bytes of the bodies that brought them.
pub(crate) fn observe_event_bytes(bytes: usize) {
    counter!("spine_ingest_event_bytes_total").increment(bytes as u64);
}

/// `spine_ingest_bad_lines_total`: events that were refused at the door.
pub(crate) fn observe_bad_lines(lines: usize) {
    counter!("spine_ingest_bad_lines_total").increment(lines as u64);
}

/// `spine_ingest_problems_total`: refusals by the name of their code.
pub(crate) fn observe_problem(name: &'static str) {
    counter!("spine_ingest_problems_total", "name" => name).increment(1);
}

/// `spine_ingest_verdict_seconds`: from the append of a request to its verdict.
pub(crate) fn observe_verdict_seconds(took: Duration) {
    histogram!("spine_ingest_verdict_seconds").record(took.as_secs_f64());
}

/// `spine_partition_unattended`: whether something is owed in a partition, and nothing has happened there for too long.
pub(crate) fn observe_unattended(partition: u32, unattended: bool) {
    let partition = partition.to_string();
    gauge!("spine_partition_unattended", "partition" => partition)
        .set(f64::from(u8::from(unattended)));
}
