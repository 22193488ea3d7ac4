//! The sentence for every waiting state, under every driver where it can occur.

use super::{
    bodies::{begin, completed, failed, reported, run, step},
    given::Given,
    journal::begun,
};
use crate::{StepStatus, why};
use spine_schemas::{Effect, ErrorClass, RunEvent, StepError, StepEvent, Then};

const AT: &str = "2023-11-14T22:13:20Z";

fn says(given: &Given, expected: &str) {
    assert_eq!(why(given.run()).sentence, expected);
}

#[test]
fn f19_a_plan_run_says_why_it_waits() {
    let mut given = Given::one(Effect::Pure, r#","retry":{"jitter":0,"max_attempts":2}"#);
    says(&given, "No step is open: the owner will schedule the next ones or end the run now.");
    let mut scheduled = given.clone();
    let decided =
        crate::decide(scheduled.run(), &scheduled.owner(), &mut crate::Slots::unlimited());
    scheduled.decide(decided.bodies[0].clone());
    says(&scheduled, "Step a#1 may start: the owner starts attempt 1 as soon as a slot is free.");
    given.settle();
    says(
        &given,
        &format!(
            "Attempt 1 of step a#1 runs since {AT} and ends by 2023-11-14T22:13:50Z at the latest."
        ),
    );
    let lease = given.lease();
    let mut failing = given.clone();
    failing.append(failed("a", 1, lease, ErrorClass::Transient));
    says(
        &failing,
        "Step a#1 failed with transient (transient): the owner is about to decide what follows.",
    );
    let mut deferred = given.clone();
    deferred.fail(ErrorClass::RateLimited);
    says(
        &deferred,
        "Step a#1 was put off free of charge after rate_limited (rate_limited); attempt 2 starts at 2023-11-14T22:13:20.2Z.",
    );
    given.fail(ErrorClass::Transient);
    says(
        &given,
        "Step a#1 failed with transient (transient); attempt 2 starts at 2023-11-14T22:13:20.2Z.",
    );
    given.wait_for_due();
    given.fail(ErrorClass::Transient);
    let letter = given.letter("a");
    says(
        &given,
        &format!(
            "Step a#1 used up its attempts with transient (transient): repair the cause, then run 'spine dead-letters redrive {letter} --reason …', or 'discard'."
        ),
    );
    given.discard(Then::Fail);
    says(&given, "Step a#1 was given up: the run fails when no attempt runs.");
    given.settle();
    says(&given, "The run failed at 2023-11-14T22:13:20.2Z with step a#1 (transient: it failed).");
}

#[test]
fn f19_an_unknown_outcome_names_the_command_that_resolves_it() {
    let mut given = Given::running(Effect::AtMostOnce, "");
    given.fail(ErrorClass::Timeout);
    says(
        &given,
        "Attempt 1 of step a#1 may or may not have taken effect (timeout (timeout)): find out, then run 'spine steps resolve r1 a#1 --happened' or '--not'.",
    );
    given.resolve(true);
    given.settle();
    says(&given, &format!("The run completed at {AT}."));
}

#[test]
fn f19_the_step_that_moves_first_is_named_and_the_others_are_counted() {
    let steps = r#"[{"name":"a","tool":"t"},{"name":"b","tool":"t","after":[]},{"name":"c","tool":"t","after":[]}]"#;
    let mut given = Given::plan(steps);
    given.settle();
    given.fail(ErrorClass::Timeout);
    let sentence = why(given.run()).sentence;
    assert!(sentence.starts_with("Attempt 1 of step b#1 runs"), "{sentence}");
    assert!(sentence.ends_with("(2 other steps are open, too)."), "{sentence}");
}

#[test]
fn f19_a_journal_run_says_what_its_agent_may_do() {
    let given = Given::journal();
    says(
        &given,
        "No step is open: the agent that drives the run must begin its next step or end the run.",
    );
    let mut given = begun(Effect::Pure);
    says(
        &given,
        &format!(
            "Attempt 1 of step a#1 is held by session S since {AT}; without a heartbeat its lease ends at 2023-11-14T22:13:50Z."
        ),
    );
    given.after(30_000).settle();
    says(&given, "Step a#1 may start: the agent must begin it.");
    given.op("S", 2, begin("a", Effect::Pure));
    given.fail(ErrorClass::RateLimited);
    let sentence = why(given.run()).sentence;
    assert!(sentence.contains("; the agent may begin attempt 3 at "), "{sentence}");
    given.wait_for_due();
    given.op("S", 3, begin("a", Effect::Pure));
    given.fail(ErrorClass::Terminal);
    assert!(why(given.run()).next.contains(&"step_redriven"));
    given.discard(Then::Fail);
    says(&given, "Step a#1 was given up: the agent must end the run.");
    given.op("S", 4, run(RunEvent::Cancelled { reason: "enough".into() }));
    let now = given.now;
    says(&given, &format!("The run was cancelled at {now} (cancelled: enough)."));
}

#[test]
fn f19_a_record_run_says_what_was_not_reported() {
    let mut given = Given::record();
    says(&given, "No step is open: the system that reports the run has not reported its end.");
    given.append(step("a", StepEvent::Scheduled(super::bodies::spec(Effect::Pure, "1"))));
    says(&given, "Step a#1 is scheduled: its start has not been reported.");
    given.append(reported("a", 1));
    says(&given, &format!("Attempt 1 of step a#1 was reported as started at {AT}."));
    given.append(failed("a", 1, 0, ErrorClass::Transient));
    says(
        &given,
        "Step a#1 failed with transient (transient): its next attempt has not been reported.",
    );
    given.append(reported("a", 2));
    given.append(completed("a", 2, 0));
    let error = StepError::new(ErrorClass::Terminal, "bad", "no good");
    given.append(run(RunEvent::Failed { error, step: None }));
    says(&given, &format!("The run failed at {AT} (bad: no good)."));
    assert_eq!(why(given.run()).next, [""; 0]);
    assert_eq!(given.status(), StepStatus::Completed);
}
