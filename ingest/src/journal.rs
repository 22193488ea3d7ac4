//! `POST /v1/runs/{id}/journal`: an agent begins, ends and keeps alive its steps. All operations of a
//! request are appended together and answered in order, from the fold's verdicts.

mod answers;
mod create;
mod lease;
mod ops;
pub(crate) mod values;

use crate::{
    App, Code, Problem, Verdicts,
    ask::{self, Asked},
    body, ids,
    query::{self, RunQuery},
    runs,
};
use axum::{
    Json,
    extract::{Path, Request, State},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use spine_log::{EventLog, Urgency};
use spine_runs::Reason;
use spine_schemas::{
    BatchItem, Body, Event, Op, RunKey, check_id, control::ControlRecord, limits, time::Micros,
};
use spine_store::RunStore;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Journal<'a> {
    session: String,
    replaces: Option<String>,
    /// The version of the workflow that the agent runs.
    version: Option<String>,
    tenant: Option<String>,
    actor: Option<String>,
    /// The run that the operations are about, where this may be the first request of it.
    #[serde(borrow)]
    create: Option<create::NewRun<'a>>,
    #[serde(borrow)]
    ops: Vec<&'a RawValue>,
}

/// The answers, in the order of the operations.
#[derive(Serialize)]
pub(crate) struct Results {
    /// Whether this request made the run; nothing where it was not to.
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<bool>,
    results: Vec<answers::OpResult>,
}

/// Takes the operations of one session.
pub(crate) async fn post<L: EventLog, S: RunStore, V: Verdicts>(
    State(app): State<App<L, S, V>>,
    Path(run_id): Path<String>,
    request: Request,
) -> Result<Json<Results>, Problem> {
    let query: RunQuery = query::read(request.uri())?;
    let taken = body::take_json(&app.in_flight, request, limits::BODY_BYTES).await?;
    let journal: Journal<'_> = body::read_json(&taken.bytes)?;
    let tenant = journal.tenant.as_deref().or(query.tenant.as_deref());
    let run = query::run_key(tenant, &run_id)?;
    let partition = app.partition_of(&run).await?;
    let ops = read_ops(&journal, partition, app.now())?;
    let (events, about) = events(&app, &run, &journal, ops)?;
    let urgency = urgency(&events);
    let mut asked = ask::ask(&app, &run, &events, urgency).await?;
    let mut created = None;
    if journal.create.is_some() {
        let creation = runs::create::granted(&app, &run, vec![asked.remove(0)]).await?;
        created = Some(runs::create::is_new(&creation));
    }
    if asked.first().is_some_and(|first| first.verdict.reason() == Some(Reason::RunAbsent)) {
        let detail = format!("there is no run {run}; a request with `create` makes it");
        return Err(Problem::new(Code::RunAbsent, detail));
    }
    let results = answer_all(&app, &run, &about, &asked).await?;
    Ok(Json(Results { created, results }))
}

fn read_ops(
    journal: &Journal<'_>,
    partition: u32,
    now: Micros,
) -> Result<Vec<ops::JournalOp>, Problem> {
    check_id("session", &journal.session)?;
    if let Some(replaces) = &journal.replaces {
        check_id("replaces", replaces)?;
    }
    let most = limits::JOURNAL_OPS;
    if journal.ops.is_empty() || journal.ops.len() > most {
        let detail = format!("ops: {} operations, where 1 to {most} are taken", journal.ops.len());
        return Err(Problem::new(Code::InvalidField, detail).with("field", "ops"));
    }
    let read = |(at, op): (usize, &&RawValue)| {
        ops::read(op.get(), partition, now).map_err(|problem| at_op(at, problem))
    };
    journal.ops.iter().enumerate().map(read).collect()
}

/// Names the operation that a problem is about.
fn at_op(at: usize, problem: Problem) -> Problem {
    problem.within(&format!("ops[{at}]"))
}

/// The events of the request, checked, and what its operations are about.
fn events<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    run: &RunKey,
    journal: &Journal<'_>,
    ops: Vec<ops::JournalOp>,
) -> Result<(Vec<Event>, Vec<answers::About>), Problem> {
    let creates = journal.create.is_some();
    let op_ids: Vec<u64> = ops.iter().map(|op| op.op_id).collect();
    let batch =
        (creates || ops.len() > 1).then(|| ids::of_operations(&journal.session, creates, &op_ids));
    let item = |index| batch.clone().map(|id| BatchItem { id, index });
    let mut about = Vec::with_capacity(ops.len());
    let mut events = Vec::with_capacity(ops.len() + usize::from(creates));
    let actor = journal.actor.as_deref();
    if let Some(new) = &journal.create {
        let body = Body::Run(run.run_id.clone(), new.event(journal.version.as_deref())?);
        let created = Event { batch: item(0), ..app.event(&run.tenant, actor, body) };
        created.check().map_err(|error| Problem::from(error).within("create"))?;
        events.push(created);
    }
    for (at, mut op) in ops.into_iter().enumerate() {
        let paused = hold_back(app, run, &mut op);
        // An operation that is sent again is the same event.
        let id = ids::of_operation(run, &journal.session, op.op_id);
        let body = op.body.into_body(run);
        let mut event = app.event_of_id(id, run.tenant.clone(), actor, body);
        event.op = Some(Op {
            session: journal.session.clone(),
            op_id: op.op_id,
            replaces: journal.replaces.clone(),
            version: journal.version.clone(),
        });
        event.batch = item(u32::try_from(events.len()).expect("a request has few operations"));
        event.check().map_err(|error| at_op(at, error.into()))?;
        about.push(answers::About { step: op.step, paused });
        events.push(event);
    }
    Ok((events, about))
}

/// Says in a `begin` what pauses its tool or its tenant, as far as this process has heard. Whether an attempt would
/// begin is known to the fold alone, and of pauses it knows what stands in the event, so that everybody folds the same.
fn hold_back<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    run: &RunKey,
    op: &mut ops::JournalOp,
) -> Option<ControlRecord> {
    let start = op.begins_mut()?;
    let tool = &start.spec.as_ref()?.tool;
    let paused = (app.parts.steering.pause_of)(&run.tenant, tool)?;
    start.held_by = paused.change.held_by();
    Some(paused)
}

/// Outcomes and signs of life may use the head-room of a log that is nearly full.
fn urgency(events: &[Event]) -> Urgency {
    let outcome = events.iter().any(|event| ops::is_urgent(&event.body));
    if outcome { Urgency::Outcome } else { Urgency::Normal }
}

async fn answer_all<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    run: &RunKey,
    about: &[answers::About],
    asked: &[Asked],
) -> Result<Vec<answers::OpResult>, Problem> {
    let mut results = Vec::with_capacity(asked.len());
    for (asked, about) in asked.iter().zip(about) {
        results.push(answers::answer(app, run, about, asked).await?);
    }
    Ok(results)
}
