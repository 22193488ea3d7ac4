//! Who may append what: one table over kind × driver × claim × operation.

use super::{
    bodies::{
        begin, completed, created, decision, failed, heartbeat, kind_of, lost, redriven, released,
        reported, resolved, run, spec, started, step,
    },
    given::Given,
};
use crate::{Reason, Verdict};
use spine_schemas::{
    Body, Digest, Driver, Effect, ErrorClass, Event, Fault, Op, Payload, RunEvent, StepError,
    StepEvent, TaskVerdict, Then, time::Micros,
};

/// What becomes of an event: `A`pplied, or as far as its state allows; `S`tale; `R`efused; `I`llegal.
fn letter(verdict: &Verdict) -> char {
    match verdict {
        Verdict::Applied(_) => 'A',
        Verdict::Stale(..) => 'S',
        Verdict::Refused(..) => 'R',
        Verdict::Illegal(_) => 'I',
    }
}

/// A run of each driver with a step `a` whose first attempt runs, and its lease.
fn running(driver: Driver) -> (Given, u64) {
    match driver {
        Driver::Plan => {
            let given = Given::running(Effect::Pure, "");
            let lease = given.lease();
            (given, lease)
        }
        Driver::Journal => {
            let given = super::journal::begun(Effect::Pure);
            let lease = given.lease();
            (given, lease)
        }
        Driver::Record => {
            let mut given = Given::record();
            given.append(reported("a", 1));
            let lease = given.lease();
            (given, lease)
        }
    }
}

fn bodies(driver: Driver, lease: u64) -> Vec<Body> {
    let error = || StepError::new(ErrorClass::Terminal, "x", "x");
    let reason = || "x".to_owned();
    let (letter_id, due_at) = (Digest::of_bytes(b"x"), Micros(0));
    let (verdict, output) = (TaskVerdict::Retry, None);
    let decided = StepEvent::TaskDecided { task_id: letter_id, verdict, output, reason: reason() };
    vec![
        created(driver, None),
        run(RunEvent::Completed { output: None }),
        run(RunEvent::Failed { error: error(), step: None }),
        run(RunEvent::Cancelled { reason: reason() }),
        decision(),
        step("n", StepEvent::Scheduled(spec(Effect::Pure, "1"))),
        begin("n", Effect::Pure),
        started("a", 2),
        heartbeat("a", 1, lease),
        completed("a", 1, lease),
        failed("a", 1, lease, ErrorClass::Terminal),
        released("a", 1, lease, None),
        lost("a", 1, lease, lease),
        step("a", StepEvent::RetryScheduled { attempt: 1, due_at }),
        step("a", StepEvent::Deferred { attempt: 1, due_at, held_by: None }),
        step("a", StepEvent::Unknown { attempt: 1, reason: reason() }),
        resolved("a", 1, true),
        step("a", StepEvent::Skipped { reason: reason(), output: None }),
        step("a", StepEvent::Cancelled { reason: reason() }),
        step("a", StepEvent::DeadLettered { attempt: 1, letter_id, error: error() }),
        redriven("a", letter_id, true),
        step("a", StepEvent::Discarded { letter_id, then: Then::Fail, reason: reason() }),
        step("a", StepEvent::FaultInjected { attempt: 1, fault: Fault::Timeout }),
        run(RunEvent::CancelRequested { reason: reason(), compensate: false }),
        run(RunEvent::CompensationStarted { error: error(), step: None }),
        run(RunEvent::Paused { reason: reason() }),
        run(RunEvent::Resumed { reason: reason() }),
        step("a", StepEvent::FallbackStarted { attempt: 1, error: error() }),
        step("a", StepEvent::TaskOpened { attempt: 1, task_id: letter_id, error: error() }),
        step("a", decided),
        step("a", StepEvent::Paused { reason: reason() }),
        step("a", StepEvent::Resumed { reason: reason() }),
        run(RunEvent::SignalReceived { name: "x".into(), data: Payload::null() }),
        step("a", StepEvent::WaitCreated { signal: None, expires_at: due_at, spec: None }),
        step(
            "a",
            StepEvent::WaitCreated {
                signal: None,
                expires_at: due_at,
                spec: Some(spec(Effect::Pure, "1")),
            },
        ),
        step("a", StepEvent::WaitExpired),
        step(
            "a",
            StepEvent::ApprovalRequested {
                attempt: 2,
                task_id: letter_id,
                call: letter_id,
                expires_at: due_at,
            },
        ),
        step("a", StepEvent::TaskExpired { task_id: letter_id }),
    ]
}

/// Kind, then for plan, journal and record the verdicts without and with a claim, each without and
/// with an operation.
const TABLE: [(&str, &str); 38] = [
    ("run_created", "RIII SIII SIII"),
    ("run_completed", "IRSI RRII ARII"),
    ("run_failed", "IRSI RRII ARII"),
    ("run_cancelled", "ARSI AASI ARII"),
    ("decision_recorded", "ARII AAII ARII"),
    ("step_scheduled", "IIAI IISI AIII"),
    ("step_started", "RRII RAII RRII"),
    ("step_started", "IISI IISI AIII"),
    ("step_heartbeat", "ARII AAII ARII"),
    ("step_completed", "ARII AAII ARII"),
    ("step_failed", "ARII AAII ARII"),
    ("step_released", "ARII AAII ARII"),
    ("step_lost", "IIAI IIAI IISI"),
    ("step_retry_scheduled", "IISI IISI IISI"),
    ("step_deferred", "IISI IISI IISI"),
    ("step_unknown", "IIAI IIAI AIII"),
    ("step_resolved", "RIII RIII RIII"),
    ("step_skipped", "IISI IISI AIII"),
    ("step_cancelled", "IISI IISI AIII"),
    ("step_dead_lettered", "IISI IISI IISI"),
    ("step_redriven", "RIII RIII RIII"),
    ("step_discarded", "RIII RIII RIII"),
    ("fault_injected", "IIAI IIAI IISI"),
    ("cancel_requested", "AIII AIII RIII"),
    ("compensation_started", "IISI IISI IISI"),
    ("run_paused", "AIII AIII RIII"),
    ("run_resumed", "SIII SIII RIII"),
    ("fallback_started", "IISI IISI IISI"),
    ("task_opened", "IISI IISI IISI"),
    ("task_decided", "RIII RIII RIII"),
    ("step_paused", "AIII AIII RIII"),
    ("step_resumed", "SIII SIII RIII"),
    ("signal_received", "AIII AIII RIII"),
    ("wait_created", "IISI IISI IISI"),
    ("wait_created", "RRII RRII RRII"),
    ("wait_expired", "IISI IISI IISI"),
    ("approval_requested", "IISI IISI IISI"),
    ("task_expired", "IISI IISI IISI"),
];

#[test]
fn who_may_append_what() {
    let drivers = [Driver::Plan, Driver::Journal, Driver::Record];
    for (row, (kind, expected)) in TABLE.into_iter().enumerate() {
        let mut found = Vec::new();
        for driver in drivers {
            let (given, lease) = running(driver);
            let body = bodies(driver, lease).remove(row);
            assert_eq!(kind_of(&body), kind);
            let mut letters = String::new();
            for (claimed, operation) in [(false, false), (false, true), (true, false), (true, true)]
            {
                let mut given = given.clone();
                let claim = claimed.then(|| given.claim_offset());
                let op = Op { session: "T".into(), op_id: 1, replaces: None, version: None };
                let op = operation.then_some(op);
                let event = Event { claim, op, ..given.event(body.clone()) };
                let before = given.run.clone();
                let verdict = given.fold(event);
                letters.push(letter(&verdict));
                let untouched = given.run == before;
                assert!(
                    untouched || operation || matches!(verdict, Verdict::Applied(_)),
                    "{kind} {driver:?}: {verdict:?} changed something"
                );
            }
            found.push(letters);
        }
        assert_eq!(found.join(" "), expected, "{kind}");
    }
}

#[test]
fn an_operations_number_gives_nobody_an_owners_rights() {
    let mut given = super::journal::begun(Effect::AtMostOnce);
    let lease = given.lease();
    let forged = given.op("S", 2, lost("a", 1, lease, lease));
    assert_eq!(forged, Verdict::Illegal(Reason::NoClaim));
}

#[test]
fn an_agent_cannot_end_a_run_that_a_plan_drives() {
    let mut given = Given::one(Effect::Pure, "");
    let error = StepError::new(ErrorClass::Terminal, "x", "x");
    let forged = given.op("S", 1, run(RunEvent::Failed { error, step: None }));
    assert_eq!(forged.reason(), Some(Reason::WrongDriver));
    assert!(given.run().is_open());
}

#[test]
fn what_is_about_no_run_is_refused_or_illegal() {
    let mut given = Given::nothing();
    let claim = Some(given.claim_offset());
    for body in bodies(Driver::Record, 1).into_iter().skip(1) {
        let verdict = given.append(body.clone());
        let request = matches!(verdict, Verdict::Refused(Reason::RunAbsent, _));
        let fact = matches!(verdict, Verdict::Illegal(Reason::RunAbsent | Reason::NoClaim));
        assert!(request || fact, "{}: {verdict:?}", kind_of(&body));
        let event = Event { claim, ..given.event(body) };
        assert!(!matches!(given.fold(event), Verdict::Applied(_)));
        assert_eq!(given.run, None);
    }
}

#[test]
fn a_run_is_created_once_and_a_conflict_names_both_digests() {
    for driver in [Driver::Journal, Driver::Record] {
        let mut given = Given::nothing();
        let create = created(driver, None);
        assert_eq!(given.append(create.clone()), super::bodies::APPLIED);
        assert_eq!(given.append(create), super::bodies::DUPLICATE);
        let other =
            created(if driver == Driver::Journal { Driver::Record } else { Driver::Journal }, None);
        let verdict = given.append(other);
        assert_eq!(verdict.reason(), Some(Reason::RunExists), "{verdict:?}");
    }
}
