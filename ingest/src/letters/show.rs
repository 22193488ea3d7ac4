//! `GET /v1/dead-letters/{id}`: one letter with every attempt.

use super::view::{LetterView, WholeLetterView};
use crate::{App, Code, Problem, Verdicts};
use axum::{
    Json,
    extract::{Path, State},
    response::{IntoResponse, Response},
};
use serde_json::value::RawValue;
use spine_log::EventLog;
use spine_store::RunStore;

/// Shows a letter.
pub(crate) async fn get<L: EventLog, S: RunStore, V: Verdicts>(
    State(app): State<App<L, S, V>>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let row = super::find(&app, &id).await?;
    let attempts: &RawValue = serde_json::from_str(&row.attempts_json).map_err(|error| {
        Problem::new(Code::StoreDamaged, format!("attempts of letter {id}: {error}"))
    })?;
    let source = app.position(row.partition, row.source_offset);
    let letter = LetterView::of(&row, source, app.position(row.partition, row.offset));
    Ok(Json(WholeLetterView { letter, attempts }).into_response())
}
