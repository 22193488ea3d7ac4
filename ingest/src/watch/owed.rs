//! What is owed in a partition that stands still: a record that is to be folded, or a run that should have gone on.

use crate::{App, Verdicts, limits};
use spine_log::{Error, EventLog, PartitionReader, ReadLimit, Record, Result};
use spine_runs::{RunState, Wait, WaitKind};
use spine_schemas::time::Micros;
use spine_store::RunStore;
use std::ops::Range;
use tokio::time::timeout;

/// Something that an owner would have done by now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owed {
    /// The first offset that the store lacks.
    pub(super) offset: u64,
    /// When it could first have been done, by the log's time.
    pub(super) at: Micros,
    /// In words.
    pub(super) what: String,
}

impl Owed {
    fn record(record: &Record) -> Self {
        let offset = record.offset;
        let what = format!("the records from offset {offset} on are not stored");
        Self { offset, at: record.timestamp, what }
    }

    /// Nobody can read what waits, which is no better.
    pub(super) fn unreadable(offset: u64, at: Micros, error: &Error) -> Self {
        Self { offset, at, what: format!("offset {offset} cannot be read ({error})") }
    }
}

/// The first record in a range that the store still lacks, if there is any: reading takes its time, above all where
/// only marks of the log are left, and the store may move meanwhile.
pub(super) async fn record<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    partition: u32,
    range: Range<u64>,
) -> Result<Option<Owed>> {
    let _place = app.log_reads.acquire().await.ok();
    let first = async {
        let reader = app.log().reader(&app.events_of(partition), range.start).await?;
        first_record(reader, range.end).await
    };
    let first = timeout(limits::LOG_READ_TIMEOUT, first).await;
    let first = first.map_err(|_| Error::Unavailable("it takes too long to read".into()))??;
    let progress = app.store().progress(partition).await.ok().flatten();
    let is_stored = |record: &Record| progress.is_some_and(|it| it.offset >= record.offset);
    Ok(first.filter(|record| !is_stored(record)).as_ref().map(Owed::record))
}

/// The first record before `end`. What was appended since lies beyond.
async fn first_record<R: PartitionReader>(mut reader: R, end: u64) -> Result<Option<Record>> {
    while reader.position() < end {
        let records = reader.next(ReadLimit { records: 1, bytes: 1 }).await?;
        if let Some(first) = records.into_iter().next() {
            return Ok(Some(first).filter(|first| first.offset < end));
        }
    }
    Ok(None)
}

/// The run that should first have gone on by a time, if there is any; the store stands since a time before an offset.
/// One that does not answer now is asked again some looks later.
pub(super) async fn run<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    partition: u32,
    (offset, since): (u64, Micros),
    by: Micros,
) -> Option<Owed> {
    let due = app.store().due_runs(partition, by, limits::WATCH_RUNS).await.ok()?;
    for (at, key) in due {
        // One by one, since a run may be large.
        let runs = app.store().load_runs(partition, std::slice::from_ref(&key)).await.ok()?;
        let run = runs.into_iter().next().flatten();
        if run.is_some_and(|run| is_owed(&run, since, by)) {
            return Some(Owed {
                offset,
                at,
                what: format!("run {key} should have gone on at {at}"),
            });
        }
    }
    None
}

fn is_owed(run: &RunState, since: Micros, by: Micros) -> bool {
    run.waits().iter().any(|wait| {
        let live = wait.step.as_ref().and_then(|key| run.steps.get(key)?.live.as_ref());
        // A lease counts again from a claim, which the store has, too.
        let renewed = live.map_or(since, |live| since.plus_ms(live.lease_ms));
        ends_at(wait).is_some_and(|until| until.max(renewed) <= by)
    })
}

/// When a wait ends by itself. What is held back on purpose, or waits for somebody, may last for ever.
fn ends_at(wait: &Wait) -> Option<Micros> {
    match wait.wait_for {
        WaitKind::Attempt
        | WaitKind::Retry
        | WaitKind::Deferral
        | WaitKind::Sleep
        | WaitKind::Signal
        | WaitKind::Task
        | WaitKind::Approval
        | WaitKind::Probe => wait.until,
        WaitKind::Paused
        | WaitKind::ToolPaused
        | WaitKind::TenantPaused
        | WaitKind::Breaker
        | WaitKind::RateLimit
        | WaitKind::Worker
        | WaitKind::Owner
        | WaitKind::Client
        | WaitKind::Reporter
        | WaitKind::Fork
        | WaitKind::Child
        | WaitKind::Fallback
        | WaitKind::DeadLetter
        | WaitKind::Resolution => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    /// A log that has marks of its own at all offsets before that of its one record.
    struct Marks {
        position: u64,
        record: u64,
    }

    impl PartitionReader for Marks {
        async fn next(&mut self, _limit: ReadLimit) -> Result<Vec<Record>> {
            let (offset, timestamp) = (self.record, Micros(1));
            self.position = offset + 1;
            let (key, headers, value) = (None, Vec::new(), None);
            Ok(vec![Record { offset, timestamp, key, headers, value }])
        }

        fn position(&self) -> u64 {
            self.position
        }
    }

    #[test]
    fn what_was_appended_behind_the_range_is_not_what_the_store_stood_before() {
        let first = |end| {
            let found = first_record(Marks { position: 40, record: 45 }, end).now_or_never();
            found.expect("it waits for nothing").expect("it can be read").map(|it| it.offset)
        };
        assert_eq!(first(45), None, "at 40 to 44 are marks");
        assert_eq!(first(46), Some(45));
        assert_eq!(first(40), None);
    }

    #[test]
    fn what_time_ends_is_owed_and_what_somebody_holds_back_is_not() {
        let at = Some(Micros(7));
        let ends = |wait_for, until| ends_at(&Wait { wait_for, step: None, until });
        for kind in [WaitKind::Attempt, WaitKind::Retry, WaitKind::Sleep, WaitKind::Signal] {
            assert_eq!((ends(kind, at), ends(kind, None)), (at, None), "{kind:?}");
        }
        for kind in [WaitKind::ToolPaused, WaitKind::Breaker, WaitKind::Worker, WaitKind::Paused] {
            assert_eq!(ends(kind, at), None, "{kind:?}");
        }
    }
}
