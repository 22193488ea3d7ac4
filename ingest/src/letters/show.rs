//! `GET /v1/dead-letters/{id}`: one letter with every attempt.

use crate::{App, Problem, Verdicts};
use axum::{
    extract::{Path, State},
    response::Response,
};
use spine_log::EventLog;
use spine_store::RunStore;

/// Shows a letter.
pub(crate) async fn get<L: EventLog, S: RunStore, V: Verdicts>(
    State(app): State<App<L, S, V>>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let row = super::find(&app, &id).await?;
    super::whole(&app, &row, None)
}
