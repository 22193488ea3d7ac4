//! The JSON of a step and of its attempts.

use crate::{
    approval::ApprovalView,
    views::{OutputView, PauseView, PayloadView, Time},
};
use serde::Serialize;
use spine_runs::{AttemptEnd, AttemptState, RunState, StepState};
use spine_schemas::{
    Digest, Driver, Effect, Fault, HeldBy, RetryPolicy, StepError, StepKey, keys, spec::RUN_TOOL,
};

/// A step with its history.
#[derive(Serialize)]
pub(super) struct StepView<'a> {
    step: &'a StepKey,
    scope: &'a str,
    name: &'a str,
    occurrence: u32,
    status: &'static str,
    attempt: u32,
    charged: u32,
    attempts: Vec<AttemptView<'a>>,
    attempts_omitted: u32,
    due_at: Option<Time>,
    lease_until: Option<Time>,
    tool: &'a str,
    effect: Effect,
    retry: &'a RetryPolicy,
    timeout_ms: u64,
    input: PayloadView<'a>,
    input_digest: Digest,
    output: Option<OutputView<'a>>,
    error: Option<&'a StepError>,
    idempotency_key: Digest,
    letter: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    awaits: Option<AwaitView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    call_digest: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approval: Option<ApprovalView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    paused: Option<PauseView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<HeldView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    probe: Option<ProbeView<'a>>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    reused: bool,
    generation: u32,
    edit: u32,
    given_up: bool,
    scheduled_at: Time,
    scheduled_offset: u64,
    ended_at: Option<Time>,
}

/// What holds a step back.
#[derive(Serialize)]
struct HeldView {
    by: HeldBy,
    since: Time,
    until: Time,
}

/// How its tool is asked whether an attempt took effect, and what it said last.
#[derive(Serialize)]
struct ProbeView<'a> {
    tool: &'a str,
    voids: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    asked: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    due_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<&'a str>,
}

impl<'a> ProbeView<'a> {
    fn of(step: &'a StepState) -> Option<Self> {
        let probe = step.spec.probe.as_deref()?;
        let probing = step.probe.as_deref();
        Some(Self {
            tool: &probe.tool,
            voids: probe.voids,
            asked: probing.map(|probing| probing.asked),
            due_at: Time::of(step.next_probe()),
            answer: probing.map(|probing| probing.answer.as_str()),
        })
    }
}

/// What a step awaits.
#[derive(Serialize)]
struct AwaitView<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<&'a str>,
    until: Time,
}

/// An attempt.
#[derive(Serialize)]
struct AttemptView<'a> {
    attempt: u32,
    started_at: Time,
    ended_at: Option<Time>,
    end: &'static str,
    charged: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a StepError>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    injected: Option<Fault>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cost_micros: Option<u64>,
    /// The run that it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<String>,
}

impl<'a> StepView<'a> {
    pub(super) fn of(installation: &str, run: &RunState, step: &'a StepState) -> Self {
        Self {
            step: &step.key,
            scope: &step.key.scope,
            name: &step.key.name,
            occurrence: step.key.occurrence,
            status: step.status.as_str(),
            attempt: step.attempt,
            charged: step.charged,
            attempts: attempts(run, step),
            attempts_omitted: step.attempts_omitted,
            due_at: Time::of(step.due_at),
            lease_until: Time::of(step.lease_until()),
            tool: &step.spec.tool,
            effect: step.spec.effect,
            retry: &step.spec.retry,
            timeout_ms: step.spec.timeout_ms,
            input: PayloadView(&step.spec.input),
            input_digest: step.spec.input.digest,
            output: step.output.as_ref().map(OutputView::of),
            error: step.error.as_ref(),
            idempotency_key: keys::idempotency_key(installation, &run.key, &step.key, step.edit),
            letter: step.letter.as_ref().map(|letter| letter.letter_id),
            task: step.task.as_ref().map(|task| task.task_id),
            awaits: step
                .wait
                .as_ref()
                .map(|wait| AwaitView { signal: wait.signal.as_deref(), until: Time(wait.until) }),
            call_digest: step.spec.approval_ms.map(|_| step.call_digest()),
            approval: ApprovalView::of(step),
            paused: step.paused.as_deref().map(PauseView::of),
            held: step.held_back().map(|held| {
                let (since, until) = (Time(held.at), Time(held.until));
                HeldView { by: held.by, since, until }
            }),
            probe: ProbeView::of(step),
            reused: step.reused,
            generation: step.generation,
            edit: step.edit,
            given_up: step.given_up,
            scheduled_at: Time(step.scheduled_at),
            scheduled_offset: step.scheduled_offset,
            ended_at: Time::of(step.ended_at),
        }
    }
}

impl<'a> AttemptView<'a> {
    fn of(attempt: &'a AttemptState) -> Self {
        let (end, error, reason) = match &attempt.end {
            AttemptEnd::Running => ("running", None, None),
            AttemptEnd::Completed => ("completed", None, None),
            AttemptEnd::Failed(error) => ("failed", Some(error), None),
            AttemptEnd::Lost(reason) => ("lost", None, Some(reason.as_str())),
            AttemptEnd::Released(error) => ("released", error.as_ref(), None),
            AttemptEnd::DidNotHappen => ("did_not_happen", None, None),
        };
        Self {
            attempt: attempt.attempt,
            started_at: Time(attempt.started_at),
            ended_at: Time::of(attempt.ended_at),
            end,
            charged: attempt.charged,
            error,
            reason,
            injected: attempt.injected,
            cost_micros: attempt.cost_micros,
            run_id: None,
        }
    }
}

/// The attempts of a step; where the plan says that each is a run, with its id.
fn attempts<'a>(run: &RunState, step: &'a StepState) -> Vec<AttemptView<'a>> {
    let is_run = run.driver() == Driver::Plan && step.spec.tool == RUN_TOOL;
    let shown = step.attempts.iter().map(|attempt| AttemptView {
        run_id: is_run.then(|| keys::child_run_id(&run.key, &step.key, attempt.attempt)),
        ..AttemptView::of(attempt)
    });
    shown.collect()
}
