//! `POST /v1/runs/{id}/fork`: a new run that takes over the finished steps of another and goes its own way
//! from there. What would happen a second time is told first, and nothing happens unless that is accepted.

mod change;

use super::plan;
use crate::{
    App, Code, Problem, Verdicts, ask, body, events, limits,
    query::{self, RunQuery},
    views::PositionView,
};
use axum::{
    Json,
    extract::{Path, Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use change::Changes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use spine_log::EventLog;
use spine_runs::{AgainStep, Because, Forked, Happened, Reason, RunState, Verdict, forked};
use spine_schemas::{
    BatchItem, Body, Digest, Driver, Effect, Event, Fork, Payload, Plan, RunCreated, RunEvent,
    RunKey, StepKey,
};
use spine_store::RunStore;
use std::{collections::BTreeMap, sync::Arc};

/// The body, as it is received.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewFork<'a> {
    run_id: Option<String>,
    tenant: Option<String>,
    actor: Option<String>,
    reason: Option<String>,
    /// The step from which on it goes its own way.
    from: Option<StepKey>,
    version: Option<String>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    tags: Option<BTreeMap<String, String>>,
    /// Other values for fields of steps, by step.
    #[serde(borrow, default)]
    change: Changes<'a>,
    #[serde(borrow)]
    retry: Option<&'a RawValue>,
    #[serde(borrow)]
    steps: Option<&'a RawValue>,
    #[serde(borrow)]
    brain: Option<&'a RawValue>,
    #[serde(borrow)]
    faults: Option<&'a RawValue>,
    #[serde(borrow)]
    deadline_ms: Option<&'a RawValue>,
    #[serde(borrow)]
    on_deadline: Option<&'a RawValue>,
    #[serde(default)]
    undo_reused: bool,
    #[serde(default)]
    force: bool,
    #[serde(default)]
    dry_run: bool,
}

/// What a fork comes to.
#[derive(Serialize)]
struct ForkView<'a> {
    tenant: &'a str,
    run_id: &'a str,
    forked_from: &'a str,
    driver: Driver,
    dry_run: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<bool>,
    reused: Vec<&'a StepKey>,
    again: Vec<AgainView<'a>>,
    /// Reused steps that the plan can undo, and whether that is done if the fork is undone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    can_be_undone: Vec<&'a StepKey>,
    undo_reused: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    position: Option<PositionView>,
}

/// A step of the original that is not taken over.
#[derive(Serialize)]
struct AgainView<'a> {
    step: &'a StepKey,
    tool: &'a str,
    effect: Effect,
    happened: &'static str,
    because: &'static str,
    may_repeat: bool,
}

impl<'a> AgainView<'a> {
    fn of(step: &'a AgainStep) -> Self {
        Self {
            step: &step.key,
            tool: &step.tool,
            effect: step.effect,
            happened: match step.happened {
                Happened::Yes => "yes",
                Happened::Maybe => "maybe",
                Happened::No => "no",
            },
            because: match step.because {
                Because::Cut => "cut",
                Because::Follows => "follows",
                Because::Unfinished => "unfinished",
                Because::Changed => "changed",
                Because::Undone => "undone",
                Because::Dropped => "dropped",
            },
            may_repeat: step.may_repeat(),
        }
    }
}

/// Forks a run: 201 when the fork is new, 200 when the same was made before or for a dry run.
pub(crate) async fn post<L: EventLog, S: RunStore, V: Verdicts>(
    State(app): State<App<L, S, V>>,
    Path(run_id): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let query: RunQuery = query::read(request.uri())?;
    let once = events::idempotency_key(request.headers())?;
    let taken = body::take_json(&app.in_flight, request, limits::REQUEST_BYTES).await?;
    let new: NewFork<'_> = body::read_json(&taken.bytes)?;
    let tenant = new.tenant.as_deref().or(query.tenant.as_deref());
    let original = query::run_key(tenant, &run_id)?;
    let id = new.run_id.clone().unwrap_or_else(|| match &once {
        Some(key) => Digest::of_parts(&[b"fork", key.as_bytes(), run_id.as_bytes()]).to_string(),
        None => app.fresh_id(),
    });
    let run = query::run_key(tenant, &id)?;
    let reason = body::reason(new.reason.as_deref())?;
    let (_, state) = app.load_run(&original, query.at_least).await?;
    let mut created = begun(&app, &run, &state, &new)?;
    check_from(&state, &created, new.from.as_ref())?;
    let mut plan = forked(&state, &created, new.from.as_ref());
    created.fork = Some(Box::new(Fork {
        run_id: original.run_id.to_string(),
        step: new.from.clone(),
        reused: u32::try_from(plan.reused.len()).unwrap_or(u32::MAX),
        undo_reused: new.undo_reused,
        force: new.force,
        reason,
    }));
    go_on_with(&app, &run, &mut created, &mut plan).await?;
    if new.dry_run {
        return Ok(Json(view(&run, &created, &plan)).into_response());
    }
    check_repeats(&plan, new.force)?;
    let events = events_of(&app, &run, new.actor.as_deref(), &created, &plan)?;
    let (fresh, position) = append(&app, &run, &events).await?;
    let status = if fresh { StatusCode::CREATED } else { StatusCode::OK };
    let mut view = view(&run, &created, &plan);
    (view.dry_run, view.created, view.position) = (false, Some(fresh), Some(position));
    Ok((status, Json(view)).into_response())
}

/// A fork that was cut off takes over what it said, although more of its original has ended since.
async fn go_on_with<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    run: &RunKey,
    created: &mut RunCreated,
    plan: &mut Forked,
) -> Result<(), Problem> {
    let there = app.find_run(app.partition_of(run).await?, run).await?;
    let Some(there) = there.filter(RunState::takes_over) else { return Ok(()) };
    let Some(before) = there.created.fork.as_deref() else { return Ok(()) };
    if let Some(fork) = created.fork.as_mut().filter(|fork| fork.reused > before.reused) {
        fork.reused = before.reused;
        plan.reused.truncate(before.reused as usize);
    }
    Ok(())
}

/// How the fork begins, but for where it comes from.
fn begun<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    run: &RunKey,
    original: &RunState,
    new: &NewFork<'_>,
) -> Result<RunCreated, Problem> {
    let before = &original.created;
    if let Err(reason) = original.may_be_forked() {
        let detail = match reason {
            Reason::WrongDriver => "another system executes this run: only that can fork it",
            _ => "the run is a fork itself and has not taken over all finished steps yet",
        };
        return Err(Problem::new(reason.into(), detail));
    }
    let parts = [
        ("retry", new.retry),
        ("brain", new.brain),
        ("steps", new.steps),
        ("faults", new.faults),
        ("deadline_ms", new.deadline_ms),
        ("on_deadline", new.on_deadline),
    ];
    let plan = match &before.plan {
        Some(plan) => Some(changed_plan(app, run, plan, &parts, &new.change)?),
        None => {
            let given = parts.into_iter().find(|(_, part)| part.is_some()).map(|(name, _)| name);
            let given = given.or_else(|| (!new.change.is_empty()).then_some("change"));
            match given {
                Some(name) => return Err(without_plan(name)),
                None => None,
            }
        }
    };
    let input = match new.input {
        Some(input) => Payload::json("input", input.get().to_owned())?,
        None => before.input.clone(),
    };
    Ok(RunCreated {
        workflow: before.workflow.clone(),
        version: new.version.clone().unwrap_or_else(|| before.version.clone()),
        driver: before.driver,
        input,
        tags: new.tags.clone().unwrap_or_else(|| before.tags.clone()),
        parent: before.parent.clone(),
        plan,
        fork: None,
        caller: None,
    })
}

/// The plan of the original with what is given in place of its parts. Planned faults are not taken over.
fn changed_plan<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    run: &RunKey,
    before: &Arc<Plan>,
    parts: &[(&'static str, Option<&RawValue>); 6],
    change: &Changes<'_>,
) -> Result<Arc<Plan>, Problem> {
    let is_same = parts.iter().all(|(_, part)| part.is_none()) && change.is_empty();
    if is_same && before.faults.is_empty() {
        return Ok(before.clone());
    }
    plan::checked(app, run, change::source(before, parts, change)?)
}

fn without_plan(field: &'static str) -> Problem {
    let detail = format!("{field}: an agent drives this run, it has no plan that could be changed");
    Problem::new(Code::InvalidField, detail).with("field", field)
}

/// The step at which the fork begins must be one that it knows.
fn check_from(
    original: &RunState,
    created: &RunCreated,
    from: Option<&StepKey>,
) -> Result<(), Problem> {
    let Some(from) = from else { return Ok(()) };
    let in_list = |plan: &Arc<Plan>| plan.in_list().iter().any(|step| step.key == *from);
    let known = match created.plan.as_ref() {
        // What a brain has asked for, and the asking, is in the plan of the original alone.
        Some(plan) if plan.brain.is_some() && original.plan().is_some_and(in_list) => true,
        Some(plan) => in_list(plan),
        None => original.steps.contains_key(from),
    };
    if known {
        return Ok(());
    }
    let detail = format!("from: the run has no step {from} in its list");
    Err(Problem::new(Code::StepAbsent, detail).with("field", "from"))
}

/// Effects that may take place a second time must be accepted.
fn check_repeats(plan: &Forked, force: bool) -> Result<(), Problem> {
    let repeats: Vec<AgainView<'_>> =
        plan.again.iter().filter(|step| step.may_repeat()).map(AgainView::of).collect();
    if force || repeats.is_empty() {
        return Ok(());
    }
    let steps: Vec<String> = repeats.iter().map(|step| step.step.to_string()).collect();
    let detail = format!(
        "the fork has idempotency keys of its own, so the effects of {} may happen twice",
        steps.join(", ")
    );
    Err(Problem::new(Code::NeedsForce, detail).with("repeats", repeats))
}

fn view<'a>(run: &'a RunKey, created: &'a RunCreated, plan: &'a Forked) -> ForkView<'a> {
    let fork = created.fork.as_deref();
    let undoable = plan.reused.iter().filter(|step| step.can_be_undone).map(|step| &step.key);
    ForkView {
        tenant: &run.tenant,
        run_id: &run.run_id,
        forked_from: fork.map_or("", |fork| &fork.run_id),
        driver: created.driver,
        dry_run: true,
        created: None,
        reused: plan.reused.iter().map(|step| &step.key).collect(),
        again: plan.again.iter().map(AgainView::of).collect(),
        can_be_undone: undoable.collect(),
        undo_reused: fork.is_some_and(|fork| fork.undo_reused),
        position: None,
    }
}

/// One batch: each event rests on those before it, and none counts unless the run is this fork.
fn events_of<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    run: &RunKey,
    actor: Option<&str>,
    created: &RunCreated,
    plan: &Forked,
) -> Result<Vec<Event>, Problem> {
    let source = created.fork.as_ref().map(|fork| format!("run {}", fork.run_id));
    let id = app.fresh_id();
    let created = RunEvent::Created(Box::new(created.clone()));
    let reused = plan.reused.iter().map(|step| {
        Body::Step(run.run_id.clone(), step.key.clone(), step.event(source.as_deref()))
    });
    let bodies = std::iter::once(Body::Run(run.run_id.clone(), created)).chain(reused);
    let events = (0..).zip(bodies).map(|(index, body)| {
        let batch = Some(BatchItem { id: id.clone(), index });
        let event = Event { batch, ..app.event(&run.tenant, actor, body) };
        event.check().map(|()| event)
    });
    Ok(events.collect::<Result<_, _>>()?)
}

/// Appends the events, some at a time, and says whether the run is new. What comes in between of somebody
/// who sends the same once more counts as one.
async fn append<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    run: &RunKey,
    events: &[Event],
) -> Result<(bool, PositionView), Problem> {
    let (mut fresh, mut last) = (false, None);
    for (number, some) in events.chunks(limits::FORK_EVENTS).enumerate() {
        for (at, asked) in
            ask::ask(app, run, some, spine_log::Urgency::Normal).await?.into_iter().enumerate()
        {
            let is_new = !matches!(asked.verdict, Verdict::Stale(Reason::Duplicate, _));
            fresh |= number == 0 && at == 0 && is_new;
            last = Some(ask::granted(app, vec![asked])?);
        }
    }
    let last = last.ok_or_else(|| Problem::new(Code::Internal, "a fork has no event"))?;
    Ok((fresh, app.position(last.partition, last.offset)))
}
