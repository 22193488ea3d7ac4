//! Whether the process lives, whether it can work, what it measures, and where everything is.

use crate::{App, Code, Problem, Verdicts};
use axum::{Json, extract::State, http::header, response::IntoResponse};
use serde_json::{Value, json};
use spine_log::EventLog;
use spine_store::RunStore;

/// `GET /healthz`: the process answers.
pub(crate) async fn healthz() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// `GET /readyz`: every partition of this process has an owner that has caught up. Partitions that nobody attends to
/// are named and change nothing of that: whoever comes in here can do nothing about them, and facts are taken.
pub(crate) async fn readyz<L: EventLog, S: RunStore, V: Verdicts>(
    State(app): State<App<L, S, V>>,
) -> Result<Json<Value>, Problem> {
    let unattended = app.alarms.list();
    match (app.verdicts().ready(), unattended.is_empty()) {
        (Ok(()), true) => Ok(Json(json!({"status": "ready"}))),
        (Ok(()), false) => Ok(Json(json!({"status": "ready", "unattended": unattended}))),
        (Err(missing), true) => Err(Problem::new(Code::NotReady, missing)),
        (Err(missing), false) => {
            Err(Problem::new(Code::NotReady, missing).with("unattended", unattended))
        }
    }
}

/// `GET /metrics`: Prometheus text.
pub(crate) async fn metrics<L: EventLog, S: RunStore, V: Verdicts>(
    State(app): State<App<L, S, V>>,
) -> impl IntoResponse {
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], (app.parts.metrics_text)())
}

/// `GET /`: what this is and where to go on.
pub(crate) async fn index() -> Json<Value> {
    Json(json!({
        "name": "spine",
        "version": env!("CARGO_PKG_VERSION"),
        "links": {
            "events": "/v1/events",
            "runs": "/v1/runs",
            "failing": "/v1/failing",
            "dead_letters": "/v1/dead-letters",
            "tasks": "/v1/tasks",
            "tools": "/v1/tools",
            "queues": "/v1/queues/{name}/lease",
            "partitions": "/v1/partitions",
            "metrics": "/metrics",
            "health": "/healthz",
            "ready": "/readyz",
        },
    }))
}

/// Any other route of a process that only owns partitions.
pub(crate) async fn no_way_in() -> Problem {
    Problem::new(Code::RouteUnknown, "this process only runs workers: ask one with the role ingest")
}

/// Any other route.
pub(crate) async fn unknown_route() -> Problem {
    Problem::new(Code::RouteUnknown, "no route has this path")
}
