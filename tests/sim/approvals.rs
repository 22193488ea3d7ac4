//! Approvals, told from the log alone: which call was asked about, who said yes to it, and that none was made
//! before as many different people had as it needs.

use spine_runs::{RunState, StepStatus};
use spine_schemas::{Body, Digest, Event, RunKey, StepEvent, StepKey, TaskVerdict};
use std::collections::{BTreeMap, BTreeSet};

/// Whether a step waits for an approval.
pub(crate) fn is_asked(run: Option<&RunState>, step: &StepKey) -> bool {
    let step = run.and_then(|run| run.steps.get(step));
    step.is_some_and(|step| {
        let asks = step.task.as_ref().is_some_and(|task| task.call.is_some());
        asks && step.status == StepStatus::Awaiting
    })
}

/// Who approved of which call of which step.
#[derive(Debug, Default)]
pub(crate) struct Approvals {
    said_yes: BTreeMap<(RunKey, StepKey, Digest), BTreeSet<String>>,
    said_no: BTreeSet<(RunKey, StepKey, Digest)>,
}

impl Approvals {
    pub(crate) fn take(
        &mut self,
        event: &Event,
        applied: bool,
        before: Option<&RunState>,
        after: Option<&RunState>,
    ) {
        let (Body::Step(_, key, body), Some(run)) = (&event.body, after) else { return };
        let step = before.and_then(|run| run.steps.get(key));
        let call = || step.map(|step| (run.key.clone(), key.clone(), step.call_digest()));
        match body {
            StepEvent::TaskDecided { verdict: TaskVerdict::Approve, .. } if applied => {
                if let Some(call) = call() {
                    self.said_yes.entry(call).or_default().insert(event.actor.clone());
                }
            }
            StepEvent::TaskDecided { verdict: TaskVerdict::Deny, .. } if applied => {
                self.said_no.extend(call());
            }
            StepEvent::Started(_) if applied && !is_asked(after, key) => {
                let step = &run.steps[key];
                if step.spec.approval_ms.is_some() {
                    self.check_start(run, key, step.spec.quorum.unwrap_or(1));
                }
            }
            _ => {}
        }
    }

    fn check_start(&self, run: &RunState, key: &StepKey, needed: u32) {
        let call = (run.key.clone(), key.clone(), run.steps[key].call_digest());
        let said_yes = self.said_yes.get(&call).map_or(0, BTreeSet::len);
        assert!(
            said_yes >= needed as usize,
            "{} {key}: called although {said_yes} of {needed} approved of this call",
            run.key
        );
        assert!(!self.said_no.contains(&call), "{} {key}: called although denied", run.key);
    }
}
