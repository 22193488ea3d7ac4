//! Steps that wait in a queue: granted to a worker that asks, held by its lease, judged like an agent's.

use super::{
    bodies::{APPLIED, completed, failed, heartbeat, leased, released, started, step},
    given::{Given, LEASE_MS},
};
use crate::{Hold, Holder, Reason, StepStatus, Verdict, WaitKind, decide, wake_at, why};
use spine_schemas::{Effect, ErrorClass, HeldBy, StepEvent, TaskVerdict};

/// A run of one step `a` in the queue `q`, decided for while nobody asks.
fn queued(effect: Effect, more: &str) -> Given {
    let effect = effect.as_str();
    let mut given =
        Given::plan(&format!(r#"[{{"name":"a","tool":"queue:q","effect":"{effect}"{more}}}]"#));
    assert_eq!(given.settle()[0], "step_scheduled");
    given
}

/// The same whose first attempt a worker holds.
fn held(effect: Effect, more: &str) -> Given {
    let mut given = queued(effect, more);
    assert_eq!(ask(&mut given), ["step_started"]);
    given
}

/// A worker asks for one step.
fn ask(given: &mut Given) -> Vec<&'static str> {
    given.polled = 1;
    given.settle_asked()
}

fn wait_for(given: &Given) -> WaitKind {
    given.run().waits()[0].wait_for
}

#[test]
fn nothing_is_granted_that_nobody_asked_for_and_one_poll_grants_one_step() {
    let mut given = queued(Effect::Pure, r#","after":[]},{"name":"b","tool":"queue:q","after":[]"#);
    assert_eq!((given.status(), wait_for(&given)), (StepStatus::Scheduled, WaitKind::Worker));
    assert_eq!(given.ahead(Vec::new()).queued, [("q".to_owned(), 2)].into());
    assert_eq!(given.after(3_600_000).settle(), Vec::<&str>::new(), "time alone grants nothing");
    assert_eq!(given.run().public_status(), "running");
    let sentence = why(given.run()).sentence;
    assert!(sentence.contains("queue q") && sentence.contains("/v1/queues/q/lease"), "{sentence}");
    assert_eq!(ask(&mut given), ["step_started"]);
    assert_eq!(given.ahead(Vec::new()).queued, [("q".to_owned(), 1)].into());
    let live = given.step("a").live.clone().unwrap();
    assert_eq!((live.holder, live.lease_ms), (Holder::Worker("w".into()), LEASE_MS));
    assert!(why(given.run()).sentence.contains("worker w"));
}

#[test]
fn only_a_worker_gets_a_queued_step_and_no_other() {
    let lost_race = Verdict::Stale(Reason::LostRace, None);
    let mut given = queued(Effect::Pure, "");
    assert_eq!(given.decide(started("a", 1)), lost_race);
    let mut called = Given::one(Effect::Pure, r#","after":[]},{"name":"b","tool":"t""#);
    called
        .holds
        .tools
        .insert("t".into(), Hold { by: HeldBy::ToolPaused, until: called.now, starts: 0 });
    called.settle();
    assert_eq!(called.decide(leased("a", 1, 1_000)), lost_race);
}

#[test]
fn f24_a_lease_that_ends_loses_the_attempt_and_the_effect_class_decides() {
    for (effect, after) in [
        (Effect::Pure, StepStatus::Scheduled),
        (Effect::Idempotent, StepStatus::Scheduled),
        (Effect::Probe, StepStatus::Unknown),
        (Effect::AtMostOnce, StepStatus::Unknown),
    ] {
        let mut given = held(effect, "");
        assert_eq!(wake_at(given.run(), &given.owner()), Some(given.now.plus_ms(LEASE_MS)));
        assert_eq!(given.after(LEASE_MS - 1).settle(), Vec::<&str>::new(), "{effect:?}");
        assert_eq!(given.after(1).settle(), ["step_lost"], "{effect:?}");
        assert_eq!(given.status(), after, "{effect:?}");
        assert_eq!(given.step("a").charged, 0);
    }
}

#[test]
fn l22_a_long_job_with_heartbeats_is_one_attempt() {
    let mut given = held(Effect::AtMostOnce, "");
    let lease = given.lease();
    for _ in 0..50 {
        given.after(LEASE_MS - 1);
        assert_eq!(given.append(heartbeat("a", 1, lease)), APPLIED);
        assert_eq!(given.settle(), Vec::<&str>::new());
    }
    assert_eq!(
        given.settle_with(vec![completed("a", 1, lease)]),
        ["step_completed", "run_completed"]
    );
    assert_eq!(given.step("a").attempt, 1);
}

#[test]
fn heartbeats_do_not_carry_an_attempt_beyond_the_time_of_its_step() {
    for (effect, after) in
        [(Effect::Idempotent, StepStatus::RetryWaiting), (Effect::AtMostOnce, StepStatus::Unknown)]
    {
        let mut given = held(effect, r#","timeout_ms":12000"#);
        let lease = given.lease();
        for _ in 0..3 {
            given.after(3_900);
            assert_eq!(given.append(heartbeat("a", 1, lease)), APPLIED);
        }
        assert_eq!(wake_at(given.run(), &given.owner()), Some(given.now.plus_ms(300)));
        assert_eq!(given.step("a").lease_until(), Some(given.now.plus_ms(300)));
        assert_eq!(given.settle(), Vec::<&str>::new());
        given.after(300);
        assert_eq!(given.settle()[0], "step_failed", "{effect:?}");
        assert_eq!((given.status(), given.step("a").charged), (after, 1));
        assert_eq!(given.append(completed("a", 1, lease)), APPLIED, "late, and it counts");
        assert_eq!(given.status(), StepStatus::Completed);
    }
}

#[test]
fn a_lease_counts_again_from_the_claim_of_another_owner() {
    let mut given = held(Effect::Idempotent, "");
    given.exclusive = true;
    given.after(LEASE_MS - 1);
    given.claim();
    given.own_claims.clear();
    assert_eq!(given.after(LEASE_MS - 1).settle(), Vec::<&str>::new(), "the worker lives on");
    assert_eq!(given.after(1).settle(), ["step_lost"]);
    assert_eq!(ask(&mut given), ["step_started"]);
    assert_eq!(given.step("a").attempt, 2);
}

#[test]
fn outcomes_of_workers_are_matched_by_attempt_and_lease() {
    let mut given = held(Effect::AtMostOnce, "");
    let lease = given.lease();
    given.after(LEASE_MS).settle();
    assert_eq!(given.status(), StepStatus::Unknown);
    let heard = given.append(heartbeat("a", 1, lease));
    assert_eq!(heard.reason(), Some(Reason::StepState), "it is told that it was given up");
    assert_eq!(given.append(completed("a", 1, lease)), APPLIED, "a late success settles it");
    assert_eq!(given.append(completed("a", 1, lease)).reason(), Some(Reason::Duplicate));
    assert_eq!(given.append(completed("a", 1, lease + 1)).reason(), Some(Reason::WrongLease));
}

#[test]
fn a_worker_that_says_transient_settles_nothing_of_a_careful_step() {
    for (effect, class, after) in [
        (Effect::AtMostOnce, ErrorClass::Transient, StepStatus::Unknown),
        (Effect::Probe, ErrorClass::Timeout, StepStatus::Unknown),
        (Effect::AtMostOnce, ErrorClass::RateLimited, StepStatus::Deferred),
        (Effect::AtMostOnce, ErrorClass::Terminal, StepStatus::DeadLettered),
        (Effect::Idempotent, ErrorClass::Transient, StepStatus::RetryWaiting),
        (Effect::Pure, ErrorClass::Transient, StepStatus::RetryWaiting),
    ] {
        let mut given = held(effect, "");
        let lease = given.lease();
        given.settle_with(vec![failed("a", 1, lease, class)]);
        assert_eq!(given.status(), after, "{effect:?} {class:?}");
    }
}

#[test]
fn a_retry_is_granted_when_it_is_due_and_somebody_asks() {
    let mut given = held(Effect::Idempotent, "");
    let lease = given.lease();
    given.settle_with(vec![failed("a", 1, lease, ErrorClass::Transient)]);
    assert_eq!(ask(&mut given), Vec::<&str>::new(), "it is not due");
    assert_eq!(given.ahead(Vec::new()).queued, [].into(), "so nobody need ask");
    given.wait_for_due();
    assert_eq!(given.ahead(Vec::new()).queued, [("q".to_owned(), 1)].into());
    assert_eq!(ask(&mut given), ["step_started"]);
    assert_eq!(given.step("a").attempt, 2);
}

#[test]
fn c3_the_budget_of_retries_is_not_that_of_workers() {
    let mut given = held(Effect::Idempotent, "");
    let lease = given.lease();
    given.settle_with(vec![failed("a", 1, lease, ErrorClass::Transient)]);
    given.wait_for_due();
    given.polled = 1;
    let mut none = given.slots().with(0, Default::default());
    assert_eq!(decide(given.run(), &given.owner(), &mut none).bodies.len(), 1);
    let rest = none.rest();
    assert_eq!((rest.leased.len(), rest.granted, rest.short_of_retries), (1, 0, false));
}

#[test]
fn what_was_never_told_is_given_back_and_granted_again() {
    let mut given = held(Effect::AtMostOnce, "");
    let lease = given.lease();
    assert_eq!(given.settle_with(vec![released("a", 1, lease, None)]), ["step_released"]);
    assert_eq!((given.status(), given.step("a").charged), (StepStatus::Scheduled, 0));
    assert_eq!(ask(&mut given), ["step_started"]);
}

#[test]
fn l37_pauses_hold_queued_steps_back_and_their_end_is_told() {
    let mut given = queued(Effect::Pure, "");
    let by = |by| Hold { by, until: Given::nothing().now, starts: 0 };
    given.holds.tools.insert("queue:q".into(), by(HeldBy::ToolPaused));
    assert_eq!(ask(&mut given), ["step_deferred"]);
    assert_eq!(wait_for(&given), WaitKind::ToolPaused);
    assert_eq!(ask(&mut given), Vec::<&str>::new());
    given.holds.tools.clear();
    assert_eq!(given.settle(), ["step_deferred"], "it waits for a worker again, and says so once");
    assert_eq!((wait_for(&given), given.settle()), (WaitKind::Worker, vec![]));
    assert!(why(given.run()).sentence.contains("no worker has asked"));
    given.append(step("a", StepEvent::Paused { reason: "x".into() }));
    assert_eq!((ask(&mut given), wait_for(&given)), (vec![], WaitKind::Paused));
    given.append(step("a", StepEvent::Resumed { reason: "x".into() }));
    assert_eq!(ask(&mut given), ["step_started"]);
}

#[test]
fn l37_a_start_behind_a_pause_in_the_log_is_stale() {
    let mut given = queued(Effect::Pure, "");
    given.append(step("a", StepEvent::Paused { reason: "x".into() }));
    let verdict = given.decide(leased("a", 1, 1_000));
    assert_eq!(verdict, Verdict::Stale(Reason::LostRace, None));
}

#[test]
fn an_approval_comes_before_the_queue() {
    let mut given = Given::plan(
        r#"[{"name":"a","tool":"queue:q","effect":"at_most_once","approval":{"expires_ms":60000}}]"#,
    );
    assert_eq!(ask(&mut given), ["step_scheduled", "approval_requested"]);
    assert_eq!(wait_for(&given), WaitKind::Approval);
    assert_eq!(given.decide(leased("a", 1, 1_000)), Verdict::Stale(Reason::LostRace, None));
    let task_id = given.step("a").task.as_ref().unwrap().task_id;
    let (verdict, reason) = (TaskVerdict::Approve, "x".into());
    let approved = StepEvent::TaskDecided { task_id, verdict, output: None, reason };
    assert_eq!(given.append(step("a", approved)), APPLIED);
    assert_eq!(ask(&mut given), ["step_started"]);
}

#[test]
fn deadlines_end_the_wait_for_a_worker() {
    let mut given = queued(Effect::Pure, r#","schedule_to_start_ms":5000"#);
    assert_eq!(wake_at(given.run(), &given.owner()), Some(given.now.plus_ms(5_000)));
    given.after(5_000);
    assert_eq!(ask(&mut given), ["step_dead_lettered"]);
}
