//! What the workers count, one function for each metric.

use metrics::{counter, gauge};
use spine_runs::{RunStatus, Verdict, breaker::Turn};

/// Events folded, by verdict.
pub(crate) fn observe_folded(verdict: &Verdict) {
    let name = match verdict {
        Verdict::Applied(_) => "applied",
        Verdict::Stale(..) => "stale",
        Verdict::Refused(..) => "refused",
        Verdict::Illegal(_) => "illegal",
    };
    counter!("spine_workers_folded_events_total", "verdict" => name).increment(1);
}

/// Events that owners appended: outcomes and decisions.
pub(crate) fn observe_decided(events: usize) {
    counter!("spine_workers_appended_events_total").increment(events as u64);
}

/// Letters published.
pub(crate) fn observe_letter() {
    counter!("spine_workers_letters_total").increment(1);
}

/// Transitions that were told on the lifecycle topic.
pub(crate) fn observe_lifecycle(records: usize) {
    counter!("spine_workers_lifecycle_records_total").increment(records as u64);
}

/// What runs told others because one is a step of the other.
pub(crate) fn observe_messages(messages: usize) {
    counter!("spine_workers_run_messages_total").increment(messages as u64);
}

/// POSTs of transitions to webhooks, by what became of them.
pub(crate) fn observe_webhook(webhook: &str, outcome: &'static str) {
    let webhook = webhook.to_owned();
    counter!("spine_workers_webhook_posts_total", "webhook" => webhook, "outcome" => outcome)
        .increment(1);
}

/// Those who listen to runs at this process.
pub(crate) fn observe_listeners(listeners: usize) {
    gauge!("spine_workers_stream_listeners").set(listeners as f64);
}

/// What attempts say while they run, by what became of it.
pub(crate) fn observe_parts(fate: &'static str) {
    counter!("spine_workers_stream_parts_total", "fate" => fate).increment(1);
}

/// Runs that were found to stand still.
pub(crate) fn observe_stalled() {
    counter!("spine_workers_stalled_runs_total").increment(1);
}

/// Runs that ended, by what became of them. Counted when the store has their ends, so that those that are folded
/// again after a crash do not count twice.
pub(crate) fn observe_ended(status: RunStatus, runs: u64) {
    counter!("spine_workers_ended_runs_total", "status" => status.as_str()).increment(runs);
}

/// Every end that there is can be seen before the first run has it: rates need a beginning.
pub(crate) fn observe_no_end_yet() {
    for status in
        [RunStatus::Completed, RunStatus::Degraded, RunStatus::Failed, RunStatus::Cancelled]
    {
        observe_ended(status, 0);
    }
}

/// How far the store is.
pub(crate) fn observe_stored(partition: u32, offset: u64) {
    let partition = partition.to_string();
    gauge!("spine_workers_stored_offset", "partition" => partition).set(offset as f64);
}

/// Whether a partition folds nothing more because of too many bad records.
pub(crate) fn observe_partition_stopped(partition: u32, stopped: bool) {
    let partition = partition.to_string();
    gauge!("spine_partition_stopped", "partition" => partition).set(f64::from(u8::from(stopped)));
}

/// Steps of queues that workers were told of, or that were given back since nobody heard of them.
pub(crate) fn observe_lease(what: &'static str) {
    counter!("spine_workers_leases_total", "what" => what).increment(1);
}

/// Runs with steps that wait for workers.
pub(crate) fn observe_queued(partition: u32, runs: usize) {
    let partition = partition.to_string();
    gauge!("spine_workers_queued_runs", "partition" => partition).set(runs as f64);
}

/// Owners that stopped in good order.
pub(crate) fn observe_owner_stopped() {
    counter!("spine_workers_owners_stopped_total").increment(1);
}

/// What this process found out about tools.
pub(crate) fn observe_turn(turn: &Turn) {
    let name = match turn {
        Turn::Breaker(state, ..) => state.as_str(),
        Turn::Limit(_) => "limited",
    };
    counter!("spine_tool_changes_total", "state" => name).increment(1);
}

/// Steps with a memo that began: with the result of an equal call, or with a call.
pub(crate) fn observe_memo(outcome: &'static str) {
    counter!("spine_workers_memo_steps_total", "outcome" => outcome).increment(1);
}

/// Results that are kept to be taken instead of calls.
pub(crate) fn observe_memo_bytes(bytes: usize) {
    gauge!("spine_workers_memo_bytes").set(bytes as f64);
}
