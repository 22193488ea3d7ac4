//! Batches of one run: later items rest on earlier ones, except outcomes, which rest on nothing.

use super::{
    bodies::{APPLIED, LATE, begin, completed, heartbeat, item, released, run, started},
    given::Given,
};
use crate::{Answer, Reason, StepStatus, Verdict};
use spine_schemas::{Body, Effect, ErrorClass, Event, RunEvent};

const NOT_TRIED: Verdict = Verdict::Refused(Reason::BrokenBatch, Answer::NotTried);
const BROKEN: Verdict = Verdict::Stale(Reason::BrokenBatch, None);

fn op(given: &mut Given, id: &str, index: u32, op_id: u64, body: Body) -> Verdict {
    let event = item(given.op_event("S", op_id, body), id, index);
    given.fold(event)
}

fn decision(given: &Given, body: Body, id: &str, index: u32) -> Event {
    let claim = Some(given.claim_offset());
    Event { claim, ..item(given.event(body), id, index) }
}

#[test]
fn items_after_a_refused_one_are_not_tried_and_outcomes_are() {
    let mut given = Given::journal();
    assert!(matches!(op(&mut given, "b0", 0, 1, begin("a", Effect::Pure)), Verdict::Applied(_)));
    let lease = given.lease();
    let wait = op(&mut given, "b1", 0, 2, begin("a", Effect::Pure));
    assert!(matches!(wait, Verdict::Refused(_, Answer::Wait { .. })));
    assert_eq!(op(&mut given, "b1", 1, 3, begin("b", Effect::Pure)), NOT_TRIED);
    assert_eq!(op(&mut given, "b1", 2, 4, completed("a", 1, lease)), APPLIED);
    assert_eq!(op(&mut given, "b1", 3, 5, begin("c", Effect::Pure)), NOT_TRIED);
    assert_eq!(given.run().steps.len(), 1);
    let alone = op(&mut given, "b2", 0, 3, begin("b", Effect::Pure));
    assert!(matches!(alone, Verdict::Applied(_)), "what was not tried has no answer yet");
}

#[test]
fn a_replay_is_an_answer_to_go_on_from() {
    let mut given = Given::journal();
    op(&mut given, "b0", 0, 1, begin("a", Effect::Pure));
    let lease = given.lease();
    given.op("S", 2, completed("a", 1, lease));
    let replay = op(&mut given, "b1", 0, 3, begin("a", Effect::Pure));
    assert_eq!(replay.answer(), Some(&Answer::Replay));
    let next = op(&mut given, "b1", 1, 4, begin("b", Effect::Pure));
    assert!(matches!(next, Verdict::Applied(Answer::Execute { .. })), "{next:?}");
}

#[test]
fn a_repeated_batch_is_answered_as_before() {
    let mut given = Given::journal();
    let ops = [begin("a", Effect::Pure), begin("b", Effect::Pure), begin("b", Effect::Pure)];
    let answers = |given: &mut Given, id: &str, more: bool| -> Vec<Answer> {
        let mut answers = Vec::new();
        for (index, body) in (0..).zip(ops.clone()) {
            let verdict = op(given, id, index, u64::from(index), body);
            answers.extend(verdict.answer().cloned());
        }
        if more {
            answers.extend(op(given, id, 3, 3, begin("c", Effect::Pure)).answer().cloned());
        }
        answers
    };
    let first = answers(&mut given, "b1", true);
    assert_eq!(answers(&mut given, "b1", true), first, "the same batch");
    assert_eq!(answers(&mut given, "b2", true), first, "the same operations in another batch");
    assert_eq!(first[3], Answer::NotTried);
    assert_eq!(given.run().steps.len(), 2);
}

#[test]
fn a_decision_rests_on_every_item_before_it() {
    let mut given = Given::running(Effect::Pure, "");
    let lease = given.lease();
    for (id, index, verdict) in [("b1", 1, BROKEN), ("b2", 2, BROKEN)] {
        let event = decision(&given, started("a", 2), id, index);
        assert_eq!(given.fold(event), verdict, "{id}: its predecessor is absent");
    }
    let late = item(given.event(released("a", 1, lease, None)), "b3", 0);
    assert_eq!(given.fold(late), APPLIED);
    let next = decision(&given, started("a", 2), "b3", 1);
    assert_eq!(given.fold(next.clone()), APPLIED);
    assert_eq!(given.fold(next).reason(), Some(Reason::LostRace));
    let after = run(RunEvent::Completed { output: None });
    let gap = decision(&given, after, "b3", 3);
    assert_eq!(given.fold(gap), BROKEN, "item 2 is absent");
    assert_eq!(given.status(), StepStatus::Running);
}

#[test]
fn a_start_behind_an_outcome_that_lost_its_race_is_not_taken() {
    let mut given = Given::running(Effect::AtMostOnce, "");
    let (lease, ahead) = (given.lease(), given.clone());
    let outcome = super::bodies::failed("a", 1, lease, ErrorClass::Terminal);
    let batch = ahead.ahead(vec![outcome]).events;
    assert_eq!(batch.len(), 2);
    given.append(super::bodies::failed("a", 1, lease, ErrorClass::Timeout));
    given.resolve(true);
    let verdicts: Vec<_> = batch.into_iter().map(|event| given.fold(event)).collect();
    assert_eq!(verdicts, [LATE, BROKEN]);
    assert_eq!(given.status(), StepStatus::Completed);
}

#[test]
fn outcomes_that_come_late_are_appended_beside_the_batch_and_do_not_break_it() {
    let mut given = Given::plan(
        r#"[{"name":"a","tool":"t","effect":"pure"},{"name":"b","tool":"t","after":[]},{"name":"c","tool":"t"}]"#,
    );
    given.settle();
    let b = given.step("b").live.as_ref().unwrap().lease;
    let first = given.lease();
    given.lose_owner();
    given.resolve_step("b", 1, false);
    given.settle();
    let (now_a, now_b) = (given.lease(), given.step("b").live.as_ref().unwrap().lease);
    let outcomes = vec![
        super::bodies::failed("a", 1, first, ErrorClass::Terminal),
        completed("a", 2, now_a),
        released("b", 1, b, None),
        completed("b", 2, now_b),
    ];
    let kinds = given.settle_with(outcomes);
    assert_eq!(kinds, ["step_completed", "step_completed", "step_scheduled", "step_started"]);
}

#[test]
fn a_run_is_not_created_by_the_rest_of_a_broken_batch() {
    let mut given = Given::nothing();
    let create = super::bodies::created(spine_schemas::Driver::Journal, None);
    let event = item(given.event(create), "b", 1);
    assert_eq!(given.fold(event), NOT_TRIED);
    assert_eq!(given.run, None);
    let fact = super::bodies::created(spine_schemas::Driver::Record, None);
    let event = item(given.event(fact), "b", 1);
    assert_eq!(given.fold(event), APPLIED, "facts rest on nothing");
}

#[test]
fn only_the_newest_batches_are_remembered() {
    let mut given = Given::journal();
    op(&mut given, "old", 0, 0, begin("a", Effect::Pure));
    for number in 1..=8 {
        let lease = given.lease();
        op(&mut given, &format!("b{number}"), 0, number, heartbeat("a", 1, lease));
    }
    assert_eq!(given.run().batches.len(), 8);
    assert_eq!(op(&mut given, "old", 1, 99, begin("b", Effect::Pure)), NOT_TRIED);
}

#[test]
fn absurd_indexes_are_borne() {
    let mut given = Given::record();
    for index in [u32::MAX, 0, u32::MAX - 1, u32::MAX] {
        let body = super::bodies::reported("a", 1);
        let event = item(given.event(body), "b", index);
        given.fold(event);
    }
    assert_eq!(given.run().batches.len(), 1);
}
