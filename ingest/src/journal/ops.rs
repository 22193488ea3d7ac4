//! The operations of a journal, from JSON to the bodies of events.

use super::{
    lease,
    values::{self, DecisionJson, ErrorJson, StepJson, UsageJson},
};
use crate::{Code, Problem, body};
use serde::Deserialize;
use serde_json::value::RawValue;
use spine_schemas::{
    Approval, Body, Effect, OnExhausted, Payload, RetryPolicy, RunEvent, RunKey, StepEvent,
    StepKey, StepSpec, StepStarted, check_id, limits, spec, time::Micros,
};
use std::sync::Arc;

/// An operation that was read and checked.
pub(super) struct JournalOp {
    pub(super) op_id: u64,
    pub(super) step: Option<StepKey>,
    pub(super) body: OpBody,
}

impl JournalOp {
    /// The start that it asks for.
    pub(super) fn begins_mut(&mut self) -> Option<&mut StepStarted> {
        match &mut self.body {
            OpBody::Step(_, StepEvent::Started(start)) => Some(start),
            OpBody::Step(..) | OpBody::Run(_) => None,
        }
    }
}

/// What an operation records.
pub(super) enum OpBody {
    Run(RunEvent),
    Step(StepKey, StepEvent),
}

impl OpBody {
    pub(super) fn into_body(self, run: &RunKey) -> Body {
        match self {
            Self::Run(event) => Body::Run(run.run_id.clone(), event),
            Self::Step(key, event) => Body::Step(run.run_id.clone(), key, event),
        }
    }
}

/// Whether an operation reports what has happened already, or keeps an attempt alive.
pub(super) fn is_urgent(body: &Body) -> bool {
    match body {
        Body::Step(_, _, event) => matches!(
            event,
            StepEvent::Completed { .. } | StepEvent::Failed { .. } | StepEvent::Heartbeat { .. }
        ),
        Body::Run(..) | Body::Partition(_) => false,
    }
}

/// The names of the operations; each has fields of its own.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Name {
    Begin,
    Complete,
    Fail,
    Heartbeat,
    Await,
    Decide,
    End,
}

/// Only the name of an operation; which fields go with it is read next.
#[derive(Deserialize)]
struct Named {
    op: Name,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Begin<'a> {
    #[serde(rename = "op")]
    _op: Name,
    op_id: u64,
    step: StepJson,
    tool: String,
    #[serde(default)]
    effect: Effect,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(default)]
    retry: RetryPolicy,
    lease_ms: Option<u64>,
    timeout_ms: Option<u64>,
    #[serde(default)]
    schedule_to_start_ms: u64,
    deadline_ms: Option<u64>,
    key_ttl_ms: Option<u64>,
    #[serde(default)]
    on_exhausted: OnExhausted,
    approval: Option<Approval>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Complete<'a> {
    #[serde(rename = "op")]
    _op: Name,
    op_id: u64,
    step: StepJson,
    attempt: u32,
    lease: String,
    #[serde(borrow)]
    output: Option<&'a RawValue>,
    #[serde(default)]
    degraded: bool,
    usage: Option<UsageJson>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fail {
    #[serde(rename = "op")]
    _op: Name,
    op_id: u64,
    step: StepJson,
    attempt: u32,
    lease: String,
    error: ErrorJson,
    usage: Option<UsageJson>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Heartbeat {
    #[serde(rename = "op")]
    _op: Name,
    op_id: u64,
    step: StepJson,
    attempt: u32,
    lease: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Await {
    #[serde(rename = "op")]
    _op: Name,
    op_id: u64,
    step: StepJson,
    signal: Option<String>,
    sleep_ms: Option<u64>,
    timeout_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Decide<'a> {
    #[serde(rename = "op")]
    _op: Name,
    op_id: u64,
    step: Option<StepJson>,
    #[serde(borrow)]
    decision: DecisionJson<'a>,
}

/// How an agent ends its run.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum EndStatus {
    Completed,
    Failed,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct End<'a> {
    #[serde(rename = "op")]
    _op: Name,
    op_id: u64,
    status: EndStatus,
    #[serde(borrow)]
    output: Option<&'a RawValue>,
    #[serde(default)]
    degraded: bool,
    error: Option<ErrorJson>,
    step: Option<StepJson>,
}

/// Reads one operation of a run in this partition; `now` is the door's time.
pub(super) fn read(text: &str, partition: u32, now: Micros) -> Result<JournalOp, Problem> {
    let Named { op } = body::read_json(text.as_bytes())?;
    let text = text.as_bytes();
    match op {
        Name::Begin => begin(body::read_json(text)?),
        Name::Complete => complete(body::read_json(text)?, partition),
        Name::Fail => fail(body::read_json(text)?, partition),
        Name::Heartbeat => heartbeat(body::read_json(text)?, partition),
        Name::Await => wait(body::read_json(text)?, now),
        Name::Decide => decide(body::read_json(text)?),
        Name::End => end(body::read_json(text)?),
    }
}

fn of_step(op_id: u64, key: StepKey, event: StepEvent) -> JournalOp {
    JournalOp { op_id, step: Some(key.clone()), body: OpBody::Step(key, event) }
}

fn begin(begin: Begin<'_>) -> Result<JournalOp, Problem> {
    if begin.on_exhausted != OnExhausted::DeadLetter {
        let detail = "on_exhausted: must be dead_letter in a journal";
        return Err(Problem::new(Code::PolicyUnsupported, detail).with("field", "on_exhausted"));
    }
    let lease_ms = begin.lease_ms.unwrap_or(spec::LEASE_MS);
    if !(1..=limits::TIMEOUT_MS).contains(&lease_ms) {
        let detail = format!("lease_ms: must be between 1 and {}", limits::TIMEOUT_MS);
        return Err(Problem::new(Code::InvalidField, detail).with("field", "lease_ms"));
    }
    begin.approval.map_or(Ok(()), |approval| approval.check("approval"))?;
    let spec = StepSpec {
        tool: begin.tool,
        input: values::payload_or_null("input", begin.input)?,
        effect: begin.effect,
        retry: begin.retry,
        timeout_ms: begin.timeout_ms.unwrap_or(lease_ms),
        schedule_to_start_ms: begin.schedule_to_start_ms,
        deadline_ms: begin.deadline_ms.unwrap_or(spec::DEADLINE_MS),
        key_ttl_ms: begin.key_ttl_ms.unwrap_or(spec::KEY_TTL_MS),
        on_exhausted: begin.on_exhausted,
        not_applied: Vec::new(),
        approval_ms: begin.approval.map(|approval| approval.expires_ms),
        quorum: begin.approval.and_then(|approval| approval.quorum()),
        memo_ms: None,
        probe: None,
    };
    let (spec, lease_ms) = (Some(Arc::new(spec)), Some(lease_ms));
    let start = StepStarted { spec, lease_ms, ..StepStarted::default() };
    Ok(of_step(begin.op_id, begin.step.key()?, StepEvent::Started(start)))
}

fn complete(complete: Complete<'_>, partition: u32) -> Result<JournalOp, Problem> {
    let event = StepEvent::Completed {
        attempt: complete.attempt,
        lease: Some(lease::read(&complete.lease, partition)?),
        output: values::output(complete.output, complete.degraded)?,
        usage: complete.usage.map(Into::into),
    };
    Ok(of_step(complete.op_id, complete.step.key()?, event))
}

fn fail(fail: Fail, partition: u32) -> Result<JournalOp, Problem> {
    let event = StepEvent::Failed {
        attempt: fail.attempt,
        lease: Some(lease::read(&fail.lease, partition)?),
        error: fail.error.into(),
        usage: fail.usage.map(Into::into),
    };
    Ok(of_step(fail.op_id, fail.step.key()?, event))
}

fn heartbeat(heartbeat: Heartbeat, partition: u32) -> Result<JournalOp, Problem> {
    let lease = Some(lease::read(&heartbeat.lease, partition)?);
    let event = StepEvent::Heartbeat { attempt: heartbeat.attempt, lease };
    Ok(of_step(heartbeat.op_id, heartbeat.step.key()?, event))
}

/// A wait is a step, so that its end is remembered like any other.
fn wait(wait: Await, now: Micros) -> Result<JournalOp, Problem> {
    let wrong = |field: &'static str, detail: String| {
        Err(Problem::new(Code::InvalidField, detail).with("field", field))
    };
    let (tool, wait_ms) = match (&wait.signal, wait.sleep_ms) {
        (Some(name), None) => {
            check_id("signal", name)?;
            (format!("signal:{name}"), wait.timeout_ms.unwrap_or(spec::DEADLINE_MS))
        }
        (None, Some(ms)) if wait.timeout_ms.is_none() => (format!("sleep:{ms}"), ms),
        (None, Some(_)) => {
            return wrong("timeout_ms", "timeout_ms: goes with signal, not with sleep_ms".into());
        }
        (None, None) | (Some(_), Some(_)) => {
            return wrong("signal", "signal: say either signal or sleep_ms".into());
        }
    };
    if !(1..=limits::DEADLINE_MS).contains(&wait_ms) {
        let detail = format!("timeout_ms: must be between 1 and {}", limits::DEADLINE_MS);
        return wrong("timeout_ms", detail);
    }
    let spec =
        StepSpec { deadline_ms: wait_ms, ..StepSpec::new(tool, Effect::Pure, Payload::null()) };
    let spec = Some(Arc::new(spec));
    let event =
        StepEvent::WaitCreated { signal: wait.signal, expires_at: now.plus_ms(wait_ms), spec };
    Ok(of_step(wait.op_id, wait.step.key()?, event))
}

fn decide(decide: Decide<'_>) -> Result<JournalOp, Problem> {
    let step = decide.step.map(|step| step.key()).transpose()?;
    let decision = decide.decision.typed(step.clone())?;
    let body = OpBody::Run(RunEvent::DecisionRecorded(Box::new(decision)));
    Ok(JournalOp { op_id: decide.op_id, step, body })
}

fn end(end: End<'_>) -> Result<JournalOp, Problem> {
    let not_with = |field: &'static str, status: &str| {
        let detail = format!("{field}: does not go with status {status}");
        Err(Problem::new(Code::InvalidField, detail).with("field", field))
    };
    let step = end.step.map(|step| step.key()).transpose()?;
    let event = match (end.status, end.error) {
        (EndStatus::Completed, Some(_)) => return not_with("error", "completed"),
        (EndStatus::Completed, None) if step.is_some() => return not_with("step", "completed"),
        (EndStatus::Completed, None) => {
            RunEvent::Completed { output: Some(values::output(end.output, end.degraded)?) }
        }
        (EndStatus::Failed, Some(_)) if end.output.is_some() => {
            return not_with("output", "failed");
        }
        (EndStatus::Failed, Some(error)) => {
            RunEvent::Failed { error: error.into(), step: step.clone() }
        }
        (EndStatus::Failed, None) => {
            let detail = "error: is missing";
            return Err(Problem::new(Code::InvalidField, detail).with("field", "error"));
        }
    };
    Ok(JournalOp { op_id: end.op_id, step, body: OpBody::Run(event) })
}
