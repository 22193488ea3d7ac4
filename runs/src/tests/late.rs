//! Outcomes that come late: from a worker that was thought lost, after a letter, after a newer start.

use super::{
    bodies::{APPLIED, DUPLICATE, LATE, completed, failed, kind_of, released},
    given::Given,
};
use crate::{Reason, RunStatus, StepStatus, Verdict};
use spine_schemas::{Effect, ErrorClass, Then};

/// A step `a` whose first attempt is over without success, in each state that it can be in, with
/// the lease of that attempt.
fn parked(effect: Effect, status: StepStatus) -> (Given, u64) {
    let mut given = Given::running(effect, "");
    let lease = given.lease();
    match status {
        StepStatus::Failed => {
            given.append(failed("a", 1, lease, ErrorClass::RateLimited));
        }
        StepStatus::RetryWaiting => {
            given.fail(ErrorClass::Transient);
        }
        StepStatus::Deferred => {
            given.fail(ErrorClass::RateLimited);
        }
        StepStatus::DeadLettered => {
            given.fail(ErrorClass::Terminal);
        }
        StepStatus::Unknown => {
            given.fail(ErrorClass::Timeout);
        }
        StepStatus::Scheduled => {
            given.fail(ErrorClass::Terminal);
            given.redrive(true);
        }
        StepStatus::Running
        | StepStatus::Awaiting
        | StepStatus::Completed
        | StepStatus::Skipped
        | StepStatus::Cancelled => panic!("not such a state"),
    }
    assert_eq!(given.status(), status, "{effect:?}");
    (given, lease)
}

#[test]
fn f13_a_late_success_completes_the_step_from_every_state_without_a_newer_start() {
    for status in [
        StepStatus::Failed,
        StepStatus::RetryWaiting,
        StepStatus::Deferred,
        StepStatus::DeadLettered,
        StepStatus::Unknown,
        StepStatus::Scheduled,
    ] {
        let (mut given, lease) = parked(Effect::AtMostOnce, status);
        let kinds = given.settle_with(vec![completed("a", 1, lease)]);
        assert_eq!(kinds, ["step_completed", "run_completed"], "from {status:?}");
        let step = given.step("a");
        assert_eq!((&step.letter, step.due_at), (&None, None), "from {status:?}");
        assert_eq!(given.append(completed("a", 1, lease)), DUPLICATE, "said again");
        let ended = Verdict::Stale(Reason::Late, Some(super::bodies::denied(Reason::RunEnded)));
        assert_eq!(given.append(completed("a", 1, lease + 1)), ended, "said of another lease");
    }
}

#[test]
fn after_a_newer_start_a_success_is_evidence_and_that_attempts_failure_is_unknown() {
    for (effect, status, class, end) in [
        (Effect::AtMostOnce, StepStatus::Scheduled, ErrorClass::RateLimited, StepStatus::Unknown),
        (Effect::Probe, StepStatus::Deferred, ErrorClass::Terminal, StepStatus::Unknown),
        (Effect::AtMostOnce, StepStatus::Deferred, ErrorClass::Timeout, StepStatus::Unknown),
        (
            Effect::Idempotent,
            StepStatus::RetryWaiting,
            ErrorClass::Transient,
            StepStatus::RetryWaiting,
        ),
        (Effect::Pure, StepStatus::RetryWaiting, ErrorClass::Terminal, StepStatus::DeadLettered),
    ] {
        let (mut given, lease) = parked(effect, status);
        given.after(60_000).settle();
        assert_eq!(given.status(), StepStatus::Running);
        assert_eq!(given.append(completed("a", 1, lease)), APPLIED);
        assert_eq!(given.status(), StepStatus::Running, "the newer attempt goes on");
        assert_eq!(given.append(completed("a", 1, lease)), LATE, "once");
        let mut completes = given.clone();
        assert_eq!(completes.complete(), ["step_completed", "run_completed"]);
        given.fail(class);
        assert_eq!(given.status(), end, "{effect:?} {class:?}");
    }
}

#[test]
fn evidence_that_comes_after_the_newer_attempt_failed_stops_a_careful_step() {
    for (effect, kinds) in [
        (Effect::AtMostOnce, vec![]),
        (Effect::Probe, vec![]),
        (Effect::Idempotent, vec!["step_started"]),
    ] {
        let (mut given, lease) = parked(effect, StepStatus::Deferred);
        given.after(60_000).settle();
        given.fail(ErrorClass::RateLimited);
        assert_eq!(given.append(completed("a", 1, lease)), APPLIED);
        assert_eq!(given.after(60_000).settle(), kinds, "{effect:?}");
    }
}

#[test]
fn evidence_leaves_a_letter_to_its_operator_and_is_remembered() {
    let (mut given, lease) = parked(Effect::AtMostOnce, StepStatus::Deferred);
    given.after(60_000).settle();
    given.fail(ErrorClass::Terminal);
    assert_eq!(given.append(completed("a", 1, lease)), APPLIED);
    assert_eq!(given.status(), StepStatus::DeadLettered);
    assert_eq!(given.redrive(true), APPLIED);
    given.settle();
    given.fail(ErrorClass::RateLimited);
    assert_eq!(given.status(), StepStatus::Unknown, "attempt 1 is known to have succeeded");
}

#[test]
fn a_late_failure_settles_only_an_open_question_about_the_newest_attempt() {
    let lost = |effect| {
        let mut given = Given::running(effect, "");
        let lease = given.lease();
        given.lose_owner();
        (given, lease)
    };
    for (class, kinds) in [
        (ErrorClass::RateLimited, vec!["step_failed", "step_deferred"]),
        (ErrorClass::Terminal, vec!["step_failed", "step_dead_lettered"]),
        (ErrorClass::Timeout, vec![]),
        (ErrorClass::UnknownOutcome, vec![]),
        (ErrorClass::Lost, vec![]),
    ] {
        let (mut given, lease) = lost(Effect::AtMostOnce);
        assert_eq!(given.settle_with(vec![failed("a", 1, lease, class)]), kinds, "{class:?}");
        let before = given.run.clone();
        assert!(matches!(given.append(failed("a", 1, lease, class)), Verdict::Stale(..)));
        assert_eq!(given.run, before, "{class:?}: a repeat changes nothing");
    }
    let (mut given, lease) = lost(Effect::Idempotent);
    assert_eq!(given.append(failed("a", 1, lease, ErrorClass::Terminal)), LATE, "a newer one runs");
    assert_eq!(given.status(), StepStatus::Running);
}

#[test]
fn whoever_was_thought_lost_may_say_that_it_never_sent() {
    for (error, kinds) in [
        (None, vec!["step_released", "step_started"]),
        (Some(ErrorClass::Transient), vec!["step_released", "step_deferred"]),
    ] {
        let mut given = Given::running(Effect::AtMostOnce, "");
        let lease = given.lease();
        given.lose_owner();
        assert_eq!(given.settle_with(vec![released("a", 1, lease, error)]), kinds);
        assert!(matches!(given.append(released("a", 1, lease, error)), Verdict::Stale(..)));
    }
}

#[test]
fn a_settled_question_never_charges_an_attempt_twice() {
    let mut given = Given::running(Effect::AtMostOnce, r#","retry":{"max_attempts":2}"#);
    let lease = given.lease();
    given.fail(ErrorClass::Timeout);
    assert_eq!((given.status(), given.step("a").charged), (StepStatus::Unknown, 1));
    given.settle_with(vec![failed("a", 1, lease, ErrorClass::RateLimited)]);
    assert_eq!(given.step("a").charged, 0, "a 429 is free, however late");
    let mut given = Given::running(Effect::AtMostOnce, r#","retry":{"max_attempts":2}"#);
    let lease = given.lease();
    given.fail(ErrorClass::Timeout);
    given.settle_with(vec![failed("a", 1, lease, ErrorClass::Terminal)]);
    assert_eq!(given.step("a").charged, 1);
}

#[test]
fn c6_a_zombies_outcomes_count_only_where_nobody_started_anew() {
    let mut given = Given::running(Effect::Idempotent, "");
    let lease = given.lease();
    given.lose_owner();
    let zombie = given.clone();
    for (body, verdict) in [
        (completed("a", 1, lease), APPLIED),
        (failed("a", 1, lease, ErrorClass::Terminal), LATE),
        (released("a", 1, lease, None), LATE),
    ] {
        let mut given = zombie.clone();
        assert_eq!(given.append(body.clone()), verdict, "{}", kind_of(&body));
        assert_eq!(given.status(), StepStatus::Running);
        assert_eq!(given.step("a").live, zombie.step("a").live);
    }
}

#[test]
fn a_release_of_a_start_that_was_not_accepted_is_nobodys_fault() {
    let given = Given::running(Effect::Idempotent, "");
    let lease = given.lease();
    for (body, reason) in [
        (released("a", 1, lease + 1, None), Reason::WrongLease),
        (released("a", 2, lease, None), Reason::WrongAttempt),
        (released("b", 1, lease, None), Reason::StepAbsent),
    ] {
        let mut given = given.clone();
        let late = Verdict::Stale(Reason::Late, Some(super::bodies::denied(reason)));
        assert_eq!(given.append(body), late);
        assert_eq!(given.step("a").live.as_ref().map(|live| live.lease), Some(lease));
    }
    // With an error it says what happened to an attempt, and there is none.
    let mut given = given;
    let failed = released("a", 1, lease + 1, Some(ErrorClass::Transient));
    assert_eq!(given.append(failed), Verdict::Illegal(Reason::WrongLease));
}

#[test]
fn a_success_after_the_end_is_evidence() {
    for then in [Then::Fail, Then::Skip] {
        let (mut given, lease) = parked(Effect::AtMostOnce, StepStatus::DeadLettered);
        given.discard(then);
        let before = given.run.clone();
        assert_eq!(given.append(completed("a", 1, lease)), LATE, "{then:?}, run open");
        given.settle();
        let ended = Verdict::Stale(Reason::Late, Some(super::bodies::denied(Reason::RunEnded)));
        assert_eq!(given.append(completed("a", 1, lease)), ended, "{then:?}, run ended");
        assert_ne!(given.status(), StepStatus::Completed);
        drop(before);
    }
}

#[test]
fn a_success_with_an_input_that_was_edited_since_does_not_end_the_step() {
    let (mut given, lease) = parked(Effect::Pure, StepStatus::DeadLettered);
    assert_eq!(super::operators::edit(&mut given, "2"), APPLIED);
    assert_eq!(given.append(completed("a", 1, lease)), APPLIED);
    assert_eq!(given.status(), StepStatus::Scheduled);
    assert_eq!(given.settle(), ["step_started"]);
    assert_eq!(given.complete(), ["step_completed", "run_completed"]);
}

#[test]
fn outcomes_of_attempts_that_the_history_dropped_are_late_and_not_invented() {
    let mut given = Given::running(Effect::Pure, r#","retry":{"max_attempts":1000}"#);
    let mut leases = vec![given.lease()];
    for _ in 0..150 {
        given.fail(ErrorClass::RateLimited);
        given.wait_for_due();
        leases.push(given.lease());
    }
    assert_eq!(given.step("a").attempts.len(), 100);
    assert_eq!(given.step("a").attempts_omitted, 51);
    assert_eq!(given.append(completed("a", 30, leases[29])), LATE);
    assert_eq!(given.append(completed("a", 1, leases[0])), APPLIED, "the first one is kept");
    let invented = given.append(completed("a", 152, 1));
    assert_eq!(invented, Verdict::Illegal(Reason::WrongAttempt));
    assert_eq!(given.run().status, RunStatus::Running);
    assert_ne!(given.append(completed("a", 151, leases[150])), DUPLICATE);
}
