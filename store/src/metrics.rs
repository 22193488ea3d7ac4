//! What the store reports of itself: one function per metric, the unit in the name.

use crate::StoreBatch;
use tokio::time::Instant;

/// The start of a measured batch. Tokio's clock, so that a simulation with a paused one sees its
/// own time.
pub(crate) fn start() -> Instant {
    Instant::now()
}

/// `spine_store_batch_seconds`: how long applying a batch took, by outcome.
pub(crate) fn observe_batch_seconds(started: Instant, applied: bool) {
    let outcome = if applied { "applied" } else { "failed" };
    metrics::histogram!("spine_store_batch_seconds", "outcome" => outcome)
        .record(started.elapsed().as_secs_f64());
}

/// `spine_store_rows_total`: rows that applied batches brought, by table.
pub(crate) fn observe_rows(batch: &StoreBatch) {
    let steps = batch.runs.iter().map(|change| change.steps.len()).sum();
    let count = |table: &'static str, rows: usize| {
        metrics::counter!("spine_store_rows_total", "table" => table).increment(rows as u64);
    };
    count("runs", batch.runs.len());
    count("steps", steps);
    count("events", batch.events.len());
    count("decisions", batch.decisions.len());
    count("dead_letters", batch.letters.len() + batch.closings.len());
    count("refusals", batch.refusals.len());
}

/// `spine_store_retries_total`: CQL requests that were tried again.
#[cfg(feature = "cql")]
pub(crate) fn count_retry() {
    metrics::counter!("spine_store_retries_total").increment(1);
}

/// `spine_store_refolds_total`: runs that were folded again, since their rows were ahead of progress.
#[cfg(feature = "cql")]
pub(crate) fn count_refold() {
    metrics::counter!("spine_store_refolds_total").increment(1);
}
