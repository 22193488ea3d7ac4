//! What a tool's probe found out.

use super::{Place, Verdict, gate::Author, operator};
use crate::{Answer, Probing, Reason, RunState, StepStatus, kept, probe};
use spine_schemas::{Finding, Found, Output, Payload, StepKey, limits};

/// The owner's decision on what a probe said.
pub(super) fn probed(
    state: &mut RunState,
    key: &StepKey,
    finding: &Finding,
    place: Place,
) -> Verdict {
    let driver = state.driver();
    let output = finding.output.clone().unwrap_or_else(|| Output::of(Payload::null()));
    let has_room = kept::has_room(state, output.payload.data.len());
    let Some(mut step) = state.steps.get_mut(key) else {
        return Author::Owner.reject(Reason::StepAbsent);
    };
    let is_open = step.status == StepStatus::Unknown && step.attempt == finding.attempt;
    if !is_open || step.spec.probe.is_none() {
        return Author::Owner.reject(Reason::LostRace);
    }
    let step = &mut *step;
    // Clocks differ: what an owner still believed may be too late by the log's.
    let is_believed = finding.found != Found::Absent || probe::may_believe_absent(step, place.at);
    let found = if is_believed { finding.found } else { Found::Unclear };
    match found {
        Found::Happened => {
            operator::happened(step, kept::output(&output, has_room), "probe", place);
        }
        Found::Absent => {
            operator::did_not_happen(driver, step);
            // A tool that loses each attempt is found, however often its probe says that nothing happened.
            if step.lost_in_row >= limits::LOST_IN_ROW {
                step.status = StepStatus::Failed;
            }
        }
        Found::Unclear => {
            let asked = step.probe.as_ref().map_or(0, |probing| probing.asked) + 1;
            let (due_at, answer) = (finding.due_at, finding.reason.clone());
            step.probe = Some(Box::new(Probing { asked, due_at, answer }));
        }
    }
    step.last_offset = place.offset;
    Verdict::Applied(Answer::Ok)
}
