//! What tool calls measure. Labels are closed sets: no host, tool or status ever becomes one.

use super::CallEnd;
use metrics::{counter, histogram};
use std::time::Duration;

fn end(of: &CallEnd) -> &'static str {
    match of {
        CallEnd::Completed { .. } => "completed",
        CallEnd::Failed(error) => error.class.as_str(),
        CallEnd::NeverSent(_) => "never_sent",
    }
}

/// How long one call took, by how it ended.
pub(super) fn observe_tool_call_seconds(of: &CallEnd, took: Duration) {
    histogram!("spine_workers_tool_call_seconds", "end" => end(of)).record(took.as_secs_f64());
}

/// Calls, by how they ended.
pub(super) fn observe_tool_calls_total(of: &CallEnd) {
    counter!("spine_workers_tool_calls_total", "end" => end(of)).increment(1);
}
