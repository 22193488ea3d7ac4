//! What listeners are told of attempts: which one speaks, which one's words are void, when it is over.

use super::{
    bodies::{APPLIED, begin, completed, failed, key_of, kind_of, run},
    given::Given,
    journal::begun,
};
use crate::{NotLive, PartitionState, RunStatus, Said, Speakers, StepStatus, Verdict, fold};
use spine_schemas::{Body, Effect, ErrorClass, Event, Op, RunEvent};

/// What somebody heard who listened from the first event on.
fn heard(given: &Given) -> Vec<Said> {
    let (mut partition, mut run) = (PartitionState::default(), None);
    let (mut speakers, mut said) = (Speakers::default(), Vec::new());
    for (event, place) in &given.log {
        let verdict = fold(&mut partition, &mut run, event, *place);
        let Some(state) = run.as_deref().filter(|_| matches!(verdict, Verdict::Applied(_))) else {
            continue;
        };
        let changed = match &event.body {
            Body::Step(_, step, _) => Some(step),
            Body::Run(..) | Body::Partition(_) => None,
        };
        said.extend(speakers.follow(state, changed));
        assert_eq!(speakers, Speakers::of(state), "after {}", kind_of(&event.body));
    }
    said
}

/// Whoever listened knows of every attempt that runs, and of no other.
pub(super) fn check(given: &Given) {
    heard(given);
}

fn ended(name: &str, attempt: u32, status: StepStatus) -> Said {
    Said::AttemptEnded { step: key_of(name), attempt, status }
}

/// The second attempt of step `a` runs.
fn retried() -> Given {
    let mut given = begun(Effect::Pure);
    let lease = given.lease();
    given.op("S", 2, failed("a", 1, lease, ErrorClass::Transient));
    given.settle();
    given.after(60_000).settle();
    given.op("S", 3, begin("a", Effect::Pure));
    given
}

#[test]
fn j7_an_attempt_that_fails_is_told_and_the_next_one_makes_its_words_void() {
    let mut given = retried();
    let lease = given.lease();
    assert_eq!(given.op("S", 4, completed("a", 2, lease)), APPLIED);
    let expected = [
        Said::Began(key_of("a")),
        ended("a", 1, StepStatus::Failed),
        Said::Retried(key_of("a"), 2),
        ended("a", 2, StepStatus::Completed),
    ];
    assert_eq!(heard(&given), expected);
}

#[test]
fn a_heartbeat_and_a_refused_begin_say_nothing() {
    let mut given = begun(Effect::Pure);
    let lease = given.lease();
    given.op("S", 2, super::bodies::heartbeat("a", 1, lease));
    given.op("T", 1, begin("a", Effect::Pure));
    assert_eq!(heard(&given), [Said::Began(key_of("a"))]);
}

#[test]
fn a_session_that_takes_over_ends_all_attempts_of_the_old_one() {
    let mut given = begun(Effect::Pure);
    given.op("S", 2, begin("b", Effect::Pure));
    let op = Some(Op { session: "T".into(), op_id: 1, replaces: Some("S".into()), version: None });
    let event = Event { op, ..given.event(begin("a", Effect::Pure)) };
    assert!(matches!(given.fold(event), Verdict::Applied(_)));
    let said = heard(&given);
    assert_eq!(said[..2], [Said::Began(key_of("a")), Said::Began(key_of("b"))]);
    assert_eq!(said[2], Said::Retried(key_of("a"), 2));
    assert!(
        matches!(&said[3], Said::AttemptEnded { step, attempt: 1, .. } if *step == key_of("b"))
    );
}

#[test]
fn the_end_of_the_run_is_the_last_word() {
    let mut given = begun(Effect::Pure);
    let lease = given.lease();
    given.op("S", 2, completed("a", 1, lease));
    given.op("S", 3, run(RunEvent::Completed { output: None }));
    assert_eq!(heard(&given).last(), Some(&Said::RunEnded(RunStatus::Completed)));
}

#[test]
fn what_somebody_else_says_of_a_step_makes_no_words_count() {
    let mut given = begun(Effect::AtMostOnce);
    given.after(3_600_000).settle();
    assert_eq!(given.resolve_step("a", 1, true), APPLIED);
    assert_eq!(given.status(), StepStatus::Completed);
    assert_eq!(heard(&given).last(), Some(&ended("a", 1, StepStatus::Unknown)));
}

#[test]
fn only_the_attempt_that_runs_may_speak() {
    let mut given = begun(Effect::Pure);
    let speakers = Speakers::of(given.run());
    assert_eq!(speakers.check(&key_of("a"), 1), Ok(true));
    for later in [("a", 2), ("b", 1)] {
        assert_eq!(speakers.check(&key_of(later.0), later.1), Ok(false), "it may have begun since");
    }
    let lease = given.lease();
    given.op("S", 2, completed("a", 1, lease));
    assert_eq!(Speakers::of(given.run()).check(&key_of("a"), 1), Err(NotLive { live: None }));
}

#[test]
fn an_older_attempt_is_told_which_one_runs() {
    let given = retried();
    let speakers = Speakers::of(given.run());
    assert_eq!(speakers.check(&key_of("a"), 1), Err(NotLive { live: Some(2) }));
}

#[test]
fn a_success_that_comes_late_makes_its_words_count() {
    let mut given = begun(Effect::AtMostOnce);
    let lease = given.lease();
    given.after(3_600_000).settle();
    assert_eq!(given.status(), StepStatus::Unknown);
    assert_eq!(given.op("S", 2, completed("a", 1, lease)), APPLIED);
    let expected = [
        Said::Began(key_of("a")),
        ended("a", 1, StepStatus::Unknown),
        ended("a", 1, StepStatus::Completed),
    ];
    assert_eq!(heard(&given), expected);
}
