//! Acting: one call for each accepted start of ours, and its outcome until it has been read back.

use super::Owner;
use crate::{
    Clock,
    tools::{CallEnd, ToolCall, Tools},
};
use spine_log::EventLog;
use spine_runs::{Live, RunState, StepState, Verdict};
use spine_schemas::{
    Body, ErrorClass, Event, Fault, RunKey, StepError, StepEvent, StepKey, Trace, keys,
};
use spine_store::RunStore;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::time::Instant;

/// The attempts that this process runs, by lease, from acting to the read-back of the outcome.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    held: BTreeSet<u64>,
    open: BTreeMap<u64, Attempt>,
    tools: BTreeMap<String, usize>,
    runs: BTreeMap<RunKey, BTreeSet<u64>>,
}

#[derive(Debug)]
struct Attempt {
    run: RunKey,
    step: StepKey,
    tool: String,
    number: u32,
    /// What to append, once the call has ended.
    outcome: Option<Vec<Body>>,
    /// Whether it is on its way into the log.
    appended: bool,
}

impl Attempts {
    pub(super) fn held(&self) -> &BTreeSet<u64> {
        &self.held
    }

    pub(super) fn len(&self) -> usize {
        self.held.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    pub(super) fn tools(&self) -> &BTreeMap<String, usize> {
        &self.tools
    }

    /// Runs with an open attempt stay in memory.
    pub(super) fn pins(&self, key: &RunKey) -> bool {
        self.runs.contains_key(key)
    }

    fn insert(&mut self, lease: u64, attempt: Attempt) {
        self.held.insert(lease);
        *self.tools.entry(attempt.tool.clone()).or_default() += 1;
        self.runs.entry(attempt.run.clone()).or_default().insert(lease);
        self.open.insert(lease, attempt);
    }

    /// The outcome of an attempt was read back, or the fold gave up the attempt.
    pub(super) fn remove(&mut self, lease: u64) -> bool {
        let Some(attempt) = self.open.remove(&lease) else {
            return false;
        };
        self.held.remove(&lease);
        if let Some(count) = self.tools.get_mut(&attempt.tool) {
            *count -= 1;
            if *count == 0 {
                self.tools.remove(&attempt.tool);
            }
        }
        if let Some(leases) = self.runs.get_mut(&attempt.run) {
            leases.remove(&lease);
            if leases.is_empty() {
                self.runs.remove(&attempt.run);
            }
        }
        true
    }

    /// Takes the outcomes of a run that are not under way yet.
    pub(super) fn take_outcomes(&mut self, key: &RunKey) -> Vec<Body> {
        let leases = self.runs.get(key).into_iter().flatten();
        let mut bodies = Vec::new();
        for lease in leases {
            let Some(attempt) = self.open.get_mut(lease) else {
                continue;
            };
            if let (Some(outcome), false) = (&attempt.outcome, attempt.appended) {
                bodies.extend(outcome.iter().cloned());
                attempt.appended = true;
            }
        }
        bodies
    }

    pub(super) fn has_outcomes(&self, key: &RunKey) -> bool {
        let leases = self.runs.get(key).into_iter().flatten();
        leases.filter_map(|lease| self.open.get(lease)).any(Attempt::is_due)
    }

    pub(super) fn runs_with_outcomes(&self) -> Vec<RunKey> {
        self.runs.keys().filter(|key| self.has_outcomes(key)).cloned().collect()
    }

    /// Whether every attempt has ended and its outcome is on its way into the log, or there.
    pub(super) fn all_appended(&self) -> bool {
        self.open.values().all(|attempt| attempt.appended)
    }

    /// Outcomes are appended again by whoever holds them until they have been read.
    pub(super) fn append_again(&mut self) {
        for attempt in self.open.values_mut() {
            attempt.appended = false;
        }
    }

    /// The same for one run.
    pub(super) fn append_again_of(&mut self, key: &RunKey) {
        for lease in self.runs.get(key).into_iter().flatten() {
            if let Some(attempt) = self.open.get_mut(lease) {
                attempt.appended = false;
            }
        }
    }
}

impl Attempt {
    fn is_due(&self) -> bool {
        self.outcome.is_some() && !self.appended
    }
}

impl<L, S, T, C> Owner<L, S, T, C>
where
    L: EventLog,
    S: RunStore,
    T: Tools,
    C: Clock,
{
    /// Acts on a start that was accepted under the current claim and read after it. An owner that
    /// is about to go hands it back instead.
    pub(super) fn act(&mut self, run: &RunState, step: &StepState, live: &Live) {
        let attempt = Attempt {
            run: run.key.clone(),
            step: step.key.clone(),
            tool: step.spec.tool.clone(),
            number: live.attempt,
            outcome: None,
            appended: false,
        };
        let lease = live.lease;
        self.attempts.insert(lease, attempt);
        if self.drain_until.is_some() {
            let released = StepEvent::Released { attempt: live.attempt, lease, error: None };
            let outcome = vec![Body::Step(run.key.run_id.clone(), step.key.clone(), released)];
            self.outcome_due(lease, outcome);
            return;
        }
        let plan = run.created.plan.as_ref();
        if let Some(fault) = plan.and_then(|plan| plan.fault(&step.key, live.attempt)) {
            let outcome = injected(run, &step.key, live, fault);
            self.outcome_due(lease, outcome);
            return;
        }
        #[cfg(feature = "mutants")]
        if self.take_early(run, step, live) {
            return;
        }
        let intended_at = self.appends.posted_at(&run.key);
        let installation = &self.node.config.installation_id;
        let call = tool_call(installation, run, step, live, intended_at);
        let tools = self.node.tools.clone();
        self.calls.spawn(async move { (lease, tools.call(call).await) });
    }

    /// A call ended: its outcome is due.
    pub(super) fn call_ended(&mut self, lease: u64, end: CallEnd) {
        let Some(attempt) = self.attempts.open.get(&lease) else {
            return;
        };
        let run_id = attempt.run.run_id.clone();
        let number = attempt.number;
        let body = match end {
            CallEnd::Completed { output, usage } => {
                let payload = output.payload.clone().omit_if_large();
                let output = spine_schemas::Output { payload, ..output };
                StepEvent::Completed { attempt: number, lease: Some(lease), output, usage }
            }
            CallEnd::Failed(error) => {
                StepEvent::Failed { attempt: number, lease: Some(lease), error, usage: None }
            }
            CallEnd::NeverSent(error) => {
                StepEvent::Released { attempt: number, lease, error: Some(error) }
            }
        };
        let outcome = vec![Body::Step(run_id, attempt.step.clone(), body)];
        self.outcome_due(lease, outcome);
    }

    fn outcome_due(&mut self, lease: u64, outcome: Vec<Body>) {
        if let Some(attempt) = self.attempts.open.get_mut(&lease) {
            attempt.outcome = Some(outcome);
            self.ready.insert(attempt.run.clone());
        }
    }

    /// Lets go of the attempt that an event ended. An outcome that was read is done with, whatever
    /// became of it; a loss that the fold did not accept ended nothing.
    pub(super) fn outcome_folded(&mut self, event: &Event, verdict: &Verdict) {
        let Body::Step(_, _, body) = &event.body else { return };
        let lease = match (body, verdict) {
            (_, Verdict::Illegal(_) | Verdict::Refused(..)) => None,
            (StepEvent::Completed { lease, .. } | StepEvent::Failed { lease, .. }, _) => *lease,
            (StepEvent::Released { lease, .. }, _) => Some(*lease),
            (StepEvent::Lost { lease, .. }, Verdict::Applied(_)) => Some(*lease),
            _ => None,
        };
        if lease.is_some_and(|lease| self.attempts.remove(lease)) {
            self.freed += 1;
        }
    }
}

/// What a planned fault leaves in the log instead of a call.
fn injected(run: &RunState, step: &StepKey, live: &Live, fault: Fault) -> Vec<Body> {
    let class = match fault {
        Fault::Timeout => ErrorClass::Timeout,
        Fault::Transient => ErrorClass::Transient,
        Fault::Terminal => ErrorClass::Terminal,
    };
    let code = format!("injected_{}", fault.as_str());
    let error = StepError::new(class, code, "injected by the plan; the tool was not called");
    let body = |event| Body::Step(run.key.run_id.clone(), step.clone(), event);
    let (attempt, lease) = (live.attempt, Some(live.lease));
    vec![
        body(StepEvent::FaultInjected { attempt, fault }),
        body(StepEvent::Failed { attempt, lease, error, usage: None }),
    ]
}

pub(super) fn tool_call(
    installation: &str,
    run: &RunState,
    step: &StepState,
    live: &Live,
    intended_at: Instant,
) -> ToolCall {
    ToolCall {
        tool: step.spec.tool.clone(),
        run: run.key.clone(),
        step: step.key.clone(),
        attempt: live.attempt,
        idempotency_key: keys::idempotency_key(installation, &run.key, &step.key, step.edit),
        trace: None::<Trace>,
        content_type: step.spec.input.content_type.clone(),
        body: step.input_bytes().clone(),
        timeout: Duration::from_millis(live.lease_ms),
        intended_at,
        effect: step.spec.effect,
        not_applied: step.spec.not_applied.clone(),
    }
}
