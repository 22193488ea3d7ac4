//! Forks: what they take over, what they do again, and when they begin.

use super::{
    bodies::{completed, created, key_of, output, started, step},
    given::Given,
};
use crate::{
    Answer, Because, Forked, Happened, Hold, Reason, RunStatus, StepStatus, Verdict, WaitKind,
    forked, why,
};
use spine_schemas::{
    Body, Driver, Effect, ErrorClass, Fork, HeldBy, Payload, Plan, RunCreated, RunEvent, StepEvent,
    StepKey,
};
use std::sync::Arc;

/// Ten steps, one after the other; each gets what the one before it produced.
pub(super) fn ten() -> String {
    let step = |n: usize| {
        let input = match n {
            1 => r#"{"$ref":"run#"}"#.to_owned(),
            _ => format!(r#"{{"$ref":"s{}#/ok"}}"#, n - 1),
        };
        format!(r#"{{"name":"s{n}","tool":"t","effect":"idempotent","input":{input}}}"#)
    };
    format!("[{}]", (1..=10).map(step).collect::<Vec<_>>().join(","))
}

fn plan(steps: &str) -> Arc<Plan> {
    Arc::new(Plan::parse(format!(r#"{{"steps":{steps}}}"#)).expect("a plan"))
}

/// Runs steps to their end, one after the other, as far as there are any that run.
pub(super) fn finish(given: &mut Given, most: usize) {
    for _ in 0..most {
        given.settle();
        let running = |step: &&Arc<crate::StepState>| step.status == StepStatus::Running;
        let Some(step) = given.run().steps.values().find(running).cloned() else { return };
        let lease = step.live.as_ref().unwrap().lease;
        given.append(completed(&step.key.to_string(), step.attempt, lease));
    }
    given.settle();
}

/// How a fork of a run begins, with as much as it takes over.
pub(super) fn fork_of(
    original: &Given,
    change: impl FnOnce(&mut RunCreated),
    from: Option<&str>,
) -> (RunCreated, Forked) {
    let mut new = RunCreated::clone(&original.run().created);
    change(&mut new);
    let from = from.map(key_of);
    let taken = forked(original.run(), &new, from.as_ref());
    new.fork = Some(Box::new(Fork {
        run_id: original.run().key.run_id.to_string(),
        step: from,
        reused: u32::try_from(taken.reused.len()).unwrap(),
        undo_reused: false,
        force: true,
        reason: "test".into(),
    }));
    (new, taken)
}

/// A partition with the fork in it, as far as `most` of what it takes over have come.
pub(super) fn begin(new: RunCreated, taken: &Forked, most: usize) -> Given {
    let mut given = Given::nothing();
    given.append(Body::Run("r1".into(), RunEvent::Created(Box::new(new))));
    for reused in taken.reused.iter().take(most) {
        let body = Body::Step("r1".into(), reused.key.clone(), reused.event(None));
        let verdict = given.append(body);
        assert_eq!(verdict, Verdict::Applied(Answer::Ok), "{}", reused.key);
    }
    given
}

fn names(taken: &Forked) -> Vec<String> {
    taken.reused.iter().map(|step| step.key.name.to_string()).collect()
}

fn again<'t>(taken: &'t Forked, name: &str) -> &'t crate::AgainStep {
    let key = key_of(name);
    taken.again.iter().find(|step| step.key == key).expect("it is listed")
}

#[test]
fn l40_a_fork_at_each_of_ten_steps_keeps_what_was_finished_before_it() {
    let mut original = Given::plan(&ten());
    finish(&mut original, 20);
    assert_eq!(original.run().status, RunStatus::Completed);
    for cut in 1..=10 {
        let (new, taken) = fork_of(&original, |_| {}, Some(&format!("s{cut}")));
        let before: Vec<String> = (1..cut).map(|n| format!("s{n}")).collect();
        assert_eq!(names(&taken), before);
        assert_eq!(again(&taken, &format!("s{cut}")).because, Because::Cut);
        for n in cut + 1..=10 {
            let step = again(&taken, &format!("s{n}"));
            assert_eq!((step.because, step.may_repeat()), (Because::Follows, true));
        }
        let mut fork = begin(new, &taken, usize::MAX);
        assert_eq!(fork.run().totals.attempts, 0);
        finish(&mut fork, 20);
        assert_eq!(fork.run().status, RunStatus::Completed);
        assert_eq!(fork.run().totals.attempts, 11 - cut, "what was finished is not called again");
        // Whoever forks once more is told that it is done, also after the end.
        for reused in &taken.reused {
            let (spec, output) = (reused.spec.clone(), reused.output.clone());
            let body = StepEvent::Reused { spec, output, skipped: None, edited: false };
            let again = fork.append(Body::Step("r1".into(), reused.key.clone(), body));
            assert!(matches!(again, Verdict::Stale(Reason::Duplicate, _)), "{again:?}");
        }
        assert_eq!(fork.run().output, original.run().output);
    }
}

#[test]
fn c13_a_changed_parameter_runs_the_step_that_it_concerns_and_what_rests_on_it() {
    let mut original = Given::plan(&ten());
    finish(&mut original, 20);
    let steps = ten().replace(r#""input":{"$ref":"s5#/ok"}"#, r#""input":{"cents":7}"#);
    let change = |new: &mut RunCreated| new.plan = Some(plan(&steps));
    let (new, taken) = fork_of(&original, change, None);
    assert_eq!(names(&taken), ["s1", "s2", "s3", "s4", "s5"]);
    assert_eq!(again(&taken, "s6").because, Because::Changed);
    assert_eq!(again(&taken, "s7").because, Because::Follows);
    assert!(again(&taken, "s6").may_repeat());
    let mut fork = begin(new, &taken, usize::MAX);
    fork.settle();
    assert_eq!(fork.step("s6").spec.input.data, r#"{"cents":7}"#);
    // With another input of the run, whatever was made of the old one is made anew.
    let input = Payload::json("input", "5").unwrap();
    let (_, taken) = fork_of(&original, |new| new.input = input, None);
    assert_eq!(names(&taken), Vec::<String>::new());
    assert_eq!(again(&taken, "s1").because, Because::Changed);
}

#[test]
fn a_fork_of_a_failed_run_begins_where_that_failed() {
    let mut original = Given::plan(&ten().replace(
        r#""name":"s4","tool":"t""#,
        r#""name":"s4","tool":"t","retry":{"max_attempts":1},"on_exhausted":"fail""#,
    ));
    finish(&mut original, 3);
    let lease = original.step("s4").live.as_ref().unwrap().lease;
    let failed = super::bodies::failed("s4", 1, lease, ErrorClass::Timeout);
    original.settle_with(vec![failed]);
    assert_eq!(original.run().status, RunStatus::Failed);
    let (_, taken) = fork_of(&original, |_| {}, None);
    assert_eq!(names(&taken), ["s1", "s2", "s3"]);
    let step = again(&taken, "s4");
    assert_eq!((step.because, step.happened), (Because::Unfinished, Happened::Maybe));
    assert!(step.may_repeat(), "a time-out says nothing");
}

/// One who resumes the tool lets both of them call it.
#[test]
fn what_is_held_back_by_a_pause_of_its_tool_may_be_done_twice() {
    let mut original = Given::plan(&ten());
    original.settle();
    let hold = Hold { by: HeldBy::ToolPaused, until: original.now, starts: 0 };
    original.holds.tools.insert("t".into(), hold);
    finish(&mut original, 1);
    let held = original.step("s2");
    assert_eq!((held.status, original.run().public_status()), (StepStatus::Deferred, "waiting"));
    let (_, taken) = fork_of(&original, |_| {}, None);
    assert_eq!(names(&taken), ["s1"]);
    for name in ["s2", "s3", "s10"] {
        let step = again(&taken, name);
        assert_eq!((step.happened, step.may_repeat()), (Happened::Maybe, true), "{name}");
    }
}

#[test]
fn nothing_of_a_fork_begins_before_it_has_what_it_takes_over() {
    let mut original = Given::plan(&ten());
    finish(&mut original, 20);
    let (new, taken) = fork_of(&original, |_| {}, Some("s4"));
    let mut fork = begin(new, &taken, 2);
    assert_eq!(fork.settle(), Vec::<&str>::new());
    assert_eq!(fork.run().waits()[0].wait_for, WaitKind::Fork);
    let why = why(fork.run());
    assert!(why.sentence.contains("2 of the 3 finished steps"), "{}", why.sentence);
    let early = fork.decide(started("s4", 1));
    assert_eq!(early, Verdict::Stale(Reason::LostRace, None));
    let other = step(
        "s9",
        StepEvent::Reused {
            spec: taken.reused[2].spec.clone(),
            output: None,
            skipped: None,
            edited: false,
        },
    );
    let last = &taken.reused[2];
    let (spec, output) = (last.spec.clone(), last.output.clone());
    let body = Body::Step(
        "r1".into(),
        last.key.clone(),
        StepEvent::Reused { spec, output, skipped: None, edited: false },
    );
    assert_eq!(fork.append(body.clone()), Verdict::Applied(Answer::Ok));
    assert!(matches!(fork.append(body), Verdict::Stale(Reason::Duplicate, _)));
    // Later nobody can slip in a step that nothing ran.
    assert!(matches!(fork.append(other), Verdict::Refused(Reason::StepState, _)));
    assert_eq!(fork.settle(), ["step_scheduled", "step_started"]);
}

#[test]
fn a_fork_that_is_not_whole_can_be_cancelled() {
    let mut original = Given::plan(&ten());
    finish(&mut original, 20);
    let (new, taken) = fork_of(&original, |_| {}, Some("s4"));
    for compensate in [false, true] {
        let mut fork = begin(new.clone(), &taken, 1);
        let asks = RunEvent::CancelRequested { reason: "no".into(), compensate };
        fork.append(Body::Run("r1".into(), asks));
        fork.settle();
        assert_eq!(fork.run().status, RunStatus::Cancelled);
    }
}

const UNDONE: &str = r#"[
    {"name":"a","tool":"t","effect":"idempotent","compensate":{"tool":"u","effect":"idempotent"}},
    {"name":"b","tool":"t","effect":"idempotent","compensate":{"tool":"u","effect":"idempotent"}},
    {"name":"c","tool":"t","effect":"idempotent","retry":{"max_attempts":1},"on_exhausted":"compensate"}]"#;

fn fail_c(given: &mut Given) {
    let lease = given.step("c").live.as_ref().unwrap().lease;
    given.settle_with(vec![super::bodies::failed("c", 1, lease, ErrorClass::Terminal)]);
}

#[test]
fn what_was_undone_is_not_taken_over_and_does_not_count_as_done() {
    let mut original = Given::plan(UNDONE);
    finish(&mut original, 2);
    fail_c(&mut original);
    finish(&mut original, 5);
    assert_eq!(original.run().status, RunStatus::Failed);
    let (_, taken) = fork_of(&original, |_| {}, None);
    assert_eq!(names(&taken), Vec::<String>::new());
    let step = again(&taken, "a");
    assert_eq!((step.because, step.happened), (Because::Undone, Happened::No));
    assert!(!step.may_repeat());
}

#[test]
fn a_fork_undoes_what_it_took_over_only_if_it_is_told_to() {
    let mut original = Given::plan(UNDONE);
    finish(&mut original, 2);
    for undo_reused in [false, true] {
        let (mut new, taken) = fork_of(&original, |_| {}, Some("b"));
        assert_eq!(names(&taken), ["a"]);
        assert!(taken.reused[0].can_be_undone);
        new.fork.as_mut().unwrap().undo_reused = undo_reused;
        let mut fork = begin(new, &taken, 1);
        finish(&mut fork, 1);
        fail_c(&mut fork);
        finish(&mut fork, 5);
        assert_eq!(fork.run().status, RunStatus::Failed);
        let undone = |name: &str| fork.run().steps.contains_key(&key_of(name));
        assert!(undone("compensate/b"));
        assert_eq!(undone("compensate/a"), undo_reused);
    }
}

#[test]
fn a_step_whose_input_an_operator_repaired_is_taken_over() {
    let mut original = Given::plan(
        r#"[{"name":"a","tool":"t","effect":"pure","input":1,"retry":{"max_attempts":1}},
            {"name":"b","tool":"t","effect":"pure"}]"#,
    );
    original.settle();
    original.fail(ErrorClass::Terminal);
    let before = original.step("a").spec.input.digest;
    let after = Payload::json("input", "2").unwrap();
    let edit = Some(spine_schemas::InputEdit { before, after });
    let letter_id = original.letter("a");
    let (reason, force) = ("repair".to_owned(), false);
    original.append(step("a", StepEvent::Redriven { letter_id, reason, force, edit }));
    finish(&mut original, 5);
    let (_, taken) = fork_of(&original, |_| {}, Some("b"));
    assert_eq!(names(&taken), ["a"]);
    assert_eq!(taken.reused[0].spec.input.data, "2");
}

/// A journal run whose agent works through a loop; round 7 fails.
fn looped() -> Given {
    let mut given = Given::journal();
    for round in 1..=7 {
        let name = format!("round#{round}");
        given.op("S", round, super::bodies::begin(&name, Effect::Idempotent));
        let lease = given.offset;
        if round < 7 {
            given.op("S", 100 + round, completed(&name, 1, lease));
        }
    }
    given
}

#[test]
fn l40_a_loop_that_failed_in_round_7_goes_on_in_round_7() {
    let original = looped();
    let (new, taken) = fork_of(&original, |_| {}, Some("round#7"));
    assert_eq!(taken.reused.len(), 6);
    let step = again(&taken, "round#7");
    assert_eq!((step.because, step.happened), (Because::Cut, Happened::Maybe));
    let mut fork = begin(new, &taken, 5);
    let not_yet = fork.op("T", 1, super::bodies::begin("round#1", Effect::Idempotent));
    let wait = Answer::Wait { wait_for: WaitKind::Fork, until: None };
    assert_eq!(not_yet, Verdict::Refused(Reason::StepAbsent, wait));
    let (new, taken) = fork_of(&original, |_| {}, Some("round#7"));
    let mut fork = begin(new, &taken, 6);
    for round in 1..=6 {
        let name = format!("round#{round}");
        let verdict = fork.op("T", round, super::bodies::begin(&name, Effect::Idempotent));
        assert_eq!(verdict, Verdict::Stale(Reason::Duplicate, Some(Answer::Replay)));
    }
    let verdict = fork.op("T", 7, super::bodies::begin("round#7", Effect::Idempotent));
    assert!(matches!(verdict, Verdict::Applied(Answer::Execute { attempt: 1, .. })));
}

#[test]
fn only_forks_take_steps_over() {
    let mut given = Given::plan(&ten());
    let spec = super::bodies::spec(Effect::Pure, "1");
    let reuse = |spec| {
        step(
            "s1",
            StepEvent::Reused { spec, output: Some(output("1")), skipped: None, edited: false },
        )
    };
    assert!(matches!(given.append(reuse(spec.clone())), Verdict::Refused(Reason::StepState, _)));
    let mut record = Given::nothing();
    record.append(created(Driver::Record, None));
    assert!(matches!(record.append(reuse(spec)), Verdict::Refused(..)));
}

#[test]
fn a_fork_with_another_origin_is_another_run() {
    let mut original = Given::plan(&ten());
    finish(&mut original, 20);
    let (new, taken) = fork_of(&original, |_| {}, Some("s4"));
    let mut fork = begin(new.clone(), &taken, 3);
    let same = Body::Run("r1".into(), RunEvent::Created(Box::new(new.clone())));
    assert!(matches!(fork.append(same), Verdict::Stale(Reason::Duplicate, _)));
    let mut other = new;
    other.fork.as_mut().unwrap().step = None::<StepKey>;
    let other = Body::Run("r1".into(), RunEvent::Created(Box::new(other)));
    assert!(matches!(fork.append(other), Verdict::Refused(Reason::RunExists, _)));
}

#[test]
fn what_was_left_out_is_left_out_in_the_fork_and_nothing_of_it_is_undone() {
    let mut original = Given::plan(
        r#"[{"name":"a","tool":"t","effect":"idempotent","on_exhausted":"skip","default":{"risk":0},
             "compensate":{"tool":"u","effect":"pure"},"retry":{"max_attempts":1}},
            {"name":"c","tool":"t","effect":"pure","retry":{"max_attempts":1},"on_exhausted":"compensate"}]"#,
    );
    original.settle();
    original.fail(ErrorClass::Terminal);
    let (mut new, taken) = fork_of(&original, |_| {}, Some("c"));
    assert_eq!(names(&taken), ["a"]);
    assert!(taken.reused[0].is_skipped && !taken.reused[0].can_be_undone);
    new.fork.as_mut().unwrap().undo_reused = true;
    let mut fork = begin(new, &taken, 1);
    assert_eq!(fork.status(), StepStatus::Skipped);
    assert_eq!(fork.step("a").output.as_ref().unwrap().payload.data, r#"{"risk":0}"#);
    fork.settle();
    fail_c(&mut fork);
    finish(&mut fork, 3);
    assert_eq!(fork.run().status, RunStatus::Failed);
    assert!(!fork.run().steps.contains_key(&key_of("compensate/a")));
}

#[test]
fn what_an_open_run_may_do_at_any_moment_may_happen_twice() {
    let mut original = Given::plan(&ten());
    finish(&mut original, 3);
    let (_, taken) = fork_of(&original, |_| {}, None);
    assert_eq!(names(&taken), ["s1", "s2", "s3"]);
    let open: Vec<_> = taken.again.iter().filter(|step| step.may_repeat()).collect();
    assert_eq!(open.len(), 7, "what runs, and what has not begun");
    original.append(Body::Run("r1".into(), RunEvent::Cancelled { reason: "end".into() }));
    let (_, taken) = fork_of(&original, |_| {}, None);
    let open: Vec<_> = taken.again.iter().filter(|step| step.may_repeat()).collect();
    assert_eq!(open.len(), 1, "what ran when it was ended");
}

#[test]
fn what_stood_in_for_a_step_is_taken_over_only_if_all_that_was_asked_for_is_the_same() {
    let steps = r#"[{"name":"a","tool":"t","effect":"pure","retry":{"max_attempts":1},"on_exhausted":"fallback",
        "fallback":[{"name":"x","tool":"t","effect":"pure","input":1},
                    {"name":"y","tool":"t","effect":"pure","input":{"$ref":"x#"}}]},
        {"name":"b","tool":"t","effect":"pure"}]"#;
    let mut original = Given::plan(steps);
    original.settle();
    original.fail(ErrorClass::Terminal);
    finish(&mut original, 9);
    assert_eq!(original.run().status, RunStatus::Degraded);
    let (_, same) = fork_of(&original, |_| {}, None);
    assert_eq!(names(&same), ["a", "x", "y", "b"]);

    let other = plan(&steps.replace(r#""input":1"#, r#""input":2"#));
    let (new, taken) = fork_of(&original, |new| new.plan = Some(other), None);
    assert_eq!(names(&taken), [""; 0], "b comes after a, and a rests on x");
    assert_eq!(again(&taken, "a").because, Because::Changed);
    let mut fork = begin(new, &taken, 0);
    fork.settle();
    assert_eq!(fork.status(), StepStatus::Running, "it is tried first, as in the original");

    let changed = plan(&steps.replace(r#""name":"y","tool":"t""#, r#""name":"y","tool":"u""#));
    let (_, taken) = fork_of(&original, |new| new.plan = Some(changed), None);
    assert_eq!(names(&taken), [""; 0]);
    let without =
        r#"[{"name":"a","tool":"t","effect":"pure"},{"name":"b","tool":"t","effect":"pure"}]"#;
    let (_, taken) = fork_of(&original, |new| new.plan = Some(plan(without)), None);
    assert_eq!(names(&taken), [""; 0], "nothing stands in for it any more");
}

/// What a fork with these steps takes over.
fn taken_with(original: &Given, steps: &str) -> Vec<String> {
    names(&fork_of(original, |new| new.plan = Some(plan(steps)), None).1)
}

#[test]
fn what_stood_in_for_a_step_is_not_taken_over_where_another_would_stand_in() {
    let chain = |steps: &str| {
        format!(
            r#"[{{"name":"a","tool":"t","effect":"pure","retry":{{"max_attempts":1}},
                "on_exhausted":"fallback","fallback":[{steps}]}}]"#
        )
    };
    let one = |name: &str| format!(r#"{{"name":"{name}","tool":"t","effect":"pure"}}"#);
    let mut original = Given::plan(&chain(&[one("x"), one("y")].join(",")));
    original.settle();
    original.fail(ErrorClass::Terminal);
    finish(&mut original, 9);
    assert_eq!(original.run().status, RunStatus::Degraded);
    assert_eq!(taken_with(&original, &chain(&[one("x"), one("y")].join(","))), ["a", "x", "y"]);
    for (other, why) in [
        (vec!["x", "y", "w"], "w would be the last one"),
        (vec!["y", "x"], "x would be the last one"),
        (vec!["x"], "x would be the last one"),
    ] {
        let steps: Vec<String> = other.into_iter().map(one).collect();
        assert_eq!(taken_with(&original, &chain(&steps.join(","))), [""; 0], "{why}");
    }
    let listed = format!("[{},{}]", one("x"), one("a"));
    assert_eq!(taken_with(&original, &listed), ["x"], "nothing stands in for a any more");
}

#[test]
fn what_the_plan_left_out_is_taken_over_only_if_it_would_be_left_out_alike() {
    let steps = r#"[{"name":"a","tool":"t","effect":"pure","retry":{"max_attempts":1},
        "on_exhausted":"skip","default":7},{"name":"b","tool":"t","effect":"pure"}]"#;
    let mut original = Given::plan(steps);
    original.settle();
    original.fail(ErrorClass::Terminal);
    finish(&mut original, 9);
    assert_eq!(original.run().status, RunStatus::Degraded);
    assert_eq!(taken_with(&original, steps), ["a", "b"]);
    assert_eq!(taken_with(&original, &steps.replace("7", "8")), [""; 0], "another default");
    let kept = steps.replace(r#""on_exhausted":"skip","default":7"#, r#""on_exhausted":"fail""#);
    assert_eq!(taken_with(&original, &kept), [""; 0], "it would not be left out");
    let written = steps.replace(r#""default":7"#, r#""default": 7 "#);
    assert_eq!(taken_with(&original, &written), ["a", "b"], "how it is written does not matter");
}

/// An operator's input repaired a template that found nothing; what it found else is another thing now.
#[test]
fn a_repaired_step_whose_input_is_not_found_is_not_taken_over() {
    let steps = r#"[{"name":"z","tool":"t","effect":"pure"},{"name":"a","tool":"t","effect":"idempotent",
        "input":{"amount":{"$ref":"z#/absent"},"to":{"$ref":"run#"}}}]"#;
    let mut original = Given::plan(steps);
    finish(&mut original, 1);
    original.settle();
    super::operators::edit(&mut original, r#"{"amount":5,"to":"alice"}"#);
    finish(&mut original, 5);
    assert_eq!(original.run().status, RunStatus::Completed);
    let input = Payload::json("input", r#""bob""#).unwrap();
    let (_, taken) = fork_of(&original, |new| new.input = input, None);
    assert_eq!(names(&taken), ["z"]);
    assert_eq!(again(&taken, "a").because, Because::Changed);
}

#[test]
fn a_step_of_a_fallback_that_could_not_be_asked_for_is_taken_over_with_the_others() {
    let steps = r#"[{"name":"z","tool":"t","effect":"pure"},
        {"name":"a","tool":"t","effect":"pure","retry":{"max_attempts":1},"on_exhausted":"fallback",
         "fallback":[{"name":"x","tool":"t","effect":"pure","input":{"$ref":"z#/absent"},
            "on_exhausted":"skip"}]}]"#;
    let mut original = Given::plan(steps);
    finish(&mut original, 1);
    original.settle();
    original.fail(ErrorClass::Terminal);
    finish(&mut original, 9);
    assert_eq!(original.run().status, RunStatus::Degraded);
    assert_eq!(original.step("x").attempt, 0, "it has no input");
    assert_eq!(taken_with(&original, steps), ["z", "a", "x"]);
}

/// The original's agent sends its own input, and so does that of a fork.
#[test]
fn a_forks_agent_is_told_what_became_of_a_step_whose_input_an_operator_gave() {
    let mut original = Given::journal();
    original.op("S", 1, super::bodies::begin("a", Effect::Pure));
    let lease = original.offset;
    original.op("S", 2, super::bodies::failed("a", 1, lease, ErrorClass::Terminal));
    original.settle();
    super::operators::edit(&mut original, "2");
    original.op("S", 3, super::bodies::begin("a", Effect::Pure));
    let lease = original.offset;
    original.op("S", 4, completed("a", 2, lease));
    original.op("S", 5, super::bodies::begin("b", Effect::Pure));
    let (new, taken) = fork_of(&original, |_| {}, Some("b"));
    assert_eq!(names(&taken), ["a"]);
    let mut fork = begin(new, &taken, 1);
    assert_eq!(fork.step("a").spec.input.data, "2", "what was done is said");
    let verdict = fork.op("T", 1, super::bodies::begin("a", Effect::Pure));
    assert_eq!(verdict.answer(), Some(&Answer::Replay));
    let (new, again) = fork_of(&fork, |_| {}, None);
    let mut second = begin(new, &again, 1);
    let verdict = second.op("T", 1, super::bodies::begin("a", Effect::Pure));
    assert_eq!(verdict.answer(), Some(&Answer::Replay), "also in a fork of the fork");
}
