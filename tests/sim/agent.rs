//! Simulated agents: two sessions race over the steps of a journal run, through the verdicts of the
//! process that is up. Either may vanish between an effect and its completion, and be replaced by name, also while
//! it lives. Long steps give signs of life, now and then too late. Between two steps a signal is awaited.

use crate::{
    random::Random,
    tools::SimTools,
    workload::{Access, Clients},
};
use spine_runs::{Answer, Reason, Verdict};
use spine_schemas::{
    Body, Driver, Effect, ErrorClass, Op, Output, Payload, RunCreated, RunEvent, RunKey, StepError,
    StepEvent, StepKey, StepSpec, StepStarted,
};
use spine_workers::Clock;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};

const STEPS: u32 = 3;
const LEASE_MS: u64 = 800;
/// The signal that is awaited behind the first step, and for how long.
const SIGNAL: &str = "go";
const PATIENCE_MS: u64 = 2500;
/// Nobody acts so long after having asked for an attempt. Later somebody may have found out that it never acted.
const LATEST: Duration = Duration::from_secs(20);
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
    /// The session that it takes over from.
    replaces: Option<String>,
    op_id: u64,
    random: Random,
    tools: SimTools,
}

/// Drives a run to its end.
pub(crate) async fn drive<A: Access>(
    clients: &Clients<A>,
    key: &RunKey,
    session: &str,
    replaces: Option<String>,
) {
    let mut agent = Agent {
        clients,
        key,
        session: session.to_owned(),
        replaces,
        op_id: 0,
        random: clients.random.fork(),
        tools: clients.tools.clone(),
    };
    // Whoever replaces another comes when that one is at it.
    if agent.replaces.is_some() {
        agent.pause(300).await;
    }
    for number in 0..STEPS {
        if !agent.step(&StepKey::named(&format!("a{number}"))).await {
            return;
        }
        if number == 0 && !agent.hear(&StepKey::named("heard")).await {
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
            let since = Instant::now();
            match self.begin(step).await {
                Answer::Execute { attempt, lease, .. } => {
                    if !self.execute(step, (attempt, lease), since).await {
                        return false;
                    }
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
                | Answer::DeadLettered { .. } => sleep(Duration::from_millis(300)).await,
                Answer::Denied { code: Reason::GivenUp } => {
                    self.give_up(step).await;
                    return false;
                }
                Answer::Denied { .. } => return false,
                Answer::Conflict { .. } | Answer::Counted { .. } | Answer::NotTried => {
                    panic!("the same step, asked alone")
                }
            }
        }
    }

    /// Does a step under an attempt that was asked for some time ago; `false` when the agent vanishes over it.
    async fn execute(
        &mut self,
        step: &StepKey,
        (attempt, lease): (u32, u64),
        since: Instant,
    ) -> bool {
        if self.random.chance(30) && !self.stay_alive(step, (attempt, lease)).await {
            return false;
        }
        self.pause(20).await;
        if since.elapsed() > LATEST {
            return false;
        }
        self.tools.act(self.key, step, attempt);
        if self.random.chance(10) {
            return false;
        }
        let output = Output::of(Payload::null());
        let lease = Some(lease);
        let event = StepEvent::Completed { attempt, lease, output, usage: None };
        self.ask(self.of_step(step, event)).await;
        true
    }

    /// Takes long over an attempt, and says now and then that it is at it; `false` when it is told that the
    /// attempt is its own no more.
    async fn stay_alive(&mut self, step: &StepKey, (attempt, lease): (u32, u64)) -> bool {
        for _ in 0..1 + self.random.below(3) {
            self.pause(LEASE_MS + 200).await;
            let event = StepEvent::Heartbeat { attempt, lease: Some(lease) };
            match self.ask(self.of_step(step, event)).await {
                Answer::Ok => {}
                Answer::Denied { .. } => return false,
                answer => panic!("{answer:?} to a sign of life"),
            }
        }
        true
    }

    /// Awaits the signal until it has come or was awaited long enough; `false` when the agent must go.
    async fn hear(&mut self, step: &StepKey) -> bool {
        loop {
            match self.listen(step).await {
                Answer::Replay | Answer::Denied { code: Reason::WaitExpired } => return true,
                Answer::Wait { .. } => sleep(Duration::from_millis(300)).await,
                // A premature answer says nothing of the wait.
                Answer::Ok | Answer::Denied { .. } => return false,
                answer => panic!("{answer:?} to whoever awaits"),
            }
        }
    }

    async fn listen(&mut self, step: &StepKey) -> Answer {
        let spec = StepSpec::new(format!("signal:{SIGNAL}"), Effect::Pure, Payload::null());
        let spec = Some(Arc::new(StepSpec { deadline_ms: PATIENCE_MS, ..spec }));
        let expires_at = self.clients.clock.now().plus_ms(PATIENCE_MS);
        let event = StepEvent::WaitCreated { signal: Some(SIGNAL.into()), expires_at, spec };
        self.ask(self.of_step(step, event)).await
    }

    /// Ends the run with a step that somebody gave up.
    async fn give_up(&mut self, step: &StepKey) {
        let error = StepError::new(ErrorClass::Terminal, "given_up", "simulated");
        let event = RunEvent::Failed { error, step: Some(step.clone()) };
        self.ask(Body::Run(self.key.run_id.clone(), event)).await;
    }

    async fn pause(&self, most_ms: u64) {
        sleep(Duration::from_millis(self.random.below(most_ms))).await;
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
        self.ask(self.of_step(step, StepEvent::Started(start))).await
    }

    fn of_step(&self, step: &StepKey, event: StepEvent) -> Body {
        Body::Step(self.key.run_id.clone(), step.clone(), event)
    }

    /// Appends one operation and waits for its verdict; asks again, as the same operation, when the
    /// answer does not come.
    async fn ask(&mut self, body: Body) -> Answer {
        self.op_id += 1;
        let (session, replaces) = (self.session.clone(), self.replaces.clone());
        let op = Op { session, op_id: self.op_id, replaces, version: None };
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
            sleep(Duration::from_millis(50 + self.random.below(200))).await;
        }
    }
}
