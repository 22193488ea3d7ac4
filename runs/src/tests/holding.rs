//! Runs that are held back or made to end: cancel, kill, pause, resume.

use super::{
    bodies::{APPLIED, DUPLICATE, LOST_RACE, begin, completed, failed, run, started, step},
    given::Given,
    journal::begun,
};
use crate::{Answer, Reason, RunStatus, StepStatus, Verdict, WaitKind};
use spine_schemas::{Body, Effect, ErrorClass, RunEvent, StepEvent};

fn cancel(compensate: bool) -> Body {
    run(RunEvent::CancelRequested { reason: "enough".into(), compensate })
}

fn kill() -> Body {
    run(RunEvent::Cancelled { reason: "now".into() })
}

fn pause() -> Body {
    run(RunEvent::Paused { reason: "look".into() })
}

fn resume() -> Body {
    run(RunEvent::Resumed { reason: "seen".into() })
}

const TWO: &str = r#"[{"name":"a","tool":"t","effect":"at_most_once","compensate":{"tool":"u","effect":"pure"}},
    {"name":"b","tool":"t","effect":"pure"}]"#;

#[test]
fn a_cancelled_run_waits_for_what_runs_and_starts_nothing() {
    let mut given = Given::plan(TWO);
    given.settle();
    assert_eq!(given.append(cancel(false)), APPLIED);
    assert_eq!(given.settle(), Vec::<&str>::new(), "the attempt may still take effect");
    assert_eq!(given.run().public_status(), "running");
    assert_eq!(given.complete(), ["step_completed", "run_cancelled"]);
    assert_eq!(given.run().status, RunStatus::Cancelled);
    assert_eq!(given.run().error.as_ref().unwrap().message, "enough");
    assert_eq!(given.append(cancel(false)), DUPLICATE);
}

#[test]
fn a_cancelled_run_is_undone_where_that_is_asked_for() {
    let mut given = Given::plan(TWO);
    given.settle();
    given.complete();
    given.append(cancel(true));
    let lease = given.step("b").live.as_ref().unwrap().lease;
    let then = given.settle_with(vec![failed("b", 1, lease, ErrorClass::Transient)]);
    assert_eq!(then, ["step_failed", "compensation_started", "step_scheduled", "step_started"]);
    let lease = given.step("compensate/a").live.as_ref().unwrap().lease;
    let then = given.settle_with(vec![completed("compensate/a", 1, lease)]);
    assert_eq!(then, ["step_completed", "run_cancelled"]);
    assert_eq!(given.run().status, RunStatus::Cancelled);
}

#[test]
fn the_owner_cannot_cancel_what_nobody_asked_to_cancel_or_what_still_runs() {
    let mut given = Given::plan(TWO);
    given.settle();
    assert_eq!(given.decide(kill()), LOST_RACE);
    given.append(cancel(false));
    assert_eq!(given.decide(kill()), LOST_RACE, "an attempt runs");
    given.append(cancel(true));
    let lease = given.lease();
    given.append(completed("a", 1, lease));
    assert_eq!(given.decide(kill()), LOST_RACE, "it was not undone");
}

#[test]
fn a_killed_run_ends_at_once_and_a_careful_attempt_stays_a_question() {
    let mut given = Given::plan(TWO);
    given.settle();
    let lease = given.lease();
    assert_eq!(given.append(kill()), APPLIED);
    assert_eq!((given.run().status, given.status()), (RunStatus::Cancelled, StepStatus::Unknown));
    let late = given.append(completed("a", 1, lease));
    assert_eq!(late.reason(), Some(Reason::Late));
}

#[test]
fn l37_no_start_after_a_pause_of_run_or_step_in_any_order() {
    let mut given = Given::one(Effect::Pure, r#","retry":{"jitter":0}"#);
    given.append(pause());
    assert_eq!(given.settle(), Vec::<&str>::new(), "a run that never began");
    assert_eq!(given.append(pause()), DUPLICATE);
    given.append(resume());
    assert_eq!(given.append(resume()), DUPLICATE);
    given.settle();
    given.append(step("a", StepEvent::Paused { reason: "x".into() }));
    assert_eq!(given.fail(ErrorClass::Transient), ["step_failed"], "what runs ends as it ends");
    assert_eq!(given.after(60_000).settle(), Vec::<&str>::new());
    assert_eq!(given.decide(started("a", 2)), LOST_RACE, "not even by the owner that had begun to");
    given.append(step("a", StepEvent::Resumed { reason: "x".into() }));
    assert_eq!(given.settle(), ["step_retry_scheduled"]);
    assert_eq!(given.wait_for_due(), ["step_started"]);
}

#[test]
fn deadlines_stand_still_while_a_run_is_paused() {
    let more =
        r#","deadline_ms":10000,"retry":{"jitter":0,"initial_ms":4000,"max_elapsed_ms":9000}"#;
    let mut given = Given::running(Effect::Pure, more);
    given.fail(ErrorClass::Transient);
    given.after(2_000).append(pause());
    given.after(3_600_000).append(resume());
    assert_eq!(given.settle(), ["step_started"]);
    let mut in_time = given.clone();
    assert_eq!(in_time.fail(ErrorClass::RateLimited)[1], "step_deferred");
    assert_eq!(given.fail(ErrorClass::Transient)[1], "step_dead_lettered", "8 s are left");
    let mut other = Given::running(Effect::Pure, more);
    other.fail(ErrorClass::RateLimited);
    other.after(1_000).append(pause());
    other.append(step("a", StepEvent::Paused { reason: "x".into() }));
    other.after(3_600_000).append(resume());
    other.after(3_600_000).append(step("a", StepEvent::Resumed { reason: "x".into() }));
    assert_eq!(other.settle(), ["step_started"], "both pauses count");
    assert!(other.step("a").deadline().unwrap() > other.now);
}

#[test]
fn an_agent_is_told_of_a_pause_and_of_the_end() {
    let mut given = begun(Effect::Pure);
    given.append(pause());
    let verdict = given.op("S", 2, begin("b", Effect::Pure));
    assert_eq!(
        verdict.answer(),
        Some(&Answer::Wait { wait_for: WaitKind::Paused, until: None }),
        "{verdict:?}"
    );
    given.append(resume());
    given.append(cancel(false));
    let verdict = given.op("S", 3, begin("b", Effect::Pure));
    let denied = Answer::Denied { code: Reason::RunEnding };
    assert_eq!(verdict, Verdict::Refused(Reason::RunEnding, denied));
    let lease = given.lease();
    let then = given.settle_with(vec![completed("a", 1, lease)]);
    assert_eq!(then, ["step_completed", "run_cancelled"], "by the owner, when nothing runs");
    let mut other = begun(Effect::Pure);
    assert_eq!(other.append(cancel(true)).reason(), Some(Reason::WrongDriver));
}

#[test]
fn an_agent_of_a_killed_run_is_told_that_it_has_ended() {
    let mut given = begun(Effect::AtMostOnce);
    given.append(kill());
    assert_eq!(given.status(), StepStatus::Unknown);
    let verdict = given.op("S", 2, begin("a", Effect::AtMostOnce));
    let denied = Answer::Denied { code: Reason::RunEnded };
    assert_eq!(verdict, Verdict::Refused(Reason::RunEnded, denied));
}
