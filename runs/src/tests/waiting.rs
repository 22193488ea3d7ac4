//! Waits for signals and for time, and calls that somebody has to approve of.

use super::{
    bodies::{APPLIED, DUPLICATE, LOST_RACE, run, started, step},
    given::Given,
};
use crate::{Answer, Reason, RunStatus, StepStatus, Verdict, WaitKind};
use spine_schemas::{
    Body, Digest, Effect, ErrorClass, Event, Payload, RunEvent, StepEvent, StepSpec, TaskVerdict,
};
use std::sync::Arc;

fn signal(name: &str, data: &'static str) -> Body {
    let data = Payload::json("data", data).unwrap();
    run(RunEvent::SignalReceived { name: name.into(), data })
}

const PAID: &str = r#"[{"name":"a","tool":"signal:paid","deadline_ms":60000},
    {"name":"b","tool":"t","effect":"pure","input":{"$ref":"a#/cents"}}]"#;

#[test]
fn a_signal_completes_the_step_that_awaits_it() {
    let mut given = Given::plan(PAID);
    assert_eq!(given.settle(), ["step_scheduled", "wait_created"]);
    assert_eq!((given.status(), given.run().public_status()), (StepStatus::Awaiting, "waiting"));
    let wait = given.run().waits().remove(0);
    assert_eq!((wait.wait_for, wait.until), (WaitKind::Signal, Some(given.now.plus_ms(60_000))));
    given.append(signal("other", "1"));
    assert_eq!(given.status(), StepStatus::Awaiting);
    assert_eq!(given.append(signal("paid", r#"{"cents":7}"#)), APPLIED);
    assert_eq!(given.settle(), ["step_scheduled", "step_started"]);
    assert_eq!(given.step("b").spec.input.data, "7");
    assert_eq!(given.step("a").output.as_ref().unwrap().source.as_deref(), Some("signal paid"));
    assert_eq!(given.run().signals.len(), 1, "the other one is kept");
}

#[test]
fn a_signal_that_comes_early_is_kept_and_one_that_comes_twice_counts_once() {
    let mut given = Given::plan(PAID);
    let early = given.event(signal("paid", r#"{"cents":7}"#));
    assert_eq!(given.fold(early.clone()), APPLIED);
    assert_eq!(given.fold(early), DUPLICATE);
    let then = given.settle();
    assert_eq!(then, ["step_scheduled", "wait_created", "step_scheduled", "step_started"]);
    assert!(given.run().signals.is_empty());
}

#[test]
fn of_two_waits_the_older_one_gets_the_signal() {
    let mut given = Given::plan(
        r#"[{"name":"z","tool":"signal:x"},{"name":"a","tool":"signal:x","after":[]}]"#,
    );
    given.settle();
    let (z, a) = (given.step("z").wait.clone().unwrap(), given.step("a").wait.clone().unwrap());
    let first = if z.offset < a.offset { "z" } else { "a" };
    given.append(signal("x", "1"));
    assert_eq!(given.step(first).status, StepStatus::Completed);
    given.append(signal("x", "2"));
    assert_eq!(given.settle(), ["run_completed"]);
}

#[test]
fn a_wait_that_expires_ends_by_the_steps_policy_and_is_not_tried_again() {
    for (policy, then) in [
        ("", "step_dead_lettered"),
        (r#","on_exhausted":"fail""#, "run_failed"),
        (r#","on_exhausted":"skip","default":0"#, "step_skipped"),
    ] {
        let plan = format!(r#"[{{"name":"a","tool":"signal:x","deadline_ms":1000{policy}}}]"#);
        let mut given = Given::plan(&plan);
        given.settle();
        assert_eq!(given.after(999).settle(), Vec::<&str>::new());
        let ended = given.after(1).settle();
        assert_eq!(ended[..2], ["wait_expired", then], "{policy}");
        assert_eq!(given.step("a").error.as_ref().unwrap().code, "wait_expired");
    }
}

#[test]
fn a_sleep_ends_by_itself_and_stands_still_while_it_is_paused() {
    let mut given = Given::plan(r#"[{"name":"a","tool":"sleep:5000"}]"#);
    assert_eq!(given.settle(), ["step_scheduled", "wait_created"]);
    assert_eq!(given.run().public_status(), "running");
    given.after(2_000).append(run(RunEvent::Paused { reason: "x".into() }));
    assert_eq!(given.after(60_000).settle(), Vec::<&str>::new());
    given.append(run(RunEvent::Resumed { reason: "x".into() }));
    assert_eq!(given.after(2_999).settle(), Vec::<&str>::new());
    assert_eq!(given.after(1).settle(), ["wait_expired", "run_completed"]);
    assert_eq!(given.run().status, RunStatus::Completed);
}

#[test]
fn too_many_signals_are_refused_and_nothing_is_lost() {
    let mut given = Given::plan(PAID);
    for _ in 0..spine_schemas::limits::RUN_SIGNALS {
        assert_eq!(given.append(signal("x", "1")), APPLIED);
    }
    assert_eq!(given.append(signal("x", "1")).reason(), Some(Reason::LimitReached));
    let mut record = Given::record();
    assert_eq!(record.append(signal("x", "1")).reason(), Some(Reason::WrongDriver));
}

fn awaits(given: &Given, op: u64, tool: &str) -> Event {
    let deadline_ms = 1_000;
    let spec = StepSpec { deadline_ms, ..StepSpec::new(tool, Effect::Pure, Payload::null()) };
    let signal = tool.strip_prefix("signal:").map(str::to_owned);
    let expires_at = given.now.plus_ms(deadline_ms);
    let event = StepEvent::WaitCreated { signal, expires_at, spec: Some(Arc::new(spec)) };
    given.op_event("S", op, step("w", event))
}

#[test]
fn an_agent_awaits_and_asks_again_until_it_is_told() {
    let mut given = Given::journal();
    let first = awaits(&given, 1, "signal:go");
    let answer = given.fold(first.clone()).answer().cloned().unwrap();
    assert!(matches!(answer, Answer::Wait { wait_for: WaitKind::Signal, until: Some(_) }));
    assert_eq!(given.fold(first).answer(), Some(&answer), "the same operation, the same answer");
    let second = awaits(&given, 2, "signal:go");
    assert!(matches!(given.fold(second).answer(), Some(Answer::Wait { .. })));
    given.append(signal("go", "1"));
    let third = awaits(&given, 3, "signal:go");
    assert_eq!(given.fold(third).answer(), Some(&Answer::Replay));
    let other = awaits(&given, 4, "signal:stop");
    assert!(matches!(given.fold(other).answer(), Some(Answer::Conflict { .. })));
}

#[test]
fn an_agents_wait_that_expires_is_the_agents_to_decide() {
    let mut given = Given::journal();
    let first = awaits(&given, 1, "signal:go");
    given.fold(first);
    assert_eq!(given.after(1_000).settle(), ["wait_expired"], "and no letter");
    let second = awaits(&given, 2, "signal:go");
    let denied = Answer::Denied { code: Reason::WaitExpired };
    assert_eq!(given.fold(second), Verdict::Refused(Reason::WaitExpired, denied));
    let ended = given.op("S", 3, run(RunEvent::Completed { output: None }));
    assert_eq!(ended, APPLIED);
}

const ASKS: &str = r#"[{"name":"a","tool":"t","effect":"pure","retry":{"max_attempts":2,"jitter":0},
    "approval":{"expires_ms":1000}}]"#;

fn asked() -> (Given, Digest) {
    let mut given = Given::plan(ASKS);
    assert_eq!(given.settle(), ["step_scheduled", "approval_requested"]);
    let task = given.step("a").task.clone().unwrap();
    assert_eq!(task.call, Some(given.step("a").call_digest()));
    (given, task.task_id)
}

fn answer(task_id: Digest, verdict: TaskVerdict) -> Body {
    step("a", StepEvent::TaskDecided { task_id, verdict, output: None, reason: "no".into() })
}

#[test]
fn p9_nothing_is_called_before_somebody_approves_and_a_double_answer_counts_once() {
    let (mut given, task_id) = asked();
    assert_eq!(given.run().waits()[0].wait_for, WaitKind::Approval);
    assert_eq!(given.decide(started("a", 1)), LOST_RACE, "not even by the owner");
    assert_eq!(given.append(answer(task_id, TaskVerdict::Retry)).reason(), Some(Reason::StepState));
    assert_eq!(given.append(answer(task_id, TaskVerdict::Approve)), APPLIED);
    let again = given.append(answer(task_id, TaskVerdict::Deny));
    assert_eq!(again.reason(), Some(Reason::TaskClosed));
    assert_eq!(given.settle(), ["step_started"]);
    assert_eq!(given.fail(ErrorClass::Transient), ["step_failed", "step_retry_scheduled"]);
    assert_eq!(given.wait_for_due(), ["step_started"], "the same call may be repeated");
}

#[test]
fn p9_a_no_and_no_answer_in_time_are_failures_of_their_own() {
    let (mut denied, task_id) = asked();
    denied.append(answer(task_id, TaskVerdict::Deny));
    assert_eq!(denied.settle(), ["step_dead_lettered"]);
    let error = denied.step("a").error.clone().unwrap();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Policy, "approval_denied"));
    assert_eq!(denied.step("a").attempt, 0);
    let (mut expired, task_id) = asked();
    assert_eq!(expired.after(999).settle(), Vec::<&str>::new());
    assert_eq!(expired.after(1).settle(), ["task_expired", "step_dead_lettered"]);
    let late = expired.append(answer(task_id, TaskVerdict::Approve));
    assert_eq!(late.reason(), Some(Reason::TaskClosed));
}

#[test]
fn p9_an_approval_is_for_one_call_and_a_changed_argument_is_another() {
    let (mut given, task_id) = asked();
    given.append(answer(task_id, TaskVerdict::Approve));
    given.settle();
    given.fail(ErrorClass::Terminal);
    let before = given.step("a").spec.input.digest;
    let letter_id = given.letter("a");
    let after = Payload::json("input", "9").unwrap();
    let edit = Some(spine_schemas::InputEdit { before, after });
    let reason = "repair".into();
    given.append(step("a", StepEvent::Redriven { letter_id, reason, force: false, edit }));
    assert_eq!(given.decide(started("a", 2)), LOST_RACE, "that call was not approved of");
    assert_eq!(given.settle(), ["approval_requested"]);
    assert_ne!(given.step("a").task.as_ref().unwrap().task_id, task_id);
}

#[test]
fn the_time_of_whoever_is_asked_is_not_the_steps() {
    let mut given = Given::plan(
        r#"[{"name":"a","tool":"t","effect":"pure","deadline_ms":1000,"approval":{"expires_ms":9000}}]"#,
    );
    given.settle();
    let task_id = given.step("a").task.clone().unwrap().task_id;
    given.after(8_000).append(answer(task_id, TaskVerdict::Approve));
    assert_eq!(given.settle(), ["step_started"]);
}

#[test]
fn l37_a_wait_does_not_end_in_a_pause_although_that_was_decided_before_it_was_read() {
    for steps in [PAID, r#"[{"name":"a","tool":"sleep:60000"}]"#] {
        let mut given = Given::plan(steps);
        given.settle();
        given.append(run(RunEvent::Paused { reason: "look".into() }));
        given.after(60_000).settle_with(vec![step("a", StepEvent::WaitExpired)]);
        assert_eq!(given.status(), StepStatus::Awaiting);
        given.append(run(RunEvent::Resumed { reason: "seen".into() }));
        assert_eq!(given.after(59_999).settle(), [""; 0], "its time stood still");
        assert_eq!(given.after(1).settle()[0], "wait_expired");
    }
}
