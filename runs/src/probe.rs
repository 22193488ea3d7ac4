//! Asking a tool whether a step took effect: when, and what may be believed of the answer.
//!
//! A "yes" is final. A "no" is final only where nothing can change it any more: the tool has made the key
//! void, or whoever sent the call can no longer be sending it. How long that takes is measured by the owner.

use crate::{
    RunState, StepState, StepStatus,
    limits::{PROBE_FIRST_MS, PROBE_MOST_MS},
    unresolved,
};
use spine_schemas::{
    Driver, Finding, Found, Output,
    mutants::{Mutant, planted},
    time::Micros,
};

/// What a tool said about a step.
#[derive(Clone, Debug, PartialEq)]
pub enum ProbeAnswer {
    /// The effect took place.
    Happened(Option<Output>),
    /// It did not.
    Absent,
    /// It gave no answer, or none that can be understood.
    Nothing(String),
}

/// The steps of a run whose tools are to be asked now. They are those of the state that was read back: a
/// tool that makes keys void is not asked about an attempt that may still run.
pub fn probes_due(run: &RunState, now: Micros) -> impl Iterator<Item = &StepState> {
    let may_ask = run.is_open() && run.driver() != Driver::Record && run.paused.is_none();
    let unknown = may_ask && run.steps.count(StepStatus::Unknown) > 0;
    let steps = unknown.then(|| run.steps.unsettled()).into_iter().flatten().map(|step| &**step);
    steps.filter(move |step| step.next_probe().is_some_and(|due| due <= now))
}

/// What an answer comes to. `is_over` says whether no call of the step can still be on its way, and
/// `over_in_ms` when that will be so.
pub fn finding(step: &StepState, answer: ProbeAnswer, over_in_ms: u64, now: Micros) -> Finding {
    let attempt = step.attempt;
    // A tool makes the key void for attempts up to the one that it is asked about. Where the log may lack
    // some, there may be later ones.
    let is_cut = step.error.as_ref().is_some_and(|error| error.code == "unknown");
    let voids = step.spec.probe.as_ref().is_some_and(|probe| probe.voids) && !is_cut;
    let unclear = |due_at, reason: String| Finding {
        attempt,
        found: Found::Unclear,
        output: None,
        due_at,
        reason,
    };
    match answer {
        ProbeAnswer::Happened(output) => Finding {
            attempt,
            found: Found::Happened,
            output,
            due_at: None,
            reason: "the tool says that it happened".into(),
        },
        ProbeAnswer::Absent if !may_believe_absent(step, now) => {
            let reason = "the tool says that it did not happen, but it may have forgotten, or an attempt has \
                          reported success";
            unclear(None, reason.into())
        }
        ProbeAnswer::Absent if voids || over_in_ms == 0 || planted(Mutant::BelieveEarlyNo) => {
            Finding {
                attempt,
                found: Found::Absent,
                output: None,
                due_at: None,
                reason: if voids {
                    "the tool says that it did not happen, and never will under this key".into()
                } else {
                    "the tool says that it did not happen, and no call can be on its way".into()
                },
            }
        }
        ProbeAnswer::Absent if !may_believe_absent(step, now.plus_ms(over_in_ms)) => {
            let reason = "the tool says that it has not happened, and may have forgotten the key by the time at \
                          which no call can be on its way";
            unclear(None, reason.into())
        }
        ProbeAnswer::Absent => {
            let reason =
                "the tool says that it has not happened, but the call may still be on its way";
            unclear(Some(now.plus_ms(over_in_ms)), reason.into())
        }
        ProbeAnswer::Nothing(why) => {
            let again = may_believe_absent(step, now).then(|| now.plus_ms(pause_ms(step)));
            unclear(again, why)
        }
    }
}

/// Whether "it did not happen" can be true for good: the tool still knows the key, and nobody said otherwise.
pub(crate) fn may_believe_absent(step: &StepState, at: Micros) -> bool {
    let first = unresolved::first(Driver::Plan, step).map(|at| step.attempts[at].started_at);
    // The log may lack the attempt that is in question.
    let since = first.unwrap_or(step.scheduled_at);
    at < since.plus_ms(step.spec.key_ttl_ms) && !step.late_success
}

/// How long after the start of waiting no call of the step can be on its way any more: the time of an
/// attempt, and that of its lease.
pub fn quiet_after_ms(step: &StepState) -> u64 {
    step.spec.timeout_ms.saturating_mul(2)
}

fn pause_ms(step: &StepState) -> u64 {
    let asked = step.probe.as_ref().map_or(0, |probing| probing.asked);
    PROBE_FIRST_MS.saturating_mul(1 << asked.min(20)).min(PROBE_MOST_MS)
}

impl StepState {
    /// When the tool is asked next whether the step took effect; `None` where it is not.
    pub fn next_probe(&self) -> Option<Micros> {
        let asks = self.status == StepStatus::Unknown && self.spec.probe.is_some();
        if !asks || self.paused.is_some() {
            return None;
        }
        match &self.probe {
            Some(probing) => probing.due_at,
            None => Some(self.scheduled_at),
        }
    }
}
