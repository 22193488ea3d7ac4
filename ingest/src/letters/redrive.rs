//! `POST /v1/dead-letters/{id}/redrive`: puts a letter back to work, answered from the verdict.

use super::records;
use crate::{App, Code, Problem, Verdicts, ask, body, limits};
use axum::{
    Json,
    extract::{Path, Request, State},
};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use spine_log::EventLog;
use spine_schemas::{Body, InputEdit, Payload, RunKey, StepEvent, StepKey};
use spine_store::{LetterKind, LetterRow, RunStore};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Redrive<'a> {
    reason: Option<String>,
    actor: Option<String>,
    #[serde(default)]
    force: bool,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
}

/// Redrives a letter.
pub(crate) async fn post<L: EventLog, S: RunStore, V: Verdicts>(
    State(app): State<App<L, S, V>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let taken = body::take_json(&app.in_flight, request, limits::REQUEST_BYTES).await?;
    let redrive: Redrive<'_> = body::read_json(&taken.bytes)?;
    let reason = body::reason(redrive.reason.as_deref())?;
    let letter = super::find(&app, &id).await?;
    let (letter_id, actor) = (letter.letter_id, redrive.actor.as_deref());
    let asked = match letter.kind {
        LetterKind::Step => {
            let (run, event) = step_event(&app, &letter, &redrive, reason).await?;
            let event = app.event(&run.tenant, actor, event);
            ask::ask_one(&app, &run, event).await?
        }
        LetterKind::Record if redrive.input.is_some() => {
            let detail = "input: the bytes of a record cannot be edited";
            return Err(Problem::new(Code::InvalidField, detail).with("field", "input"));
        }
        LetterKind::Task => unreachable!("a task is no letter"),
        LetterKind::Record => records::redrive(&app, letter, actor, reason).await?,
    };
    let position = app.position(asked.partition, asked.offset);
    Ok(Json(json!({"id": letter_id, "status": "redriven", "position": position})))
}

async fn step_event<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    letter: &LetterRow,
    redrive: &Redrive<'_>,
    reason: String,
) -> Result<(RunKey, Body), Problem> {
    let (run, step) = super::step_of(letter)?;
    let edit = match redrive.input {
        Some(input) => Some(edit(app, &run, &step, input).await?),
        None => None,
    };
    let letter_id = letter.letter_id;
    let event = StepEvent::Redriven { letter_id, reason, force: redrive.force, edit };
    Ok((run.clone(), Body::Step(run.run_id.clone(), step, event)))
}

/// The edit names the input that it replaces, so that it cannot replace another one unseen.
async fn edit<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    run: &RunKey,
    step: &StepKey,
    input: &RawValue,
) -> Result<InputEdit, Problem> {
    let (_, state) = app.load_run(run, None).await?;
    let Some(state) = state.steps.get(step) else {
        return Err(Problem::new(Code::StepAbsent, format!("run {run} has no step {step}")));
    };
    let after = Payload::json("input", input.get().to_owned())?;
    Ok(InputEdit { before: state.spec.input.digest, after })
}
