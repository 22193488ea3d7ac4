//! Runs that are steps of others: what each tells the other, and what it waits for.

use super::{
    bodies::{APPLIED, completed, failed, released, run, step},
    given::Given,
};
use crate::{
    Holder, Reason, RunStatus, StepStatus, Verdict, WaitKind, messages, messages_again, wake_at,
    why,
};
use spine_schemas::{
    Body, Effect, ErrorClass, Event, Plan, RunCreated, RunEvent, StepEvent, Usage, keys,
};

/// A parent with a deadline whose step `a` is a run of the step `a` with this effect.
fn parent(effect: Effect) -> Given {
    let mut given = Given::nothing();
    let plan = Plan::parse(format!(
        r#"{{"deadline_ms":60000,"steps":[{{"name":"a","tool":"run","input":{{"x":1.0}},"run":{{
            "plan":{{"steps":[{{"name":"a","tool":"t","effect":"{}"}}]}}}}}}]}}"#,
        effect.as_str()
    ));
    let plan = plan.expect("a legal plan");
    given.append(super::bodies::created(spine_schemas::Driver::Plan, Some(plan)));
    given.settle();
    assert_eq!(given.step("a").live.as_ref().unwrap().holder, Holder::Child);
    given
}

/// What others are told because of the newest event.
fn told(given: &Given, verdict: &Verdict) -> Vec<Event> {
    let (event, place) = given.log.last().unwrap();
    messages(given.run(), event, verdict, *place)
}

fn told_now(given: &Given) -> Vec<Body> {
    told(given, &APPLIED).into_iter().map(|event| event.body).collect()
}

/// The child, as its parent begins it.
fn child(parent: &Given) -> Given {
    let begins = parent.log.iter().find_map(|(event, place)| {
        messages(parent.run(), event, &APPLIED, *place).into_iter().next()
    });
    let mut child = Given::nothing();
    assert_eq!(child.fold(begins.expect("it is begun")), APPLIED);
    child.settle();
    child
}

fn created_of(child: &Given) -> &RunCreated {
    &child.run().created
}

#[test]
fn s8f_a_child_is_one_run_for_each_attempt_and_knows_whose_it_is() {
    let parent = parent(Effect::Pure);
    let child = child(&parent);
    let (run, created) = (parent.run(), created_of(&child));
    let caller = created.caller.as_deref().unwrap();
    assert_eq!(*child.run().key.run_id, *keys::child_run_id(&run.key, &caller.step, 1));
    assert_eq!((created.parent.as_deref(), caller.attempt), (Some(&*run.key.run_id), 1));
    assert_eq!(caller.lease, parent.lease());
    assert_eq!(&created.input.data[..], br#"{"x":1.0}"#, "as it was written");
    assert_eq!(child.run().deadline(), run.deadline(), "the time of the parent is its own");
    assert_ne!(
        keys::child_run_id(&run.key, &caller.step, 1),
        keys::child_run_id(&run.key, &caller.step, 2)
    );
}

#[test]
fn nothing_but_its_child_ends_such_an_attempt() {
    let mut parent = parent(Effect::Pure);
    assert_eq!(parent.run().waits()[0].wait_for, WaitKind::Child);
    assert_eq!(parent.step("a").lease_until(), None);
    let sentence = why(parent.run()).sentence;
    let id = keys::child_run_id(&parent.run().key, &parent.step("a").key, 1);
    assert!(sentence.contains(&format!("spine runs why {id}")), "{sentence}");
    parent.stall_after_ms = 1_000;
    assert_eq!(wake_at(parent.run(), &parent.owner()), parent.run().deadline());
    let lease = parent.lease();
    let given_back = parent.append(released("a", 1, lease, None));
    assert!(matches!(given_back, Verdict::Stale(Reason::Late, _)), "{given_back:?}");
    parent.lose_owner();
    assert_eq!(parent.after(50_000).settle(), Vec::<&str>::new(), "it is not lost, nor stalled");
    parent.after(20_000);
    assert_eq!(parent.settle(), Vec::<&str>::new(), "a run that is over time waits for what runs");
}

/// How a child may end, and what that is for its step.
fn end(child: &mut Given, how: &str) -> Verdict {
    let (claim, reason) = (child.claim_offset(), "enough".to_owned());
    let lease = child.lease();
    match how {
        "completed" => _ = child.settle_with(vec![completed("a", 1, lease)]),
        "failed" => _ = child.settle_with(vec![failed("a", 1, lease, ErrorClass::Cancelled)]),
        "killed" => return child.append(run(RunEvent::Cancelled { reason })),
        "cancelled" => {
            child.append(run(RunEvent::CancelRequested { reason, compensate: false }));
            child.settle_with(vec![completed("a", 1, lease)]);
        }
        other => unreachable!("{other}"),
    }
    assert_eq!(claim, child.claim_offset());
    APPLIED
}

#[test]
fn l24_what_becomes_of_a_child_is_what_becomes_of_its_step() {
    for (effect, how, after) in [
        (Effect::Pure, "completed", StepStatus::Completed),
        (Effect::Pure, "failed", StepStatus::DeadLettered),
        (Effect::AtMostOnce, "killed", StepStatus::Unknown),
        (Effect::Pure, "killed", StepStatus::Failed),
        (Effect::Pure, "cancelled", StepStatus::Failed),
    ] {
        let mut parent = parent(effect);
        let mut child = child(&parent);
        assert_eq!(end(&mut child, how), APPLIED);
        assert!(!child.run().is_open(), "{how}");
        let outcome = told_now(&child);
        assert_eq!(outcome.len(), 1, "{how}");
        assert_eq!(parent.append(outcome[0].clone()), APPLIED, "{how}");
        assert!(!matches!(parent.append(outcome[0].clone()), Verdict::Applied(_)), "{how}: twice");
        parent.settle();
        assert_eq!(parent.status(), after, "{how}");
    }
}

#[test]
fn c22_what_becomes_of_a_parent_reaches_its_child_and_a_copy_changes_nothing() {
    let reason = || "why".to_owned();
    let mut parent = parent(Effect::Pure);
    let mut child = child(&parent);
    for (event, status) in [
        (RunEvent::Paused { reason: reason() }, true),
        (RunEvent::Resumed { reason: reason() }, false),
    ] {
        parent.append(run(event));
        let sent = told(&parent, &APPLIED);
        assert_eq!(child.fold(sent[0].clone()), APPLIED);
        assert_eq!(child.run().paused.is_some(), status);
        if !status {
            // The pause comes again, when it is over.
            let (pause, place) = parent.log[parent.log.len() - 2].clone();
            let again = messages(parent.run(), &pause, &APPLIED, place).remove(0);
            assert!(matches!(child.fold(again), Verdict::Stale(Reason::Duplicate, _)));
            assert!(child.run().paused.is_none());
        }
    }
    parent.append(run(RunEvent::CancelRequested { reason: reason(), compensate: true }));
    let asked = told(&parent, &APPLIED);
    assert_eq!(child.fold(asked[0].clone()), APPLIED);
    assert!(child.run().cancel.as_ref().unwrap().compensate);
    assert!(matches!(child.fold(asked[0].clone()), Verdict::Stale(Reason::Duplicate, _)));
    assert_eq!(parent.settle(), Vec::<&str>::new(), "it waits for its child");
    parent.append(run(RunEvent::Cancelled { reason: reason() }));
    assert_eq!(parent.run().status, RunStatus::Cancelled);
    let killed = told(&parent, &APPLIED);
    assert_eq!(child.fold(killed[0].clone()), APPLIED);
    assert_eq!(child.run().status, RunStatus::Cancelled);
}

#[test]
fn a_child_whose_id_is_taken_fails_its_step() {
    let mut parent = parent(Effect::Pure);
    let event = parent.log.last().unwrap().clone();
    let begins = messages(parent.run(), &event.0, &APPLIED, event.1).remove(0);
    let mut other = Given::plan(r#"[{"name":"z","tool":"t"}]"#);
    let verdict = other.fold(begins.clone());
    assert!(matches!(verdict, Verdict::Refused(Reason::RunExists, _)), "{verdict:?}");
    let said = told(&other, &verdict);
    assert_eq!(parent.fold(said[0].clone()), APPLIED);
    assert_eq!(parent.step("a").error.as_ref().unwrap().code, "child_exists");
    // The same beginning again is no conflict, and tells nobody anything.
    let mut own = Given::nothing();
    assert_eq!(own.fold(begins.clone()), APPLIED);
    let repeated = own.fold(begins);
    assert!(told(&own, &repeated).is_empty());
}

#[test]
fn whoever_takes_a_parent_over_begins_its_child_again_and_hears_of_its_end() {
    let mut parent = parent(Effect::AtMostOnce);
    let mut child = child(&parent);
    let again = messages_again(parent.run());
    assert_eq!(again.len(), 1);
    let repeated = child.fold(again[0].clone());
    assert!(told(&child, &repeated).is_empty(), "it has not ended");
    let (mut later, reason) = (parent.clone(), || "why".to_owned());
    later.append(run(RunEvent::Paused { reason: reason() }));
    later.after(5_000).append(run(RunEvent::Resumed { reason: reason() }));
    assert_ne!(messages_again(later.run()), again, "its time is another one");
    let repeated = child.clone().fold(messages_again(later.run()).remove(0));
    assert!(matches!(repeated, Verdict::Stale(Reason::Duplicate, _)), "and yet it is the same");
    end(&mut child, "completed");
    let ended = told_now(&child);
    let repeated = child.fold(again[0].clone());
    let said: Vec<Body> = told(&child, &repeated).into_iter().map(|event| event.body).collect();
    assert_eq!(said, ended, "what it said was lost");
    parent.append(run(RunEvent::CancelRequested { reason: "why".into(), compensate: false }));
    let bodies: Vec<Body> =
        messages_again(parent.run()).into_iter().map(|event| event.body).collect();
    assert!(matches!(&bodies[1], Body::Run(_, RunEvent::CancelRequested { .. })), "{bodies:?}");
    // A restored log begins it again as well: the step is not in doubt.
    parent.append(super::bodies::claimed(Some(parent.claim_offset()), true));
    assert_eq!(parent.status(), StepStatus::Running);
}

#[test]
fn a_child_goes_on_when_nothing_holds_its_step_back_any_more() {
    let why = || "why".to_owned();
    let parent = &mut parent(Effect::Pure);
    parent.append(step("a", StepEvent::Paused { reason: why() }));
    parent.append(run(RunEvent::Paused { reason: why() }));
    parent.append(step("a", StepEvent::Resumed { reason: why() }));
    assert!(told_now(parent).is_empty(), "its run is paused");
    parent.append(step("a", StepEvent::Paused { reason: why() }));
    parent.append(run(RunEvent::Resumed { reason: why() }));
    assert!(told_now(parent).is_empty(), "it is paused itself");
    parent.append(step("a", StepEvent::Resumed { reason: why() }));
    assert_eq!(told_now(parent).len(), 1);
}

#[test]
fn a_pause_that_found_one_counts_as_read_and_not_again_later() {
    let why = || "why".to_owned();
    let parent = &mut parent(Effect::Pure);
    let mut child = child(parent);
    child.append(run(RunEvent::Paused { reason: "an operator".into() }));
    parent.append(run(RunEvent::Paused { reason: why() }));
    let paused = told(parent, &APPLIED).remove(0);
    assert!(matches!(child.fold(paused.clone()), Verdict::Stale(Reason::Duplicate, _)));
    parent.append(run(RunEvent::Resumed { reason: why() }));
    assert_eq!(child.fold(told(parent, &APPLIED).remove(0)), APPLIED);
    assert!(matches!(child.fold(paused), Verdict::Stale(Reason::Duplicate, _)));
    assert!(child.run().paused.is_none(), "a copy pauses nothing");
}

#[test]
fn what_a_child_has_cost_can_always_be_said() {
    let mut child = child(&parent(Effect::Pure));
    let lease = child.lease();
    let Body::Step(id, key, StepEvent::Completed { attempt, output, .. }) =
        completed("a", 1, lease)
    else {
        unreachable!("it completes")
    };
    let usage = Some(Usage { cost_micros: i64::MAX as u64, ..usage() });
    let lease = Some(lease);
    child.settle_with(vec![Body::Step(
        id,
        key,
        StepEvent::Completed { attempt, lease, output, usage },
    )]);
    let mut state = child.run().clone();
    state.totals.cost_micros = u64::MAX;
    let (event, place) = child.log.last().unwrap();
    for event in messages(&state, event, &APPLIED, *place) {
        event.check().expect("a legal event");
    }
}

fn usage() -> Usage {
    Usage {
        provider: None,
        model: None,
        input_uncached: 1,
        cache_read: 0,
        cache_write: 0,
        output_text: 0,
        output_reasoning: 0,
        cost_micros: 0,
        price_version: None,
    }
}

#[test]
fn l21_a_step_that_is_paused_pauses_its_child() {
    let parent = &mut parent(Effect::Pure);
    parent.append(step("a", StepEvent::Paused { reason: "why".into() }));
    assert!(matches!(&told_now(parent)[..], [Body::Run(_, RunEvent::Paused { .. })]));
    parent.append(step("a", StepEvent::Resumed { reason: "why".into() }));
    assert!(matches!(&told_now(parent)[..], [Body::Run(_, RunEvent::Resumed { .. })]));
}
