//! Which steps fail or are retried now, why, and since when.

use super::{
    bodies::{released, run},
    given::Given,
    held_back::hold,
};
use crate::{Cause, StepStatus, troubles};
use spine_schemas::{Effect, ErrorClass, HeldBy, RunEvent, time::Micros};

/// Step, status, code of the cause, first and newest failure.
fn found(given: &Given) -> Vec<(String, StepStatus, String, Micros, Micros)> {
    let code = |cause| match cause {
        Cause::Error(error) => error.code.clone(),
        Cause::Lost(_) => "lost".to_owned(),
    };
    troubles(given.run())
        .map(|of| (of.step.key.name.to_string(), of.step.status, code(of.cause), of.since, of.last))
        .collect()
}

#[test]
fn a_step_is_in_trouble_from_its_first_failure_until_it_ends() {
    let mut given = Given::running(Effect::Pure, r#","retry":{"max_attempts":5}"#);
    assert_eq!(found(&given), [], "its first attempt runs");
    let first = given.now;
    given.fail(ErrorClass::Transient);
    let [(_, status, code, since, last)] = found(&given).try_into().unwrap();
    assert_eq!((status, since, last), (StepStatus::RetryWaiting, first, first));
    assert_eq!(code, given.step("a").error.as_ref().unwrap().code);
    given.after(60_000).settle();
    assert_eq!(found(&given)[0].1, StepStatus::Running, "it is tried again");
    let second = given.now;
    given.fail(ErrorClass::Timeout);
    assert_eq!((found(&given)[0].3, found(&given)[0].4), (first, second));
    given.after(120_000).settle();
    given.complete();
    assert_eq!(found(&given), []);
}

#[test]
fn lost_released_and_unknown_attempts_are_trouble() {
    let mut given = Given::running(Effect::AtMostOnce, "");
    given.lose_owner();
    let [(_, status, code, ..)] = found(&given).try_into().unwrap();
    assert_eq!((status, code), (StepStatus::Unknown, "worker_lost".into()));

    let mut given = Given::running(Effect::Pure, "");
    let lease = given.lease();
    given.append(released("a", 1, lease, Some(ErrorClass::Transient)));
    given.settle();
    assert_eq!(found(&given).len(), 1, "a tool that cannot be reached");
}

#[test]
fn a_step_that_never_began_is_in_trouble_once_its_time_is_over() {
    let mut given = Given::one(Effect::Pure, r#","deadline_ms":60000"#);
    hold(&mut given, HeldBy::Breaker, 0);
    given.settle();
    let scheduled = given.step("a").scheduled_at;
    assert_eq!(found(&given), [], "nothing has failed");
    given.after(61_000).settle();
    let [(_, status, code, since, _)] = found(&given).try_into().unwrap();
    assert_eq!((status, code.as_str()), (StepStatus::DeadLettered, "step_deadline"));
    assert!(since > scheduled);
}

#[test]
fn a_letter_keeps_its_run_in_trouble_and_a_run_that_ended_is_in_none() {
    let mut given = super::operators::dead(Effect::Pure, ErrorClass::Transient);
    assert_eq!(found(&given)[0].1, StepStatus::DeadLettered);
    let kill = RunEvent::Cancelled { reason: "no use".into() };
    given.append(run(kill));
    assert_eq!(found(&given), []);
}
