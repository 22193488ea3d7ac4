//! Brains that are asked between steps and drop what is not to be done any more: what the log says of it, what may
//! begin meanwhile, and that the plan follows from the steps whatever happens.

use super::{
    arbitrary::config,
    bodies::{created, failed, key_of, run, step},
    forks::{self, fork_of},
    given::Given,
};
use crate::{Reason, RunState, RunStatus, StepStatus, Verdict, brain, why};
use proptest::prelude::*;
use spine_schemas::{
    BRAIN_ANSWER, BRAIN_DROPPED, Body, Driver, ErrorClass, Output, Payload, Plan, RunEvent,
    StepEvent, StepKey, Then,
};

/// Five steps one after the other; the brain is asked behind the third.
const FIVE: &str = r#"[{"name":"s1","tool":"t"},{"name":"s2","tool":"t"},{"name":"s3","tool":"t","then_ask":true},
    {"name":"s4","tool":"t","input":{"$ref":"s1#"}},{"name":"s5","tool":"t"}]"#;

fn given(brain: &str, steps: &str) -> Given {
    let mut given = Given::nothing();
    let retry = r#""retry":{"max_attempts":2,"initial_ms":1,"max_ms":1}"#;
    let source = format!(r#"{{{retry},"brain":{{"tool":"b"{brain}}},"steps":{steps}}}"#);
    given.append(created(Driver::Plan, Some(Plan::parse(source).expect("a legal plan"))));
    given.settle();
    given
}

/// The same where the brain is being asked behind the third step.
fn asked(brain: &str) -> Given {
    let mut given = given(brain, FIVE);
    for name in ["s1", "s2", "s3"] {
        end(&mut given, name, "1");
    }
    given
}

fn says(given: &Given, name: &str, text: &str) -> Body {
    let live = given.step(name).live.clone().unwrap_or_else(|| panic!("{name} runs"));
    let output = Output::of(Payload::json("output", text.to_owned()).expect("legal JSON"));
    let (attempt, lease) = (live.attempt, Some(live.lease));
    step(name, StepEvent::Completed { attempt, lease, output, usage: None })
}

fn end(given: &mut Given, name: &str, text: &str) -> Vec<&'static str> {
    let body = says(given, name, text);
    given.settle_with(vec![body])
}

fn names(run: &RunState) -> Vec<String> {
    run.plan().unwrap().in_list().iter().map(|step| step.key.to_string()).collect()
}

fn is_whole(run: &RunState) {
    assert_eq!(brain::grown(&run.created, &run.steps).unwrap(), run.grown);
}

fn input(given: &Given, name: &str) -> serde_json::Value {
    serde_json::from_slice(given.step(name).input_bytes()).unwrap()
}

fn reason(given: &Given, name: &str) -> String {
    let step = given.step(name);
    assert_eq!((step.status, step.attempt), (StepStatus::Skipped, 0), "{name}");
    let error = step.error.as_ref().unwrap();
    assert_eq!((error.class, error.code.as_str()), (ErrorClass::Cancelled, BRAIN_DROPPED));
    error.message.clone()
}

#[test]
fn c17b_after_the_third_step_new_ones_run_and_dropped_ones_are_recorded_as_skipped() {
    let mut given = asked("");
    let known: Vec<_> = given.run().steps.keys().map(StepKey::to_string).collect();
    assert_eq!(known, ["s1#1", "s2#1", "s3#1", "brain/ask#1"], "nothing else begins meanwhile");
    let body = input(&given, "brain/ask#1");
    assert_eq!(body["ahead"], serde_json::json!(["s4#1", "s5#1"]));
    let answer = r#"{"drop":["s4"],"steps":[{"name":"n1","tool":"t"},{"name":"n2","tool":"t"}]}"#;
    let kinds = end(&mut given, "brain/ask#1", answer);
    assert_eq!(kinds, ["step_completed", "step_skipped", "step_scheduled", "step_started"]);
    assert_eq!(reason(&given, "s4"), "the brain b dropped it at turn 1");
    assert_eq!(given.step("n1").status, StepStatus::Running);
    is_whole(given.run());
    end(&mut given, "n1", "1");
    assert!(
        !given.run().steps.contains_key(&key_of("s5")),
        "what is left comes behind what is new"
    );
    end(&mut given, "n2", "1");
    end(&mut given, "s5", "1");
    let body = input(&given, "brain/ask#2");
    let told = body["steps"].as_array().unwrap();
    let told: Vec<_> = told.iter().map(|step| step["step"].as_str().unwrap()).collect();
    assert_eq!(told, ["s1#1", "s2#1", "s3#1", "n1#1", "n2#1", "s4#1", "s5#1"]);
    assert_eq!(body["steps"][5]["error"]["code"], BRAIN_DROPPED);
    assert_eq!(body.get("ahead"), None, "nothing is");
    end(&mut given, "brain/ask#2", r#"{"done":true,"output":{"ok":1}}"#);
    let run = given.run();
    assert_eq!(run.status, RunStatus::Completed, "nothing of less quality stood in");
    let source = run.output.as_ref().unwrap().source.as_deref();
    assert_eq!(source, Some("step brain/ask#2"));
    is_whole(run);
}

#[test]
fn c17b_a_crash_between_the_answer_and_what_follows_resumes_the_new_plan() {
    let mut given = asked("");
    let body =
        says(&given, "brain/ask#1", r#"{"drop":["s4","s5"],"steps":[{"name":"n","tool":"t"}]}"#);
    // The answer is all that the log has.
    given.append(body);
    let expected = why(given.run());
    assert!(expected.next.contains(&"step_skipped"), "{:?}", expected.next);
    let by_hand = step("s4", StepEvent::Skipped { reason: "so".into(), output: None });
    let mut early = given.clone();
    assert!(matches!(early.decide(by_hand), Verdict::Applied(_)), "one of them");
    for mut given in [given, early] {
        given.lose_owner();
        assert_eq!(given.step("n").status, StepStatus::Running);
        assert_eq!(reason(&given, "s5"), "the brain b dropped it at turn 1");
        assert!(given.step("s4").status == StepStatus::Skipped);
        is_whole(given.run());
    }
}

#[test]
fn the_fold_takes_no_start_of_what_was_dropped_and_no_skip_of_what_was_not() {
    let mut given = asked("");
    let skip = |name: &str| step(name, StepEvent::Skipped { reason: "so".into(), output: None });
    let stale = |verdict: Verdict| matches!(verdict, Verdict::Stale(Reason::LostRace, _));
    assert!(stale(given.decide(skip("s4"))), "nobody dropped it");
    given.append(says(&given, "brain/ask#1", r#"{"drop":["s4"]}"#));
    let spec = given.step("s1").spec.clone();
    assert!(stale(given.decide(step("s4", StepEvent::Scheduled(spec)))), "it was dropped");
    assert!(stale(given.decide(skip("s5"))));
    given.settle();
    let before = given.run().clone();
    let again = given.decide(skip("s4"));
    assert!(matches!(again, Verdict::Stale(Reason::Duplicate, _)), "{again:?}");
    assert_eq!(*given.run(), before);
}

#[test]
fn an_answer_that_drops_what_it_cannot_is_asked_for_again() {
    let mut given = asked("");
    let before = given.run().grown.clone();
    let kinds = end(&mut given, "brain/ask#1", r#"{"drop":["s2"]}"#);
    assert_eq!(kinds, ["step_completed", "step_retry_scheduled"]);
    let error = given.step("brain/ask#1").error.clone().unwrap();
    assert_eq!(error.code, BRAIN_ANSWER);
    let expected = "answer: drop[0]: s2#1 has begun or ended: only what comes later can be dropped";
    assert_eq!((error.message.as_str(), &given.run().grown), (expected, &before));
    given.after(10).settle();
    end(&mut given, "brain/ask#1", r#"{"steps":[]}"#);
    assert_eq!(given.step("s4").status, StepStatus::Running, "as it was planned");
}

#[test]
fn a_brain_that_ends_the_run_leaves_out_what_is_left() {
    for (answer, status) in
        [(r#"{"done":true}"#, RunStatus::Completed), (r#"{"fail":"no"}"#, RunStatus::Failed)]
    {
        let mut given = asked("");
        let kinds = end(&mut given, "brain/ask#1", answer);
        assert_eq!(kinds[..3], ["step_completed", "step_skipped", "step_skipped"], "{answer}");
        assert_eq!(given.run().status, status);
        for name in ["s4", "s5"] {
            assert_eq!(reason(&given, name), "the brain b ended the run at turn 1");
        }
    }
}

#[test]
fn what_is_listed_is_done_as_it_is_where_the_question_is_left_out() {
    let mut given = asked("");
    let lease = given.step("brain/ask").live.as_ref().unwrap().lease;
    given.settle_with(vec![failed("brain/ask", 1, lease, ErrorClass::Terminal)]);
    assert!(!given.run().steps.contains_key(&key_of("s4")), "as long as its letter is open");
    let (letter_id, reason) = (given.letter("brain/ask"), "enough".to_owned());
    given.append(step("brain/ask", StepEvent::Discarded { letter_id, then: Then::Skip, reason }));
    given.settle();
    let sentence = why(given.run()).sentence;
    let begins = "Turn 1 was left out, so the brain b is not asked any more: what is listed is done as it is. ";
    assert!(sentence.starts_with(begins), "{sentence}");
    end(&mut given, "s4", "1");
    end(&mut given, "s5", "1");
    assert_eq!(given.run().status, RunStatus::Degraded);
}

#[test]
fn why_says_what_the_next_turn_waits_for() {
    let mut given = asked("");
    end(&mut given, "brain/ask#1", r#"{"steps":[{"name":"n","tool":"t"}]}"#);
    let sentence = why(given.run()).sentence;
    let begins =
        "Turn 1 of at most 100: the brain b is asked again when the steps before that have ended. ";
    assert!(sentence.starts_with(begins), "{sentence}");
    let mut given = asked("");
    let all = r#"{"drop":["s4","s5"],"steps":[{"name":"n","tool":"t"}]}"#;
    end(&mut given, "brain/ask#1", all);
    let sentence = why(given.run()).sentence;
    let begins = "Turn 1 of at most 100: the brain b is asked again when the steps that it gave have ended. ";
    assert!(sentence.starts_with(begins), "{sentence}");
}

#[test]
fn pauses_and_cancels_hold_for_what_is_dropped() {
    let answer = r#"{"drop":["s4"]}"#;
    let mut given = asked("");
    given.append(run(RunEvent::Paused { reason: "wait".into() }));
    assert_eq!(end(&mut given, "brain/ask#1", answer), ["step_completed"]);
    given.append(run(RunEvent::Resumed { reason: "go".into() }));
    assert_eq!(given.settle(), ["step_skipped", "step_scheduled", "step_started"]);
    let mut given = asked("");
    given.append(run(RunEvent::CancelRequested { reason: "stop".into(), compensate: false }));
    let kinds = end(&mut given, "brain/ask#1", answer);
    assert_eq!(kinds, ["step_completed", "run_cancelled"]);
}

#[test]
fn what_was_dropped_is_not_undone() {
    let undo = r#""compensate":{"tool":"u","effect":"pure"}"#;
    let steps = format!(
        r#"[{{"name":"a","tool":"t","then_ask":true,{undo}}},{{"name":"b","tool":"t",{undo}}}]"#
    );
    let mut given = given(r#","on_exhausted":"compensate""#, &steps);
    end(&mut given, "a", "1");
    end(&mut given, "brain/ask#1", r#"{"drop":["b"]}"#);
    end(&mut given, "brain/ask#2", r#"{"fail":"no"}"#);
    end(&mut given, "compensate/a", "1");
    assert_eq!(given.run().status, RunStatus::Failed);
    assert!(!given.run().steps.contains_key(&key_of("compensate/b")));
}

#[test]
fn a_fork_takes_over_what_was_dropped_with_the_answer_that_dropped_it() {
    let mut original = asked("");
    end(&mut original, "brain/ask#1", r#"{"drop":["s4","s5"],"steps":[{"name":"n","tool":"t"}]}"#);
    end(&mut original, "n", "1");
    end(&mut original, "brain/ask#2", r#"{"done":true}"#);
    let taken = |from: &str| {
        let (_, plan) = fork_of(&original, |_| {}, Some(from));
        let mut reused: Vec<_> = plan.reused.iter().map(|step| step.key.to_string()).collect();
        reused.sort();
        let again: Vec<_> = plan.again.iter().map(|step| step.key.to_string()).collect();
        (reused, again)
    };
    let (reused, again) = taken("brain/ask#1");
    assert_eq!(reused, ["s1#1", "s2#1", "s3#1"]);
    assert_eq!(again, ["brain/ask#1", "s4#1", "s5#1", "n#1", "brain/ask#2"]);
    let (reused, again) = taken("n");
    assert_eq!(reused, ["brain/ask#1", "s1#1", "s2#1", "s3#1", "s4#1", "s5#1"]);
    assert_eq!(again, ["n#1", "brain/ask#2"]);
    let (new, plan) = fork_of(&original, |_| {}, Some("n"));
    assert_eq!(plan.reused.len(), 6);
    let mut fork = forks::begin(new, &plan, usize::MAX);
    fork.settle();
    assert_eq!(names(fork.run()), names(original.run()));
    end(&mut fork, "n", "1");
    end(&mut fork, "brain/ask#2", r#"{"done":true}"#);
    assert_eq!(fork.run().status, RunStatus::Completed);
    is_whole(fork.run());
}

#[test]
fn the_names_of_what_lies_ahead_are_bounded() {
    let rest: Vec<_> = (0..900).map(|n| format!(r#"{{"name":"{n:0>100}","tool":"t"}}"#)).collect();
    let steps = format!(r#"[{{"name":"a","tool":"t","then_ask":true}},{}]"#, rest.join(","));
    let mut given = given("", &steps);
    end(&mut given, "a", "1");
    let body = input(&given, "brain/ask#1");
    let told = body["ahead"].as_array().unwrap().len();
    assert_eq!(told + body["ahead_omitted"].as_u64().unwrap() as usize, 900);
    let bytes = body["ahead"].to_string().len();
    assert!((14_000..=crate::limits::ASK_AHEAD_BYTES + 1).contains(&bytes), "{bytes}");
}

/// One thing that happens next to the first step that runs.
fn happens(given: &mut Given, what: u8, wait: u64) {
    given.after(wait).settle();
    let running = given.run().steps.values().find(|step| step.live.is_some()).cloned();
    let Some(step) = running else { return };
    let (key, live) = (step.key.to_string(), step.live.clone().unwrap());
    let turn = step.key.occurrence;
    let answer = match what % 9 {
        0 => r#"{"steps":[]}"#.to_owned(),
        1 => r#"{"drop":["s2"]}"#.to_owned(),
        2 => r#"{"drop":["s4","s3"]}"#.to_owned(),
        3 => {
            given.append(failed(&key, live.attempt, live.lease, ErrorClass::Transient));
            return;
        }
        4 => {
            given.claim();
            given.after(3_600_000);
            return;
        }
        5 => r#"{"done":true}"#.to_owned(),
        n => format!(
            r#"{{"drop":["s5"],"steps":[{{"name":"t{turn}n{n}","tool":"t","effect":"pure","then_ask":{}}}]}}"#,
            n == 6
        ),
    };
    let body = says(given, &key, &answer);
    given.append(body);
}

proptest! {
    #![proptest_config(config(128))]

    #[test]
    fn the_plan_follows_from_the_steps_whatever_is_dropped(
        all in prop::collection::vec((any::<u8>(), 0u64..50), 1..40)
    ) {
        let step = |n: u8, more: &str| format!(r#"{{"name":"s{n}","tool":"t","effect":"pure"{more}}}"#);
        let steps = [
            step(1, r#","then_ask":true"#),
            step(2, ""),
            step(3, r#","then_ask":true"#),
            step(4, r#","after":[]"#),
            step(5, r#","after":["s2"]"#),
        ];
        let mut given = given("", &format!("[{}]", steps.join(",")));
        for (what, wait) in all {
            happens(&mut given, what, wait);
            let run = given.run();
            prop_assert_eq!(&brain::grown(&run.created, &run.steps).unwrap(), &run.grown);
            let plan = run.plan().unwrap();
            let mut open = false;
            for planned in plan.in_list() {
                let state = run.steps.get(&planned.key);
                let is_gone = plan.dropped.contains_key(&planned.key);
                prop_assert!(!open || is_gone || state.is_none(), "{} begins too early", planned.key);
                if is_gone {
                    let status = state.map(|state| (state.status, state.attempt));
                    prop_assert!(matches!(status, None | Some((StepStatus::Skipped, 0))));
                }
                let asks = planned.key.scope.as_ref() == "brain";
                open |= asks && state.is_none_or(|state| !state.status.is_terminal());
            }
            if run.status == RunStatus::Completed {
                prop_assert!(plan.dropped.keys().all(|key| run.steps.contains_key(key)));
            }
        }
    }
}
