//! `POST /v1/runs/{id}/steps/{step}/resolve|pause|resume`: which of them is meant, and the last two.

use super::resolve;
use crate::{
    App, Code, Problem, Verdicts, ask, body, limits,
    query::{self, RunQuery},
};
use axum::{
    Json,
    extract::{Path, Request, State},
};
use serde::Deserialize;
use serde_json::{Value, json};
use spine_log::EventLog;
use spine_schemas::{Body, StepEvent, StepKey};
use spine_store::RunStore;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Hold {
    reason: Option<String>,
    actor: Option<String>,
    tenant: Option<String>,
}

/// The step's text form may hold slashes, so it is the rest of the path.
pub(crate) async fn post<L: EventLog, S: RunStore, V: Verdicts>(
    State(app): State<App<L, S, V>>,
    Path((run_id, rest)): Path<(String, String)>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    match rest.rsplit_once('/') {
        Some((step, "resolve")) => resolve::post(&app, &run_id, step.parse()?, request).await,
        Some((step, "pause")) => hold(&app, &run_id, step.parse()?, request, true).await,
        Some((step, "resume")) => hold(&app, &run_id, step.parse()?, request, false).await,
        _ => {
            let detail = "steps take POST …/steps/{step}/resolve, pause and resume only";
            Err(Problem::new(Code::RouteUnknown, detail))
        }
    }
}

async fn hold<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    run_id: &str,
    step: StepKey,
    request: Request,
    pause: bool,
) -> Result<Json<Value>, Problem> {
    let query: RunQuery = query::read(request.uri())?;
    let taken = body::take_json(&app.in_flight, request, limits::REQUEST_BYTES).await?;
    let hold: Hold = body::read_json(&taken.bytes)?;
    let tenant = hold.tenant.as_deref().or(query.tenant.as_deref());
    let run = query::run_key(tenant, run_id)?;
    let reason = body::optional_reason(hold.reason.as_deref());
    let (event, status) = match pause {
        true => (StepEvent::Paused { reason }, "paused"),
        false => (StepEvent::Resumed { reason }, "resumed"),
    };
    let event = Body::Step(run.run_id.clone(), step.clone(), event);
    let event = app.event(&run.tenant, hold.actor.as_deref(), event);
    let asked = ask::ask_one(app, &run, event).await?;
    let position = app.position(asked.partition, asked.offset);
    Ok(Json(json!({"step": step, "status": status, "position": position})))
}
