//! Requests: appended as events, answered from the fold's verdict at their own position.

use crate::{App, Code, Problem, VerdictError, Verdicts, app::Shared, metrics};
use bytes::Bytes;
use spine_log::{EventLog, NewRecord, Urgency};
use spine_runs::{Answer, Verdict};
use spine_schemas::{Body, Event, Kind, RunKey, codec, fault_points};
use spine_store::{EventRow, RunStore, VerdictKind};
use std::sync::Arc;
use tokio::time::Instant;

/// Who speaks where nobody is named.
pub(crate) const DEFAULT_ACTOR: &str = "api";

/// A request that was appended, and what the fold made of it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) partition: u32,
    pub(crate) offset: u64,
    pub(crate) verdict: Verdict,
}

impl<L: EventLog, S: RunStore, V: Verdicts> Shared<L, S, V> {
    /// An event that somebody asks for through this surface, made to fit.
    pub(crate) fn event(&self, tenant: &str, actor: Option<&str>, body: Body) -> Event {
        self.event_of_id(self.fresh_id(), tenant, actor, body)
    }

    /// The same with an identity that follows from what is asked, so that a repeat is noticed.
    pub(crate) fn event_of_id(
        &self,
        id: String,
        tenant: impl Into<Arc<str>>,
        actor: Option<&str>,
        body: Body,
    ) -> Event {
        let actor = actor.unwrap_or(DEFAULT_ACTOR).to_owned();
        Event::new(id, tenant, self.now(), actor, body).fit()
    }
}

/// Appends the requests of one run together and waits for their verdicts, in order.
pub(crate) async fn ask<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    run: &RunKey,
    events: &[Event],
    urgency: Urgency,
) -> Result<Vec<Asked>, Problem> {
    let partition = app.partition_of(run).await?;
    let key = Bytes::from(run.record_key());
    let record = |event| record(Some(key.clone()), event);
    let records = events.iter().map(record).collect::<Result<Vec<_>, _>>()?;
    let is_plain = events.iter().all(|event| event.op.is_none());
    let recall = if is_plain { Recall::History(run) } else { Recall::Refusals };
    append_and_wait(app, partition, records, events.len(), urgency, recall).await
}

/// Appends one request of a run and waits for its verdict. A refusal is a problem.
pub(crate) async fn ask_one<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    run: &RunKey,
    event: Event,
) -> Result<Asked, Problem> {
    let asked = ask(app, run, &[event], Urgency::Normal).await?;
    granted(app, asked)
}

/// The first of the verdicts, unless it is a refusal.
pub(crate) fn granted<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    asked: Vec<Asked>,
) -> Result<Asked, Problem> {
    let none = || Problem::new(Code::Internal, "a request was appended without a position");
    let asked = asked.into_iter().next().ok_or_else(none)?;
    match Problem::of_verdict(&asked.verdict) {
        None => Ok(asked),
        Some(problem) => Err(problem.with("position", app.position(asked.partition, asked.offset))),
    }
}

/// What the store can say of an event whose verdict its owner no longer remembers, which is so after a
/// change of owners: the store has it by then.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Recall<'a> {
    /// The history of the run has the verdict of every event.
    History(&'a RunKey),
    /// Of control events only refusals are kept; what was not refused was applied.
    Control,
    /// A granted operation had an answer that says more than the store does. The agent gets it when it
    /// sends the operation again.
    Refusals,
}

/// Appends records together and waits for the verdicts on the first `asked` of them.
pub(crate) async fn append_and_wait<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    partition: u32,
    records: Vec<NewRecord>,
    asked: usize,
    urgency: Urgency,
    recall: Recall<'_>,
) -> Result<Vec<Asked>, Problem> {
    fault_points::reach("asked");
    let appended = app.log().append(&app.events_of(partition), records, urgency).await?;
    fault_points::reach("taken");
    let since = Instant::now();
    let mut verdicts = Vec::with_capacity(asked);
    for offset in appended.offsets().take(asked) {
        verdicts.push(recalled(app, partition, offset, recall).await?);
    }
    metrics::observe_verdict_seconds(since.elapsed());
    Ok(verdicts)
}

/// The verdict at one position; of an event that was forgotten, only whether it was refused.
pub(crate) async fn verdict<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    partition: u32,
    offset: u64,
) -> Result<Asked, Problem> {
    recalled(app, partition, offset, Recall::Refusals).await
}

async fn recalled<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    partition: u32,
    offset: u64,
    recall: Recall<'_>,
) -> Result<Asked, Problem> {
    let error = match app.verdicts().wait(partition, offset).await {
        Ok(verdict) => return Ok(Asked { partition, offset, verdict }),
        Err(error) => error,
    };
    if error == VerdictError::Forgotten
        && let Some(verdict) = stored_verdict(app, partition, offset, recall).await?
    {
        return Ok(Asked { partition, offset, verdict });
    }
    let position = app.position(partition, offset);
    Err(Problem::new(Code::VerdictLate, error.to_string()).with("position", position))
}

async fn stored_verdict<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    partition: u32,
    offset: u64,
    recall: Recall<'_>,
) -> Result<Option<Verdict>, Problem> {
    if let Some(row) = app.store().refusal(partition, offset).await? {
        let answer = row.answer.unwrap_or(Answer::Denied { code: row.reason });
        return Ok(Some(Verdict::Refused(row.reason, answer)));
    }
    let run = match recall {
        Recall::History(run) => run,
        Recall::Control => return Ok(Some(Verdict::Applied(Answer::Ok))),
        Recall::Refusals => return Ok(None),
    };
    let rows = app.store().run_events(run, offset, 1).await?;
    let Some(row) = rows.into_iter().next().filter(|row| row.offset == offset) else {
        return Ok(None);
    };
    Ok(match (row.verdict, row.reason) {
        (VerdictKind::Applied, _) => {
            let counted = counted(app, partition, run, &row).await?;
            Some(Verdict::Applied(counted.unwrap_or(Answer::Ok)))
        }
        (VerdictKind::Stale, Some(reason)) => Some(Verdict::Stale(reason, Some(Answer::Ok))),
        (VerdictKind::Illegal, Some(reason)) => Some(Verdict::Illegal(reason)),
        (VerdictKind::Stale | VerdictKind::Illegal, None) | (VerdictKind::Refused, _) => None,
    })
}

/// How far an approval is that was not the last one needed: the task that it answered is open still.
async fn counted<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    partition: u32,
    run: &RunKey,
    row: &EventRow,
) -> Result<Option<Answer>, Problem> {
    let step = row.step.as_ref().filter(|_| row.kind == Kind::TaskDecided.as_str());
    let Some(step) = step else { return Ok(None) };
    let state = app.find_run(partition, run).await?;
    let state = state.as_ref().and_then(|state| state.steps.get(step));
    Ok(state.and_then(|step| {
        let task = step.task.as_ref().filter(|task| task.offset < row.offset)?;
        let approvals = u32::try_from(task.approvers.len()).unwrap_or(u32::MAX);
        Some(Answer::Counted { approvals, needed: step.spec.quorum.unwrap_or(1) })
    }))
}

/// The record of an event.
pub(crate) fn record(key: Option<Bytes>, event: &Event) -> Result<NewRecord, Problem> {
    Ok(NewRecord::plain(key, codec::encode(event)?))
}
