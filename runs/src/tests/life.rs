//! The life of a step in time: scheduled, started, completed, failed, tried again, given up.

use super::{
    bodies::{
        APPLIED, DUPLICATE, LOST_RACE, completed, failed, heartbeat, kind_of, lost, released, run,
        started, step,
    },
    given::Given,
};
use crate::{AttemptEnd, Reason, RunStatus, StepStatus, Verdict, WaitKind};
use spine_schemas::{Effect, ErrorClass, RunEvent, StepError, StepEvent, time::Micros};

const NONE: [&str; 0] = [];

#[test]
fn a_plan_runs_to_its_end_one_outcome_at_a_time() {
    let steps =
        r#"[{"name":"a","tool":"t"},{"name":"b","tool":"t","input":{"x":{"$ref":"a#/ok"}}}]"#;
    let mut given = Given::plan(steps);
    assert_eq!(given.settle(), ["step_scheduled", "step_started"]);
    assert_eq!(given.complete(), ["step_completed", "step_scheduled", "step_started"]);
    assert_eq!(given.step("b").spec.input.data, r#"{"x":true}"#);
    let lease = given.step("b").live.as_ref().unwrap().lease;
    let last = given.settle_with(vec![completed("b", 1, lease)]);
    assert_eq!(last, ["step_completed", "run_completed"]);
    assert_eq!(given.run().status, RunStatus::Completed);
    assert_eq!(given.run().output.as_ref().unwrap().payload.data, r#"{"ok":true}"#);
    assert_eq!(given.run().totals.attempts, 2);
    assert!(given.run().waits().is_empty());
    assert_eq!(given.settle(), NONE);
}

#[test]
fn the_lease_is_the_offset_of_the_start_and_starts_are_taken_once() {
    let mut given = Given::one(Effect::Pure, "");
    given.settle();
    assert_eq!(given.lease(), given.offset);
    for attempt in [0, 1, 2, 3] {
        assert_eq!(given.decide(started("a", attempt)), LOST_RACE, "attempt {attempt}");
    }
    assert_eq!(given.decide(started("nobody", 1)), LOST_RACE);
}

#[test]
fn f1_a_timeout_is_retried_with_a_due_time_until_it_succeeds() {
    let mut given = Given::running(Effect::Idempotent, "");
    for attempt in 1..=2 {
        assert_eq!(given.fail(ErrorClass::Timeout), ["step_failed", "step_retry_scheduled"]);
        assert_eq!(given.status(), StepStatus::RetryWaiting);
        assert!(given.step("a").due_at.unwrap() > given.now);
        assert_eq!(given.step("a").charged, attempt);
        assert_eq!(given.wait_for_due(), ["step_started"]);
    }
    assert_eq!(given.complete(), ["step_completed", "run_completed"]);
    assert_eq!(given.step("a").attempt, 3);
}

#[test]
fn c2_a_retry_starts_at_its_due_time_and_not_before() {
    let mut given = Given::running(Effect::Pure, "");
    given.fail(ErrorClass::Transient);
    let due = given.step("a").due_at.unwrap();
    given.now = Micros(due.0 - 1);
    assert_eq!(given.settle(), NONE);
    given.claim();
    assert_eq!(given.settle(), NONE, "a restart neither hurries nor forgets it");
    given.now = due;
    assert_eq!(given.settle(), ["step_started"]);
    assert_eq!(given.settle(), NONE, "once");
}

#[test]
fn c10_exhaustion_ends_in_one_letter_and_the_run_waits_for_it() {
    let mut given = Given::running(Effect::Pure, r#","retry":{"max_attempts":2}"#);
    given.fail(ErrorClass::Transient);
    given.wait_for_due();
    assert_eq!(given.fail(ErrorClass::Transient), ["step_failed", "step_dead_lettered"]);
    assert_eq!(given.step("a").letter.as_ref().unwrap().letter_id, given.letter("a"));
    assert_eq!(given.run().public_status(), "waiting");
    assert_eq!(given.run().waits()[0].wait_for, WaitKind::DeadLetter);
    assert_eq!(given.settle(), NONE);
    let again = given.log.last().unwrap().0.clone();
    assert_eq!(given.fold(again), LOST_RACE);
}

#[test]
fn exhaustion_with_policy_fail_ends_the_run_with_the_step_and_its_error() {
    let mut given = Given::running(Effect::Pure, r#","on_exhausted":"fail""#);
    assert_eq!(given.fail(ErrorClass::Terminal), ["step_failed", "run_failed"]);
    assert_eq!(given.run().status, RunStatus::Failed);
    assert_eq!(given.run().failed_step.as_ref(), Some(&given.step("a").key));
    assert_eq!(given.run().error.as_ref().unwrap().code, "terminal");
    assert!(given.step("a").given_up);
}

#[test]
fn a_run_that_is_bound_to_fail_starts_nothing_more_and_waits_for_what_runs() {
    let steps = r#"[{"name":"a","tool":"t","on_exhausted":"fail"},
        {"name":"b","tool":"t","after":[]},{"name":"c","tool":"t","effect":"pure","after":[]}]"#;
    let mut given = Given::plan(steps);
    given.settle();
    let lease = |given: &Given, name: &str| given.step(name).live.as_ref().unwrap().lease;
    let c = failed("c", 1, lease(&given, "c"), ErrorClass::Transient);
    given.settle_with(vec![c]);
    assert_eq!(given.fail(ErrorClass::Terminal), ["step_failed"]);
    given.after(60_000);
    assert_eq!(given.settle(), NONE, "c is due, but would be in vain");
    let b = completed("b", 1, lease(&given, "b"));
    assert_eq!(given.settle_with(vec![b]), ["step_completed", "run_failed"]);
    assert_eq!(given.step("c").status, StepStatus::Cancelled);
    assert_eq!(given.step("b").status, StepStatus::Completed);
}

#[test]
fn a_step_whose_attempt_was_cancelled_ends_a_plan_without_a_letter() {
    let mut given = Given::running(Effect::Pure, "");
    assert_eq!(given.fail(ErrorClass::Cancelled), ["step_failed", "run_failed"]);
    assert_eq!(given.step("a").letter, None);
}

#[test]
fn f11_a_lost_attempt_ends_as_its_class_says() {
    for (effect, kinds, status) in [
        (Effect::Pure, vec!["step_lost", "step_started"], StepStatus::Running),
        (Effect::Idempotent, vec!["step_lost", "step_started"], StepStatus::Running),
        (Effect::Probe, vec!["step_lost"], StepStatus::Unknown),
        (Effect::AtMostOnce, vec!["step_lost"], StepStatus::Unknown),
    ] {
        let mut given = Given::running(effect, "");
        assert_eq!(given.lose_owner(), kinds, "{effect:?}");
        assert_eq!(given.status(), status, "{effect:?}");
        assert_eq!(given.step("a").charged, 0, "a lost worker costs no budget");
    }
}

#[test]
fn a_step_that_kills_its_workers_is_found_and_a_heartbeat_clears_it() {
    let mut given = Given::running(Effect::Pure, "");
    for _ in 1..10 {
        assert_eq!(given.lose_owner(), ["step_lost", "step_started"]);
    }
    assert_eq!(given.step("a").lost_in_row, 9);
    let mut alive = given.clone();
    assert_eq!(given.lose_owner(), ["step_lost", "step_dead_lettered"]);
    assert_eq!(given.step("a").error.as_ref().unwrap().code, "lost_too_often");
    let (attempt, lease) = (alive.step("a").attempt, alive.lease());
    assert_eq!(alive.append(heartbeat("a", attempt, lease)), APPLIED);
    assert_eq!(alive.lose_owner(), ["step_lost", "step_started"]);
}

#[test]
fn a_loss_that_overlooks_a_heartbeat_is_refused() {
    let mut given = Given::running(Effect::Pure, "");
    let lease = given.lease();
    assert_eq!(given.append(heartbeat("a", 1, lease)), APPLIED);
    let heard = given.offset;
    assert_eq!(given.decide(lost("a", 1, lease, lease)), LOST_RACE);
    assert_eq!(given.decide(lost("a", 2, lease, heard)), LOST_RACE);
    assert_eq!(given.decide(lost("a", 1, lease + 1, heard)), LOST_RACE);
    assert_eq!(given.decide(lost("a", 1, lease, heard)), APPLIED);
}

#[test]
fn heartbeats_name_the_attempt_and_its_lease() {
    let mut given = Given::running(Effect::Pure, "");
    let lease = given.lease();
    let refused = super::bodies::refused;
    assert_eq!(given.append(heartbeat("a", 2, lease)), refused(Reason::WrongAttempt));
    assert_eq!(given.append(heartbeat("a", 1, lease + 1)), refused(Reason::WrongLease));
    assert_eq!(given.append(heartbeat("b", 1, lease)), refused(Reason::StepAbsent));
    given.complete();
    assert_eq!(given.append(heartbeat("a", 1, lease)), refused(Reason::RunEnded));
}

#[test]
fn never_sent_attempts_are_free_and_back_off() {
    let mut given = Given::running(Effect::AtMostOnce, r#","retry":{"max_attempts":1}"#);
    let mut waits = Vec::new();
    for attempt in 1..=5 {
        let lease = given.lease();
        let never_sent = released("a", attempt, lease, Some(ErrorClass::Transient));
        assert_eq!(given.settle_with(vec![never_sent]), ["step_released", "step_deferred"]);
        waits.push(given.step("a").due_at.unwrap().ms_since(given.now));
        given.wait_for_due();
    }
    assert_eq!(given.step("a").charged, 0);
    assert!(waits.is_sorted() && waits[0] < waits[4], "{waits:?}");
}

#[test]
fn an_attempt_that_was_handed_back_goes_again_at_once() {
    let mut given = Given::running(Effect::AtMostOnce, "");
    let lease = given.lease();
    let handed_back = released("a", 1, lease, None);
    assert_eq!(given.settle_with(vec![handed_back]), ["step_released", "step_started"]);
    assert_eq!(given.step("a").attempts[0].end, AttemptEnd::Released(None));
}

#[test]
fn outcomes_must_name_an_attempt_that_was_started_and_its_lease() {
    let mut given = Given::running(Effect::Pure, "");
    let lease = given.lease();
    for (body, reason) in [
        (completed("a", 2, lease), Reason::WrongAttempt),
        (completed("a", 1, lease + 1), Reason::WrongLease),
        (completed("b", 1, lease), Reason::StepAbsent),
        (failed("a", 2, lease, ErrorClass::Timeout), Reason::WrongAttempt),
        (failed("a", 1, 0, ErrorClass::Timeout), Reason::WrongLease),
        (released("a", 9, lease, Some(ErrorClass::Transient)), Reason::WrongAttempt),
    ] {
        assert_eq!(given.append(body.clone()), Verdict::Illegal(reason), "{}", kind_of(&body));
    }
}

#[test]
fn repeated_outcomes_change_nothing() {
    let mut given = Given::running(Effect::Pure, "");
    let lease = given.lease();
    given.append(failed("a", 1, lease, ErrorClass::Timeout));
    let before = given.run.clone();
    assert_eq!(given.append(failed("a", 1, lease, ErrorClass::Timeout)), DUPLICATE);
    assert_eq!(given.run, before);
    given.append(completed("a", 1, lease));
    let before = given.run.clone();
    assert_eq!(given.append(completed("a", 1, lease)), DUPLICATE);
    assert_eq!(given.run, before);
}

#[test]
fn a_step_cannot_be_tried_again_when_its_budget_is_spent() {
    let mut given = Given::running(Effect::Pure, r#","retry":{"max_attempts":1}"#);
    let lease = given.lease();
    given.append(failed("a", 1, lease, ErrorClass::Transient));
    let due_at = given.now;
    let waits = [
        StepEvent::RetryScheduled { attempt: 1, due_at },
        StepEvent::Deferred { attempt: 1, due_at, held_by: None },
    ];
    for wait in waits {
        assert_eq!(given.decide(step("a", wait)), LOST_RACE);
    }
}

#[test]
fn a_plan_run_ends_only_when_its_steps_have() {
    let mut given = Given::running(Effect::Pure, "");
    let done = || run(RunEvent::Completed { output: None });
    assert_eq!(given.decide(done()), LOST_RACE);
    let error = StepError::new(ErrorClass::Terminal, "x", "x");
    let end = run(RunEvent::Failed { error, step: None });
    assert_eq!(given.decide(end.clone()), LOST_RACE, "an attempt runs");
    given.complete();
    assert_eq!(given.run().status, RunStatus::Completed);
    assert_eq!(given.decide(done()), DUPLICATE);
    assert_eq!(given.decide(end), LOST_RACE);
}

#[test]
fn inputs_that_cannot_be_resolved_end_their_step_naming_the_source() {
    let steps = |policy: &str| {
        format!(
            r#"[{{"name":"a","tool":"t"}},
            {{"name":"b","tool":"t","after":["a"],"on_exhausted":"{policy}","input":{{"$ref":"a#/no"}}}},
            {{"name":"c","tool":"t","after":["a"],"on_exhausted":"{policy}","input":{{"$ref":"a#/no"}}}}]"#
        )
    };
    let mut given = Given::plan(&steps("dead_letter"));
    given.settle();
    assert_eq!(
        given.complete(),
        [
            "step_completed",
            "step_scheduled",
            "step_dead_lettered",
            "step_scheduled",
            "step_dead_lettered"
        ]
    );
    let error = given.step("b").error.as_ref().unwrap();
    assert_eq!(error.class, ErrorClass::Contract);
    assert!(error.message.contains("a#1"), "{}", error.message);
    let mut given = Given::plan(&steps("fail"));
    given.settle();
    assert_eq!(given.complete(), ["step_completed", "step_scheduled", "run_failed"]);
    assert_eq!(given.run().failed_step.as_ref().unwrap().to_string(), "b#1");
}

#[test]
fn an_output_that_was_left_out_is_named_where_it_is_needed() {
    let steps = r#"[{"name":"a","tool":"t"},{"name":"b","tool":"t","input":{"$ref":"a#/x"}}]"#;
    let mut given = Given::plan(steps);
    given.settle();
    let mut output = super::bodies::output("1");
    output.payload.data = vec![b'1'; 300 * 1024].into();
    output.payload.size_bytes = 300 * 1024;
    output.payload = output.payload.omit_if_large();
    let (attempt, lease) = (1, Some(given.lease()));
    let large = step("a", StepEvent::Completed { attempt, lease, output, usage: None });
    let kinds = given.settle_with(vec![large]);
    assert_eq!(kinds, ["step_completed", "step_scheduled", "step_dead_lettered"]);
    let error = given.step("b").error.as_ref().unwrap();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::TooLarge, "source_omitted"));
    assert!(error.message.contains("a#1"), "{}", error.message);
    assert_eq!(given.status(), StepStatus::Completed, "the finished step never runs again");
}
