//! An answer that somebody gives in place of a run's brain: looked at here, so that what is wrong with it is told
//! by its field. The fold refuses it all the same.

use crate::{App, Code, Problem, Verdicts};
use spine_log::EventLog;
use spine_runs::brain;
use spine_schemas::{Output, Payload, RunKey, StepKey};
use spine_store::RunStore;

/// Checks what a step is said to have produced, if that step asks the brain.
pub(crate) async fn check<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    run: &RunKey,
    step: &StepKey,
    output: Option<&Output>,
) -> Result<(), Problem> {
    if *step.scope != *spine_schemas::BRAIN_SCOPE {
        return Ok(());
    }
    let (_, state) = app.load_run(run, None).await?;
    let nothing = Output::of(Payload::null());
    match brain::answered(&state, step, output.unwrap_or(&nothing)) {
        Some(Err(error)) => {
            let problem = Problem::new(Code::BrainAnswer, format!("output: {}", error.message));
            Err(problem.with("field", "output"))
        }
        Some(Ok(_)) | None => Ok(()),
    }
}
