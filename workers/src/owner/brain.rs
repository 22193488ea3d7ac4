//! What a brain has answered, looked at before it becomes an outcome: one that the plan cannot take, or that
//! names a tool which must not be called, is a failure of its attempt and says so in the log.

use crate::tools::{CallEnd, Tools};
use spine_runs::{RunState, brain};
use spine_schemas::{BRAIN_ANSWER, ErrorClass, Plan, StepError, StepKey};
use std::sync::Arc;

/// The end of a call of a step that may have asked a brain; `run` is as it was when the call began.
pub(super) fn judged<T: Tools>(run: &RunState, step: &StepKey, tools: &T, end: CallEnd) -> CallEnd {
    let CallEnd::Completed { output, usage } = end else { return end };
    let kept =
        spine_schemas::Output { payload: output.payload.clone().omit_if_large(), ..output.clone() };
    let refused = match brain::answered(run, step, &kept) {
        None => None,
        Some(Ok(plan)) => forbidden(&plan, tools),
        Some(Err(error)) => Some(error),
    };
    refused.map_or(CallEnd::Completed { output, usage }, CallEnd::Failed)
}

/// Whether a run has somebody to ask; the others need no second look.
pub(super) fn asks(run: &Arc<RunState>, step: &StepKey) -> bool {
    run.plan().and_then(|plan| plan.next_ask()).is_some_and(|ask| ask.key == *step)
}

/// A step of the newest answer whose tool must not be called.
fn forbidden<T: Tools>(plan: &Plan, tools: &T) -> Option<StepError> {
    let (field, refusal) = plan.refused_tool(plan.newest(), &|tool| tools.check(tool))?;
    let message = format!("answer: {field}: {refusal}");
    Some(StepError::new(ErrorClass::Contract, BRAIN_ANSWER, message))
}
