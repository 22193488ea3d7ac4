//! Dead letters: listed, shown, put back to work, given up.

pub(crate) mod discard;
pub(crate) mod list;
mod records;
pub(crate) mod redrive;
pub(crate) mod show;
pub(crate) mod view;

use crate::{App, Code, Problem, Verdicts, approval::ApprovalView};
use axum::{
    Json,
    response::{IntoResponse, Response},
};
use serde_json::value::RawValue;
use spine_log::EventLog;
use spine_schemas::{Digest, RunKey, StepKey};
use spine_store::{LetterKind, LetterRow, RunStore};
use view::{LetterView, WholeLetterView};

/// The letter that an address names.
async fn find<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    id: &str,
) -> Result<LetterRow, Problem> {
    let absent = || Problem::new(Code::LetterAbsent, format!("there is no dead letter {id}"));
    let id: Digest = id.parse().map_err(|_| absent())?;
    let row = app.store().letter(&id).await?.ok_or_else(absent)?;
    // Tasks lie beside them, and have routes of their own.
    if row.kind == LetterKind::Task { Err(absent()) } else { Ok(row) }
}

/// A letter or a task with every attempt.
pub(crate) fn whole<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    row: &LetterRow,
    approval: Option<ApprovalView>,
) -> Result<Response, Problem> {
    let attempts: &RawValue = serde_json::from_str(&row.attempts_json).map_err(|error| {
        Problem::new(Code::StoreDamaged, format!("attempts of {}: {error}", row.letter_id))
    })?;
    let letter = LetterView::of(app, row).with(approval);
    Ok(Json(WholeLetterView { letter, attempts }).into_response())
}

/// The step that a letter is about.
pub(crate) fn step_of(letter: &LetterRow) -> Result<(RunKey, StepKey), Problem> {
    match (&letter.tenant, &letter.run_id, &letter.step) {
        (Some(tenant), Some(run_id), Some(step)) => Ok((RunKey::new(tenant, run_id), step.clone())),
        _ => {
            let detail = format!("letter {} of a step names no step", letter.letter_id);
            Err(Problem::new(Code::StoreDamaged, detail))
        }
    }
}
