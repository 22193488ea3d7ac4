//! `GET /v1/runs`: runs, newest first, with stable paging.

use crate::{
    App, Code, Problem, Verdicts, query,
    views::{PositionView, Time},
};
use axum::{Json, extract::State, http::Uri};
use serde::{Deserialize, Serialize};
use spine_log::EventLog;
use spine_schemas::check_tenant;
use spine_store::{RunFilter, RunRow, RunStore};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    status: Option<String>,
    workflow: Option<String>,
    tenant: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// A page of runs.
#[derive(Serialize)]
pub(crate) struct RunsPage {
    runs: Vec<RowView>,
    next: Option<String>,
}

/// A run in a list.
#[derive(Serialize)]
struct RowView {
    tenant: String,
    run_id: String,
    workflow: String,
    version: String,
    driver: String,
    status: String,
    steps: CountsView,
    attempts: u64,
    cost_micros: u64,
    started_at: Time,
    ended_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stalled_since: Option<Time>,
    applied: PositionView,
}

/// Steps by what became of them.
#[derive(Serialize)]
pub(super) struct CountsView {
    pub(super) total: u32,
    pub(super) completed: u32,
    pub(super) failed: u32,
    pub(super) dead_lettered: u32,
}

const STATUSES: [&str; 6] = ["running", "waiting", "completed", "degraded", "failed", "cancelled"];

/// Lists runs.
pub(crate) async fn get<L: EventLog, S: RunStore, V: Verdicts>(
    State(app): State<App<L, S, V>>,
    uri: Uri,
) -> Result<Json<RunsPage>, Problem> {
    let query: ListQuery = query::read(&uri)?;
    let limit = query::page_rows(query.limit)?;
    if let Some(tenant) = &query.tenant {
        check_tenant(tenant)?;
    }
    if let Some(status) = query.status.as_deref().filter(|status| !STATUSES.contains(status)) {
        let detail = format!("status: '{status}' is none of {}", STATUSES.join(", "));
        return Err(Problem::new(Code::BadQuery, detail));
    }
    let ListQuery { status, workflow, tenant, cursor, limit: _ } = query;
    let filter = RunFilter { tenant, workflow, status };
    let page = app.store().list_runs(&filter, cursor.as_deref(), limit).await?;
    let view = |row: RunRow| {
        let applied = app.position(row.partition, row.last_offset);
        row_view(row, applied)
    };
    Ok(Json(RunsPage { runs: page.rows.into_iter().map(view).collect(), next: page.next }))
}

fn row_view(row: RunRow, applied: PositionView) -> RowView {
    let [total, completed, failed, dead_lettered] = row.steps;
    RowView {
        tenant: row.key.tenant.to_string(),
        run_id: row.key.run_id.to_string(),
        workflow: row.workflow,
        version: row.version,
        driver: row.driver,
        status: row.status,
        steps: CountsView { total, completed, failed, dead_lettered },
        attempts: row.attempts,
        cost_micros: row.cost_micros,
        started_at: Time(row.started_at),
        ended_at: Time::of(row.ended_at),
        stalled_since: Time::of(row.stalled_since),
        applied,
    }
}
