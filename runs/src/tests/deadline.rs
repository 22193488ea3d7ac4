//! Runs that have not ended by their deadline.

use super::{
    bodies::{completed, run},
    given::Given,
};
use crate::{RunStatus, StepStatus, wake_at, why};
use spine_schemas::{Plan, RunEvent};

fn with(members: &str, steps: &str) -> Given {
    let mut given = Given::nothing();
    let plan = Plan::parse(format!(r#"{{"steps":{steps},{members}}}"#)).expect("a legal plan");
    given.append(super::bodies::created(spine_schemas::Driver::Plan, Some(plan)));
    given
}

const ONE: &str = r#"[{"name":"a","tool":"t","effect":"pure","compensate":{"tool":"u","effect":"pure"}},
    {"name":"b","tool":"signal:go"}]"#;

#[test]
fn a_run_fails_at_its_deadline_when_nothing_runs_any_more() {
    let mut given = with(r#""deadline_ms":60000"#, ONE);
    given.settle();
    let deadline = given.run().deadline().unwrap();
    assert_eq!(deadline, given.run().created_at.plus_ms(60_000));
    assert!(why(given.run()).sentence.contains(&deadline.to_string()));
    given.now = deadline;
    assert_eq!(given.settle(), Vec::<&str>::new(), "what runs may still take effect");
    let lease = given.lease();
    assert_eq!(
        given.settle_with(vec![completed("a", 1, lease)]),
        ["step_completed", "run_failed"],
        "nothing new begins"
    );
    let failed = given.run();
    assert_eq!(failed.status, RunStatus::Failed);
    assert_eq!(failed.error.as_ref().unwrap().code, "run_deadline");
    assert_eq!(failed.deadline(), None);
}

#[test]
fn a_run_that_waits_is_woken_for_its_deadline_and_undone_where_that_is_asked_for() {
    let mut given = with(r#""deadline_ms":60000,"on_deadline":"compensate""#, ONE);
    given.settle();
    given.complete();
    let deadline = given.run().deadline();
    assert_eq!(wake_at(given.run(), &given.owner()), deadline);
    assert_eq!(given.run().next_due(), deadline);
    given.now = deadline.unwrap();
    assert_eq!(given.settle(), ["compensation_started", "step_scheduled", "step_started"]);
    assert_eq!(given.step("b").status, StepStatus::Cancelled);
    let lease = given.step("compensate/a").live.as_ref().unwrap().lease;
    let done = completed("compensate/a", 1, lease);
    assert_eq!(given.settle_with(vec![done]), ["step_completed", "run_failed"]);
    assert_eq!(given.run().error.as_ref().unwrap().code, "run_deadline");
}

#[test]
fn the_deadline_stands_still_in_a_pause_and_a_cancel_comes_before_it() {
    let mut given = with(r#""deadline_ms":60000"#, ONE);
    given.settle();
    given.complete();
    given.append(run(RunEvent::Paused { reason: "look".into() }));
    assert_eq!(given.run().deadline(), None);
    given.after(3_600_000);
    assert_eq!(given.settle(), Vec::<&str>::new());
    given.append(run(RunEvent::Resumed { reason: "seen".into() }));
    let later = given.run().created_at.plus_ms(3_660_000);
    assert_eq!(given.run().deadline(), Some(later));
    assert_eq!(given.settle(), Vec::<&str>::new());
    given.now = later;
    let mut cancelled = given.clone();
    assert_eq!(given.settle(), ["run_failed"]);
    let reason = "enough".into();
    cancelled.append(run(RunEvent::CancelRequested { reason, compensate: false }));
    assert_eq!(cancelled.settle(), ["run_cancelled"]);
}

#[test]
fn plans_with_deadlines_that_mean_nothing_are_refused() {
    for (members, field) in [
        (r#""deadline_ms":-1"#, "steps"),
        (r#""deadline_ms":31622400001"#, "deadline_ms"),
        (r#""on_deadline":"fail""#, "on_deadline"),
        (r#""deadline_ms":5,"on_deadline":"skip""#, "steps"),
    ] {
        let refused = Plan::parse(format!(r#"{{"steps":{ONE},{members}}}"#)).unwrap_err();
        assert!(refused.to_string().contains(field), "{members}: {refused}");
    }
}

#[test]
fn a_run_whose_time_is_over_is_not_looked_at_for_what_waits() {
    let steps = r#"[{"name":"a","tool":"t","effect":"pure","timeout_ms":90000},
        {"name":"b","tool":"sleep:60000","after":[]}]"#;
    let mut given = with(r#""deadline_ms":60000"#, steps);
    given.settle();
    given.after(60_000);
    assert_eq!(given.settle(), Vec::<&str>::new(), "its attempt runs");
    // The sleep ended with the run's time, and nothing would come of a look at it.
    let wake = wake_at(given.run(), &given.owner());
    assert!(wake.is_none_or(|at| at > given.now), "{wake:?}");
}

#[test]
fn what_is_to_be_undone_is_undone_whatever_the_time() {
    let steps = r#"[{"name":"a","tool":"t","effect":"pure","compensate":{"tool":"u","effect":"pure"}},
        {"name":"b","tool":"t","effect":"pure","after":["a"],"retry":{"max_attempts":1},"on_exhausted":"compensate"},
        {"name":"c","tool":"t","after":["a"]}]"#;
    let mut given = with(r#""deadline_ms":60000"#, steps);
    given.settle();
    given.complete();
    let lease_of = |given: &Given, name: &str| given.step(name).live.as_ref().unwrap().lease;
    let class = spine_schemas::ErrorClass::UnknownOutcome;
    let (b, c) = (lease_of(&given, "b"), lease_of(&given, "c"));
    given.settle_with(vec![super::bodies::failed("c", 1, c, class)]);
    let class = spine_schemas::ErrorClass::Transient;
    given.settle_with(vec![super::bodies::failed("b", 1, b, class)]);
    given.after(60_000);
    assert_eq!(given.settle(), Vec::<&str>::new(), "nobody knows yet what is to be undone");
    given.resolve_step("c", 1, false);
    assert_eq!(given.settle(), ["compensation_started", "step_scheduled", "step_started"]);
}
