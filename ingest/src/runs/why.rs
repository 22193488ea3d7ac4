//! `GET /v1/runs/{id}/why`: one true sentence, and what can happen next.

use crate::{
    App, Problem, Verdicts,
    query::{self, RunQuery},
};
use axum::{
    Json,
    extract::{Path, State},
    http::Uri,
};
use serde_json::{Value, json};
use spine_log::EventLog;
use spine_runs::Why;
use spine_store::RunStore;

/// Explains a run.
pub(crate) async fn get<L: EventLog, S: RunStore, V: Verdicts>(
    State(app): State<App<L, S, V>>,
    Path(run_id): Path<String>,
    uri: Uri,
) -> Result<Json<Value>, Problem> {
    let query: RunQuery = query::read(&uri)?;
    let run = query::run_key(query.tenant.as_deref(), &run_id)?;
    let (_, state) = app.load_run(&run, query.at_least).await?;
    let Why { sentence, next } = spine_runs::why(&state);
    Ok(Json(json!({"status": state.public_status(), "why": sentence, "next": next})))
}
