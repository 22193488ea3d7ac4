//! `POST /v1/runs/{id}/cancel|kill|pause|resume`: what somebody asks of a run as a whole, answered from
//! the verdict.

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
use spine_schemas::{Body, RunEvent};
use spine_store::RunStore;

/// What is asked.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Verb {
    /// It ends when nothing runs any more.
    Cancel,
    /// It ends now.
    Kill,
    /// Nothing new starts.
    Pause,
    /// It goes on.
    Resume,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Steer {
    reason: Option<String>,
    actor: Option<String>,
    tenant: Option<String>,
    compensate: Option<bool>,
}

impl Verb {
    fn event(self, reason: String, compensate: bool) -> RunEvent {
        match self {
            Self::Cancel => RunEvent::CancelRequested { reason, compensate },
            Self::Kill => RunEvent::Cancelled { reason },
            Self::Pause => RunEvent::Paused { reason },
            Self::Resume => RunEvent::Resumed { reason },
        }
    }

    fn done(self) -> &'static str {
        match self {
            Self::Cancel => "cancelling",
            Self::Kill => "cancelled",
            Self::Pause => "paused",
            Self::Resume => "resumed",
        }
    }
}

/// `POST /v1/runs/{id}/cancel`
pub(crate) async fn cancel<L: EventLog, S: RunStore, V: Verdicts>(
    State(app): State<App<L, S, V>>,
    Path(run_id): Path<String>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    steer(&app, &run_id, request, Verb::Cancel).await
}

/// `POST /v1/runs/{id}/kill`
pub(crate) async fn kill<L: EventLog, S: RunStore, V: Verdicts>(
    State(app): State<App<L, S, V>>,
    Path(run_id): Path<String>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    steer(&app, &run_id, request, Verb::Kill).await
}

/// `POST /v1/runs/{id}/pause`
pub(crate) async fn pause<L: EventLog, S: RunStore, V: Verdicts>(
    State(app): State<App<L, S, V>>,
    Path(run_id): Path<String>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    steer(&app, &run_id, request, Verb::Pause).await
}

/// `POST /v1/runs/{id}/resume`
pub(crate) async fn resume<L: EventLog, S: RunStore, V: Verdicts>(
    State(app): State<App<L, S, V>>,
    Path(run_id): Path<String>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    steer(&app, &run_id, request, Verb::Resume).await
}

async fn steer<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    run_id: &str,
    request: Request,
    verb: Verb,
) -> Result<Json<Value>, Problem> {
    let query: RunQuery = query::read(request.uri())?;
    let taken = body::take_json(&app.in_flight, request, limits::REQUEST_BYTES).await?;
    let steer: Steer = body::read_json(&taken.bytes)?;
    if steer.compensate.is_some() && !matches!(verb, Verb::Cancel) {
        let detail = "compensate: is for cancel; a run that is killed is not undone";
        return Err(Problem::new(Code::InvalidField, detail).with("field", "compensate"));
    }
    let tenant = steer.tenant.as_deref().or(query.tenant.as_deref());
    let run = query::run_key(tenant, run_id)?;
    let reason = body::optional_reason(steer.reason.as_deref());
    let event = |event| {
        let event = Body::Run(run.run_id.clone(), event);
        app.event(&run.tenant, steer.actor.as_deref(), event)
    };
    if let Verb::Kill = verb {
        // Of a run that is not there, or not Spine's to end, its end would be a false report.
        let asks = Verb::Cancel.event(reason.clone(), false);
        match ask::ask_one(app, &run, event(asks)).await {
            Err(problem) if problem.code() != Code::RunEnding => return Err(problem),
            Ok(_) | Err(_) => {}
        }
    }
    let compensate = steer.compensate.unwrap_or(false);
    let asked = ask::ask_one(app, &run, event(verb.event(reason, compensate))).await?;
    Ok(Json(json!({
        "run_id": run.run_id,
        "status": verb.done(),
        "position": app.position(asked.partition, asked.offset),
    })))
}
