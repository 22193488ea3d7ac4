//! Dead letters: listed, shown, put back to work, given up.

pub(crate) mod discard;
pub(crate) mod list;
mod records;
pub(crate) mod redrive;
pub(crate) mod show;
mod view;

use crate::{App, Code, Problem, Verdicts};
use spine_log::EventLog;
use spine_schemas::{Digest, RunKey, StepKey};
use spine_store::{LetterRow, RunStore};

/// The letter that an address names.
async fn find<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    id: &str,
) -> Result<LetterRow, Problem> {
    let absent = || Problem::new(Code::LetterAbsent, format!("there is no dead letter {id}"));
    let id: Digest = id.parse().map_err(|_| absent())?;
    app.store().letter(&id).await?.ok_or_else(absent)
}

/// The step that a letter is about.
fn step_of(letter: &LetterRow) -> Result<(RunKey, StepKey), Problem> {
    match (&letter.tenant, &letter.run_id, &letter.step) {
        (Some(tenant), Some(run_id), Some(step)) => Ok((RunKey::new(tenant, run_id), step.clone())),
        _ => {
            let detail = format!("letter {} of a step names no step", letter.letter_id);
            Err(Problem::new(Code::StoreDamaged, detail))
        }
    }
}
