//! Sessions of agents: the same operation gets the same answer; a new session takes over an old one.

use super::{
    bodies::{APPLIED, begin, completed, denied, failed, heartbeat, refused},
    given::Given,
    journal::begun,
};
use crate::{Answer, Reason, StepStatus, Verdict};
use spine_schemas::{Body, Effect, ErrorClass, Event, Op};

fn op(given: &mut Given, session: &str, op_id: u64, replaces: &str, body: Body) -> Verdict {
    let replaces = Some(replaces.into());
    let op = Some(Op { session: session.into(), op_id, replaces, version: None });
    let event = Event { op, ..given.event(body) };
    given.fold(event)
}

#[test]
fn the_same_operation_gets_the_same_answer_and_lease() {
    let mut given = Given::journal();
    let first = given.op("S", 1, begin("a", Effect::Pure));
    let again = given.op("S", 1, begin("a", Effect::Pure));
    assert_eq!(again, Verdict::Stale(Reason::Duplicate, first.answer().cloned()));
    assert_eq!(given.step("a").attempt, 1);
    let other = given.op("T", 1, begin("a", Effect::Pure));
    assert!(matches!(other.answer(), Some(Answer::Wait { .. })), "{other:?}");
}

#[test]
fn a_refusal_stays_a_refusal_under_its_number() {
    let mut given = begun(Effect::Pure);
    let first = given.op("S", 2, begin("a", Effect::Pure));
    assert!(matches!(first, Verdict::Refused(_, Answer::Wait { .. })));
    given.after(30_000).settle();
    assert_eq!(given.status(), StepStatus::Scheduled);
    let again = given.op("S", 2, begin("a", Effect::Pure));
    assert_eq!(again, Verdict::Refused(Reason::Duplicate, first.answer().unwrap().clone()));
    assert_eq!(given.status(), StepStatus::Scheduled, "a late copy starts nothing");
}

#[test]
fn a_number_stands_for_one_question() {
    let mut given = begun(Effect::Pure);
    let lease = given.lease();
    for body in [
        begin("b", Effect::Pure),
        completed("a", 1, lease),
        failed("a", 1, lease, ErrorClass::Terminal),
        heartbeat("a", 1, lease),
        super::bodies::decision(),
    ] {
        assert_eq!(given.op("S", 1, body), refused(Reason::OpReused));
    }
    assert_eq!(given.status(), StepStatus::Running);
}

#[test]
fn old_numbers_are_forgotten_and_never_answered_anew() {
    let mut given = begun(Effect::Pure);
    let lease = given.lease();
    for op_id in 2..=1030 {
        given.op("S", op_id, heartbeat("a", 1, lease));
    }
    let session = &given.run().sessions["S"];
    assert_eq!((session.ops.len(), session.forgotten), (1024, Some(6)));
    assert_eq!(given.op("S", 1, begin("a", Effect::Pure)), refused(Reason::SessionGone));
    assert_eq!(given.op("S", 6, begin("z", Effect::Pure)), refused(Reason::SessionGone));
    assert_eq!(given.op("S", 5, completed("a", 1, lease)), APPLIED, "outcomes are never fenced");
}

#[test]
fn a_session_that_replaces_another_takes_its_attempts_away_at_once() {
    for (effect, status) in [
        (Effect::Pure, StepStatus::Running),
        (Effect::Idempotent, StepStatus::Running),
        (Effect::AtMostOnce, StepStatus::Unknown),
    ] {
        let mut given = begun(effect);
        let verdict = op(&mut given, "T", 1, "S", begin("a", effect));
        assert!(matches!(verdict, Verdict::Applied(_)), "the loss is part of it: {verdict:?}");
        assert_eq!(given.status(), status, "{effect:?}");
        let granted = status == StepStatus::Running;
        assert_eq!(verdict.counts_as_applied(), granted, "{effect:?}");
        assert_eq!(given.step("a").last_offset, given.offset);
        let again = op(&mut given, "T", 1, "S", begin("a", effect));
        assert_eq!(again.answer(), verdict.answer());
        assert!(!matches!(again, Verdict::Applied(_)));
    }
}

#[test]
fn a_replaced_session_may_only_report_what_it_did() {
    let mut given = begun(Effect::AtMostOnce);
    let lease = given.lease();
    op(&mut given, "T", 1, "S", begin("b", Effect::Pure));
    assert_eq!(given.status(), StepStatus::Unknown);
    let gone = refused(Reason::SessionGone);
    assert_eq!(given.op("S", 2, begin("c", Effect::Pure)), gone);
    assert_eq!(given.op("S", 1, begin("a", Effect::AtMostOnce)), gone, "its lease is void");
    assert_eq!(given.op("S", 3, heartbeat("a", 1, lease)), gone);
    assert_eq!(given.op("S", 4, completed("a", 1, lease)), APPLIED);
    assert_eq!(given.status(), StepStatus::Completed);
    assert_eq!(op(&mut given, "S", 5, "T", begin("c", Effect::Pure)), gone, "nor take over");
    assert_eq!(given.step("b").status, StepStatus::Running);
}

#[test]
fn a_session_can_be_replaced_before_it_was_heard_of() {
    let mut given = Given::journal();
    op(&mut given, "T", 1, "S", begin("b", Effect::Pure));
    let late = given.op("S", 1, begin("a", Effect::Pure));
    assert_eq!(late, refused(Reason::SessionGone));
}

#[test]
fn a_session_that_names_itself_replaces_nobody() {
    let mut given = begun(Effect::Pure);
    let verdict = op(&mut given, "S", 2, "S", begin("a", Effect::Pure));
    assert!(matches!(verdict, Verdict::Refused(_, Answer::Wait { .. })));
}

#[test]
fn refused_outcomes_of_agents_are_answered() {
    let mut given = begun(Effect::Pure);
    let lease = given.lease();
    assert_eq!(given.op("S", 2, completed("a", 1, lease + 1)), refused(Reason::WrongLease));
    assert_eq!(given.op("S", 3, completed("a", 2, lease)), refused(Reason::WrongAttempt));
    assert_eq!(given.op("S", 4, completed("b", 1, lease)), refused(Reason::StepAbsent));
    assert_eq!(given.op("S", 5, completed("a", 1, lease)), APPLIED);
    let late = given.op("S", 6, failed("a", 1, lease, ErrorClass::Terminal));
    assert_eq!(late.answer(), Some(&denied(Reason::Late)));
}

#[test]
fn the_session_that_was_silent_longest_is_forgotten_first_if_it_holds_nothing() {
    let mut given = begun(Effect::Pure);
    for number in 0..16 {
        given.after(1);
        given.op(&format!("T{number}"), 1, super::bodies::decision());
    }
    let sessions = &given.run().sessions;
    assert_eq!(sessions.len(), 16);
    assert!(sessions.contains_key("S"), "it holds an attempt");
    assert!(!sessions.contains_key("T0"));
}

#[test]
fn replacing_in_an_ended_run_moves_nothing() {
    let mut given = begun(Effect::Pure);
    let cancel = super::bodies::run(spine_schemas::RunEvent::Cancelled { reason: "x".into() });
    given.op("S", 2, cancel);
    let verdict = op(&mut given, "T", 1, "S", begin("b", Effect::Pure));
    assert_eq!(verdict, refused(Reason::RunEnded));
    assert_eq!(given.status(), StepStatus::Cancelled);
}
