//! Approvals, told from the log alone: which call was asked about, who said yes to it, and that none was made
//! before as many different people had as it needs.

use crate::folded::Folded;
use spine_runs::{RunState, StepState};
use spine_schemas::{Body, Digest, RunKey, StepEvent, StepKey, TaskVerdict};
use std::collections::{BTreeMap, BTreeSet};

/// Who approved of which call of which step.
#[derive(Debug, Default)]
pub(crate) struct Approvals {
    /// The call that each question was about, as people were shown it.
    asked: BTreeMap<Digest, Digest>,
    said_yes: BTreeMap<(RunKey, StepKey, Digest), BTreeSet<String>>,
    said_no: BTreeSet<(RunKey, StepKey, Digest)>,
}

impl Approvals {
    pub(crate) fn take(&mut self, folded: &Folded<'_>) {
        if let Some(step) = folded.asks_for_agent() {
            let task = step.task.as_ref().map(|task| task.task_id);
            self.asked.extend(task.map(|task_id| (task_id, step.call_digest())));
        }
        if let Some((run, step)) = folded.begun() {
            self.check_start(run, step);
        }
        let run = folded.after.filter(|_| folded.is_applied());
        let (Body::Step(_, key, body), Some(run)) = (&folded.event.body, run) else { return };
        match body {
            StepEvent::ApprovalRequested { task_id, call, .. } => {
                self.asked.insert(*task_id, *call);
            }
            StepEvent::TaskDecided { task_id, verdict, .. } => {
                let Some(call) = self.asked.get(task_id) else { return };
                let call = (run.key.clone(), key.clone(), *call);
                self.decided(call, *verdict, &folded.event.actor);
            }
            _ => {}
        }
    }

    fn decided(&mut self, call: (RunKey, StepKey, Digest), verdict: TaskVerdict, by: &str) {
        match verdict {
            TaskVerdict::Approve => {
                self.said_yes.entry(call).or_default().insert(by.to_owned());
            }
            TaskVerdict::Deny => {
                self.said_no.insert(call);
            }
            TaskVerdict::Retry | TaskVerdict::Complete | TaskVerdict::Skip | TaskVerdict::Fail => {
                panic!("{call:?}: {verdict:?} is no answer about a call");
            }
        }
    }

    fn check_start(&self, run: &RunState, step: &StepState) {
        if step.spec.approval_ms.is_none() {
            return;
        }
        let (name, key, needed) = (&run.key, &step.key, step.spec.quorum.unwrap_or(1));
        let call = (name.clone(), key.clone(), step.call_digest());
        let said_yes = self.said_yes.get(&call).map_or(0, BTreeSet::len);
        assert!(
            said_yes >= needed as usize,
            "{name} {key}: called although {said_yes} of {needed} approved of this call",
        );
        assert!(!self.said_no.contains(&call), "{name} {key}: called although denied");
    }
}
