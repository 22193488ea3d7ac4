//! Events to be given, in few words.

use crate::{Answer, Reason, Verdict};
use spine_schemas::{
    BatchItem, Body, Claim, Decision, Digest, Driver, Effect, ErrorClass, Event, HeldBy, Output,
    PartitionEvent, Payload, Plan, Resolution, RunCreated, RunEvent, StepError, StepEvent, StepKey,
    StepSpec, StepStarted,
};
use std::{collections::BTreeMap, sync::Arc};

pub(super) const RUN: &str = "r1";

pub(super) fn step(name: &str, event: StepEvent) -> Body {
    Body::Step(RUN.into(), key_of(name), event)
}

/// A step by its text form.
pub(super) fn key_of(name: &str) -> StepKey {
    name.parse().expect("the text form of a step")
}

pub(super) fn run(event: RunEvent) -> Body {
    Body::Run(RUN.into(), event)
}

pub(super) fn created(driver: Driver, plan: Option<Plan>) -> Body {
    run(RunEvent::Created(Box::new(RunCreated {
        workflow: "w".into(),
        version: "1".into(),
        driver,
        input: Payload::null(),
        tags: BTreeMap::new(),
        parent: None,
        plan: plan.map(Arc::new),
        fork: None,
        caller: None,
    })))
}

pub(super) fn claimed(over: Option<u64>, restored: bool) -> Body {
    Body::Partition(PartitionEvent::OwnerClaimed(Claim {
        worker: "w1".into(),
        address: String::new(),
        store_id: "s".into(),
        log_id: "l".into(),
        fold_version: crate::FOLD_VERSION,
        partitions: 1,
        over,
        restored,
    }))
}

pub(super) fn spec(effect: Effect, input: &'static str) -> Arc<StepSpec> {
    let input = Payload::json("input", input).expect("legal JSON");
    Arc::new(StepSpec::new("t", effect, input))
}

/// A start that a worker `w` asked for.
pub(super) fn leased(name: &str, attempt: u32, lease_ms: u64) -> Body {
    let (attempt, lease_ms, worker) = (Some(attempt), Some(lease_ms), Some("w".into()));
    let start = StepStarted { attempt, lease_ms, worker, ..StepStarted::default() };
    step(name, StepEvent::Started(start))
}

pub(super) fn started(name: &str, attempt: u32) -> Body {
    let attempt = Some(attempt);
    step(name, StepEvent::Started(StepStarted { attempt, ..StepStarted::default() }))
}

/// A report of a start, as in a record run.
pub(super) fn reported(name: &str, attempt: u32) -> Body {
    let (attempt, spec) = (Some(attempt), Some(spec(Effect::Pure, "1")));
    step(name, StepEvent::Started(StepStarted { attempt, spec, ..StepStarted::default() }))
}

/// A journal's `begin`.
pub(super) fn begin(name: &str, effect: Effect) -> Body {
    let spec = Some(spec(effect, "1"));
    step(name, StepEvent::Started(StepStarted { spec, ..StepStarted::default() }))
}

/// The same as a door sends it that knows of a pause.
pub(super) fn held_begin(name: &str, effect: Effect, by: HeldBy) -> Body {
    let (spec, held_by) = (Some(spec(effect, "1")), Some(by));
    step(name, StepEvent::Started(StepStarted { spec, held_by, ..StepStarted::default() }))
}

pub(super) fn output(text: &'static str) -> Output {
    Output::of(Payload::json("output", text).expect("legal JSON"))
}

pub(super) fn completed(name: &str, attempt: u32, lease: u64) -> Body {
    let (lease, output) = (Some(lease), output(r#"{"ok":true}"#));
    step(name, StepEvent::Completed { attempt, lease, output, usage: None })
}

pub(super) fn failed(name: &str, attempt: u32, lease: u64, class: ErrorClass) -> Body {
    let (lease, error) = (Some(lease), StepError::new(class, class.as_str(), "it failed"));
    step(name, StepEvent::Failed { attempt, lease, error, usage: None })
}

pub(super) fn released(name: &str, attempt: u32, lease: u64, error: Option<ErrorClass>) -> Body {
    let error = error.map(|class| StepError::new(class, "refused", "never sent"));
    step(name, StepEvent::Released { attempt, lease, error })
}

pub(super) fn heartbeat(name: &str, attempt: u32, lease: u64) -> Body {
    step(name, StepEvent::Heartbeat { attempt, lease: Some(lease) })
}

pub(super) fn lost(name: &str, attempt: u32, lease: u64, heartbeat: u64) -> Body {
    let reason = "gone".into();
    step(name, StepEvent::Lost { attempt, lease, heartbeat, reason })
}

pub(super) fn redriven(name: &str, letter_id: Digest, force: bool) -> Body {
    let reason = "test".into();
    step(name, StepEvent::Redriven { letter_id, reason, force, edit: None })
}

pub(super) fn resolved(name: &str, attempt: u32, happened: bool) -> Body {
    let reason = "looked".into();
    step(name, StepEvent::Resolved(Resolution { attempt, happened, output: None, reason }))
}

pub(super) fn decision() -> Body {
    run(RunEvent::DecisionRecorded(Box::new(Decision {
        decision: "refund".into(),
        request: String::new(),
        agent: "agent-1".into(),
        reasoning: String::new(),
        action: String::new(),
        params: None,
        result: None,
        error: None,
        confidence: None,
        step: None,
    })))
}

/// Puts an event into a batch.
pub(super) fn item(event: Event, id: &str, index: u32) -> Event {
    let batch = Some(BatchItem { id: id.into(), index });
    Event { batch, ..event }
}

pub(super) const fn denied(code: Reason) -> Answer {
    Answer::Denied { code }
}

pub(super) const fn refused(code: Reason) -> Verdict {
    Verdict::Refused(code, denied(code))
}

pub(super) const APPLIED: Verdict = Verdict::Applied(Answer::Ok);
pub(super) const DUPLICATE: Verdict = Verdict::Stale(Reason::Duplicate, Some(Answer::Ok));
pub(super) const LOST_RACE: Verdict = Verdict::Stale(Reason::LostRace, None);
pub(super) const LATE: Verdict = Verdict::Stale(Reason::Late, Some(denied(Reason::Late)));

/// The name of an event's kind.
pub(super) fn kind_of(body: &Body) -> &'static str {
    body.kind().as_str()
}
