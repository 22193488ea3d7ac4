//! Record runs: facts from outside, judged by what they say and never by when they are repeated.

use super::{
    bodies::{APPLIED, completed, decision, failed, kind_of, reported, run, step},
    given::Given,
};
use crate::{Reason, RunStatus, StepStatus, Verdict};
use spine_schemas::{Body, ErrorClass, Event, RunEvent, StepError, StepEvent};

fn unknown(attempt: u32) -> Body {
    step("a", StepEvent::Unknown { attempt, reason: "no answer".into() })
}

fn skipped(name: &str) -> Body {
    step(name, StepEvent::Skipped { reason: "not needed".into(), output: None })
}

fn heartbeat(attempt: u32) -> Body {
    step("a", StepEvent::Heartbeat { attempt, lease: None })
}

/// The facts of a whole run, as an outside system reports them.
fn facts() -> Vec<Body> {
    vec![
        step("b", StepEvent::Scheduled(super::bodies::spec(spine_schemas::Effect::Pure, "1"))),
        reported("a", 1),
        heartbeat(1),
        failed("a", 1, 0, ErrorClass::Timeout),
        reported("a", 2),
        unknown(2),
        completed("a", 2, 0),
        decision(),
        skipped("b"),
        run(RunEvent::Completed { output: None }),
    ]
}

#[test]
fn facts_are_stored_and_counted() {
    let mut given = Given::record();
    for fact in facts() {
        assert_eq!(given.append(fact.clone()), APPLIED, "{fact:?}");
        assert_eq!(given.settle(), [""; 0], "nothing is decided for it");
        assert_eq!(given.run().next_due(), None);
    }
    assert_eq!(given.run().status, RunStatus::Degraded);
    assert_eq!((given.status(), given.step("a").attempt), (StepStatus::Completed, 2));
    assert_eq!((given.run().totals.attempts, given.run().decisions), (2, 1));
}

#[test]
fn a_producer_that_repeats_everything_makes_no_letters_and_changes_nothing() {
    let mut given = Given::record();
    let created = given.log.last().unwrap().0.clone();
    let mut sent = vec![created];
    for fact in facts() {
        let event = given.event(fact);
        given.fold(event.clone());
        sent.push(event);
        let state = given.run.clone();
        // A heartbeat of a running attempt cannot be told from a new one, and does no harm.
        let is_heartbeat = |event: &&Event| kind_of(&event.body) == "step_heartbeat";
        for event in sent.iter().filter(|event| !is_heartbeat(event)) {
            let verdict = given.fold(event.clone());
            assert!(matches!(verdict, Verdict::Stale(..)), "{:?}: {verdict:?}", event.body);
            assert_eq!(given.run, state, "{:?}", event.body);
        }
    }
}

#[test]
fn news_after_the_end_become_letters() {
    let mut given = Given::record();
    for fact in facts() {
        given.append(fact);
    }
    let error = StepError::new(ErrorClass::Terminal, "x", "x");
    for fact in [
        reported("a", 3),
        reported("c", 1),
        completed("c", 1, 0),
        decision(),
        run(RunEvent::Failed { error, step: None }),
    ] {
        assert_eq!(given.append(fact), Verdict::Illegal(Reason::RunEnded));
    }
}

#[test]
fn facts_that_cannot_be_true_become_letters() {
    let mut given = Given::record();
    let no_spec = step(
        "a",
        StepEvent::Started(spine_schemas::StepStarted { attempt: Some(1), ..Default::default() }),
    );
    for (fact, reason) in [
        (no_spec, Reason::StepAbsent),
        (completed("a", 1, 0), Reason::StepAbsent),
        (failed("a", 1, 0, ErrorClass::Timeout), Reason::StepAbsent),
        (skipped("a"), Reason::StepAbsent),
        (heartbeat(1), Reason::StepAbsent),
        (reported("a", 0), Reason::WrongAttempt),
    ] {
        assert_eq!(given.append(fact), Verdict::Illegal(reason));
    }
    given.append(reported("a", 1));
    assert_eq!(given.append(completed("a", 2, 0)), Verdict::Illegal(Reason::WrongAttempt));
    assert_eq!(given.append(heartbeat(2)), Verdict::Illegal(Reason::WrongAttempt));
    assert_eq!(given.append(unknown(2)), Verdict::Illegal(Reason::WrongAttempt));
}

#[test]
fn a_newer_reported_attempt_ends_the_one_before_and_numbers_may_have_gaps() {
    let mut given = Given::record();
    for attempt in [1, 4, 9] {
        assert_eq!(given.append(reported("a", attempt)), APPLIED);
    }
    assert_eq!(given.step("a").attempts.len(), 3);
    assert_eq!(given.append(completed("a", 9, 0)), APPLIED);
    assert_eq!(given.append(reported("a", 10)), Verdict::Illegal(Reason::StepState));
}

#[test]
fn a_reported_failure_of_a_run_may_name_any_step() {
    let fail = |name: &str| {
        let error = StepError::new(ErrorClass::Contract, "bad", "bad output");
        let step = Some(spine_schemas::StepKey::named(name));
        run(RunEvent::Failed { error, step })
    };
    let mut running = Given::record();
    running.append(reported("a", 1));
    assert_eq!(running.append(fail("a")), APPLIED);
    assert_eq!((running.status(), &running.step("a").live), (StepStatus::Failed, &None));
    let mut done = Given::record();
    done.append(reported("a", 1));
    done.append(completed("a", 1, 0));
    assert_eq!(done.append(fail("a")), APPLIED);
    assert_eq!((done.status(), done.run().status), (StepStatus::Completed, RunStatus::Failed));
    let mut absent = Given::record();
    assert_eq!(absent.append(fail("nobody")), APPLIED);
}

#[test]
fn careful_classes_park_nothing_in_a_record_run() {
    let mut given = Given::record();
    let spec = Some(super::bodies::spec(spine_schemas::Effect::AtMostOnce, "1"));
    let start = spine_schemas::StepStarted { attempt: Some(1), spec, ..Default::default() };
    given.append(step("a", StepEvent::Started(start)));
    given.append(failed("a", 1, 0, ErrorClass::UnknownOutcome));
    assert_eq!(given.status(), StepStatus::Failed);
}
