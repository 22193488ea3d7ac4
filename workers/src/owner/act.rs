//! Acting: one call for each accepted start of ours. What this process runs is counted in `attempts`.

use super::{Owner, attempts::Attempt, brain};
use crate::{
    Clock,
    tools::{CallEnd, ToolCall, Tools},
};
use spine_log::EventLog;
use spine_runs::{Holder, Live, RunState, StepState, Verdict};
use spine_schemas::{
    Body, ErrorClass, Event, Fault, StepError, StepEvent, StepKey, Trace, fault_points, keys,
};
use spine_store::RunStore;
use std::time::Duration;
use tokio::time::Instant;

impl<L, S, T, C> Owner<L, S, T, C>
where
    L: EventLog,
    S: RunStore,
    T: Tools,
    C: Clock,
{
    /// Acts on a start that was accepted under the current claim and read after it. An owner that
    /// is about to go hands it back instead, as it does where the tool must not be called any more.
    pub(super) fn act(&mut self, run: &RunState, step: &StepState, live: &Live) {
        if let Holder::Worker(_) = live.holder {
            // It held a slot as long as its start was on its way, and so does a child.
            self.freed += 1;
            let claim = self.claim.held().map_or(0, |held| held.offset);
            return self.hand_over(run, step, live, claim);
        }
        // It is another run; whoever owns that one tells how it ended.
        if live.holder == Holder::Child {
            self.freed += 1;
            return;
        }
        let lease = live.lease;
        self.attempts.insert(lease, Attempt::new(run, step, live));
        let now = self.node.clock.now();
        let forbidden = self.node.health.forbids(&run.key.tenant, &step.spec.tool, now);
        if self.drain_until.is_some() || forbidden {
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
        fault_points::reach("read_back");
        let intended_at = self.appends.posted_at(&run.key);
        let installation = &self.node.config.installation_id;
        let call = tool_call(installation, run, step, live, intended_at);
        let tools = self.node.tools.clone();
        let (health, clock) = (self.node.health.clone(), self.node.clock.clone());
        let asking = self.cache.get(&run.key).filter(|run| brain::asks(run, &step.key)).cloned();
        self.calls.spawn(async move {
            let (tool, step) = (call.tool.clone(), call.step.clone());
            let epoch = health.began(&tool);
            let end = tools.call(call).await;
            fault_points::reach("called");
            let end = health.ended(&tool, epoch, end, clock.now());
            match asking {
                Some(run) => (lease, brain::judged(&run, &step, &tools, end)),
                None => (lease, end),
            }
        });
    }

    /// A call ended: its outcome is due.
    pub(super) fn call_ended(&mut self, lease: u64, end: CallEnd) {
        self.ready.extend(self.attempts.call_ended(lease, end).cloned());
    }

    pub(super) fn outcome_due(&mut self, lease: u64, outcome: Vec<Body>) {
        self.ready.extend(self.attempts.outcome_due(lease, outcome).cloned());
    }

    /// Lets go of the attempt whose outcome was read: it is done with, whatever became of it. One that
    /// was given up by another owner goes on here, since its success still counts.
    pub(super) fn outcome_folded(&mut self, event: &Event, verdict: &Verdict) {
        let Body::Step(_, _, body) = &event.body else { return };
        if matches!(body, StepEvent::Probed(_)) {
            fault_points::reach("finding_read");
        }
        let lease = match (body, verdict) {
            (_, Verdict::Illegal(_) | Verdict::Refused(..)) => None,
            (StepEvent::Completed { lease, .. } | StepEvent::Failed { lease, .. }, _) => *lease,
            (StepEvent::Released { lease, .. }, _) => Some(*lease),
            _ => None,
        };
        if lease.is_some_and(|lease| self.attempts.remove(lease)) {
            fault_points::reach("outcome_read");
            self.freed += 1;
        }
    }
}

/// What a planned fault leaves in the log instead of a call.
pub(super) fn injected(run: &RunState, step: &StepKey, live: &Live, fault: Fault) -> Vec<Body> {
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
