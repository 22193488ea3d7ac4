//! How the sentence of a run is put together, and how it reads when the run has ended. The sentence of each
//! waiting state is in `every_wait`.

use super::{
    bodies::{APPLIED, key_of, run, step},
    given::Given,
    journal::begun,
    recovery::end,
};
use crate::why;
use spine_schemas::{Effect, ErrorClass, RunEvent, StepError, StepEvent, TaskVerdict, Then};

const AT: &str = "2023-11-14T22:13:20Z";

fn says(given: &Given, expected: &str) {
    assert_eq!(why(given.run()).sentence, expected);
}

#[test]
fn f19_the_step_that_moves_first_is_named_and_the_others_are_counted() {
    let steps = r#"[{"name":"a","tool":"t"},{"name":"b","tool":"t","after":[]},{"name":"c","tool":"t","after":[]}]"#;
    let mut given = Given::plan(steps);
    given.settle();
    given.fail(ErrorClass::Timeout);
    let sentence = why(given.run()).sentence;
    assert!(sentence.starts_with("Attempt 1 of step b#1 runs"), "{sentence}");
    assert!(sentence.ends_with("(2 other steps are open, too)."), "{sentence}");
}

#[test]
fn f19_a_run_that_has_ended_says_how() {
    let mut completed = Given::running(Effect::Pure, "");
    completed.complete();
    says(&completed, &format!("The run completed at {AT}."));
    let mut degraded = Given::running(Effect::Pure, r#","on_exhausted":"skip""#);
    degraded.fail(ErrorClass::Terminal);
    says(&degraded, &format!("The run completed at {AT}, with something left out or degraded."));
    let mut failed = Given::running(Effect::Pure, r#","retry":{"max_attempts":1}"#);
    failed.fail(ErrorClass::Transient);
    failed.discard(Then::Fail);
    failed.settle();
    says(&failed, &format!("The run failed at {AT} with step a#1 (transient: it failed)."));
    let mut ended = begun(Effect::Pure);
    ended.op("S", 2, run(RunEvent::Cancelled { reason: "enough".into() }));
    says(&ended, &format!("The run was cancelled at {AT} (cancelled: enough)."));
    let mut reported = Given::record();
    let error = StepError::new(ErrorClass::Terminal, "bad", "no good");
    reported.append(run(RunEvent::Failed { error, step: None }));
    says(&reported, &format!("The run failed at {AT} (bad: no good)."));
    assert_eq!(why(reported.run()).next, [""; 0]);
}

/// A step `d` that can be undone, and a step `a` with which that begins.
fn undone(answer: Option<TaskVerdict>) -> Given {
    let once = r#""retry":{"max_attempts":1}"#;
    let mut given = Given::plan(&format!(
        r#"[{{"name":"d","tool":"d","compensate":{{"tool":"u","effect":"pure",{once}}}}},
            {{"name":"a","tool":"t","effect":"pure",{once},"on_exhausted":"compensate"}}]"#
    ));
    given.settle();
    end(&mut given, "d", None);
    given.fail(ErrorClass::Terminal);
    let Some(verdict) = answer else {
        end(&mut given, "compensate/d", None);
        return given;
    };
    end(&mut given, "compensate/d", Some(ErrorClass::Terminal));
    let task_id = given.step("compensate/d").task.as_ref().expect("somebody is asked").task_id;
    let decided =
        StepEvent::TaskDecided { task_id, verdict, output: None, reason: "by hand".into() };
    assert_eq!(given.append(step("compensate/d", decided)), APPLIED);
    given.settle();
    assert!(given.run().steps[&key_of("compensate/d")].task.is_none());
    given
}

#[test]
fn f19_a_run_that_was_undone_says_how_far() {
    let failed = format!("The run failed at {AT} with step a#1 (terminal: it failed).");
    says(&undone(None), &format!("{failed} What it had done was undone."));
    let by_hand = undone(Some(TaskVerdict::Complete));
    says(&by_hand, &format!("{failed} What it had done was undone."));
    let left = undone(Some(TaskVerdict::Skip));
    says(&left, &format!("{failed} Of what it had done no step was undone, and one step was not."));
}

#[test]
fn f19_what_comes_next_is_an_event_that_the_wait_allows() {
    let mut dead = begun(Effect::Pure);
    dead.fail(ErrorClass::Terminal);
    let next = why(dead.run()).next;
    assert!(next.contains(&"step_redriven") && next.contains(&"step_discarded"), "{next:?}");
}
