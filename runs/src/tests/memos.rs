//! Results of equal calls that stand in for calls.

use super::{
    bodies::{APPLIED, LOST_RACE, claimed, output, step},
    given::Given,
};
use crate::{Answer, Memo, Reason, RunStatus, StepStatus, Verdict};
use spine_schemas::{Body, ErrorClass, Event, HeldBy, Output, Plan, StepEvent};

const ONE: &str =
    r#"[{"name":"a","tool":"t","effect":"pure","input":1,"memo":{"max_age_ms":1000}}]"#;

/// A memo that knows what step `a` of such a plan gave just now.
fn learned(given: &mut Given) -> Memo {
    assert_eq!(given.settle().last(), Some(&"step_started"));
    given.complete();
    let mut memo = Memo::new(1 << 20);
    memo.learn(given.run(), given.step("a"), given.now);
    assert!(memo.bytes() > 0);
    memo
}

fn knowing(plan: &str) -> Given {
    let memo = learned(&mut Given::plan(ONE));
    Given { memo: Some(memo), ..Given::plan(plan) }
}

#[test]
fn c18_an_equal_call_is_not_made_again_and_says_where_its_output_is_from() {
    let mut given = knowing(ONE);
    assert_eq!(given.settle(), ["step_scheduled", "step_reused", "run_completed"]);
    let (step, run) = (given.step("a"), given.run());
    let output = step.output.clone().unwrap();
    assert_eq!(
        (output.source.as_deref(), &*output.payload.data),
        (Some("cache"), &br#"{"ok":true}"#[..])
    );
    assert_eq!((step.attempt, step.attempts.len(), run.totals.attempts), (0, 0, 0));
    assert_eq!((run.status, step.reused), (RunStatus::Completed, false));
}

#[test]
fn c18_another_call_is_made() {
    for other in [
        ONE.replace("\"input\":1", "\"input\":2"),
        ONE.replace("\"tool\":\"t\"", "\"tool\":\"u\""),
        ONE.replace(",\"memo\":{\"max_age_ms\":1000}", ""),
    ] {
        assert_eq!(knowing(&other).settle(), ["step_scheduled", "step_started"], "{other}");
    }
    let mut old = knowing(ONE);
    old.after(1000);
    assert_eq!(old.clone().settle()[1], "step_reused", "just young enough");
    assert_eq!(old.after(1).settle(), ["step_scheduled", "step_started"]);
    let mut foreign = knowing(ONE);
    let run = std::sync::Arc::make_mut(foreign.run.as_mut().unwrap());
    run.key.tenant = "other".into();
    let decided = crate::decide(foreign.run(), &foreign.owner(), &mut foreign.slots());
    assert_eq!(decided.bodies.len(), 1, "scheduled");
    let mut own = Given::plan(ONE);
    own.settle();
    let mut memo = learned(&mut Given::plan(ONE));
    assert!(memo.recall(own.run(), own.step("a"), own.now).is_some());
    let run = std::sync::Arc::make_mut(own.run.as_mut().unwrap());
    run.key.tenant = "other".into();
    assert_eq!(memo.recall(own.run(), own.step("a"), own.now), None, "tenants share nothing");
    memo.used(own.run(), own.step("a"));
}

#[test]
fn c18_what_holds_a_call_back_does_not_hold_back_its_known_result() {
    let mut given = Given::plan(ONE);
    given.settle();
    given.fail(ErrorClass::RateLimited);
    assert_eq!(given.status(), StepStatus::Deferred);
    given.memo = Some(learned(&mut Given::plan(ONE)));
    given.now = given.step("a").due_at.unwrap();
    let hold = crate::Hold { by: HeldBy::Breaker, until: given.now.plus_ms(9000), starts: 0 };
    given.holds.tools.insert("t".into(), hold);
    assert_eq!(given.settle(), ["step_reused", "run_completed"]);
}

#[test]
fn c18_only_whole_results_of_calls_of_their_own_are_kept_and_only_some_bytes() {
    let mut given = Given::plan(ONE);
    given.settle();
    given.complete();
    let done = given.step("a").clone();
    let learns = |output: Output, status| {
        let step = crate::StepState { output: Some(output), status, ..done.clone() };
        let mut memo = Memo::new(1 << 20);
        memo.learn(given.run(), &step, given.now);
        memo.bytes() > 0
    };
    let whole = done.output.clone().unwrap();
    assert!(learns(whole.clone(), StepStatus::Completed));
    assert!(!learns(whole.clone(), StepStatus::Skipped));
    assert!(!learns(Output { degraded: true, ..whole.clone() }, StepStatus::Completed));
    assert!(!learns(
        Output { source: Some("cache".into()), ..whole.clone() },
        StepStatus::Completed
    ));
    let mut omitted = whole;
    omitted.payload.omitted = true;
    assert!(!learns(omitted, StepStatus::Completed));
    let mut small = Memo::new(700);
    for input in ["1", "2", "1", "3"] {
        let mut other = Given::plan(&ONE.replace("\"input\":1", &format!("\"input\":{input}")));
        other.settle();
        other.complete();
        small.learn(other.run(), other.step("a"), other.now);
    }
    assert!(small.bytes() <= 700);
    let known = |input: &str| {
        let mut other = Given::plan(&ONE.replace("\"input\":1", &format!("\"input\":{input}")));
        other.settle();
        small.recall(other.run(), other.step("a"), other.now).is_some()
    };
    assert_eq!([known("1"), known("2"), known("3")], [true, false, true], "the oldest goes first");
}

/// The owner's decision to take a result for step `a`, as it is or changed.
fn taken(given: &Given, change: impl Fn(&mut Output)) -> Body {
    let spec = given.step("a").spec.clone();
    let mut output = output("7");
    change(&mut output);
    step("a", StepEvent::Reused { spec, output: Some(output), skipped: None, edited: false })
}

#[test]
fn c18_the_fold_takes_a_result_from_the_owner_only_and_only_where_one_may_be_taken() {
    let given = &mut Given::plan(ONE);
    // Scheduled, and not begun: no slots.
    let spec = given.ahead(Vec::new()).events.remove(0);
    given.fold(spec);
    let plain = |_: &mut Output| ();
    let body = taken(given, plain);
    assert!(!matches!(given.clone().append(body.clone()), Verdict::Applied(_)), "no claim");
    let older = Event { claim: Some(given.claim_offset() - 1), ..given.event(body.clone()) };
    assert_eq!(given.clone().fold(older), Verdict::Stale(Reason::OlderClaim, None));
    let degraded = taken(given, |output| output.degraded = true);
    assert_eq!(given.clone().decide(degraded), LOST_RACE);
    let omitted = taken(given, |output| output.payload.omitted = true);
    assert_eq!(given.clone().decide(omitted), LOST_RACE);
    let mut other = given.clone();
    let mut elsewhere = Given::plan(&ONE.replace("\"input\":1", "\"input\":2"));
    let spec = elsewhere.ahead(Vec::new()).events.remove(0);
    elsewhere.fold(spec);
    assert_eq!(other.decide(taken(&elsewhere, plain)), LOST_RACE, "of another call");
    let mut unmemoed = Given::plan(&ONE.replace(",\"memo\":{\"max_age_ms\":1000}", ""));
    unmemoed.settle();
    assert_eq!(unmemoed.decide(taken(&unmemoed.clone(), plain)), LOST_RACE);
    let mut running = Given::plan(ONE);
    running.settle();
    assert_eq!(running.decide(taken(&running.clone(), plain)), LOST_RACE, "its attempt runs");
    assert_eq!(given.decide(body), Verdict::Applied(Answer::Ok));
    assert_eq!(given.settle(), ["run_completed"]);
    let again = Given::plan(ONE).append(claimed(Some(0), false));
    assert_ne!(again, APPLIED);
}

#[test]
fn c18_a_memo_is_for_calls_without_effects() {
    for (step, why) in [
        (r#""tool":"t","memo":{"max_age_ms":1}"#, "pure"),
        (r#""tool":"t","effect":"idempotent","memo":{"max_age_ms":1}"#, "pure"),
        (r#""tool":"sleep:5","effect":"pure","memo":{"max_age_ms":1}"#, "only waits"),
        (r#""tool":"t","effect":"pure","memo":{"max_age_ms":0}"#, "memo.max_age_ms"),
        (r#""tool":"t","effect":"pure","approval":{},"memo":{"max_age_ms":1}"#, "approval"),
        (
            r#""tool":"t","effect":"pure","memo":{"max_age_ms":1},"compensate":{"tool":"t"}"#,
            "compensate",
        ),
    ] {
        let error = Plan::parse(format!(r#"{{"steps":[{{"name":"a",{step}}}]}}"#)).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("steps[0].memo") && error.contains(why), "{error}");
    }
}
