//! Simulated agents: two sessions race over the steps of a journal run, through the verdicts of the
//! process that is up. Either may vanish between an effect and its completion.

use crate::{
    random::Random,
    tools::SimTools,
    workload::{Access, Clients},
};
use spine_runs::{Answer, Verdict};
use spine_schemas::{
    Body, Driver, Effect, Op, Output, Payload, RunCreated, RunEvent, RunKey, StepEvent, StepKey,
    StepSpec, StepStarted,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

const STEPS: u32 = 3;
const LEASE_MS: u64 = 800;
/// What agents say they call.
pub(crate) const TOOL: &str = "agent.act";

/// Creates the run that agents will drive.
pub(crate) fn created() -> RunEvent {
    RunEvent::Created(Box::new(RunCreated {
        workflow: "driven".into(),
        version: "1".into(),
        driver: Driver::Journal,
        input: Payload::null(),
        tags: BTreeMap::new(),
        parent: None,
        plan: None,
        fork: None,
        caller: None,
    }))
}

struct Agent<'a, A> {
    clients: &'a Clients<A>,
    key: &'a RunKey,
    session: String,
    op_id: u64,
    random: Random,
    tools: SimTools,
}

/// Drives a run to its end.
pub(crate) async fn drive<A: Access>(clients: &Clients<A>, key: &RunKey, session: &str) {
    let mut agent = Agent {
        clients,
        key,
        session: session.to_owned(),
        op_id: 0,
        random: clients.random.fork(),
        tools: clients.tools.clone(),
    };
    for number in 0..STEPS {
        if !agent.step(&StepKey::named(&format!("a{number}"))).await {
            return;
        }
    }
    let ended = RunEvent::Completed { output: None };
    agent.ask(Body::Run(key.run_id.clone(), ended)).await;
}

impl<A: Access> Agent<'_, A> {
    /// Begins a step until it is done; `false` when the agent vanishes or the run has ended.
    async fn step(&mut self, step: &StepKey) -> bool {
        loop {
            match self.begin(step).await {
                Answer::Execute { attempt, lease, .. } => {
                    tokio::time::sleep(Duration::from_millis(self.random.below(20))).await;
                    self.tools.act(self.key, step, attempt);
                    if self.random.chance(10) {
                        return false;
                    }
                    let output = Output::of(Payload::null());
                    let lease = Some(lease);
                    let body = StepEvent::Completed { attempt, lease, output, usage: None };
                    self.ask(Body::Step(self.key.run_id.clone(), step.clone(), body)).await;
                }
                // A verdict without an attempt is what a premature answer looks like.
                Answer::Ok => {
                    self.tools.act(self.key, step, 1);
                    return false;
                }
                Answer::Replay => return true,
                Answer::Wait { .. }
                | Answer::Asked { .. }
                | Answer::Unknown { .. }
                | Answer::DeadLettered { .. } => {
                    tokio::time::sleep(Duration::from_millis(300)).await;
                }
                Answer::Denied { .. } => return false,
                Answer::Conflict { .. } | Answer::Counted { .. } | Answer::NotTried => {
                    panic!("the same step, asked alone")
                }
            }
        }
    }

    /// Whether people have to approve of a step: in some runs, of all but the first.
    fn asks_for_approval(&self, step: &StepKey) -> bool {
        let number = self.key.run_id.bytes().map(u32::from).sum::<u32>();
        !number.is_multiple_of(3) && *step != StepKey::named("a0")
    }

    async fn begin(&mut self, step: &StepKey) -> Answer {
        let mut spec = StepSpec::new(TOOL, Effect::AtMostOnce, Payload::null());
        // All agents say the same of a step, as those of one program do.
        let digit = self.key.run_id.bytes().last().unwrap_or_default();
        if self.asks_for_approval(step) {
            spec.approval_ms = Some(9000);
            spec.quorum = digit.is_multiple_of(2).then_some(2);
        }
        let start = StepStarted {
            attempt: None,
            spec: Some(Arc::new(spec)),
            lease_ms: Some(LEASE_MS),
            // As the real door says it.
            held_by: self.clients.access.pause_of(&self.key.tenant, TOOL),
            ..StepStarted::default()
        };
        self.ask(Body::Step(self.key.run_id.clone(), step.clone(), StepEvent::Started(start))).await
    }

    /// Appends one operation and waits for its verdict; asks again, as the same operation, when the
    /// answer does not come.
    async fn ask(&mut self, body: Body) -> Answer {
        self.op_id += 1;
        let op =
            Op { session: self.session.clone(), op_id: self.op_id, replaces: None, version: None };
        let mut event = self.clients.event(self.key, body);
        event.op = Some(op);
        loop {
            if let Some(offset) = self.clients.append_event(self.key, &event).await
                && let Some(verdict) = self.clients.access.verdict(offset).await
            {
                match verdict {
                    Verdict::Applied(answer) | Verdict::Refused(_, answer) => return answer,
                    Verdict::Stale(_, Some(answer)) => return answer,
                    Verdict::Stale(..) | Verdict::Illegal(_) => panic!("an operation is answered"),
                }
            }
            tokio::time::sleep(Duration::from_millis(50 + self.random.below(200))).await;
        }
    }
}
