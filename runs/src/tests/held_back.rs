//! Steps that something holds back whatever their own state: a breaker, a limit, a pause of tool or tenant.

use super::{
    bodies::{LOST_RACE, failed, step},
    given::Given,
};
use crate::{HeldAt, Hold, Lack, RunStatus, Slots, StepStatus, WaitKind, decide, wake_at, why};
use spine_schemas::{Effect, ErrorClass, HeldBy, StepError, StepEvent};

pub(super) fn hold(given: &mut Given, by: HeldBy, starts: usize) {
    let hold = Hold { by, until: given.now.plus_ms(5000), starts };
    given.holds.tools.insert("t".into(), hold);
}

fn free(given: &mut Given) {
    given.holds = Default::default();
}

#[test]
fn c3_a_step_is_held_back_once_and_spends_nothing() {
    let mut given = Given::one(Effect::Pure, "");
    hold(&mut given, HeldBy::Breaker, 0);
    assert_eq!(given.settle(), ["step_scheduled", "step_deferred"]);
    assert_eq!(given.status(), StepStatus::Deferred);
    for _ in 0..20 {
        given.after(60_000);
        hold(&mut given, HeldBy::Breaker, 0);
        assert_eq!(given.settle(), Vec::<&str>::new(), "it is said once");
    }
    let step = given.step("a");
    assert_eq!((step.attempt, step.charged, step.free_in_row), (0, 0, 0));
    assert_eq!(given.run().waits()[0].wait_for, WaitKind::Breaker);
    assert_eq!(given.run().public_status(), "running", "nobody has to do anything");
    free(&mut given);
    assert_eq!(given.settle(), ["step_started"]);
    assert_eq!(given.complete(), ["step_completed", "run_completed"]);
}

#[test]
fn a_hold_lets_so_many_through_and_names_where_the_others_wait() {
    let steps: Vec<String> = (0..5)
        .map(|n| format!(r#"{{"name":"s{n}","tool":"t","effect":"pure","after":[]}}"#))
        .collect();
    let mut given = Given::plan(&format!("[{}]", steps.join(",")));
    hold(&mut given, HeldBy::Breaker, 2);
    let batch = given.ahead(Vec::new());
    assert_eq!(batch.held.into_iter().collect::<Vec<_>>(), [HeldAt::Tool("t".into())]);
    let kinds: Vec<_> = batch.events.iter().map(|event| event.kind().as_str()).collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == "step_started").count(), 2);
    assert_eq!(kinds.iter().filter(|kind| **kind == "step_deferred").count(), 3);
}

#[test]
fn a_failure_that_the_tool_was_known_for_is_free() {
    let mut given = Given::running(Effect::Idempotent, r#","retry":{"max_attempts":2,"jitter":0}"#);
    for attempt in 1..=20 {
        let error =
            StepError { free: true, ..StepError::new(ErrorClass::Transient, "http_503", "down") };
        let (lease, usage) = (Some(given.lease()), None);
        let then =
            given.settle_with(vec![step("a", StepEvent::Failed { attempt, lease, error, usage })]);
        assert_eq!(then, ["step_failed", "step_deferred"], "attempt {attempt}");
        assert_eq!(given.step("a").charged, 0);
        given.wait_for_due();
    }
    let lease = given.lease();
    given.settle_with(vec![failed("a", 21, lease, ErrorClass::Transient)]);
    assert_eq!(given.step("a").charged, 1, "after that each counts as ever");
}

#[test]
fn a_retry_that_is_due_is_held_back_too_and_its_deadline_ends_it() {
    let more = r#","retry":{"jitter":0},"deadline_ms":60000,"on_exhausted":"skip""#;
    let mut given = Given::running(Effect::Pure, more);
    given.fail(ErrorClass::Transient);
    hold(&mut given, HeldBy::RateLimit, 0);
    assert_eq!(given.wait_for_due(), ["step_deferred"]);
    assert_eq!(given.run().waits()[0].wait_for, WaitKind::RateLimit);
    let deadline = given.step("a").deadline().unwrap();
    assert_eq!(wake_at(given.run(), &given.owner()), Some(deadline));
    given.now = deadline;
    assert_eq!(given.settle(), ["step_skipped", "run_completed"]);
    assert_eq!(given.run().status, RunStatus::Degraded);
}

#[test]
fn l37_a_paused_tenant_starts_nothing_and_a_person_must_end_that() {
    let mut given = Given::one(Effect::Pure, "");
    let pause = Hold { by: HeldBy::TenantPaused, until: given.now, starts: 0 };
    given.holds.tenants.insert("default".into(), pause);
    assert_eq!(given.settle(), ["step_scheduled", "step_deferred"]);
    assert_eq!(given.run().public_status(), "waiting");
    // Another reason is another event: it is what the run waits for from then on.
    free(&mut given);
    hold(&mut given, HeldBy::ToolPaused, 0);
    assert_eq!(given.settle(), ["step_deferred"]);
    assert_eq!(given.run().waits()[0].wait_for, WaitKind::ToolPaused);
}

#[test]
fn retries_over_the_budget_of_all_wait_and_first_attempts_do_not() {
    let mut given = Given::running(Effect::Pure, r#","retry":{"jitter":0}"#);
    given.fail(ErrorClass::Transient);
    given.now = given.step("a").due_at.unwrap();
    let mut none = Slots::unlimited().with(0, Default::default());
    let decided = decide(given.run(), &given.owner(), &mut none);
    assert!(decided.bodies.is_empty());
    assert_eq!(decided.starved, [Lack::Retry].into());
    assert!(none.rest().short_of_retries);
    let mut one = Slots::unlimited().with(1, Default::default());
    assert_eq!(decide(given.run(), &given.owner(), &mut one).bodies.len(), 1);
    assert_eq!(one.rest().retries, 0);
    let other = Given::one(Effect::Pure, "");
    let mut none = Slots::unlimited().with(0, Default::default());
    assert!(decide(other.run(), &other.owner(), &mut none).starved.is_empty());
}

#[test]
fn nothing_is_held_back_that_could_not_start() {
    let mut given = Given::running(Effect::Pure, "");
    let due_at = given.now;
    let held = |attempt| {
        let held_by = Some(HeldBy::Breaker);
        step("a", StepEvent::Deferred { attempt, due_at, held_by })
    };
    assert_eq!(given.decide(held(1)), LOST_RACE, "it runs");
    given.complete();
    assert!(!matches!(given.decide(held(1)), crate::Verdict::Applied(_)), "it has ended");
}

#[test]
fn c12_a_step_with_an_alternative_waits_for_a_breaker_as_long_as_its_retries_would_take() {
    let more = r#","retry":{"jitter":0,"initial_ms":100,"multiplier":2.0,"max_attempts":4},
        "on_exhausted":"fallback","fallback":[{"name":"b","tool":"u","effect":"pure"}]"#;
    let mut given = Given::one(Effect::Pure, more);
    hold(&mut given, HeldBy::Breaker, 0);
    given.settle();
    assert!(why(given.run()).sentence.contains("its fallback stands in"));
    // 100 + 200 + 400
    let until = given.now.plus_ms(700);
    assert_eq!(wake_at(given.run(), &given.owner()), Some(until));
    given.after(699);
    assert_eq!(given.settle(), Vec::<&str>::new());
    given.after(1);
    assert_eq!(given.settle(), ["fallback_started", "step_scheduled", "step_started"]);
    assert_eq!(given.step("a").error.as_ref().unwrap().code, "breaker_open");
    assert_eq!(given.step("a").charged, 0);
    // Who is asked for a pause waits for that.
    let mut limited = Given::one(Effect::Pure, more);
    hold(&mut limited, HeldBy::RateLimit, 0);
    limited.settle();
    limited.after(60_000);
    hold(&mut limited, HeldBy::RateLimit, 0);
    assert_eq!(limited.settle(), Vec::<&str>::new());
}

#[test]
fn the_patience_of_a_step_goes_on_over_calls_that_try_the_tool_and_stands_still_in_a_pause() {
    let more = r#","retry":{"jitter":0,"initial_ms":60000,"multiplier":1.0,"max_attempts":3},
        "on_exhausted":"skip""#;
    let mut given = Given::one(Effect::Pure, more);
    hold(&mut given, HeldBy::Breaker, 0);
    given.settle();
    let until = given.now.plus_ms(120_000);
    // It is the one that tries the tool, in vain.
    given.after(50_000);
    hold(&mut given, HeldBy::Breaker, 1);
    assert_eq!(given.settle(), ["step_started"]);
    let error =
        StepError { free: true, ..StepError::new(ErrorClass::Transient, "http_503", "down") };
    let (lease, usage) = (Some(given.lease()), None);
    hold(&mut given, HeldBy::Breaker, 0);
    given.settle_with(vec![step("a", StepEvent::Failed { attempt: 1, lease, error, usage })]);
    assert_eq!(given.wait_for_due(), ["step_deferred"]);
    assert_eq!(wake_at(given.run(), &given.owner()), Some(until), "not from the beginning");
    given.append(step("a", StepEvent::Paused { reason: "look".into() }));
    given.after(3_600_000);
    given.append(step("a", StepEvent::Resumed { reason: "seen".into() }));
    assert_eq!(given.settle(), Vec::<&str>::new());
    given.now = until.plus_ms(3_600_000);
    assert_eq!(given.settle(), ["step_skipped", "run_completed"]);
}
