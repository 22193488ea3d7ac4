//! `POST /v1/runs/{id}/steps/{step}/resolve`: somebody found out whether an attempt took effect.

use super::answer;
use crate::{
    App, Code, Problem, Verdicts, ask, body, limits,
    query::{self, RunQuery},
};
use axum::{Json, extract::Request};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use spine_log::EventLog;
use spine_schemas::{Body, Output, Payload, Resolution, RunKey, StepEvent, StepKey};
use spine_store::RunStore;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resolve<'a> {
    happened: bool,
    attempt: Option<u32>,
    #[serde(borrow)]
    output: Option<&'a RawValue>,
    reason: Option<String>,
    actor: Option<String>,
    tenant: Option<String>,
}

/// Resolves an unknown outcome.
pub(super) async fn post<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    run_id: &str,
    step: StepKey,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let query: RunQuery = query::read(request.uri())?;
    let taken = body::take_json(&app.in_flight, request, limits::REQUEST_BYTES).await?;
    let resolve: Resolve<'_> = body::read_json(&taken.bytes)?;
    let tenant = resolve.tenant.as_deref().or(query.tenant.as_deref());
    let run = query::run_key(tenant, run_id)?;
    let reason = body::reason(resolve.reason.as_deref())?;
    let attempt = match resolve.attempt {
        Some(attempt) => attempt,
        None => attempt_in_question(app, &run, &step).await?,
    };
    let output = resolve.output.map(|output| Payload::json("output", output.get().to_owned()));
    let output = output.transpose()?.map(Output::of);
    if resolve.happened {
        answer::check(app, &run, &step, output.as_ref()).await?;
    }
    let resolution = Resolution { attempt, happened: resolve.happened, output, reason };
    let event = StepEvent::Resolved(resolution);
    let event = Body::Step(run.run_id.clone(), step.clone(), event);
    let event = app.event(&run.tenant, resolve.actor.as_deref(), event);
    let asked = ask::ask_one(app, &run, event).await?;
    Ok(Json(json!({
        "status": "resolved",
        "step": step,
        "attempt": attempt,
        "happened": resolve.happened,
        "position": app.position(asked.partition, asked.offset),
    })))
}

async fn attempt_in_question<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    run: &RunKey,
    step: &StepKey,
) -> Result<u32, Problem> {
    let (_, state) = app.load_run(run, None).await?;
    match state.steps.get(step) {
        Some(state) => Ok(state.attempt),
        None => Err(Problem::new(Code::StepAbsent, format!("run {run} has no step {step}"))),
    }
}
