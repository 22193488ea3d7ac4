//! Runs that stand still: found once for each stall, whoever should move them, and never while they are
//! held back on purpose or merely wait for a time.

use super::{
    bodies::{APPLIED, LOST_RACE, begin, decision, failed, heartbeat, reported, run, step},
    given::Given,
};
use crate::{Hold, RunStatus, StepStatus, WaitKind, decide, stall_at, wake_at, why};
use spine_schemas::{Body, Driver, Effect, ErrorClass, HeldBy, RunEvent, StepEvent, StepKey};

/// A quarter of an hour, as the server has it unless told otherwise.
const AFTER_MS: u64 = 900_000;

fn watched(mut given: Given) -> Given {
    given.stall_after_ms = AFTER_MS;
    given
}

/// What the owner decides now.
fn decided(given: &Given) -> Vec<&'static str> {
    given.ahead(Vec::new()).events.iter().map(|event| event.kind().as_str()).collect()
}

/// Nothing is decided until just before, and then that the run is stalled: once, and the timer knew.
fn stalls_after(given: &mut Given, ms: u64, words: &[&str]) {
    let at = given.now.plus_ms(ms);
    assert_eq!(wake_at(given.run(), &given.owner()), Some(at), "{:?}", given.run().waits());
    assert_eq!(stall_at(given.run(), &given.owner()), Some(at));
    given.after(ms - 1);
    assert_eq!(decided(given), [""; 0], "{:?}", given.run().waits());
    let (moved, since) = (given.run().last_offset, given.run().last_at);
    let sentence = why(given.run()).sentence;
    given.after(1);
    assert_eq!(given.settle(), ["run_stalled"]);
    let stall = given.run().stalled.as_deref().expect("it is remembered").clone();
    assert_eq!((stall.moved, stall.since, stall.at), (moved, since, given.now));
    let now = why(given.run()).sentence;
    for word in words {
        assert!(stall.reason.contains(word), "{word}: {}", stall.reason);
    }
    assert!(now.starts_with("The run is stalled: no event has moved it since"), "{now}");
    assert!(now.ends_with(&sentence), "{now} / {sentence}");
    for _ in 0..3 {
        given.after(10 * AFTER_MS);
        assert!(!decided(given).contains(&"run_stalled"), "it is said once");
    }
    assert_eq!(stall_at(given.run(), &given.owner()), None);
}

fn unknown() -> Given {
    let mut given = watched(Given::running(Effect::AtMostOnce, r#","deadline_ms":0"#));
    given.fail(ErrorClass::UnknownOutcome);
    assert_eq!(given.status(), StepStatus::Unknown);
    given
}

fn dead() -> Given {
    let mut given = watched(Given::running(Effect::Pure, r#","retry":{"max_attempts":1}"#));
    given.fail(ErrorClass::Transient);
    assert_eq!(given.status(), StepStatus::DeadLettered);
    given
}

fn asked(more: &str) -> Given {
    let mut given = watched(Given::one(Effect::Pure, more));
    given.settle();
    if given.status() == StepStatus::Running {
        given.fail(ErrorClass::Terminal);
    }
    assert_eq!(given.status(), StepStatus::Awaiting);
    given
}

#[test]
fn f19_a_run_that_waits_for_a_person_is_found() {
    stalls_after(&mut unknown(), AFTER_MS, &["step a", "spine steps resolve"]);
    stalls_after(&mut dead(), AFTER_MS, &["Step a#1 used up its attempts", "redrive"]);
    let mut task = asked(r#","on_exhausted":"escalate""#);
    stalls_after(&mut task, AFTER_MS, &["Step a#1 is not tried again", "spine tasks decide"]);
    let mut approval = asked(r#","approval":{"expires_ms":86400000}"#);
    stalls_after(&mut approval, AFTER_MS, &["Step a#1 may call", "--approve"]);
    let mut signal =
        watched(Given::plan(r#"[{"name":"a","tool":"signal:paid","deadline_ms":86400000}]"#));
    signal.settle();
    stalls_after(&mut signal, AFTER_MS, &["the signal paid", "spine runs signal r1 paid"]);
}

#[test]
fn f19_a_run_behind_a_breaker_is_found() {
    let mut given = watched(Given::one(Effect::Pure, r#","deadline_ms":0"#));
    let hold = Hold { by: HeldBy::Breaker, until: given.now.plus_ms(5000), starts: 0 };
    given.holds.tools.insert("t".into(), hold);
    given.settle();
    assert_eq!(given.run().waits()[0].wait_for, WaitKind::Breaker);
    stalls_after(&mut given, AFTER_MS, &["the circuit breaker of t is open"]);
    given.holds = Default::default();
    assert_eq!(given.settle(), ["step_started"]);
    assert_eq!(given.run().stalled, None);
}

#[test]
fn f19_an_outsider_that_fell_silent_is_found() {
    let mut agent = watched(Given::journal());
    stalls_after(&mut agent, AFTER_MS, &["the agent that drives the run must begin"]);
    let mut reporter = watched(Given::record());
    stalls_after(&mut reporter, AFTER_MS, &["has not reported its end"]);
    // A step that was reported as running counts as alive until its lease ends.
    let mut running = watched(Given::record());
    running.append(reported("a", 1));
    stalls_after(&mut running, 30_000 + AFTER_MS, &["step a#1 was reported as started"]);
    let mut failing = watched(Given::record());
    failing.append(reported("a", 1));
    failing.append(failed("a", 1, 0, ErrorClass::Transient));
    stalls_after(&mut failing, AFTER_MS, &["its next attempt has not been reported"]);
}

#[test]
fn f19_an_agent_that_may_try_again_and_does_not_is_found() {
    let mut given = watched(Given::journal());
    given.op("S", 1, begin("a", Effect::Pure));
    let (attempt, lease) = (given.step("a").attempt, given.lease());
    given.op("S", 2, failed("a", attempt, lease, ErrorClass::Transient));
    given.settle();
    assert_eq!(given.status(), StepStatus::RetryWaiting);
    let due = given.step("a").due_at.unwrap();
    given.now = due;
    stalls_after(&mut given, AFTER_MS, &["the agent may begin attempt 2"]);
}

#[test]
fn f19_a_step_that_finds_no_slot_is_found() {
    let mut given = watched(Given::one(Effect::Pure, r#","deadline_ms":0"#));
    given.settle();
    let (attempt, lease) = (given.step("a").attempt, given.lease());
    given.append(super::bodies::released("a", attempt, lease, None));
    assert_eq!(given.status(), StepStatus::Scheduled);
    given.after(AFTER_MS);
    let no_slots = &mut crate::Slots::new(0, crate::Bounds::NONE, Default::default());
    let decided = decide(given.run(), &given.owner(), no_slots);
    assert!(!decided.starved.is_empty());
    let [Body::Run(_, RunEvent::Stalled { reason, step, .. })] = &decided.bodies[..] else {
        panic!("{decided:?}");
    };
    assert_eq!(step.as_ref(), Some(&StepKey::named("a")));
    assert!(reason.contains("as soon as a slot is free"), "{reason}");
}

#[test]
fn what_merely_waits_for_a_time_is_not_stalled_before_that_and_its_patience_is_over() {
    let mut sleeping = watched(Given::plan(r#"[{"name":"a","tool":"sleep:7200000"}]"#));
    sleeping.settle();
    let at = sleeping.now.plus_ms(7_200_000 + AFTER_MS);
    assert_eq!(stall_at(sleeping.run(), &sleeping.owner()), Some(at));
    sleeping.after(7_199_999);
    assert_eq!(sleeping.settle(), [""; 0]);
    let retry = r#","retry":{"max_attempts":9,"initial_ms":7200000,"max_ms":7200000,"jitter":0}"#;
    let mut retrying = watched(Given::running(Effect::Pure, retry));
    retrying.fail(ErrorClass::Transient);
    let at = retrying.now.plus_ms(7_200_000 + AFTER_MS);
    assert_eq!(stall_at(retrying.run(), &retrying.owner()), Some(at));
    retrying.after(7_199_999);
    assert_eq!(retrying.settle(), [""; 0]);
    assert_eq!(retrying.wait_for_due(), ["step_started"]);
    let mut running = watched(Given::running(Effect::Pure, r#","timeout_ms":7200000"#));
    let at = running.now.plus_ms(7_200_000 + AFTER_MS);
    running.held.insert(running.lease());
    assert_eq!(stall_at(running.run(), &running.owner()), Some(at));
    stalls_after(&mut running, 7_200_000 + AFTER_MS, &["Attempt 1 of step a#1 runs since"]);
}

#[test]
fn what_waits_for_its_turn_is_not_stalled_while_another_attempt_is_alive() {
    let plan = r#"[{"name":"a","tool":"t","effect":"pure","timeout_ms":7200000},
        {"name":"b","tool":"t","effect":"pure","after":[],"deadline_ms":0}]"#;
    let mut given = watched(Given::plan(plan));
    given.settle();
    let lease = given.step("b").live.as_ref().unwrap().lease;
    given.append(super::bodies::released("b", 1, lease, None));
    assert_eq!(given.step("b").status, StepStatus::Scheduled);
    let at = given.now.plus_ms(7_200_000 + AFTER_MS);
    assert_eq!(stall_at(given.run(), &given.owner()), Some(at), "b waits for a slot, a runs");
}

#[test]
fn what_waits_for_a_person_is_stalled_although_another_attempt_runs() {
    let plan = r#"[{"name":"a","tool":"t","effect":"pure","timeout_ms":7200000},
        {"name":"b","tool":"signal:go","after":[]}]"#;
    let mut given = watched(Given::plan(plan));
    given.settle();
    given.held.insert(given.lease());
    given.after(AFTER_MS);
    assert_eq!(given.settle(), ["run_stalled"]);
    let stall = given.run().stalled.as_deref().unwrap();
    assert_eq!(stall.step, Some(StepKey::named("b")), "not the one that is alive");
}

#[test]
fn what_is_held_back_on_purpose_is_not_stalled() {
    let paused = |reason: &str| run(RunEvent::Paused { reason: reason.into() });
    let mut run_paused = unknown();
    assert_eq!(run_paused.append(paused("later")), APPLIED);
    run_paused.after(100 * AFTER_MS);
    assert_eq!(run_paused.settle(), [""; 0]);
    assert_eq!(wake_at(run_paused.run(), &run_paused.owner()), None);
    assert_eq!(run_paused.append(run(RunEvent::Resumed { reason: "now".into() })), APPLIED);
    stalls_after(&mut run_paused, AFTER_MS, &["step a"]);
    let mut step_paused = watched(Given::one(Effect::Pure, r#","deadline_ms":0"#));
    let hold = Hold { by: HeldBy::ToolPaused, until: step_paused.now, starts: 0 };
    step_paused.holds.tools.insert("t".into(), hold);
    step_paused.settle();
    assert_eq!(step_paused.run().waits()[0].wait_for, WaitKind::ToolPaused);
    step_paused.after(100 * AFTER_MS);
    assert_eq!(step_paused.settle(), [""; 0], "somebody paused the tool");
    step_paused.append(step("a", StepEvent::Paused { reason: "later".into() }));
    step_paused.after(100 * AFTER_MS);
    assert_eq!(step_paused.settle(), [""; 0], "somebody paused the step");
}

#[test]
fn the_next_event_clears_it_and_the_next_silence_is_another_stall() {
    let mut given = unknown();
    stalls_after(&mut given, AFTER_MS, &[]);
    assert_eq!(given.append(decision()), APPLIED);
    assert_eq!(given.run().stalled, None, "a sign of life");
    stalls_after(&mut given, AFTER_MS, &[]);
    assert_eq!(given.resolve(true), APPLIED);
    assert_eq!(given.run().stalled, None);
    assert_eq!(given.settle(), ["run_completed"]);
    assert_eq!((given.run().status, &given.run().stalled), (RunStatus::Completed, &None));
    assert_eq!(wake_at(given.run(), &given.owner()), None);
}

#[test]
fn heartbeats_are_signs_of_life() {
    let mut given = watched(Given::journal());
    given.op("S", 1, begin("a", Effect::Pure));
    let (attempt, lease) = (given.step("a").attempt, given.lease());
    for op_id in 2..100 {
        given.after(20_000);
        let verdict = given.op("S", op_id, heartbeat("a", attempt, lease));
        assert!(matches!(verdict, crate::Verdict::Applied(_)), "{verdict:?}");
        assert_eq!(given.settle(), [""; 0]);
    }
}

#[test]
fn an_event_that_came_between_makes_it_untrue() {
    for driver in [Driver::Plan, Driver::Journal, Driver::Record] {
        let mut given = match driver {
            Driver::Plan => unknown(),
            Driver::Journal => watched(Given::journal()),
            Driver::Record => watched(Given::record()),
        };
        given.after(AFTER_MS);
        let late = given.ahead(Vec::new()).events.remove(0);
        assert_eq!(given.append(decision()), APPLIED);
        let before = given.run.clone();
        assert_eq!(given.fold(late), LOST_RACE, "{driver:?}");
        assert_eq!(given.run.as_ref().unwrap().stalled, before.unwrap().stalled);
    }
}

#[test]
fn it_is_an_owners_decision_and_only_of_open_runs_that_may_move() {
    let stalled = |given: &Given| {
        let moved = given.run().last_offset;
        run(RunEvent::Stalled { reason: "x".into(), step: None, moved })
    };
    let mut given = Given::record();
    let body = stalled(&given);
    assert!(!matches!(given.append(body), crate::Verdict::Applied(_)), "without a claim");
    let body = stalled(&given);
    assert_eq!(given.decide(body), APPLIED);
    assert_eq!(given.decide(stalled(&given)), LOST_RACE, "it is stalled already");
    given.append(run(RunEvent::Completed { output: None }));
    assert_eq!(given.run().stalled, None);
    assert_eq!(given.decide(stalled(&given)), LOST_RACE, "it has ended");
    let mut paused = unknown();
    paused.append(run(RunEvent::Paused { reason: "x".into() }));
    assert_eq!(paused.decide(stalled(&paused)), LOST_RACE);
}

#[test]
fn after_a_claim_there_is_some_time_to_move_first() {
    let mut given = watched(Given::journal());
    given.after(10 * AFTER_MS).claim();
    assert_eq!(given.settle(), [""; 0], "nobody could move it while there was no owner");
    stalls_after(&mut given, crate::limits::STALL_GRACE_MS, &["the agent"]);
    let mut short = Given::journal();
    short.stall_after_ms = 2000;
    short.after(AFTER_MS).claim();
    stalls_after(&mut short, 2000, &[]);
    let mut off = Given::journal();
    off.after(1000 * AFTER_MS);
    assert_eq!((off.settle().len(), wake_at(off.run(), &off.owner())), (0, None));
}
