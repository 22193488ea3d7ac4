//! `POST /v1/dead-letters/{id}/discard`: gives a letter up and says what follows for its run.

use super::records;
use crate::{App, Code, Problem, Verdicts, ask, body, limits};
use axum::{
    Json,
    extract::{Path, Request, State},
};
use serde::Deserialize;
use serde_json::{Value, json};
use spine_log::EventLog;
use spine_schemas::{Body, StepEvent, Then};
use spine_store::{LetterKind, RunStore};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Discard {
    then: Option<Then>,
    reason: Option<String>,
    actor: Option<String>,
}

/// Discards a letter.
pub(crate) async fn post<L: EventLog, S: RunStore, V: Verdicts>(
    State(app): State<App<L, S, V>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let taken = body::take_json(&app.in_flight, request, limits::REQUEST_BYTES).await?;
    let discard: Discard = body::read_json(&taken.bytes)?;
    let reason = body::reason(discard.reason.as_deref())?;
    let letter = super::find(&app, &id).await?;
    let (letter_id, actor) = (letter.letter_id, discard.actor.as_deref());
    let asked = match (letter.kind, discard.then) {
        (LetterKind::Step, Some(then)) => {
            let (run, step) = super::step_of(&letter)?;
            let event = StepEvent::Discarded { letter_id, then, reason };
            let event = Body::Step(run.run_id.clone(), step, event);
            let event = app.event(&run.tenant, actor, event);
            ask::ask_one(&app, &run, event).await?
        }
        (LetterKind::Step, None) => {
            let detail = "then: is missing; say fail or skip";
            return Err(Problem::new(Code::InvalidField, detail).with("field", "then"));
        }
        (LetterKind::Task, _) => unreachable!("a task is no letter"),
        // No run waits for a record.
        (LetterKind::Record, _) => records::discard(&app, &letter, actor, reason).await?,
    };
    let position = app.position(asked.partition, asked.offset);
    Ok(Json(json!({"id": letter_id, "status": "discarded", "position": position})))
}
