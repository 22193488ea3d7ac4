//! Asking tools whether attempts took effect whose outcome is not known. What an answer means is decided in
//! `runs`; here the calls are made, and the time is measured after which no call can be on its way.

use super::Owner;
use crate::{
    Clock, limits,
    tools::{CallEnd, ToolCall, Tools},
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use spine_log::EventLog;
use spine_runs::{ProbeAnswer, RunState, StepState, finding, probes_due, quiet_after_ms};
use spine_schemas::{
    Body, Effect, Output, Payload, RunKey, StepEvent, StepKey, fault_points, keys, payload::JSON,
    time::Micros,
};
use spine_store::RunStore;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::{task::JoinSet, time::Instant};

/// A step of a run.
type Of = (RunKey, StepKey);

/// The questions of one partition's owner.
#[derive(Debug, Default)]
pub(super) struct Probes {
    pub(super) calls: JoinSet<Answered>,
    asked: BTreeSet<Of>,
    /// Since when the outcome of the newest attempt is known here not to be known.
    open_since: BTreeMap<Of, (u32, Instant)>,
    answers: BTreeMap<RunKey, Vec<Answered>>,
    /// Runs whose questions wait until fewer are asked.
    waiting: BTreeSet<RunKey>,
}

/// An answer to the question about one attempt.
#[derive(Debug)]
pub(super) struct Answered {
    run: RunKey,
    step: StepKey,
    attempt: u32,
    /// Whether no call could be on its way any more when it was asked.
    was_quiet: bool,
    answer: ProbeAnswer,
}

/// What a tool is asked.
#[derive(Serialize)]
struct Question<'a> {
    tenant: &'a str,
    run_id: &'a str,
    step: &'a StepKey,
    attempt: u32,
    /// Whether the key is to be made void if there was no effect under it.
    void: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<&'a RawValue>,
}

/// What it says. An answer may say more than this.
#[derive(Deserialize)]
struct Said<'a> {
    happened: Option<bool>,
    #[serde(borrow)]
    output: Option<&'a RawValue>,
}

impl Probes {
    /// An answer came. Gives the run that has something to decide.
    pub(super) fn answered(&mut self, answered: Answered) -> RunKey {
        self.asked.remove(&(answered.run.clone(), answered.step.clone()));
        let run = answered.run.clone();
        self.answers.entry(run.clone()).or_default().push(answered);
        run
    }

    /// As many of the runs whose questions wait as may ask now.
    pub(super) fn wake_waiting(&mut self) -> Vec<RunKey> {
        let free = limits::PROBES.saturating_sub(self.calls.len());
        let count = free.min(self.waiting.len());
        (0..count).filter_map(|_| self.waiting.pop_first()).collect()
    }

    /// What the answers about a run come to, as its state is now.
    pub(super) fn take_findings(&mut self, run: &RunState, now: Micros) -> Vec<Body> {
        let answers = self.answers.remove(&run.key).unwrap_or_default();
        let bodies = answers.into_iter().filter_map(|answered| {
            let step = run.steps.get(&answered.step)?;
            let open = step.next_probe().is_some() && step.attempt == answered.attempt;
            let left = if answered.was_quiet { Duration::ZERO } else { self.quiet_in(run, step) };
            // A question that was asked before that time is asked once more, be it over by now.
            let left_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
            let left_ms = if answered.was_quiet { 0 } else { left_ms.max(1) };
            let event = StepEvent::Probed(finding(step, answered.answer, left_ms, now));
            open.then(|| Body::Step(run.key.run_id.clone(), step.key.clone(), event))
        });
        bodies.collect()
    }

    /// How long a call of the step may still be on its way, counted from when its outcome was found here to
    /// be unknown, by a clock that nobody sets.
    fn quiet_in(&self, run: &RunState, step: &StepState) -> Duration {
        let quiet = Duration::from_millis(quiet_after_ms(step));
        let of = (run.key.clone(), step.key.clone());
        match self.open_since.get(&of).filter(|(attempt, _)| *attempt == step.attempt) {
            Some((_, since)) => quiet.saturating_sub(since.elapsed()),
            None => quiet,
        }
    }

    /// Notes that the outcome of an attempt is not known, the first time that this is seen.
    fn note_open(&mut self, run: &RunState, step: &StepState) {
        let of = (run.key.clone(), step.key.clone());
        let known = self.open_since.get(&of).is_some_and(|(attempt, _)| *attempt == step.attempt);
        if known {
            return;
        }
        // Whoever is forgotten is seen again, and then waits from there.
        if self.open_since.len() >= limits::PROBES_KNOWN {
            self.open_since.pop_first();
        }
        self.open_since.insert(of, (step.attempt, Instant::now()));
    }

    /// Forgets what is settled in a run.
    fn forget_settled(&mut self, run: &RunState) {
        let first = StepKey { scope: "".into(), name: "".into(), occurrence: 0 };
        let of_run = self.open_since.range((run.key.clone(), first)..);
        let of_run = of_run.map(|(of, _)| of).take_while(|(key, _)| *key == run.key);
        let is_open =
            |step: &StepKey| run.steps.get(step).is_some_and(|step| step.next_probe().is_some());
        let settled: Vec<Of> = of_run.filter(|(_, step)| !is_open(step)).cloned().collect();
        for of in settled {
            self.open_since.remove(&of);
        }
    }
}

impl<L, S, T, C> Owner<L, S, T, C>
where
    L: EventLog,
    S: RunStore,
    T: Tools,
    C: Clock,
{
    /// Asks the tools of a run's steps whose time for that has come.
    pub(super) fn probe(&mut self, run: &RunState, now: Micros) {
        self.probes.forget_settled(run);
        if self.drain_until.is_some() {
            return;
        }
        for step in probes_due(run, now) {
            self.probes.note_open(run, step);
            let of = (run.key.clone(), step.key.clone());
            if self.probes.asked.contains(&of) {
                continue;
            }
            if self.probes.calls.len() >= limits::PROBES {
                self.probes.waiting.insert(run.key.clone());
                return;
            }
            let Some(call) = question(&self.node.config.installation_id, run, step) else {
                continue;
            };
            let was_quiet = self.probes.quiet_in(run, step).is_zero();
            let forbidden = self.node.health.forbids(&run.key.tenant, &call.tool, now);
            self.probes.asked.insert(of);
            let tools = self.node.tools.clone();
            self.probes.calls.spawn(async move {
                let (run, step, attempt) = (call.run.clone(), call.step.clone(), call.attempt);
                let answer = if forbidden {
                    ProbeAnswer::Nothing("the tool or the tenant is paused".into())
                } else {
                    read(tools.call(call).await)
                };
                fault_points::reach("probed");
                Answered { run, step, attempt, was_quiet, answer }
            });
        }
    }
}

/// The call that asks about a step.
fn question(installation: &str, run: &RunState, step: &StepState) -> Option<ToolCall> {
    let probe = step.spec.probe.as_deref()?;
    let input = step.spec.input.is_json().then(|| serde_json::from_slice(step.input_bytes()).ok());
    let question = Question {
        tenant: &run.key.tenant,
        run_id: &run.key.run_id,
        step: &step.key,
        attempt: step.attempt,
        void: probe.voids,
        input: input.flatten(),
    };
    Some(ToolCall {
        tool: probe.tool.clone(),
        run: run.key.clone(),
        step: step.key.clone(),
        attempt: step.attempt,
        idempotency_key: keys::idempotency_key(installation, &run.key, &step.key, step.edit),
        trace: None,
        content_type: JSON.to_owned(),
        body: serde_json::to_vec(&question).ok()?.into(),
        timeout: Duration::from_millis(step.spec.timeout_ms).min(limits::PROBE_TIMEOUT),
        intended_at: Instant::now(),
        effect: Effect::Pure,
        not_applied: Vec::new(),
    })
}

/// What a tool said, as far as it can be understood.
fn read(end: CallEnd) -> ProbeAnswer {
    let output = match end {
        CallEnd::Completed { output, .. } => output,
        CallEnd::Failed(error) | CallEnd::NeverSent(error) => {
            return ProbeAnswer::Nothing(format!("{}: {}", error.code, error.message));
        }
    };
    let said = serde_json::from_slice::<Said<'_>>(&output.payload.data);
    match said.map(|said| (said.happened, said.output)) {
        Ok((Some(true), output)) => {
            let payload = output.map(|output| Payload::json("output", output.get().to_owned()));
            match payload.transpose() {
                Ok(payload) => ProbeAnswer::Happened(payload.map(Output::of)),
                Err(error) => ProbeAnswer::Nothing(format!("its output cannot be kept: {error}")),
            }
        }
        Ok((Some(false), _)) => ProbeAnswer::Absent,
        Ok((None, _)) => ProbeAnswer::Nothing("the tool cannot say".into()),
        Err(error) => {
            ProbeAnswer::Nothing(format!("the answer is not {{\"happened\": …}}: {error}"))
        }
    }
}
