//! Journal runs: what `begin` answers in every state, and who may go on with what.

use super::{
    bodies::{
        APPLIED, begin, completed, decision, denied, failed, heartbeat, held_begin, refused, run,
        spec, step,
    },
    given::Given,
};
use crate::{Answer, Reason, RunStatus, StepStatus, Verdict, WaitKind, stall_at};
use spine_schemas::{
    Effect, ErrorClass, HeldBy, OnExhausted, RunEvent, StepError, StepEvent, StepSpec, StepStarted,
    Then,
};
use std::sync::Arc;

/// A journal run with a step `a` whose first attempt is held by session `S`.
pub(super) fn begun(effect: Effect) -> Given {
    let mut given = Given::journal();
    let verdict = given.op("S", 1, begin("a", effect));
    assert!(matches!(verdict, Verdict::Applied(Answer::Execute { attempt: 1, .. })));
    given
}

fn fail(given: &mut Given, class: ErrorClass) {
    let (attempt, lease) = (given.step("a").attempt, given.lease());
    assert_eq!(given.op("S", 50 + u64::from(attempt), failed("a", attempt, lease, class)), APPLIED);
}

/// What an agent is told that begins step `a` now.
fn answer(given: &Given) -> Answer {
    let mut given = given.clone();
    let verdict = given.op("other", 1, begin("a", Effect::Pure));
    verdict.answer().cloned().unwrap()
}

#[test]
fn begin_assigns_the_attempt_and_the_lease_at_its_own_place() {
    let mut given = Given::journal();
    let spec = Some(spec(Effect::Pure, "1"));
    let start = StepStarted { spec, lease_ms: Some(5_000), ..StepStarted::default() };
    let verdict = given.op("S", 1, step("a", StepEvent::Started(start)));
    let lease_until = given.now.plus_ms(5_000);
    let lease = given.offset;
    let answer = Answer::Execute { attempt: 1, lease, lease_until, edit: 0 };
    assert_eq!(verdict, Verdict::Applied(answer));
    assert_eq!(given.run().next_due(), Some(lease_until));
}

#[test]
fn a_lease_has_a_limit() {
    let mut given = Given::journal();
    let spec = Some(spec(Effect::Pure, "1"));
    let start = StepStarted { spec, lease_ms: Some(u64::MAX), ..StepStarted::default() };
    given.op("S", 1, step("a", StepEvent::Started(start)));
    assert_eq!(given.step("a").lease_until(), Some(given.now.plus_ms(24 * 3_600_000)));
}

#[test]
fn begin_has_an_answer_for_every_state() {
    let mut given = begun(Effect::Pure);
    let until = given.step("a").lease_until();
    let wait = |wait_for, until| Answer::Wait { wait_for, until };
    assert_eq!(answer(&given), wait(WaitKind::Attempt, until), "running");
    fail(&mut given, ErrorClass::Transient);
    assert_eq!(answer(&given), wait(WaitKind::Owner, None), "failed");
    given.settle();
    let due = given.step("a").due_at;
    assert_eq!(answer(&given), wait(WaitKind::Retry, due), "retry_waiting");
    given.now = due.unwrap();
    assert!(matches!(answer(&given), Answer::Execute { attempt: 2, .. }), "due");
    given.op("S", 2, begin("a", Effect::Pure));
    fail(&mut given, ErrorClass::RateLimited);
    given.settle();
    let due = given.step("a").due_at;
    assert_eq!(answer(&given), wait(WaitKind::Deferral, due), "deferred");
    given.now = due.unwrap();
    given.op("S", 3, begin("a", Effect::Pure));
    let mut done = given.clone();
    let lease = done.lease();
    done.op("S", 4, completed("a", 3, lease));
    assert_eq!(answer(&done), Answer::Replay, "completed");
    fail(&mut given, ErrorClass::Terminal);
    given.settle();
    let letter_id = given.letter("a");
    assert_eq!(answer(&given), Answer::DeadLettered { letter_id }, "dead_lettered");
    let mut skipped = given.clone();
    skipped.discard(Then::Skip);
    assert_eq!(answer(&skipped), Answer::Replay, "skipped");
    let mut given_up = given.clone();
    given_up.discard(Then::Fail);
    assert_eq!(answer(&given_up), denied(Reason::GivenUp), "given up");
    given.redrive(false);
    assert!(matches!(answer(&given), Answer::Execute { attempt: 4, .. }), "scheduled");
    let mut unknown = begun(Effect::AtMostOnce);
    fail(&mut unknown, ErrorClass::Timeout);
    assert_eq!(answer(&unknown), Answer::Unknown { attempt: 1 }, "unknown");
    let mut cancelled = begun(Effect::Pure);
    fail(&mut cancelled, ErrorClass::Cancelled);
    assert_eq!(cancelled.settle(), ["step_cancelled"]);
    assert_eq!(answer(&cancelled), denied(Reason::StepState), "cancelled");
}

/// What an agent is told whose door knows of a pause.
fn held_answer(given: &mut Given, name: &str, by: HeldBy) -> Verdict {
    let op_id = given.offset;
    given.op("H", op_id, held_begin(name, Effect::Pure, by))
}

#[test]
fn l37_a_begin_that_its_door_holds_back_begins_nothing_and_is_answered_from_what_is_there() {
    for (by, wait_for) in
        [(HeldBy::ToolPaused, WaitKind::ToolPaused), (HeldBy::TenantPaused, WaitKind::TenantPaused)]
    {
        let mut given = begun(Effect::Pure);
        let held = Verdict::Refused(Reason::StepState, Answer::Wait { wait_for, until: None });
        assert_eq!(held_answer(&mut given, "b", by), held);
        assert_eq!((given.run().steps.len(), given.run().totals.attempts), (1, 1));
        let until = given.step("a").lease_until();
        let runs = Answer::Wait { wait_for: WaitKind::Attempt, until };
        assert_eq!(held_answer(&mut given, "a", by).answer(), Some(&runs), "it runs already");
        let mut done = given.clone();
        let lease = done.lease();
        assert_eq!(done.op("S", 2, completed("a", 1, lease)), APPLIED);
        assert_eq!(held_answer(&mut done, "a", by).answer(), Some(&Answer::Replay));
        fail(&mut given, ErrorClass::Transient);
        given.settle();
        given.now = given.step("a").due_at.unwrap();
        assert_eq!(held_answer(&mut given, "a", by), held, "it is due");
        assert_eq!(given.step("a").attempt, 1);
        assert!(matches!(answer(&given), Answer::Execute { attempt: 2, .. }), "once nothing does");
        assert_eq!(given.append(run(RunEvent::Paused { reason: "so".into() })), APPLIED);
        let paused = Answer::Wait { wait_for: WaitKind::Paused, until: None };
        assert_eq!(held_answer(&mut given, "a", by).answer(), Some(&paused), "by its run, too");
    }
}

#[test]
fn an_agent_that_asks_while_its_tool_is_paused_is_not_silent_and_one_that_has_gone_is() {
    let mut given = Given::journal();
    given.stall_after_ms = 900_000;
    held_answer(given.after(600_000), "a", HeldBy::ToolPaused);
    let at = given.run().sessions["H"].last_at.plus_ms(900_000);
    assert_eq!(stall_at(given.run(), &given.owner()), Some(at));
    assert_eq!(given.after(899_999).settle(), [""; 0]);
    assert_eq!(given.after(1).settle(), ["run_stalled"]);
}

#[test]
fn begin_with_another_input_is_a_conflict_with_both_digests() {
    let mut given = begun(Effect::Pure);
    let other = spec(Effect::Pure, "2");
    let (stored, sent) = (given.step("a").spec.input.digest, other.input.digest);
    let start = StepStarted { spec: Some(other), ..StepStarted::default() };
    let verdict = given.op("S", 2, step("a", StepEvent::Started(start)));
    assert_eq!(verdict.answer(), Some(&Answer::Conflict { stored, given: sent }));
}

#[test]
fn the_agent_keeps_sending_its_own_input_after_an_operators_edit() {
    let mut given = begun(Effect::Pure);
    fail(&mut given, ErrorClass::Terminal);
    given.settle();
    super::operators::edit(&mut given, "2");
    assert!(matches!(answer(&given), Answer::Execute { attempt: 2, edit: 1, .. }));
}

#[test]
fn begin_in_an_ended_or_absent_run_is_denied() {
    let mut given = begun(Effect::Pure);
    let lease = given.lease();
    given.op("S", 2, completed("a", 1, lease));
    assert_eq!(given.op("S", 3, run(RunEvent::Completed { output: None })), APPLIED);
    assert_eq!(answer(&given), Answer::Replay);
    let new = given.op("S", 4, begin("b", Effect::Pure));
    assert_eq!(new, refused(Reason::RunEnded));
    let mut nothing = Given::nothing();
    assert_eq!(nothing.op("S", 1, begin("a", Effect::Pure)), refused(Reason::RunAbsent));
}

#[test]
fn f12_a_silent_agent_loses_its_lease_and_leaves_the_run_waiting_for_a_client() {
    let mut given = begun(Effect::Pure);
    given.after(20_000);
    let lease = given.lease();
    assert_eq!(given.op("S", 2, heartbeat("a", 1, lease)), APPLIED);
    assert_eq!(given.after(29_999).settle(), [""; 0]);
    assert_eq!(given.after(1).settle(), ["step_lost"]);
    assert_eq!(given.status(), StepStatus::Scheduled);
    assert_eq!(given.run().waits()[0].wait_for, WaitKind::Client);
    assert!(matches!(answer(&given), Answer::Execute { attempt: 2, .. }));
}

#[test]
fn leases_count_again_from_the_claim_of_a_new_owner() {
    let mut given = begun(Effect::Pure);
    given.after(3_600_000);
    given.claim();
    assert_eq!(given.settle(), [""; 0], "nobody could take its heartbeats");
    assert_eq!(given.after(30_000).settle(), ["step_lost"]);
}

#[test]
fn an_agents_transient_says_nothing_about_a_careful_effect() {
    for (effect, kinds, status) in [
        (Effect::AtMostOnce, vec![], StepStatus::Unknown),
        (Effect::Probe, vec![], StepStatus::Unknown),
        (Effect::Idempotent, vec!["step_retry_scheduled"], StepStatus::RetryWaiting),
        (Effect::Pure, vec!["step_retry_scheduled"], StepStatus::RetryWaiting),
    ] {
        let mut given = begun(effect);
        fail(&mut given, ErrorClass::Transient);
        assert_eq!(given.settle(), kinds, "{effect:?}");
        assert_eq!(given.status(), status, "{effect:?}");
    }
}

#[test]
fn an_agent_may_not_complete_a_run_with_something_in_the_open() {
    let done = || run(RunEvent::Completed { output: None });
    let mut given = begun(Effect::AtMostOnce);
    assert_eq!(given.op("S", 2, done()), refused(Reason::StepState), "running");
    fail(&mut given, ErrorClass::Timeout);
    assert_eq!(given.op("S", 3, done()), refused(Reason::StepState), "unknown");
    given.resolve(true);
    assert_eq!(given.op("S", 4, done()), APPLIED);
    assert_eq!(given.run().status, RunStatus::Completed);
}

#[test]
fn a_run_that_fails_with_an_unknown_step_keeps_the_question() {
    let mut given = begun(Effect::AtMostOnce);
    fail(&mut given, ErrorClass::Timeout);
    let error = StepError::new(ErrorClass::Terminal, "given_up", "no more");
    let step = Some(given.step("a").key.clone());
    assert_eq!(given.op("S", 2, run(RunEvent::Failed { error, step })), APPLIED);
    assert_eq!(given.status(), StepStatus::Unknown);
}

#[test]
fn cancelling_a_run_ends_what_runs_in_it() {
    for (effect, status) in
        [(Effect::Pure, StepStatus::Cancelled), (Effect::AtMostOnce, StepStatus::Unknown)]
    {
        let mut given = begun(effect);
        let lease = given.lease();
        let cancel = run(RunEvent::Cancelled { reason: "enough".into() });
        assert_eq!(given.op("S", 2, cancel), APPLIED);
        assert_eq!(given.status(), status);
        assert_eq!(given.step("a").live, None);
        assert_eq!(given.op("S", 3, heartbeat("a", 1, lease)), refused(Reason::RunEnded));
        assert_eq!(given.op("S", 4, completed("a", 1, lease)), refused(Reason::RunEnded));
    }
}

#[test]
fn decisions_are_counted_once_each() {
    let mut given = Given::journal();
    let event = given.event(decision());
    assert_eq!(given.fold(event.clone()), APPLIED);
    assert_eq!(given.fold(event).reason(), Some(Reason::Duplicate));
    let other = given.event(decision());
    assert_eq!(given.fold(other), APPLIED);
    assert_eq!(given.run().decisions, 2);
}

#[test]
fn exhaustion_in_a_journal_is_a_letter_whatever_the_policy() {
    for on_exhausted in [OnExhausted::DeadLetter, OnExhausted::Fail] {
        let mut given = Given::journal();
        let spec = StepSpec { on_exhausted, ..StepSpec::clone(&spec(Effect::Pure, "1")) };
        let start = StepStarted { spec: Some(Arc::new(spec)), ..StepStarted::default() };
        given.op("S", 1, step("a", StepEvent::Started(start)));
        fail(&mut given, ErrorClass::Terminal);
        assert_eq!(
            given.settle(),
            ["step_dead_lettered"],
            "{on_exhausted:?}: the agent ends the run"
        );
    }
}
