//! `GET /v1/runs/{id}/decisions`: what agents decided, and on what grounds.

use crate::{
    App, Problem, Verdicts,
    query::{self, PageQuery},
    views::{PayloadView, PositionView, Time},
};
use axum::{
    Json,
    extract::{Path, State},
    http::Uri,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use spine_log::EventLog;
use spine_schemas::{Decision, StepKey};
use spine_store::{DecisionRow, RunStore};

#[derive(Serialize)]
struct DecisionsPage<'a> {
    decisions: Vec<RowView<'a>>,
    next: Option<u64>,
}

#[derive(Serialize)]
struct RowView<'a> {
    position: PositionView,
    at: Time,
    actor: &'a str,
    #[serde(flatten)]
    decision: DecisionView<'a>,
}

/// What an agent decided; the names are those of the event.
#[derive(Serialize)]
struct DecisionView<'a> {
    decision: &'a str,
    request: &'a str,
    agent: &'a str,
    reasoning: &'a str,
    action: &'a str,
    params: Option<PayloadView<'a>>,
    result: Option<PayloadView<'a>>,
    error: Option<&'a str>,
    confidence: Option<f64>,
    step: Option<&'a StepKey>,
}

/// Lists the decisions of a run in the order of the log.
pub(crate) async fn list<L: EventLog, S: RunStore, V: Verdicts>(
    State(app): State<App<L, S, V>>,
    Path(run_id): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let query: PageQuery = query::read(&uri)?;
    let limit = query::page_rows(query.limit)?;
    let run = query::run_key(query.tenant.as_deref(), &run_id)?;
    app.load_run(&run, query.at_least).await?;
    let rows = app.store().run_decisions(&run, query.from.unwrap_or(0), limit).await?;
    let next = rows.last().filter(|_| rows.len() == limit).map(|row| row.offset + 1);
    let view = |row| row_view(row, app.position(row.partition, row.offset));
    let decisions = rows.iter().map(view).collect();
    Ok(Json(DecisionsPage { decisions, next }).into_response())
}

fn row_view(row: &DecisionRow, position: PositionView) -> RowView<'_> {
    RowView { position, at: Time(row.at), actor: &row.actor, decision: view(&row.decision) }
}

fn view(decision: &Decision) -> DecisionView<'_> {
    DecisionView {
        decision: &decision.decision,
        request: &decision.request,
        agent: &decision.agent,
        reasoning: &decision.reasoning,
        action: &decision.action,
        params: decision.params.as_ref().map(PayloadView),
        result: decision.result.as_ref().map(PayloadView),
        error: decision.error.as_deref(),
        confidence: decision.confidence,
        step: decision.step.as_ref(),
    }
}
