//! What people do: redrive, edit, discard, resolve; and what is refused to them.

use super::{
    bodies::{APPLIED, refused, resolved, step},
    given::Given,
};
use crate::{Answer, AttemptEnd, Reason, RunStatus, StepStatus, Verdict};
use spine_schemas::{
    Digest, Effect, ErrorClass, InputEdit, Payload, StepEvent, StepKey, Then, keys,
};

/// A step `a` with a letter, after one attempt that failed so.
pub(super) fn dead(effect: Effect, class: ErrorClass) -> Given {
    let mut given = Given::running(effect, r#","retry":{"max_attempts":1}"#);
    given.fail(class);
    assert_eq!(given.status(), StepStatus::DeadLettered, "{effect:?} {class:?}");
    given
}

/// Redrives step `a` by force, with another input.
pub(super) fn edit(given: &mut Given, text: &'static str) -> Verdict {
    let before = given.step("a").spec.input.digest;
    edit_from(given, before, text)
}

fn edit_from(given: &mut Given, before: Digest, text: &'static str) -> Verdict {
    let after = Payload::json("input", text).unwrap();
    let (letter_id, reason) = (given.letter("a"), "repair".into());
    let edit = Some(InputEdit { before, after });
    given.append(step("a", StepEvent::Redriven { letter_id, reason, force: true, edit }))
}

#[test]
fn c10_a_redrive_keeps_identity_and_history_and_gives_a_full_budget_once() {
    let mut given = dead(Effect::Pure, ErrorClass::Transient);
    let first = given.letter("a");
    assert_eq!(given.redrive(false), APPLIED);
    assert_eq!(given.settle(), ["step_started"]);
    let now = given.step("a").clone();
    assert_eq!((now.attempt, now.generation, now.charged, now.edit), (2, 1, 0, 0));
    assert_eq!(now.attempts.len(), 2);
    let again = super::bodies::redriven("a", first, true);
    assert_eq!(given.append(again.clone()), refused(Reason::LetterClosed));
    given.fail(ErrorClass::Transient);
    assert_ne!(given.letter("a"), first, "another generation, another letter");
    assert_eq!(given.append(again), refused(Reason::LetterClosed));
    assert_eq!(given.redrive(false), APPLIED);
}

#[test]
fn c5_f14_one_key_for_all_attempts_owners_and_redrives_and_a_new_one_after_an_edit() {
    let mut given = dead(Effect::Pure, ErrorClass::Timeout);
    let key = |given: &Given| {
        let step = given.step("a");
        keys::idempotency_key("i", &given.run().key, &step.key, step.edit)
    };
    let first = key(&given);
    given.redrive(false);
    given.settle();
    given.lose_owner();
    assert_eq!((key(&given), given.step("a").attempt), (first, 3));
    given.fail(ErrorClass::Terminal);
    edit(&mut given, "2");
    assert_ne!(key(&given), first);
    let twin = StepKey { occurrence: 2, ..StepKey::named("a") };
    let other = keys::idempotency_key("i", &given.run().key, &twin, 0);
    assert_ne!(other, first, "two wanted steps have two keys");
}

#[test]
fn f15_redriving_what_may_hurt_needs_force() {
    let hour = 3_600_000;
    for (effect, class, wait_ms, needs_force) in [
        (Effect::Pure, ErrorClass::Timeout, 48 * hour, false),
        (Effect::Idempotent, ErrorClass::Timeout, 22 * hour, false),
        (Effect::Idempotent, ErrorClass::Timeout, 23 * hour, true),
        (Effect::Idempotent, ErrorClass::Terminal, 48 * hour, false),
        (Effect::Probe, ErrorClass::Terminal, 0, true),
        (Effect::AtMostOnce, ErrorClass::Terminal, 0, true),
    ] {
        let mut given = dead(effect, class);
        given.after(wait_ms);
        let verdict = if needs_force { refused(Reason::NeedsForce) } else { APPLIED };
        assert_eq!(given.clone().redrive(false), verdict, "{effect:?} {class:?} {wait_ms}");
        assert_eq!(given.redrive(true), APPLIED);
        assert_eq!(given.settle(), ["step_started"], "force is an answer: it starts");
    }
}

#[test]
fn f14_an_idempotent_step_is_parked_when_the_remote_may_have_forgotten_its_key() {
    let more =
        r#","key_ttl_ms":1000,"retry":{"initial_ms":900,"max_ms":900,"jitter":0,"max_attempts":9}"#;
    let mut given = Given::running(Effect::Idempotent, more);
    given.fail(ErrorClass::Timeout);
    assert_eq!(given.wait_for_due(), ["step_started"], "900 ms after the first send");
    given.fail(ErrorClass::RateLimited);
    assert_eq!(given.run().next_due(), Some(given.now.plus_ms(100)));
    assert_eq!(given.after(99).settle(), [""; 0]);
    assert_eq!(given.after(1).settle(), ["step_unknown"]);
    let (attempt, lease) = (2, given.step("a").attempts[1].lease);
    let repeat = super::bodies::failed("a", attempt, lease, ErrorClass::RateLimited);
    assert!(matches!(given.append(repeat), Verdict::Stale(..)), "that settles nothing");
    let mut happened = given.clone();
    assert_eq!(happened.resolve(true), APPLIED);
    assert_eq!(happened.settle(), ["run_completed"]);
    assert_eq!(given.resolve(false), APPLIED);
    assert_eq!(given.settle(), ["step_started"], "no effect was found, so the key is of no matter");
}

#[test]
fn an_edit_is_refused_while_an_attempt_is_unresolved() {
    for (effect, class, verdict) in [
        (Effect::Pure, ErrorClass::Timeout, APPLIED),
        (Effect::Idempotent, ErrorClass::Terminal, APPLIED),
        (Effect::Idempotent, ErrorClass::Timeout, refused(Reason::EditUnresolved)),
        (Effect::Idempotent, ErrorClass::Transient, refused(Reason::EditUnresolved)),
        (Effect::AtMostOnce, ErrorClass::Terminal, APPLIED),
    ] {
        let mut given = dead(effect, class);
        assert_eq!(edit(&mut given, "2"), verdict, "{effect:?} {class:?}");
    }
    let mut given = dead(Effect::Idempotent, ErrorClass::Timeout);
    given.redrive(true);
    given.settle();
    given.fail(ErrorClass::Terminal);
    let still = refused(Reason::EditUnresolved);
    assert_eq!(
        edit(&mut given, "2"),
        still,
        "force accepted the first attempt, it did not settle it"
    );
}

#[test]
fn an_edit_names_the_input_that_it_replaces() {
    let mut given = dead(Effect::Pure, ErrorClass::Terminal);
    let (stored, other) = (given.step("a").spec.input.digest, Digest::of_bytes(b"x"));
    let conflict = Answer::Conflict { stored, given: other };
    assert_eq!(edit_from(&mut given, other, "2"), Verdict::Refused(Reason::StepConflict, conflict));
    assert_eq!(edit(&mut given, r#"{"x":2}"#), APPLIED);
    assert_eq!(given.step("a").input_bytes(), r#"{"x":2}"#);
    assert_eq!(given.step("a").edit, 1);
}

#[test]
fn a_discard_says_what_follows() {
    for (then, kinds, status, run) in [
        (Then::Fail, vec!["run_failed"], StepStatus::Failed, RunStatus::Failed),
        (Then::Skip, vec!["run_completed"], StepStatus::Skipped, RunStatus::Degraded),
    ] {
        let mut given = dead(Effect::AtMostOnce, ErrorClass::Terminal);
        assert_eq!(given.discard(then), APPLIED);
        assert_eq!(given.discard(then), refused(Reason::LetterClosed));
        assert_eq!(given.redrive(true), refused(Reason::LetterClosed));
        assert_eq!(given.settle(), kinds, "{then:?}");
        assert_eq!((given.status(), given.run().status), (status, run));
    }
}

#[test]
fn a_skipped_step_lets_its_successors_run_with_null_for_its_output() {
    let steps = r#"[{"name":"a","tool":"t","effect":"pure"},
        {"name":"b","tool":"t","input":{"x":{"$ref":"a#/y"}}}]"#;
    let mut given = Given::plan(steps);
    given.settle();
    given.fail(ErrorClass::Terminal);
    given.discard(Then::Skip);
    assert_eq!(given.settle(), ["step_scheduled", "step_started"]);
    assert_eq!(given.step("b").spec.input.data, r#"{"x":null}"#);
}

#[test]
fn a_letter_of_an_ended_run_can_be_closed_but_not_redriven() {
    let steps =
        r#"[{"name":"a","tool":"t"},{"name":"b","tool":"t","after":[],"on_exhausted":"fail"}]"#;
    let mut given = Given::plan(steps);
    given.settle();
    given.fail(ErrorClass::Terminal);
    let lease = given.step("b").live.as_ref().unwrap().lease;
    let end = super::bodies::failed("b", 1, lease, ErrorClass::Terminal);
    assert_eq!(given.settle_with(vec![end]), ["step_failed", "run_failed"]);
    assert_eq!(given.redrive(true), refused(Reason::RunEnded));
    assert_eq!(given.discard(Then::Skip), APPLIED);
    assert_eq!(given.status(), StepStatus::Failed);
    assert_eq!(given.run().status, RunStatus::Failed);
}

#[test]
fn f13_an_unknown_outcome_waits_until_somebody_finds_out() {
    for (effect, class) in [
        (Effect::AtMostOnce, ErrorClass::UnknownOutcome),
        (Effect::AtMostOnce, ErrorClass::Timeout),
        (Effect::Probe, ErrorClass::UnknownOutcome),
    ] {
        let mut given = Given::running(effect, "");
        assert_eq!(given.fail(class), ["step_failed"]);
        assert_eq!(given.status(), StepStatus::Unknown);
        assert_eq!(given.after(1_000_000_000).settle(), [""; 0], "no clock resolves it");
        assert_eq!(given.run().public_status(), "waiting");
        assert_eq!(given.run().next_due(), None);
    }
}

#[test]
fn a_resolution_names_the_attempt_and_folds_only_from_unknown() {
    let mut given = Given::running(Effect::AtMostOnce, "");
    assert_eq!(given.resolve(true), refused(Reason::StepState));
    given.fail(ErrorClass::Timeout);
    assert_eq!(given.append(resolved("a", 2, true)), refused(Reason::WrongAttempt));
    assert_eq!(given.append(resolved("b", 1, true)), refused(Reason::StepAbsent));
    let mut not = given.clone();
    assert_eq!(given.resolve(true), APPLIED);
    assert_eq!(given.resolve(true), refused(Reason::StepState));
    assert_eq!(given.settle(), ["run_completed"]);
    assert_eq!(given.step("a").output.as_ref().unwrap().source.as_deref(), Some("resolved"));
    assert_eq!(not.resolve(false), APPLIED);
    assert_eq!(not.step("a").attempts[0].end, AttemptEnd::DidNotHappen);
    assert_eq!(not.settle(), ["step_started"]);
}

#[test]
fn c1_what_did_not_happen_was_an_attempt_all_the_same() {
    let mut given = Given::running(Effect::AtMostOnce, r#","retry":{"max_attempts":2}"#);
    given.fail(ErrorClass::Timeout);
    given.resolve(false);
    assert_eq!(given.settle(), ["step_started"]);
    given.fail(ErrorClass::Timeout);
    given.resolve(false);
    assert_eq!(given.settle(), ["step_dead_lettered"], "the budget of 2 is spent");
    assert_eq!(given.step("a").charged, 2);
    assert_eq!(given.redrive(true), APPLIED);
    assert_eq!(given.settle(), ["step_started"]);
}
