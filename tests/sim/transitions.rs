//! What was told of transitions, held against an independent reading of the log.

use crate::{check::all_records, folded::Folded, workload::TOPIC};
use spine_log::{EventLog, TopicPartition};
use spine_runs::{Answer, RunState, RunStatus, StepStatus, Verdict};
use spine_schemas::{Body, LifecycleRecord, RunEvent, StepEvent, StepKey};
use std::collections::BTreeMap;

pub(crate) const LIFECYCLE: &str = "spine.lifecycle";

/// What must be told: kinds by event.
#[derive(Debug, Default)]
pub(crate) struct Transitions {
    due: BTreeMap<String, &'static str>,
    /// Events that nobody was allowed to append.
    illegal: usize,
}

impl Transitions {
    pub(crate) fn take(&mut self, folded: &Folded<'_>) {
        let (event, verdict) = (folded.event, folded.verdict);
        self.illegal += usize::from(matches!(verdict, Verdict::Illegal(_)));
        let (Verdict::Applied(answer), Some(after)) = (verdict, folded.after) else { return };
        // An agent's operation that was refused may have taken over from another session, and does not do what it
        // says.
        let is_asked = matches!(answer, Answer::Asked { .. });
        let does = event.op.is_none() || answer.grants() || is_asked;
        let own = does.then(|| expected(folded, after)).flatten();
        if let Some(kind) = own {
            let before = self.due.insert(event.event_id.clone(), kind);
            assert_eq!(before, None, "event {} was applied twice", event.event_id);
        }
        self.take_over(folded, after, own);
    }

    /// Whoever replaces a session leaves the outcomes of its careful steps unknown, each of which is told.
    fn take_over(&mut self, folded: &Folded<'_>, after: &RunState, own: Option<&str>) {
        let Some(before) = folded.before.filter(|_| folded.event.op.is_some()) else { return };
        let is_own = |step: &StepKey| match &folded.event.body {
            Body::Step(_, key, _) => own == Some("step_unknown") && key == step,
            Body::Run(..) | Body::Partition(_) => false,
        };
        let unknown = after.steps.values().filter(|step| step.status == StepStatus::Unknown);
        for step in unknown.filter(|step| !is_own(&step.key)) {
            let was = before.steps.get(&step.key).map(|step| step.status);
            if was.is_some_and(|was| was != StepStatus::Unknown) {
                let id = format!("{}/{}", folded.event.event_id, step.key);
                self.due.insert(id, "step_unknown");
            }
        }
    }

    /// Every transition was told, and nothing else; what came again came with equal bytes.
    pub(crate) async fn check<L: EventLog>(&self, log: &L, partitions: u32) {
        let mut told: BTreeMap<String, Vec<u8>> = BTreeMap::new();
        for partition in 0..partitions {
            let at = TopicPartition::new(LIFECYCLE, partition);
            for record in all_records(log, &at).await {
                let value = record.value.unwrap().to_vec();
                let parsed = LifecycleRecord::parse(&value).unwrap();
                assert_eq!(parsed.position.partition, partition, "told beside its events");
                assert_eq!(parsed.position.topic, TOPIC);
                let run = format!("{}/{}", parsed.tenant.unwrap(), parsed.run_id.unwrap());
                assert_eq!(record.key.as_deref(), Some(run.as_bytes()));
                if let Some(before) = told.insert(parsed.event_id.clone(), value.clone()) {
                    assert_eq!(before, value, "transition {} has two forms", parsed.event_id);
                }
            }
        }
        let illegal = told.keys().filter(|id| id.starts_with("letter-")).count();
        assert_eq!(illegal, self.illegal, "letters of events that were not allowed");
        told.retain(|id, _| !id.starts_with("letter-"));
        for (id, kind) in &self.due {
            let value = told.remove(id).unwrap_or_else(|| panic!("{kind} of {id} was not told"));
            assert_eq!(LifecycleRecord::parse(&value).unwrap().kind.as_str(), *kind, "{id}");
        }
        assert!(told.is_empty(), "told without an applied event: {:?}", told.keys());
    }
}

fn expected(folded: &Folded<'_>, after: &RunState) -> Option<&'static str> {
    let (key, body) = match &folded.event.body {
        Body::Run(_, RunEvent::Completed { .. }) if after.status == RunStatus::Degraded => {
            return Some("run_degraded");
        }
        Body::Run(
            _,
            RunEvent::CancelRequested { .. }
            | RunEvent::SignalReceived { .. }
            | RunEvent::DecisionRecorded(_),
        )
        | Body::Partition(_) => return None,
        Body::Run(_, event) => return Some(event.kind().as_str()),
        Body::Step(_, key, body) => (key, body),
    };
    let was = folded.before.and_then(|run| run.steps.get(key));
    let is = &after.steps[key];
    let had_letter = was.is_some_and(|step| step.letter.is_some());
    let put_back = matches!(
        body,
        StepEvent::Redriven { .. }
            | StepEvent::TaskDecided { verdict: spine_schemas::TaskVerdict::Retry, .. }
    );
    let given_up = match body {
        StepEvent::Discarded { .. } => true,
        StepEvent::TaskDecided { verdict, .. } => {
            use spine_schemas::TaskVerdict::{Fail, Skip};
            matches!(verdict, Skip | Fail)
        }
        _ => false,
    };
    match body {
        StepEvent::DeadLettered { .. } => Some("step_dead_lettered"),
        _ if had_letter && is.letter.is_none() && put_back => Some("letter_redriven"),
        _ if had_letter && is.letter.is_none() && given_up => Some("letter_discarded"),
        _ if had_letter && is.letter.is_none() => Some("letter_resolved"),
        StepEvent::TaskOpened { .. } => Some("task_opened"),
        StepEvent::ApprovalRequested { .. } => Some("approval_requested"),
        _ if folded.asks_for_agent().is_some() => Some("approval_requested"),
        _ => {
            let was_unknown = was.is_some_and(|step| step.status == StepStatus::Unknown);
            (is.status == StepStatus::Unknown && !was_unknown).then_some("step_unknown")
        }
    }
}
