//! Random histories of one run: what may happen next, some of it legal, some not, some of it twice.

use super::{
    bodies::{
        begin, claimed, completed, decision, failed, heartbeat, held_begin, item, key_of, leased,
        lost, redriven, released, reported, resolved, run, spec, started, step,
    },
    given::Given,
    retry::CLASSES,
};
use crate::StepState;
use proptest::prelude::*;
use spine_schemas::{
    Body, Digest, Driver, Effect, Event, Fault, Finding, Found, HeldBy, InputEdit, Op, Payload,
    RunEvent, StepError, StepEvent, StepSpec, StepStarted, TaskVerdict, Then, keys,
};

/// A number of cases; failures are shown, not written into the tree.
pub(super) fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// Numbers from which one event is made. Which event it is depends on the state, so that histories
/// go deep: most choices name the attempt, lease or letter that the state holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    pub(super) what: u8,
    step: u8,
    class: u8,
    /// In one of four cases something is wrong with the event.
    wrong: u8,
    wait: u16,
    pub(super) repeat: u8,
}

pub(super) fn choices(longest: usize) -> impl Strategy<Value = Vec<Choice>> {
    let one = (0u8..51, 0u8..6, 0u8..12, 0u8..16, 0u16..2_000, any::<u8>()).prop_map(
        |(what, step, class, wrong, wait, repeat)| Choice {
            what,
            step,
            class,
            wrong,
            wait,
            repeat,
        },
    );
    prop::collection::vec(one, 1..longest)
}

pub(super) fn drivers() -> impl Strategy<Value = Driver> {
    prop_oneof![Just(Driver::Plan), Just(Driver::Journal), Just(Driver::Record)]
}

pub(super) const PLAN: &str = r#"[
    {"name":"a","tool":"t","effect":"idempotent","after":[],"key_ttl_ms":20000,"retry":{"max_attempts":3},
     "compensate":{"tool":"t","effect":"pure","input":{"$ref":"a#/ok"},"retry":{"max_attempts":2}}},
    {"name":"b","tool":"t","effect":"at_most_once","after":[],"retry":{"max_attempts":2},"on_exhausted":"escalate","approval":{"expires_ms":5000,"quorum":2}},
    {"name":"c","tool":"queue:q","effect":"pure","memo":{"max_age_ms":9000},"timeout_ms":4000,"after":["a"],"input":{"$ref":"a#/ok"},"retry":{"max_attempts":2},"deadline_ms":60000,
     "on_exhausted":"fallback","fallback":[{"name":"e","tool":"signal:go","deadline_ms":30000}]},
    {"name":"d","tool":"queue:q","effect":"probe","after":["b","c"],"on_exhausted":"compensate",
     "probe":{"tool":"p"}}]"#;

pub(super) fn given(driver: Driver) -> Given {
    let given = match driver {
        Driver::Plan => Given::plan(PLAN),
        Driver::Journal => Given::journal(),
        Driver::Record => Given::record(),
    };
    Given { stall_after_ms: 3000, ..given }
}

fn name(choice: Choice) -> &'static str {
    ["a", "b", "c", "d", "e", "compensate/a"][usize::from(choice.step)]
}

/// The attempt and lease that an event about a step would name.
fn attempt_of(found: Option<&StepState>, choice: Choice) -> (u32, u64, u64) {
    let Some(step) = found else { return (1, 1, 1) };
    let newest = step.attempts.last();
    let older = step.attempts.first().filter(|_| choice.wrong == 1).or(newest);
    let (attempt, lease) = older.map_or((0, 0), |one| (one.attempt, one.lease));
    let heartbeat = step.live.as_ref().map_or(lease, |live| live.heartbeat);
    match choice.wrong {
        2 => (attempt + 1, lease, heartbeat),
        3 => (attempt, lease + 1, heartbeat + 1),
        _ => (attempt, lease, heartbeat),
    }
}

/// The event that a choice stands for now.
pub(super) fn event(given: &Given, choice: Choice) -> Event {
    let body = body(given, choice);
    let claim = match choice.wrong {
        4 => None,
        5 => Some(given.claim_offset() + 1),
        6 => Some(given.claim_offset().saturating_sub(1)),
        _ => needs_claim(given, &body).then(|| given.claim_offset()),
    };
    let is_journal = given.run().driver() == Driver::Journal;
    let asks = is_journal && claim.is_none() && !choice.what.is_multiple_of(4);
    let session = ["S", "T", "U"][usize::from(choice.class % 3)];
    let replaces = (choice.repeat.is_multiple_of(16)).then(|| "S".to_owned());
    let op_id = if choice.wrong == 7 { 3 } else { given.offset };
    let op = (asks || choice.wrong == 8).then(|| Op {
        session: session.into(),
        op_id,
        replaces,
        version: None,
    });
    let actor = ["ada", "bob"][usize::from(choice.repeat % 2)].to_owned();
    let event = Event { claim, op, actor, ..given.event(body) };
    if choice.repeat % 8 == 1 {
        return item(event, &format!("b{}", given.offset / 4), u32::from(choice.repeat / 64));
    }
    event
}

fn needs_claim(given: &Given, body: &Body) -> bool {
    let driver = given.run().driver();
    match body {
        Body::Run(_, RunEvent::Completed { .. } | RunEvent::Failed { .. }) => {
            driver == Driver::Plan
        }
        Body::Run(_, RunEvent::CompensationStarted { .. } | RunEvent::Stalled { .. }) => true,
        Body::Run(..) | Body::Partition(_) => false,
        Body::Step(_, _, event) => match event {
            StepEvent::Started(start) => start.attempt.is_some() && driver != Driver::Record,
            StepEvent::WaitCreated { spec, .. } => spec.is_none(),
            StepEvent::Scheduled(_)
            | StepEvent::Unknown { .. }
            | StepEvent::Skipped { .. }
            | StepEvent::Cancelled { .. } => driver != Driver::Record,
            StepEvent::Lost { .. }
            | StepEvent::RetryScheduled { .. }
            | StepEvent::Deferred { .. }
            | StepEvent::DeadLettered { .. }
            | StepEvent::FallbackStarted { .. }
            | StepEvent::TaskOpened { .. }
            | StepEvent::TaskExpired { .. }
            | StepEvent::ApprovalRequested { .. }
            | StepEvent::WaitExpired
            | StepEvent::Probed(_)
            | StepEvent::FaultInjected { .. } => true,
            StepEvent::Reused { .. } => driver == Driver::Plan,
            StepEvent::Heartbeat { .. }
            | StepEvent::Completed { .. }
            | StepEvent::Failed { .. }
            | StepEvent::Released { .. }
            | StepEvent::Resolved(_)
            | StepEvent::Redriven { .. }
            | StepEvent::TaskDecided { .. }
            | StepEvent::Paused { .. }
            | StepEvent::Resumed { .. }
            | StepEvent::Discarded { .. } => false,
        },
    }
}

fn body(given: &Given, choice: Choice) -> Body {
    let name = name(choice);
    let found = given.run().steps.get(&key_of(name));
    let class = CLASSES[usize::from(choice.class)];
    let error = || StepError::new(class, class.as_str(), "it failed");
    let reason = || "because".to_owned();
    let claims = choice.wrong < 8;
    match choice.what {
        0 => run(RunEvent::Completed { output: None }),
        1 => run(RunEvent::Failed { error: error(), step: found.map(|step| step.key.clone()) }),
        2 => run(RunEvent::Cancelled { reason: reason() }),
        3 => decision(),
        31 if claims => {
            let over = given.partition.claim.as_ref().map(|claim| claim.offset);
            claimed(over, choice.wrong == 0)
        }
        32 => run(RunEvent::CancelRequested { reason: reason(), compensate: choice.wrong < 8 }),
        33 => {
            let step = found.map(|step| step.key.clone());
            run(RunEvent::CompensationStarted { error: error(), step })
        }
        42 => {
            let name = if choice.wrong < 12 { "go" } else { "other" };
            run(RunEvent::SignalReceived { name: name.into(), data: Payload::null() })
        }
        50 => {
            let (step, late) = (found.map(|step| step.key.clone()), u64::from(choice.wrong == 9));
            run(RunEvent::Stalled { reason: reason(), step, moved: given.run().last_offset + late })
        }
        34 => run(RunEvent::Paused { reason: reason() }),
        35 => run(RunEvent::Resumed { reason: reason() }),
        4..=20 | 31 => attempt_body(found.map(AsRef::as_ref), choice),
        _ => decided_body(given, found.map(AsRef::as_ref), choice),
    }
}

/// What whoever runs attempts says of them.
fn attempt_body(found: Option<&StepState>, choice: Choice) -> Body {
    let name = name(choice);
    let (attempt, lease, last_heard) = attempt_of(found, choice);
    let class = CLASSES[usize::from(choice.class)];
    let effects = [Effect::Pure, Effect::Idempotent, Effect::Probe, Effect::AtMostOnce];
    let effect = effects[usize::from(choice.step % 4)];
    match choice.what {
        4 => step(name, StepEvent::Scheduled(spec(effect, "1"))),
        5 | 6 if matches!(name, "c" | "d") != (choice.wrong == 9) => {
            leased(name, attempt + 1, 500 + u64::from(choice.wait))
        }
        5 | 6 => started(name, attempt + 1),
        7 if choice.wrong.is_multiple_of(2) => guarded(name, effect),
        8 if choice.wrong.is_multiple_of(3) => held_begin(name, effect, HeldBy::TenantPaused),
        7 | 8 => begin(name, effect),
        9 | 10 => reported(name, attempt + 1),
        11 => heartbeat(name, attempt, lease),
        12..=14 => completed(name, attempt, lease),
        15..=18 => failed(name, attempt, lease, class),
        19 => {
            let error = Some(class).filter(|_| choice.repeat.is_multiple_of(2));
            released(name, attempt, lease, error)
        }
        20 => lost(name, attempt, lease, last_heard),
        _ => step(name, StepEvent::FaultInjected { attempt, fault: Fault::Timeout }),
    }
}

/// A `begin` of which two people have to approve.
fn guarded(name: &str, effect: Effect) -> Body {
    let spec = StepSpec::clone(&spec(effect, "1"));
    let spec = StepSpec { approval_ms: Some(4000), quorum: Some(2), ..spec };
    let start = StepStarted { attempt: None, spec: Some(spec.into()), ..StepStarted::default() };
    step(name, StepEvent::Started(start))
}

/// What owners decide and operators ask for.
fn decided_body(given: &Given, found: Option<&StepState>, choice: Choice) -> Body {
    let name = name(choice);
    let (attempt, _, _) = attempt_of(found, choice);
    let class = CLASSES[usize::from(choice.class)];
    let due_at = given.now.plus_ms(u64::from(choice.wait));
    let reason = || "because".to_owned();
    let letter_id = found.map_or(Digest::of_bytes(b"x"), |step| {
        keys::step_letter_id(&given.run().key, &step.key, step.generation)
    });
    let even = choice.repeat.is_multiple_of(2);
    let event = match choice.what {
        21 => StepEvent::RetryScheduled { attempt, due_at },
        22 => {
            let by = if choice.wrong < 12 { HeldBy::Breaker } else { HeldBy::Worker };
            StepEvent::Deferred { attempt, due_at, held_by: even.then_some(by) }
        }
        23 => StepEvent::Unknown { attempt, reason: reason() },
        24 => return resolved(name, attempt, even),
        25 => StepEvent::Skipped { reason: reason(), output: None },
        26 => StepEvent::Cancelled { reason: reason() },
        27 => {
            let error = StepError::new(class, class.as_str(), "it failed");
            StepEvent::DeadLettered { attempt, letter_id, error }
        }
        28 => return redriven(name, letter_id, choice.wrong < 12),
        29 => return edited(found, name, letter_id),
        36 => StepEvent::Paused { reason: reason() },
        37 => StepEvent::Resumed { reason: reason() },
        38 => {
            let error = StepError::new(class, class.as_str(), "it failed");
            StepEvent::FallbackStarted { attempt, error }
        }
        39..=41 => return asked(given, found, name, attempt, choice),
        43..=47 => return awaited(given, found, name, attempt, choice),
        48 => {
            let new = || StepSpec::new("t", Effect::Pure, Payload::null()).into();
            let spec = found.filter(|_| even).map_or_else(new, |step| step.spec.clone());
            let output = (choice.wrong < 12).then(|| super::bodies::output("1"));
            StepEvent::Reused { spec, output, skipped: None, edited: choice.wrong % 2 == 1 }
        }
        49 => StepEvent::Probed(Finding {
            attempt,
            found: [Found::Happened, Found::Absent, Found::Unclear][usize::from(choice.class % 3)],
            output: None,
            due_at: even.then_some(due_at),
            reason: reason(),
        }),
        _ => {
            let then = if even { Then::Skip } else { Then::Fail };
            StepEvent::Discarded { letter_id, then, reason: reason() }
        }
    };
    step(name, event)
}

/// A wait, or the question whether a call may be made.
fn awaited(
    given: &Given,
    found: Option<&StepState>,
    name: &str,
    attempt: u32,
    choice: Choice,
) -> Body {
    let number = found.map_or(0, |step| step.tasks);
    let id = |number| keys::task_id(&given.run().key, &key_of(name), number);
    let expires_at = given.now.plus_ms(u64::from(choice.wait) * 10);
    let signal = Some("go".to_owned());
    let event = match choice.what {
        43 => StepEvent::WaitCreated { signal, expires_at, spec: None },
        44 => {
            let spec = StepSpec::new("signal:go", Effect::Pure, Payload::null());
            StepEvent::WaitCreated { signal, expires_at, spec: Some(spec.into()) }
        }
        45 => StepEvent::WaitExpired,
        46 => StepEvent::TaskExpired { task_id: id(number.saturating_sub(1)) },
        _ => StepEvent::ApprovalRequested {
            attempt: attempt + 1,
            task_id: id(number),
            call: found.map_or(Digest::of_bytes(b"x"), StepState::call_digest),
            expires_at,
        },
    };
    step(name, event)
}

/// A question to a person, or its answer.
fn asked(
    given: &Given,
    found: Option<&StepState>,
    name: &str,
    attempt: u32,
    choice: Choice,
) -> Body {
    let number = found.map_or(0, |step| step.tasks);
    let id = |number| keys::task_id(&given.run().key, &key_of(name), number);
    let class = CLASSES[usize::from(choice.class)];
    let error = StepError::new(class, class.as_str(), "it failed");
    let verdicts =
        [TaskVerdict::Retry, TaskVerdict::Complete, TaskVerdict::Approve, TaskVerdict::Deny];
    let event = match choice.what {
        39 => StepEvent::TaskOpened { attempt, task_id: id(number), error },
        _ => StepEvent::TaskDecided {
            task_id: id(number.saturating_sub(1)),
            verdict: verdicts[usize::from(choice.class % 4)],
            output: None,
            reason: "asked".into(),
        },
    };
    step(name, event)
}

fn edited(found: Option<&StepState>, name: &str, letter_id: Digest) -> Body {
    let before = found.map_or(Digest::of_bytes(b"x"), |step| step.spec.input.digest);
    let after = Payload::json("input", "2").expect("legal JSON");
    let edit = Some(InputEdit { before, after });
    let reason = "repair".into();
    step(name, StepEvent::Redriven { letter_id, reason, force: true, edit })
}

/// Plays choices: each event some time after the one before, the owner deciding now and then.
/// `look` sees the history before and after each event.
pub(super) fn play(
    driver: Driver,
    choices: &[Choice],
    mut look: impl FnMut(&Given, &Event, &crate::Verdict, &Given),
) -> Given {
    let mut given = given(driver);
    for choice in choices {
        given.after(u64::from(choice.wait));
        given.polled = usize::from(choice.class % 3);
        let decides = !choice.repeat.is_multiple_of(4);
        let decided = if decides { given.ahead(Vec::new()).events } else { Vec::new() };
        for event in decided.into_iter().chain([event(&given, *choice)]) {
            let before = given.clone();
            let verdict = given.fold(event.clone());
            look(&before, &event, &verdict, &given);
        }
    }
    given
}
