//! Tools that are asked whether an attempt took effect.

use super::{
    bodies::{LOST_RACE, completed, output, step},
    given::Given,
};
use crate::{ProbeAnswer, StepStatus, Verdict, WaitKind, finding, probes_due, wake_at, why};
use spine_schemas::{
    Body, Effect, ErrorClass, Finding, Found, RunEvent, StepEvent, limits, time::Micros,
};

const ASKS: &str = r#","probe":{"tool":"p"},"key_ttl_ms":3600000,"retry":{"max_attempts":3}"#;
const VOIDS: &str = r#","probe":{"tool":"p","voids":true},"retry":{"max_attempts":2}"#;

/// A step whose first attempt gave no answer.
fn silent(more: &str) -> Given {
    let mut given = Given::running(Effect::Probe, more);
    assert_eq!(given.fail(ErrorClass::UnknownOutcome), ["step_failed"]);
    assert_eq!(given.status(), StepStatus::Unknown);
    given
}

fn is_due(given: &Given) -> bool {
    probes_due(given.run(), given.now).next().is_some()
}

/// What the owner appends when the tool has answered.
pub(super) fn answered(
    given: &mut Given,
    answer: ProbeAnswer,
    over_in_ms: u64,
) -> Vec<&'static str> {
    let finding = finding(given.step("a"), answer, over_in_ms, given.now);
    given.settle_with(vec![step("a", StepEvent::Probed(finding))])
}

pub(super) fn nothing() -> ProbeAnswer {
    ProbeAnswer::Nothing("http_503".into())
}

#[test]
fn f16_a_yes_completes_the_step_and_no_call_is_made() {
    let mut given = silent(ASKS);
    assert!(is_due(&given), "it is asked at once");
    let yes = ProbeAnswer::Happened(Some(output(r#"{"id":7}"#)));
    assert_eq!(answered(&mut given, yes, 60_000), ["step_probed", "run_completed"]);
    let done = given.step("a");
    assert_eq!((done.status, done.attempt), (StepStatus::Completed, 1));
    let found = done.output.as_ref().unwrap();
    assert_eq!(found.source.as_deref(), Some("probe"));
    assert_eq!(found.payload.data, r#"{"id":7}"#);
}

#[test]
fn a_no_counts_when_no_call_can_be_on_its_way() {
    let mut given = silent(ASKS);
    assert_eq!(answered(&mut given, ProbeAnswer::Absent, 60_000), ["step_probed"]);
    assert_eq!(given.status(), StepStatus::Unknown, "the call may still arrive");
    assert!(!is_due(&given));
    let due = given.step("a").next_probe().unwrap();
    assert_eq!(due, given.now.plus_ms(60_000));
    assert_eq!(wake_at(given.run(), &given.owner()), Some(due));
    given.now = due;
    assert!(is_due(&given));
    assert_eq!(answered(&mut given, ProbeAnswer::Absent, 0), ["step_probed", "step_started"]);
    assert_eq!(given.step("a").attempt, 2);
    assert_eq!(given.complete(), ["step_completed", "run_completed"]);
}

#[test]
fn a_no_that_makes_the_key_void_counts_at_once() {
    let mut given = silent(VOIDS);
    assert_eq!(answered(&mut given, ProbeAnswer::Absent, 60_000), ["step_probed", "step_started"]);
    // What the attempts cost stays spent, so a tool that never gets it done is found.
    assert_eq!(given.fail(ErrorClass::UnknownOutcome), ["step_failed"]);
    let kinds = answered(&mut given, ProbeAnswer::Absent, 60_000);
    assert_eq!(kinds, ["step_probed", "step_dead_lettered"]);
}

#[test]
fn a_tool_that_does_not_say_is_asked_again_ever_more_rarely() {
    let mut given = silent(ASKS);
    let mut pauses = Vec::new();
    for _ in 0..12 {
        assert_eq!(answered(&mut given, nothing(), 0), ["step_probed"]);
        let due = given.step("a").next_probe().unwrap();
        pauses.push((due.0 - given.now.0) / 1_000_000);
        given.now = due;
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]);
    let why = why(given.run());
    assert!(why.sentence.contains("for the 13th time"), "{}", why.sentence);
    assert!(why.sentence.contains("http_503"), "{}", why.sentence);
    assert_eq!(given.run().waits()[0].wait_for, WaitKind::Probe);
    assert_eq!(given.run().public_status(), "running");
    // A person may know better at any time.
    assert!(matches!(given.resolve(true), Verdict::Applied(_)));
}

#[test]
fn a_tool_that_may_have_forgotten_the_key_is_not_believed_when_it_says_no() {
    let mut given = silent(ASKS);
    given.after(3_600_000);
    assert_eq!(answered(&mut given, ProbeAnswer::Absent, 0), ["step_probed"]);
    assert_eq!(given.status(), StepStatus::Unknown);
    assert!(!is_due(&given), "it is not asked again: a person must find out");
    assert_eq!(given.run().waits()[0].wait_for, WaitKind::Resolution);
    assert_eq!(given.run().public_status(), "waiting");
    // Nor is an owner whose clock is behind.
    let (output, due_at, reason) = (None, None, "no".into());
    let no = Finding { attempt: 1, found: Found::Absent, output, due_at, reason };
    given.decide(step("a", StepEvent::Probed(no)));
    assert_eq!(given.status(), StepStatus::Unknown);
}

#[test]
fn a_tool_that_never_says_is_asked_until_it_may_have_forgotten_and_then_somebody_is() {
    let mut given = silent(ASKS);
    let (mut asked, began) = (0, given.now);
    while let Some(due) = given.step("a").next_probe() {
        given.now = given.now.max(due);
        assert_eq!(answered(&mut given, nothing(), 0), ["step_probed"]);
        asked += 1;
        assert!(asked < 30);
    }
    assert!(given.now.ms_since(began) >= 3_600_000);
    assert_eq!(given.run().public_status(), "waiting");
    assert!(given.run().last_at < given.now, "an answer that says nothing moves nothing");
}

#[test]
fn a_run_that_waits_to_be_undone_still_asks_what_happened() {
    let mut given = silent(ASKS);
    answered(&mut given, nothing(), 0);
    let asks = RunEvent::CancelRequested { reason: "no".into(), compensate: true };
    given.append(Body::Run("r1".into(), asks));
    given.settle();
    let due = given.step("a").next_probe();
    assert_eq!(wake_at(given.run(), &given.owner()), due);
    assert_eq!(given.run().next_due(), due);
}

#[test]
fn nobody_is_asked_while_the_run_or_step_is_paused_or_its_outcome_is_known() {
    let mut given = silent(ASKS);
    given.append(step("a", StepEvent::Paused { reason: "wait".into() }));
    assert!(!is_due(&given));
    given.append(step("a", StepEvent::Resumed { reason: "go".into() }));
    assert!(is_due(&given));
    given.append(Body::Run("r1".into(), RunEvent::Paused { reason: "wait".into() }));
    assert!(!is_due(&given));
    given.append(Body::Run("r1".into(), RunEvent::Resumed { reason: "go".into() }));
    let lease = given.step("a").attempts[0].lease;
    given.append(completed("a", 1, lease));
    assert!(!is_due(&given));
    let late = finding(given.step("a"), ProbeAnswer::Absent, 0, given.now);
    assert_eq!(given.decide(step("a", StepEvent::Probed(late))), LOST_RACE);
}

#[test]
fn an_answer_about_an_attempt_that_has_passed_decides_nothing() {
    let mut given = silent(VOIDS);
    let stale = finding(given.step("a"), ProbeAnswer::Absent, 0, given.now);
    assert!(matches!(given.resolve(false), Verdict::Applied(_)));
    assert_eq!(given.settle(), ["step_started"]);
    given.fail(ErrorClass::UnknownOutcome);
    assert_eq!(given.decide(step("a", StepEvent::Probed(stale))), LOST_RACE);
    assert_eq!(given.status(), StepStatus::Unknown);
}

#[test]
fn a_step_that_kills_its_workers_is_found_although_nothing_ever_happened() {
    let mut given = Given::running(Effect::Probe, r#","probe":{"tool":"p"},"key_ttl_ms":86400000"#);
    for lost in 1..=limits::LOST_IN_ROW {
        assert_eq!(given.lose_owner(), ["step_lost"], "{lost}");
        let kinds = answered(&mut given, ProbeAnswer::Absent, 0);
        match lost {
            limits::LOST_IN_ROW => assert_eq!(kinds, ["step_probed", "step_dead_lettered"]),
            _ => assert_eq!(kinds, ["step_probed", "step_started"]),
        }
    }
}

#[test]
fn after_a_restart_the_tool_is_asked_about_the_attempt_that_was_lost() {
    let mut given = Given::running(Effect::Probe, ASKS);
    assert_eq!(given.lose_owner(), ["step_lost"]);
    assert!(is_due(&given));
    assert_eq!(given.step("a").next_probe(), Some(given.step("a").scheduled_at));
    assert!(given.step("a").scheduled_at > Micros(0));
}
