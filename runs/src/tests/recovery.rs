//! What stands in for a step that is out of attempts, who is asked about it, and what is undone.

use super::{
    bodies::{DUPLICATE, LOST_RACE, completed, failed, run, step},
    given::Given,
};
use crate::{Answer, Because, Reason, RunStatus, StepStatus, Verdict, WaitKind};
use spine_schemas::{
    Digest, ErrorClass, Output, Payload, RunEvent, StepError, StepEvent, TaskVerdict, keys,
};

const ONCE: &str = r#""retry":{"max_attempts":1}"#;

/// Ends the running attempt of a step, and lets the owner decide.
pub(super) fn end(given: &mut Given, name: &str, class: Option<ErrorClass>) -> Vec<&'static str> {
    let live = given.step(name).live.clone().expect("it runs");
    given.settle_with(vec![match class {
        Some(class) => failed(name, live.attempt, live.lease, class),
        None => completed(name, live.attempt, live.lease),
    }])
}

/// `a` has a fallback of `x`, then `y`; `b` reads from `a`.
fn with_fallback() -> Given {
    let mut given = Given::plan(&format!(
        r#"[{{"name":"a","tool":"t","effect":"pure",{ONCE},"on_exhausted":"fallback","fallback":[
              {{"name":"x","tool":"t","effect":"pure"}},
              {{"name":"y","tool":"t","effect":"pure",{ONCE},"input":{{"$ref":"x#/ok"}}}}]}},
            {{"name":"b","tool":"t","effect":"pure","input":{{"$ref":"a#/ok"}}}}]"#
    ));
    given.settle();
    given
}

#[test]
fn c12_a_fallback_takes_over_and_its_last_output_stands_in() {
    let mut given = with_fallback();
    let then = end(&mut given, "a", Some(ErrorClass::Transient));
    assert_eq!(then, ["step_failed", "fallback_started", "step_scheduled", "step_started"]);
    assert_eq!(given.status(), StepStatus::Awaiting);
    assert_eq!(given.run().waits()[0].wait_for, WaitKind::Fallback);
    assert_eq!(given.run().step_counts().total, 3, "what was called for is counted");
    assert_eq!(
        end(&mut given, "x", None),
        ["step_completed", "step_scheduled", "step_started"],
        "one after the other"
    );
    let then = end(&mut given, "y", None);
    assert_eq!(then, ["step_completed", "step_skipped", "step_scheduled", "step_started"]);
    let stands_in = given.step("a").output.clone().unwrap();
    assert_eq!((stands_in.degraded, stands_in.source.as_deref()), (true, Some("step y#1")));
    assert_eq!(given.step("b").spec.input.data, given.step("y").spec.input.data);
    assert_eq!(end(&mut given, "b", None), ["step_completed", "run_completed"]);
    assert_eq!(given.run().status, RunStatus::Degraded);
}

#[test]
fn a_fallback_that_fails_has_a_policy_of_its_own() {
    let mut given = with_fallback();
    end(&mut given, "a", Some(ErrorClass::Terminal));
    end(&mut given, "x", None);
    let then = end(&mut given, "y", Some(ErrorClass::Terminal));
    assert_eq!(then, ["step_failed", "step_dead_lettered"]);
    assert_eq!(given.run().public_status(), "waiting");
    let letter_id = given.letter("y");
    let (then, reason) = (spine_schemas::Then::Skip, "by hand".into());
    given.append(step("y", StepEvent::Discarded { letter_id, then, reason }));
    assert_eq!(given.settle()[0], "step_skipped", "what is left out stands in with nothing");
    assert_eq!(given.step("a").output.as_ref().unwrap().payload.data, "null");
}

#[test]
fn a_late_success_ends_the_fallback_that_has_not_begun() {
    let mut given = with_fallback();
    let lease = given.lease();
    given.fail(ErrorClass::Timeout);
    let live = given.step("x").live.clone().unwrap();
    let late = given.settle_with(vec![completed("a", 1, lease)]);
    assert_eq!(late, ["step_completed", "step_scheduled", "step_started"], "b goes on");
    let then = given.settle_with(vec![failed("x", 1, live.lease, ErrorClass::Transient)]);
    assert_eq!(then, ["step_failed", "step_cancelled"], "x is not tried again");
    assert_eq!(end(&mut given, "b", None), ["step_completed", "run_completed"]);
    assert!(!given.run().steps.contains_key(&super::bodies::key_of("y")));
}

#[test]
fn a_fallback_starts_only_by_its_owner_and_only_where_the_plan_has_one() {
    let mut given = with_fallback();
    let error = || StepError::new(ErrorClass::Terminal, "x", "x");
    let started = || step("a", StepEvent::FallbackStarted { attempt: 1, error: error() });
    assert_eq!(given.append(started()), Verdict::Illegal(Reason::NoClaim));
    assert_eq!(given.decide(started()), LOST_RACE, "an attempt runs");
    let mut other = Given::running(spine_schemas::Effect::Pure, "");
    let lease = other.lease();
    other.append(failed("a", 1, lease, ErrorClass::Terminal));
    assert_eq!(other.decide(started()), LOST_RACE, "it has no fallback");
}

fn asked() -> (Given, Digest) {
    let mut given = Given::plan(&format!(
        r#"[{{"name":"a","tool":"t","effect":"pure",{ONCE},"on_exhausted":"escalate"}},
            {{"name":"b","tool":"t","effect":"pure","input":{{"$ref":"a#"}}}}]"#
    ));
    given.settle();
    assert_eq!(given.fail(ErrorClass::Terminal), ["step_failed", "task_opened"]);
    let task_id = given.step("a").task.as_ref().unwrap().task_id;
    (given, task_id)
}

fn answer(
    task_id: Digest,
    verdict: TaskVerdict,
    output: Option<&'static str>,
) -> spine_schemas::Body {
    let output = output.map(|text| Output::of(Payload::json("output", text).unwrap()));
    step("a", StepEvent::TaskDecided { task_id, verdict, output, reason: "asked".into() })
}

#[test]
fn c11_somebody_is_asked_and_the_answer_resumes_the_run() {
    let (given, task_id) = asked();
    assert_eq!(given.status(), StepStatus::Awaiting);
    assert_eq!(given.run().public_status(), "waiting");
    assert_eq!(given.run().waits()[0].wait_for, WaitKind::Task);

    let mut retried = given.clone();
    retried.append(answer(task_id, TaskVerdict::Retry, None));
    assert_eq!(retried.settle(), ["step_started"]);
    assert_eq!((retried.step("a").attempt, retried.step("a").charged), (2, 0));
    assert_eq!(retried.fail(ErrorClass::Terminal), ["step_failed", "task_opened"]);
    let again = retried.step("a").task.as_ref().unwrap().task_id;
    assert_ne!(again, task_id, "another question");

    let mut done = given.clone();
    done.append(answer(task_id, TaskVerdict::Complete, Some(r#"{"by":"hand"}"#)));
    assert_eq!(done.settle(), ["step_scheduled", "step_started"]);
    assert_eq!(done.step("b").spec.input.data, r#"{"by":"hand"}"#);
    assert_eq!(done.step("a").output.as_ref().unwrap().source.as_deref(), Some("task"));

    let mut left_out = given.clone();
    left_out.append(answer(task_id, TaskVerdict::Skip, Some("7")));
    left_out.settle();
    assert!(left_out.step("a").output.as_ref().unwrap().degraded);
    assert_eq!(end(&mut left_out, "b", None), ["step_completed", "run_completed"]);
    assert_eq!(left_out.run().status, RunStatus::Degraded);

    let mut over = given;
    over.append(answer(task_id, TaskVerdict::Fail, None));
    assert_eq!(over.settle(), ["run_failed"]);
    assert_eq!(over.run().error.as_ref().unwrap().class, ErrorClass::Terminal);
}

#[test]
fn a_question_is_answered_once() {
    let (mut given, task_id) = asked();
    let closed = Answer::Denied { code: Reason::TaskClosed };
    let wrong = given.append(answer(Digest::of_bytes(b"x"), TaskVerdict::Skip, None));
    assert_eq!(wrong, Verdict::Refused(Reason::TaskClosed, closed.clone()));
    given.append(answer(task_id, TaskVerdict::Skip, None));
    let second = given.append(answer(task_id, TaskVerdict::Retry, None));
    assert_eq!(second, Verdict::Refused(Reason::TaskClosed, closed));
    assert_eq!(given.status(), StepStatus::Skipped);
}

/// Four steps that can be undone, and a fifth with which all of that begins.
fn undoable(more: &str) -> Given {
    let undoable = |name: &str| {
        format!(
            r#"{{"name":"{name}","tool":"t","effect":"pure","compensate":
                {{"tool":"u","effect":"pure","input":{{"what":{{"$ref":"{name}#/ok"}}}},{ONCE}{more}}}}}"#
        )
    };
    let mut given = Given::plan(&format!(
        r#"[{},{},{},{},
            {{"name":"e","tool":"t","effect":"pure",{ONCE},"on_exhausted":"compensate"}}]"#,
        undoable("a"),
        undoable("b"),
        undoable("c"),
        undoable("d")
    ));
    given.settle();
    for name in ["a", "b", "c", "d"] {
        end(&mut given, name, None);
    }
    given
}

#[test]
fn c8_what_was_done_is_undone_in_reverse_order_and_then_the_run_fails() {
    let mut given = undoable("");
    let then = end(&mut given, "e", Some(ErrorClass::Terminal));
    assert_eq!(then, ["step_failed", "compensation_started", "step_scheduled", "step_started"]);
    for name in ["d", "c", "b"] {
        let undo = format!("compensate/{name}");
        assert_eq!(given.step(&undo).spec.tool, "u");
        let then = end(&mut given, &undo, None);
        assert_eq!(then, ["step_completed", "step_scheduled", "step_started"], "{name}");
        assert!(given.run().is_open());
    }
    assert!(crate::why(given.run()).sentence.contains("being undone"));
    assert_eq!(end(&mut given, "compensate/a", None), ["step_completed", "run_failed"]);
    let run = given.run();
    assert!(crate::why(run).sentence.ends_with("What it had done was undone."));
    assert_eq!(
        (run.status, run.failed_step.as_ref().unwrap().to_string()),
        (RunStatus::Failed, "e#1".into())
    );
    assert_eq!(run.steps.values().filter(|step| step.status == StepStatus::Completed).count(), 8);
}

#[test]
fn an_undo_that_fails_has_a_letter_and_somebody_is_asked() {
    let mut given = undoable("");
    end(&mut given, "e", Some(ErrorClass::Terminal));
    let then = end(&mut given, "compensate/d", Some(ErrorClass::Terminal));
    assert_eq!(then, ["step_failed", "step_dead_lettered", "task_opened"]);
    assert_eq!(given.run().public_status(), "waiting");
    let stuck = given.step("compensate/d").clone();
    let mut redriven = given.clone();
    let letter_id = stuck.letter.as_ref().unwrap().letter_id;
    redriven.append(step(
        "compensate/d",
        StepEvent::Redriven { letter_id, reason: "mended".into(), force: false, edit: None },
    ));
    assert_eq!(redriven.settle(), ["step_started"], "the same one, and no other");
    assert_eq!(redriven.step("compensate/d").task, None);
    let task_id = stuck.task.as_ref().unwrap().task_id;
    let (verdict, output) = (TaskVerdict::Skip, None);
    let decided = StepEvent::TaskDecided { task_id, verdict, output, reason: "by hand".into() };
    given.append(step("compensate/d", decided));
    assert_eq!(given.step("compensate/d").letter, None);
    assert_eq!(given.settle(), ["step_scheduled", "step_started"], "on to c");
}

#[test]
fn nothing_is_undone_while_it_is_not_known_what_happened() {
    let mut given = Given::plan(&format!(
        r#"[{{"name":"a","tool":"t","after":[],"compensate":{{"tool":"u","effect":"pure"}}}},
            {{"name":"e","tool":"t","effect":"pure","after":[],{ONCE},"on_exhausted":"compensate"}}]"#
    ));
    given.settle();
    end(&mut given, "a", Some(ErrorClass::Timeout));
    assert_eq!(given.status(), StepStatus::Unknown);
    assert_eq!(end(&mut given, "e", Some(ErrorClass::Terminal)), ["step_failed"]);
    let error = StepError::new(ErrorClass::Terminal, "x", "x");
    let too_early = run(RunEvent::CompensationStarted { error, step: None });
    assert_eq!(given.decide(too_early), LOST_RACE);
    given.resolve(true);
    let then = given.settle();
    assert_eq!(then, ["compensation_started", "step_scheduled", "step_started"]);
    assert_eq!(end(&mut given, "compensate/a", None), ["step_completed", "run_failed"]);
}

#[test]
fn what_may_have_happened_is_undone_too() {
    let mut given = Given::plan(&format!(
        r#"[{{"name":"a","tool":"t","effect":"idempotent",{ONCE},"on_exhausted":"compensate",
              "compensate":{{"tool":"u","effect":"pure"}}}},
            {{"name":"b","tool":"t","after":[],"effect":"pure",
              "compensate":{{"tool":"u","effect":"pure"}}}}]"#
    ));
    given.settle();
    end(&mut given, "b", None);
    let lease = given.lease();
    let mut refused = given.clone();
    refused.fail(ErrorClass::Terminal);
    assert!(!refused.run().steps.contains_key(&super::bodies::key_of("compensate/a")));
    given.after(1).fail(ErrorClass::Timeout);
    assert_eq!(given.step("compensate/a").status, StepStatus::Running, "there was no answer");
    given.append(completed("a", 1, lease));
    assert_eq!(given.status(), StepStatus::Completed, "now it is known");
    let then = end(&mut given, "compensate/a", None);
    assert_eq!(then, ["step_completed", "step_scheduled", "step_started"]);
    assert_eq!(end(&mut given, "compensate/b", None), ["step_completed", "run_failed"]);
}

#[test]
fn the_fold_takes_no_undo_out_of_order_and_no_end_before_the_last() {
    let mut given = undoable("");
    let schedule = |given: &Given, name: &str| {
        let spec = given.step("a").spec.clone();
        step(&format!("compensate/{name}"), StepEvent::Scheduled(spec))
    };
    let body = schedule(&given, "d");
    assert_eq!(given.decide(body), LOST_RACE, "nothing is being undone");
    let lease = given.step("e").live.as_ref().unwrap().lease;
    given.append(failed("e", 1, lease, ErrorClass::Terminal));
    let error = || StepError::new(ErrorClass::Terminal, "x", "x");
    let key = given.step("e").key.clone();
    given.decide(run(RunEvent::CompensationStarted { error: error(), step: Some(key) }));
    let early = run(RunEvent::Failed { error: error(), step: None });
    assert_eq!(given.decide(early), LOST_RACE);
    for name in ["a", "b", "c"] {
        let body = schedule(&given, name);
        assert_eq!(given.decide(body), LOST_RACE, "{name} was done before d");
    }
    assert_eq!(given.settle(), ["step_scheduled", "step_started"]);
}

#[test]
fn f23_one_failing_step_under_each_policy_leaves_six_different_records() {
    let policies = [
        ("", "step_dead_lettered"),
        (r#","on_exhausted":"fail""#, "run_failed"),
        (r#","on_exhausted":"skip""#, "step_skipped"),
        (r#","on_exhausted":"fallback","fallback":[{"name":"x","tool":"t"}]"#, "fallback_started"),
        (r#","on_exhausted":"compensate""#, "compensation_started"),
        (r#","on_exhausted":"escalate""#, "task_opened"),
    ];
    for (policy, recorded) in policies {
        let more = format!(",{ONCE}{policy}");
        let mut given = Given::running(spine_schemas::Effect::Pure, &more);
        let then = given.fail(ErrorClass::Transient);
        assert_eq!(then[1], recorded, "{policy}");
        let kinds = policies.map(|(_, kind)| kind);
        let others = then.iter().filter(|kind| **kind != recorded && kinds.contains(kind)).count();
        // An undone run fails after all.
        assert_eq!(others, usize::from(recorded == "compensation_started"), "{then:?}");
    }
}

/// What a fork of a run takes over, and what it does again that was undone or is going to be.
fn forked(given: &Given) -> (Vec<String>, Vec<String>) {
    let taken = super::forks::fork_of(given, |_| {}, None).1;
    let reused = taken.reused.iter().map(|step| step.key.name.to_string());
    let undone = taken.again.iter().filter(|step| step.because == Because::Undone);
    let undone = undone.map(|step| format!("{} {:?}", step.key.name, step.happened));
    (reused.collect(), undone.collect())
}

#[test]
fn a_fork_takes_nothing_over_that_was_undone_or_is_going_to_be() {
    let mut given = undoable("");
    assert_eq!(forked(&given).0, ["a", "b", "c", "d"], "it goes on");
    end(&mut given, "e", Some(ErrorClass::Terminal));
    end(&mut given, "compensate/d", None);
    let (reused, undone) = forked(&given);
    assert!(reused.is_empty(), "{reused:?}");
    assert_eq!(undone, ["a Yes", "b Yes", "c Yes", "d No"]);
    let mut asked = undoable("");
    asked.append(run(RunEvent::CancelRequested { reason: "x".into(), compensate: true }));
    assert!(forked(&asked).0.is_empty(), "it waits for e, and turns back then");
    asked.append(run(RunEvent::Cancelled { reason: "now".into() }));
    assert_eq!(forked(&asked).0, ["a", "b", "c", "d"], "killed: nothing is undone any more");
}

#[test]
fn what_stood_in_for_a_step_and_was_undone_stands_in_for_it_no_more() {
    for (compensate, reused) in
        [(r#","compensate":{"tool":"u","effect":"pure"}"#, vec![]), ("", vec!["a", "x"])]
    {
        let mut given = Given::plan(&format!(
            r#"[{{"name":"a","tool":"t","effect":"pure",{ONCE},"on_exhausted":"fallback",
                 "fallback":[{{"name":"x","tool":"t","effect":"pure"{compensate}}}]}},
                {{"name":"e","tool":"t","effect":"pure",{ONCE},"on_exhausted":"compensate"}}]"#
        ));
        given.settle();
        end(&mut given, "a", Some(ErrorClass::Terminal));
        end(&mut given, "x", None);
        end(&mut given, "e", Some(ErrorClass::Terminal));
        assert_eq!(forked(&given).0, reused, "while it is undone");
        if given.run().is_open() {
            end(&mut given, "compensate/x", None);
        }
        assert_eq!(
            (given.run().status, forked(&given).0),
            (RunStatus::Failed, reused.iter().map(|name| name.to_string()).collect())
        );
    }
}

#[test]
fn a_cancel_that_is_asked_for_again_is_answered_as_before_while_the_run_is_undone() {
    let mut given = undoable("");
    let cancel = |compensate| run(RunEvent::CancelRequested { reason: "x".into(), compensate });
    given.append(cancel(true));
    end(&mut given, "e", Some(ErrorClass::Terminal));
    assert_eq!(given.step("compensate/d").status, StepStatus::Running);
    assert_eq!(given.append(cancel(true)), DUPLICATE);
    assert_eq!(given.append(cancel(false)), DUPLICATE);
    let mut failing = undoable("");
    end(&mut failing, "e", Some(ErrorClass::Terminal));
    assert_eq!(failing.append(cancel(true)).reason(), Some(Reason::RunEnding));
}

#[test]
fn a_step_that_cannot_run_at_all_has_the_same_choice() {
    for (policy, recorded) in [
        (r#""on_exhausted":"escalate""#, "task_opened"),
        (r#""on_exhausted":"compensate""#, "compensation_started"),
        (r#""on_exhausted":"fallback","fallback":[{"name":"x","tool":"t"}]"#, "fallback_started"),
    ] {
        let mut given = Given::plan(&format!(
            r#"[{{"name":"a","tool":"t","effect":"pure"}},
                {{"name":"b","tool":"t",{policy},"input":{{"$ref":"a#/nowhere"}}}}]"#
        ));
        given.settle();
        let then = given.complete();
        assert_eq!(then[..3], ["step_completed", "step_scheduled", recorded], "{policy}");
    }
}

#[test]
fn ids_of_questions_count_them() {
    let (given, task_id) = asked();
    let step = given.step("a");
    assert_eq!(task_id, keys::task_id(&given.run().key, &step.key, 0));
    assert_eq!(step.tasks, 1);
}

#[test]
fn a_letter_is_not_put_back_into_a_run_that_is_about_to_end() {
    let mut given = Given::plan(&format!(
        r#"[{{"name":"a","tool":"t","effect":"pure",{ONCE}}},
            {{"name":"b","tool":"t","effect":"pure","after":[]}}]"#
    ));
    given.settle();
    end(&mut given, "a", Some(ErrorClass::Terminal));
    given.append(run(RunEvent::CancelRequested { reason: "x".into(), compensate: false }));
    assert_eq!(given.redrive(false).reason(), Some(Reason::RunEnding));
    assert!(given.step("a").letter.is_some(), "it stays open");
}

/// A plan whose second step refers to what the first one does not give.
fn pointing_at_nothing(policy: &str) -> Given {
    let mut given = Given::plan(&format!(
        r#"[{{"name":"a","tool":"t","effect":"pure"}},
            {{"name":"b","tool":"t","effect":"pure","input":{{"$ref":"a#/nothing"}},"on_exhausted":"{policy}"}}]"#
    ));
    given.settle();
    given.complete();
    given
}

#[test]
fn a_template_is_never_sent_to_a_tool() {
    let mut given = pointing_at_nothing("dead_letter");
    assert_eq!(given.step("b").status, StepStatus::DeadLettered);
    let letter_id = given.letter("b");
    let refused = |code| Verdict::Refused(code, Answer::Denied { code });
    for force in [false, true] {
        let redrive = super::bodies::redriven("b", letter_id, force);
        assert_eq!(given.append(redrive), refused(Reason::InputUnresolved));
    }
    let (before, after) =
        (given.step("b").spec.input.digest, Payload::json("input", &b"7"[..]).unwrap());
    let edit = Some(spine_schemas::InputEdit { before, after });
    let redriven = StepEvent::Redriven { letter_id, reason: "mended".into(), force: false, edit };
    assert_eq!(given.append(step("b", redriven)), Verdict::Applied(Answer::Ok));
    assert_eq!(given.settle(), ["step_started"]);
    let mut asked = pointing_at_nothing("escalate");
    let task_id = asked.step("b").task.as_ref().unwrap().task_id;
    let decided = |verdict| {
        let reason = "go".into();
        step("b", StepEvent::TaskDecided { task_id, verdict, output: None, reason })
    };
    assert_eq!(asked.append(decided(TaskVerdict::Retry)), refused(Reason::InputUnresolved));
    assert_eq!(asked.append(decided(TaskVerdict::Complete)), Verdict::Applied(Answer::Ok));
    assert_eq!(asked.settle(), ["run_completed"]);
}

#[test]
fn what_waits_to_be_undone_says_for_what() {
    let mut given = Given::plan(&format!(
        r#"[{{"name":"a","tool":"t","after":[]}},
            {{"name":"b","tool":"t","effect":"pure",{ONCE},"on_exhausted":"compensate","after":[]}}]"#
    ));
    given.settle();
    end(&mut given, "a", Some(ErrorClass::UnknownOutcome));
    assert_eq!(end(&mut given, "b", Some(ErrorClass::Transient)), ["step_failed"]);
    let waits = given.run().waits();
    assert_eq!(waits.iter().map(|wait| wait.wait_for).collect::<Vec<_>>(), [WaitKind::Resolution]);
    assert_eq!(given.run().public_status(), "waiting");
    let why = crate::why(given.run()).sentence;
    assert!(why.contains("The run failed with step b#1"), "{why}");
    assert!(why.contains("spine steps resolve"), "{why}");
    given.resolve(false);
    assert_eq!(given.settle(), ["compensation_started", "run_failed"]);
}

#[test]
fn a_planned_fault_may_be_overtaken_by_the_end_of_its_run() {
    let mut given = Given::plan(r#"[{"name":"a","tool":"t","effect":"pure"}]"#);
    given.settle();
    let (attempt, lease) = (1, given.lease());
    given.append(run(RunEvent::Cancelled { reason: "now".into() }));
    let fault = spine_schemas::Fault::Timeout;
    let outcomes = vec![
        step("a", StepEvent::FaultInjected { attempt, fault }),
        failed("a", attempt, lease, ErrorClass::Timeout),
    ];
    let kinds: Vec<_> =
        given.ahead(outcomes).events.iter().map(|event| event.kind().as_str()).collect();
    assert_eq!(kinds, ["step_failed"], "late evidence");
}
