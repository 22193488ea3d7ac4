//! Steps that a plan can do without: when they are left out, and what stands in for them.

use super::{
    bodies::{LOST_RACE, completed, step},
    given::Given,
};
use crate::{Reason, RunStatus, StepStatus, Verdict};
use spine_schemas::{Effect, ErrorClass, StepEvent};

const SKIP: &str = r#","retry":{"max_attempts":1},"on_exhausted":"skip""#;

fn skip() -> spine_schemas::Body {
    step("a", StepEvent::Skipped { reason: "enough".into(), output: None })
}

/// Step `a` can be missed, and `b` reads from it.
fn followed(default: &str) -> Given {
    let mut given = Given::plan(&format!(
        r#"[{{"name":"a","tool":"t","effect":"pure"{SKIP}{default}}},
            {{"name":"b","tool":"t","effect":"pure","input":{{"x":{{"$ref":"a#/score"}}}}}}]"#
    ));
    given.settle();
    given
}

#[test]
fn c15_a_step_out_of_attempts_is_left_out_and_the_run_ends_degraded() {
    let mut given = followed(r#","default":{"score":7}"#);
    let then = given.fail(ErrorClass::Transient);
    assert_eq!(then, ["step_failed", "step_skipped", "step_scheduled", "step_started"]);
    let output = given.step("a").output.clone().unwrap();
    assert_eq!((given.status(), output.degraded), (StepStatus::Skipped, true));
    assert_eq!(output.source.as_deref(), Some("default"));
    assert_eq!(given.step("a").error.as_ref().unwrap().class, ErrorClass::Transient);
    assert_eq!(given.step("b").spec.input.data, r#"{"x":7}"#);
    let lease = given.step("b").live.as_ref().unwrap().lease;
    let last = given.settle_with(vec![completed("b", 1, lease)]);
    assert_eq!(last, ["step_completed", "run_completed"]);
    assert_eq!(given.run().status, RunStatus::Degraded);
}

#[test]
fn without_a_default_what_refers_to_it_reads_null() {
    let mut given = followed("");
    given.fail(ErrorClass::Terminal);
    assert_eq!((given.status(), &given.step("a").output), (StepStatus::Skipped, &None));
    assert_eq!(given.step("b").spec.input.data, r#"{"x":null}"#);
}

#[test]
fn a_default_as_the_last_output_is_a_degraded_output_of_the_run() {
    let more = format!(r#"{SKIP},"default":[]"#);
    let mut given = Given::running(Effect::Pure, &more);
    assert_eq!(given.fail(ErrorClass::Timeout), ["step_failed", "step_skipped", "run_completed"]);
    assert!(given.run().output.as_ref().unwrap().degraded);
    assert_eq!(given.run().status, RunStatus::Degraded);
}

#[test]
fn one_whose_deadline_passes_while_it_waits_is_left_out() {
    let more = r#","deadline_ms":1000,"retry":{"initial_ms":900},"on_exhausted":"skip""#;
    let mut given = Given::running(Effect::Pure, more);
    given.fail(ErrorClass::RateLimited);
    assert_eq!(given.status(), StepStatus::Deferred);
    assert_eq!(given.after(2000).settle(), ["step_skipped", "run_completed"]);
    assert_eq!(given.step("a").due_at, None);
}

#[test]
fn one_whose_input_cannot_be_made_is_left_out_at_once() {
    let mut given = Given::plan(
        r#"[{"name":"a","tool":"t","effect":"pure"},
            {"name":"b","tool":"t","on_exhausted":"skip","input":{"$ref":"a#/nowhere"}}]"#,
    );
    given.settle();
    let then = given.complete();
    assert_eq!(then, ["step_completed", "step_scheduled", "step_skipped", "run_completed"]);
    assert_eq!(given.step("b").attempt, 0);
}

#[test]
fn an_effect_that_may_have_happened_is_not_left_out() {
    let mut given = Given::running(Effect::AtMostOnce, SKIP);
    assert_eq!(given.fail(ErrorClass::UnknownOutcome), ["step_failed"]);
    assert_eq!(given.status(), StepStatus::Unknown);
    assert_eq!(given.decide(skip()), LOST_RACE);
}

#[test]
fn only_its_owner_leaves_out_a_step_and_only_one_that_its_plan_can_miss() {
    let mut given = Given::running(Effect::Pure, SKIP);
    assert_eq!(given.decide(skip()), LOST_RACE, "it runs");
    assert_eq!(given.append(skip()), Verdict::Illegal(Reason::NoClaim));
    let mut other = Given::running(Effect::Pure, r#","retry":{"max_attempts":1}"#);
    other.fail(ErrorClass::Transient);
    assert_eq!(other.status(), StepStatus::DeadLettered);
    assert_eq!(other.decide(skip()), LOST_RACE);
}

#[test]
fn a_success_that_comes_after_it_was_left_out_is_evidence() {
    let mut given = followed(r#","default":{"score":7}"#);
    let lease = given.lease();
    given.fail(ErrorClass::Timeout);
    let late = given.append(completed("a", 1, lease));
    assert_eq!(late.reason(), Some(Reason::Late));
    assert_eq!(given.status(), StepStatus::Skipped);
}
