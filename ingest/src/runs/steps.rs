//! `GET /v1/runs/{id}/steps`: the steps of a run in key order, and one step.

use super::step_view::StepView;
use crate::{
    App, Code, Problem, Verdicts, limits,
    query::{self, AtLeast, RunQuery},
};
use axum::{
    Json,
    extract::{Path, State},
    http::Uri,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use spine_log::EventLog;
use spine_runs::StepState;
use spine_schemas::StepKey;
use spine_store::RunStore;
use std::ops::Bound;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepsQuery {
    tenant: Option<String>,
    at_least: Option<AtLeast>,
    /// The step that the page before ended with.
    after: Option<StepKey>,
    limit: Option<usize>,
}

/// A page of steps.
#[derive(Serialize)]
struct StepsPage<'a> {
    steps: Vec<StepView<'a>>,
    next: Option<&'a StepKey>,
}

/// Lists the steps of a run.
pub(crate) async fn list<L: EventLog, S: RunStore, V: Verdicts>(
    State(app): State<App<L, S, V>>,
    Path(run_id): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let query: StepsQuery = query::read(&uri)?;
    let rows = match query.limit {
        None => spine_store::limits::PAGE_ROWS,
        limit => query::page_rows(limit)?,
    };
    let run = query::run_key(query.tenant.as_deref(), &run_id)?;
    let (_, state) = app.load_run(&run, query.at_least).await?;
    let from = query.after.map_or(Bound::Unbounded, Bound::Excluded);
    let rest: Vec<&StepState> =
        state.steps.range((from, Bound::Unbounded)).map(|(_, step)| step.as_ref()).collect();
    let shown = page_len(&rest, rows);
    let next = if shown < rest.len() { rest[..shown].last().map(|step| &step.key) } else { None };
    let installation = &app.settings().installation_id;
    let steps = rest[..shown].iter().map(|step| StepView::of(installation, &state, step)).collect();
    Ok(Json(StepsPage { steps, next }).into_response())
}

/// How many of the steps fit into one answer; at least one.
fn page_len(steps: &[&StepState], rows: usize) -> usize {
    let mut bytes = 0;
    let fitting = steps.iter().take(rows).take_while(|step| {
        let first = bytes == 0;
        let output = step.output.as_ref().map_or(0, |output| output.payload.data.len());
        bytes += 1 + step.spec.input.data.len() + output;
        first || bytes <= limits::PAGE_BYTES
    });
    fitting.count()
}

/// Shows one step. Its text form may hold slashes, so it is the rest of the path.
pub(crate) async fn get<L: EventLog, S: RunStore, V: Verdicts>(
    State(app): State<App<L, S, V>>,
    Path((run_id, step)): Path<(String, String)>,
    uri: Uri,
) -> Result<Response, Problem> {
    let query: RunQuery = query::read(&uri)?;
    let run = query::run_key(query.tenant.as_deref(), &run_id)?;
    let key: StepKey = step.parse()?;
    let (_, state) = app.load_run(&run, query.at_least).await?;
    let Some(step) = state.steps.get(&key) else {
        return Err(Problem::new(Code::StepAbsent, format!("run {run} has no step {key}")));
    };
    Ok(Json(StepView::of(&app.settings().installation_id, &state, step)).into_response())
}
