//! Claims: compare-and-set in log order, and what carries an older or invented one.

use super::{
    bodies::{APPLIED, LOST_RACE, claimed, refused, started},
    given::Given,
};
use crate::{Holder, PartitionState, Reason, StepStatus, Verdict};
use spine_schemas::{Body, Digest, Effect, Event, PartitionEvent, RecordClass};

#[test]
fn a_claim_holds_only_over_the_current_one() {
    let mut given = Given::nothing();
    let first = given.claim_offset();
    let lost = Verdict::Stale(Reason::ClaimLost, None);
    for (over, verdict) in [
        (None, lost.clone()),
        (Some(first - 1), lost.clone()),
        (Some(first + 100), lost.clone()),
        (Some(first), APPLIED),
        (Some(first), lost),
    ] {
        assert_eq!(given.append(claimed(over, false)), verdict, "over {over:?}");
    }
    assert_eq!(given.claim_offset(), first + 4);
}

#[test]
fn c6_a_decision_under_an_older_claim_is_stale_and_an_invented_one_illegal() {
    let mut given = Given::one(Effect::Pure, "");
    let older = given.claim_offset();
    given.claim();
    given.settle();
    let before = given.run.clone();
    let current = given.claim_offset();
    for (claim, verdict) in [
        (Some(older), Verdict::Stale(Reason::OlderClaim, None)),
        (Some(current + 1), Verdict::Illegal(Reason::NoClaim)),
        (None, Verdict::Illegal(Reason::NoClaim)),
        (Some(current), LOST_RACE),
    ] {
        let event = Event { claim, ..given.event(started("a", 1)) };
        assert_eq!(given.fold(event), verdict, "under {claim:?}");
    }
    assert_eq!(given.run, before);
}

#[test]
fn before_any_claim_every_decision_is_illegal() {
    let mut given = Given::one(Effect::Pure, "");
    given.partition = PartitionState::default();
    let event = Event { claim: Some(3), ..given.event(started("a", 1)) };
    assert_eq!(given.fold(event), Verdict::Illegal(Reason::NoClaim));
}

#[test]
fn a_start_is_held_under_the_claim_that_decided_it() {
    let given = Given::running(Effect::Pure, "");
    let live = given.step("a").live.as_ref().unwrap();
    assert_eq!(live.holder, Holder::Owner(given.claim_offset()));
}

#[test]
fn own_starts_of_an_older_claim_are_released_others_are_lost_when_their_lease_ends() {
    let mut given = Given::running(Effect::Pure, "");
    given.claim();
    assert_eq!(given.clone().settle(), ["step_released", "step_started"]);
    let lease = given.lease();
    given.held.insert(lease);
    assert_eq!(given.settle(), [""; 0], "it is held: it runs");
    given.held.clear();
    given.own_claims.clear();
    assert_eq!(given.settle(), [""; 0], "its lease counts again from the claim");
    assert_eq!(given.clone().after(30_000).settle(), ["step_lost", "step_started"]);
    given.exclusive = true;
    assert_eq!(given.settle(), ["step_lost", "step_started"], "the lock proves it gone");
}

#[test]
fn a_restored_log_parks_every_careful_step_that_may_have_gone_on() {
    for (effect, kinds) in [
        (Effect::Pure, vec!["step_released", "step_started"]),
        (Effect::Idempotent, vec!["step_released", "step_started"]),
        (Effect::Probe, vec!["step_unknown"]),
        (Effect::AtMostOnce, vec!["step_unknown"]),
    ] {
        let mut given = Given::running(effect, "");
        let over = Some(given.claim_offset());
        assert_eq!(given.append(claimed(over, true)), APPLIED);
        assert_eq!(given.settle(), kinds, "{effect:?}");
        assert_eq!(given.settle(), [""; 0]);
    }
}

#[test]
fn a_pause_after_a_restore_is_no_sign_that_nothing_is_missing() {
    let pause =
        || super::bodies::step("a", spine_schemas::StepEvent::Paused { reason: "look".into() });
    let resume =
        || super::bodies::step("a", spine_schemas::StepEvent::Resumed { reason: "seen".into() });
    let mut given = Given::running(Effect::AtMostOnce, "");
    let lease = given.lease();
    given.settle_with(vec![super::bodies::released(
        "a",
        1,
        lease,
        Some(spine_schemas::ErrorClass::Transient),
    )]);
    let over = Some(given.claim_offset());
    given.append(claimed(over, true));
    for _ in 0..2 {
        assert_eq!(given.append(pause()), APPLIED);
        assert_eq!(given.append(resume()), APPLIED);
    }
    assert_eq!(given.settle(), ["step_unknown"]);
    assert_eq!(given.resolve(false), APPLIED);
    given.append(pause());
    given.append(resume());
    assert_eq!(given.settle(), ["step_started"], "a person looked");
}

#[test]
fn a_restored_log_parks_careful_steps_that_it_does_not_know_yet() {
    let steps = r#"[{"name":"p","tool":"t","effect":"pure"},{"name":"a","tool":"t"}]"#;
    let mut given = Given::plan(steps);
    given.settle();
    let over = Some(given.claim_offset());
    given.append(claimed(over, true));
    let lease = given.step("p").live.as_ref().unwrap().lease;
    let done = super::bodies::completed("p", 1, lease);
    let kinds = given.settle_with(vec![done]);
    assert_eq!(kinds, ["step_completed", "step_scheduled", "step_unknown"]);
    assert_eq!(given.resolve(false), APPLIED);
    assert_eq!(given.settle(), ["step_started"], "a person looked: it may start");
    assert_eq!(given.status(), StepStatus::Running);
}

#[test]
fn runs_that_begin_after_a_restore_know_nothing_of_it() {
    let mut given = Given::nothing();
    let over = Some(given.claim_offset());
    given.append(claimed(over, true));
    let mut fresh = Given::one(Effect::AtMostOnce, "");
    given.append(fresh.log.remove(1).0.body);
    assert_eq!(given.settle(), ["step_scheduled", "step_started"]);
}

#[test]
fn a_record_is_set_aside_once_under_the_current_claim() {
    let mut given = Given::nothing();
    let older = given.claim_offset();
    given.claim();
    let current = given.claim_offset();
    let body = |offset| {
        let (class, message) = (RecordClass::Decode, "bad".into());
        Body::Partition(PartitionEvent::RecordDeadLettered { offset, class, message })
    };
    for (claim, offset, verdict) in [
        (None, 1, Verdict::Illegal(Reason::NoClaim)),
        (Some(older), 1, Verdict::Stale(Reason::OlderClaim, None)),
        (Some(current + 9), 1, Verdict::Illegal(Reason::NoClaim)),
        (Some(current), 1_000, Verdict::Illegal(Reason::NoClaim)),
        (Some(current), 1, APPLIED),
        (Some(current), 1, Verdict::Stale(Reason::Duplicate, None)),
        (Some(current), 2, APPLIED),
    ] {
        let event = Event { claim, ..given.event(body(offset)) };
        assert_eq!(given.fold(event), verdict, "{claim:?} {offset}");
    }
}

#[test]
fn c10_a_record_letter_is_disposed_of_once() {
    let mut given = Given::nothing();
    let body = || {
        let (letter_id, reason) = (Digest::of_bytes(b"x"), "fixed".into());
        Body::Partition(PartitionEvent::RecordDisposed { letter_id, redriven: true, reason })
    };
    assert_eq!(given.append(body()), APPLIED);
    assert_eq!(given.append(body()), refused(Reason::LetterClosed));
}
