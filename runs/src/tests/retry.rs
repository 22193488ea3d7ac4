//! Retrying as data: classes, back-off, budgets, deadlines.

use super::{
    bodies::{released, step},
    given::Given,
};
use crate::{
    StepStatus,
    retry::{ClassRow, backoff_ms, class_row, is_ambiguous, shortest_backoff_ms},
};
use proptest::prelude::*;
use spine_schemas::{Effect, ErrorClass, RetryPolicy, StepError, StepEvent};

pub(super) const CLASSES: [ErrorClass; 12] = [
    ErrorClass::Transient,
    ErrorClass::RateLimited,
    ErrorClass::Timeout,
    ErrorClass::Lost,
    ErrorClass::Terminal,
    ErrorClass::Contract,
    ErrorClass::Policy,
    ErrorClass::Budget,
    ErrorClass::UnknownOutcome,
    ErrorClass::NonDeterminism,
    ErrorClass::TooLarge,
    ErrorClass::Cancelled,
];

type Row = (ErrorClass, (bool, bool, bool), StepStatus, StepStatus);

/// Class; charged, retried, dead-lettered; what a pure and a careful step are after it.
fn rows() -> [Row; 12] {
    use StepStatus::{DeadLettered, Deferred, Failed, RetryWaiting, Running, Unknown};
    [
        (ErrorClass::Transient, (true, true, true), RetryWaiting, RetryWaiting),
        (ErrorClass::RateLimited, (false, true, true), Deferred, Deferred),
        (ErrorClass::Timeout, (true, true, true), RetryWaiting, Unknown),
        (ErrorClass::Lost, (false, true, true), Running, Unknown),
        (ErrorClass::Terminal, (true, false, true), DeadLettered, DeadLettered),
        (ErrorClass::Contract, (true, false, true), DeadLettered, DeadLettered),
        (ErrorClass::Policy, (false, false, true), DeadLettered, DeadLettered),
        (ErrorClass::Budget, (false, false, true), DeadLettered, DeadLettered),
        (ErrorClass::UnknownOutcome, (true, false, true), DeadLettered, Unknown),
        (ErrorClass::NonDeterminism, (false, false, true), DeadLettered, DeadLettered),
        (ErrorClass::TooLarge, (true, false, true), DeadLettered, DeadLettered),
        (ErrorClass::Cancelled, (false, false, false), Failed, Failed),
    ]
}

#[test]
fn c9_one_row_per_error_class() {
    let rows = rows();
    assert_eq!(rows.map(|row| row.0), CLASSES);
    for (class, (charged, retried, dead_lettered), pure, careful) in rows {
        assert_eq!(class_row(class), ClassRow { charged, retried, dead_lettered }, "{class}");
        for (effect, status) in [(Effect::Pure, pure), (Effect::AtMostOnce, careful)] {
            let mut given = Given::running(effect, "");
            given.fail(class);
            assert_eq!(given.status(), status, "{effect:?} {class}");
            assert_eq!(given.step("a").charged, u32::from(charged), "{effect:?} {class}");
        }
    }
}

#[test]
fn what_may_have_taken_effect_all_the_same() {
    use ErrorClass::{Lost, Timeout, Transient, UnknownOutcome};
    for class in CLASSES {
        let silent = matches!(class, Lost | Timeout | UnknownOutcome);
        for (effect, ambiguous) in [
            (Effect::Pure, false),
            (Effect::Idempotent, silent || class == Transient),
            (Effect::Probe, silent),
            (Effect::AtMostOnce, silent),
        ] {
            assert_eq!(is_ambiguous(effect, class), ambiguous, "{effect:?} {class}");
        }
    }
}

#[test]
fn the_wait_doubles_up_to_its_maximum() {
    let policy = RetryPolicy { jitter: 0.0, max_ms: 1_000, ..RetryPolicy::default() };
    let waits: Vec<u64> = (0..=6).map(|failures| backoff_ms(&policy, failures, 7)).collect();
    assert_eq!(waits, [200, 200, 400, 800, 1_000, 1_000, 1_000]);
    let jittery = RetryPolicy { jitter: 1.0, ..policy };
    assert_eq!(backoff_ms(&jittery, 4, 0), 1_000);
    assert_eq!(shortest_backoff_ms(&jittery, 4), 1);
}

#[test]
fn a_policy_without_waits_stays_one_after_any_number_of_failures() {
    let policy = RetryPolicy { initial_ms: 0, multiplier: 1000.0, ..RetryPolicy::default() };
    for failures in [0, 1, 2, 103, 1_025, u32::MAX] {
        assert_eq!(backoff_ms(&policy, failures, 1), 0, "after {failures}");
    }
}

fn policies() -> impl Strategy<Value = RetryPolicy> {
    let day = 86_400_000u64;
    (1u32..=1000, 0..=day, 1.0..=1000.0f64, 0..=day, 0.0..=1.0f64).prop_map(
        |(max_attempts, one, multiplier, other, jitter)| RetryPolicy {
            max_attempts,
            initial_ms: one.min(other),
            multiplier,
            max_ms: one.max(other),
            jitter,
            max_elapsed_ms: 0,
        },
    )
}

proptest! {
    #![proptest_config(super::arbitrary::config(200))]

    #[test]
    fn c1_every_wait_lies_within_its_policy(policy in policies(), failures: u32, seed: u64) {
        let wait = backoff_ms(&policy, failures, seed);
        let longest = backoff_ms(&policy, failures, 0);
        prop_assert!(shortest_backoff_ms(&policy, failures) <= wait && wait <= longest);
        prop_assert!(longest <= policy.max_ms);
        prop_assert!(failures == u32::MAX || longest <= backoff_ms(&policy, failures + 1, 0));
    }

    #[test]
    fn c1_attempts_keep_to_their_policy(
        max_attempts in 1u32..8,
        initial_ms in 1u64..5_000,
        more_ms in 0u64..5_000,
        jitter in 0.0..=1.0f64,
    ) {
        let max_ms = initial_ms + more_ms;
        let retry = format!(
            r#","retry":{{"max_attempts":{max_attempts},"initial_ms":{initial_ms},"max_ms":{max_ms},"jitter":{jitter}}}"#
        );
        let mut given = Given::running(Effect::Pure, &retry);
        while given.fail(ErrorClass::Transient) == ["step_failed", "step_retry_scheduled"] {
            let step = given.step("a");
            let wait = step.due_at.unwrap().ms_since(given.now);
            let policy = step.spec.retry;
            prop_assert!(shortest_backoff_ms(&policy, step.charged) <= wait && wait <= max_ms);
            given.wait_for_due();
        }
        prop_assert_eq!(given.status(), StepStatus::DeadLettered);
        prop_assert_eq!(given.step("a").attempt, max_attempts);
        prop_assert_eq!(given.step("a").charged, max_attempts);
    }
}

#[test]
fn f2_retry_after_wins_if_it_is_longer_and_costs_nothing() {
    for (asked_ms, expected) in [(5_000, 5_000), (1, 200), (u64::MAX, 0)] {
        let more = r#","retry":{"jitter":0,"max_attempts":1}"#;
        let mut given = Given::running(Effect::AtMostOnce, more);
        let mut error = StepError::new(ErrorClass::RateLimited, "http_429", "slow down");
        error.retry_after_ms = Some(asked_ms);
        let (attempt, lease) = (1, Some(given.lease()));
        let failed = StepEvent::Failed { attempt, lease, error, usage: None };
        let kinds = given.settle_with(vec![step("a", failed)]);
        if asked_ms == u64::MAX {
            assert_eq!(kinds, ["step_failed", "step_dead_lettered"], "beyond the deadline");
            continue;
        }
        assert_eq!(kinds, ["step_failed", "step_deferred"]);
        assert_eq!(given.step("a").due_at, Some(given.now.plus_ms(expected)));
        assert_eq!(given.step("a").charged, 0);
    }
}

#[test]
fn c21_free_attempts_end_at_the_deadline() {
    let more = r#","deadline_ms":60000,"retry":{"max_attempts":1,"max_ms":7000}"#;
    let mut given = Given::running(Effect::AtMostOnce, more);
    let begin = given.now;
    for _ in 0..1_000 {
        let (attempt, lease) = (given.step("a").attempt, given.lease());
        let never_sent = released("a", attempt, lease, Some(ErrorClass::Transient));
        if given.settle_with(vec![never_sent]) != ["step_released", "step_deferred"] {
            break;
        }
        given.wait_for_due();
    }
    assert_eq!(given.status(), StepStatus::DeadLettered);
    assert!(given.now.ms_since(begin) < 60_000);
    assert_eq!(given.step("a").charged, 0);
}

#[test]
fn c21_a_step_that_waits_beyond_its_deadline_ends_there() {
    let more = r#","deadline_ms":1000,"retry":{"initial_ms":900,"max_ms":900,"jitter":0}"#;
    for (policy, kinds) in [("dead_letter", "step_dead_lettered"), ("fail", "run_failed")] {
        let more = format!(r#"{more},"on_exhausted":"{policy}""#);
        let mut given = Given::running(Effect::Pure, &more);
        given.fail(ErrorClass::Transient);
        assert_eq!(given.run().next_due(), Some(given.now.plus_ms(900)));
        assert_eq!(given.clone().after(1_000).settle(), [kinds], "{policy}: nobody was there");
        assert_eq!(given.after(900).settle(), ["step_started"]);
        assert_eq!(given.fail(ErrorClass::Transient), ["step_failed", kinds], "{policy}: no room");
    }
}

#[test]
fn c21_a_step_that_is_not_started_in_time_ends_and_a_started_one_does_not() {
    let mut given = Given::one(Effect::Pure, r#","schedule_to_start_ms":500"#);
    let mut none = crate::Slots::new(0, crate::Bounds::NONE, Default::default());
    let decided = crate::decide(given.run(), &given.owner(), &mut none);
    given.decide(decided.bodies[0].clone());
    assert!(!crate::decide(given.run(), &given.owner(), &mut none).starved.is_empty());
    assert_eq!(given.run().next_due(), Some(given.now.plus_ms(500)));
    let mut started = given.clone();
    assert_eq!(given.after(500).settle(), ["step_dead_lettered"]);
    assert_eq!(given.step("a").error.as_ref().unwrap().code, "schedule_to_start");
    assert_eq!(started.after(499).settle(), ["step_started"]);
    started.fail(ErrorClass::RateLimited);
    assert_eq!(started.after(10_000).settle(), ["step_started"]);
}

#[test]
fn no_attempt_begins_after_the_longest_time_of_the_policy() {
    let more = r#","retry":{"initial_ms":400,"max_ms":400,"jitter":0,"max_attempts":9,"max_elapsed_ms":1000}"#;
    let mut given = Given::running(Effect::Pure, more);
    assert_eq!(given.fail(ErrorClass::Transient), ["step_failed", "step_retry_scheduled"]);
    given.wait_for_due();
    assert_eq!(given.fail(ErrorClass::Transient), ["step_failed", "step_retry_scheduled"]);
    given.wait_for_due();
    assert_eq!(given.fail(ErrorClass::Transient), ["step_failed", "step_dead_lettered"], "1200 ms");
}

#[test]
fn a_redrive_gives_deadline_and_longest_time_anew() {
    let more = r#","deadline_ms":1000,"retry":{"max_elapsed_ms":1000,"max_attempts":2,"jitter":0}"#;
    let mut given = Given::running(Effect::Pure, more);
    given.fail(ErrorClass::Terminal);
    given.after(1_000_000);
    given.redrive(false);
    assert_eq!(given.settle(), ["step_started"]);
    assert_eq!(given.fail(ErrorClass::Transient), ["step_failed", "step_retry_scheduled"]);
}

/// The share of 10-step runs that end well when each attempt does so with this chance.
fn chain_success(attempts: u32, per_mille: u64) -> f64 {
    let runs = 2_000u64;
    let mut dice = 0x9e37_79b9_7f4a_7c15_u64;
    let mut roll = move || {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (dice >> 33) % 1000 < per_mille
    };
    let step = format!(r#","retry":{{"max_attempts":{attempts}}}"#);
    let begun = Given::running(Effect::Pure, &step);
    let mut one_step = || {
        let mut given = begun.clone();
        loop {
            if roll() {
                return true;
            }
            given.fail(ErrorClass::Transient);
            if given.status() == StepStatus::DeadLettered {
                return false;
            }
            given.wait_for_due();
        }
    };
    let ended_well = (0..runs).filter(|_| (0..10).all(|_| one_step())).count();
    ended_well as f64 / runs as f64
}

#[test]
fn f20_bounded_retries_keep_chains_from_compounding() {
    for (attempts, per_mille, share) in
        [(1, 850, 0.197), (3, 850, 0.967), (4, 850, 0.995), (1, 920, 0.434), (1, 990, 0.904)]
    {
        let measured = chain_success(attempts, per_mille);
        assert!((measured - share).abs() < 0.035, "{attempts} × {per_mille}: {measured}");
    }
}
