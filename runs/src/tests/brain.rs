//! Brains: answers that are taken, those that are not, limits, late ones, the way back, forks.

use super::{
    arbitrary::config,
    bodies::{DUPLICATE, LATE, created, failed, key_of, refused, step},
    forks::{self, fork_of},
    given::Given,
};
use crate::{AttemptEnd, Reason, RunState, RunStatus, StepStatus, Verdict, brain, limits, why};
use proptest::prelude::*;
use spine_schemas::{
    BRAIN_ANSWER, Body, Digest, Driver, ErrorClass, Output, Payload, Plan, RunEvent, StepEvent,
    StepKey,
};

const QUICK: &str = r#""retry":{"max_attempts":2,"initial_ms":1,"max_ms":1}"#;

/// A run with a brain, before anything was decided.
fn given(brain: &str, steps: &str) -> Given {
    let mut given = Given::nothing();
    let source = format!(r#"{{{QUICK},"brain":{{"tool":"b"{brain}}},"steps":{steps}}}"#);
    let plan = Plan::parse(source).expect("a legal plan");
    given.append(created(Driver::Plan, Some(plan)));
    given.settle();
    given
}

fn says(name: &str, attempt: u32, lease: u64, text: &str) -> Body {
    let output = Output::of(Payload::json("output", text.to_owned()).expect("legal JSON"));
    step(name, StepEvent::Completed { attempt, lease: Some(lease), output, usage: None })
}

/// Ends the attempt of a step that runs with an output, and lets the owner decide.
fn end(given: &mut Given, name: &str, text: &str) -> Vec<&'static str> {
    let live = given.step(name).live.clone().unwrap_or_else(|| panic!("{name} runs"));
    given.settle_with(vec![says(name, live.attempt, live.lease, text)])
}

fn names(run: &RunState) -> Vec<String> {
    run.plan().unwrap().in_list().iter().map(|step| step.key.to_string()).collect()
}

/// The plan follows from the steps alone.
fn is_whole(run: &RunState) {
    assert_eq!(brain::grown(&run.created, &run.steps).unwrap(), run.grown);
}

fn asked(given: &Given, name: &str) -> serde_json::Value {
    serde_json::from_slice(given.step(name).input_bytes()).unwrap()
}

#[test]
fn a_brain_is_asked_again_until_it_ends_the_run() {
    let mut given = given("", r#"[{"name":"a","tool":"t"}]"#);
    assert!(!given.run().steps.contains_key(&key_of("brain/ask")), "first what is listed");
    assert_eq!(
        end(&mut given, "a", r#"{"n":1.0}"#),
        ["step_completed", "step_scheduled", "step_started"]
    );
    let input = asked(&given, "brain/ask#1");
    assert_eq!(
        (&input["turn"], &input["max_turns"], &input["state"]),
        (&1.into(), &100.into(), &().into())
    );
    assert!(
        given.step("brain/ask#1").spec.input.data.windows(9).any(|text| text == b"{\"n\":1.0}")
    );
    let two = r#"{"steps":[{"name":"x","tool":"t","after":[],"input":{"$ref":"a#/n"}},
                           {"name":"y","tool":"t","after":[]}],"state":{"seen":1}}"#;
    end(&mut given, "brain/ask#1", two);
    assert_eq!(names(given.run()), ["a#1", "brain/ask#1", "x#1", "y#1", "brain/ask#2"]);
    assert_eq!(given.step("x").spec.input.data, "1.0", "earlier steps may be named");
    is_whole(given.run());
    end(&mut given, "x", "1");
    assert!(!given.run().steps.contains_key(&key_of("brain/ask#2")), "y has not ended");
    end(&mut given, "y", "2");
    let input = asked(&given, "brain/ask#2");
    assert_eq!((&input["turn"], &input["state"]["seen"]), (&2.into(), &1.into()));
    let steps: Vec<_> = input["steps"].as_array().unwrap().iter().map(|s| &s["step"]).collect();
    assert_eq!(steps, ["a#1", "x#1", "y#1"]);
    let sentence = why(given.run()).sentence;
    assert!(
        sentence.starts_with("Turn 2 of at most 100: step brain/ask#2 asks the brain b"),
        "{sentence}"
    );
    end(&mut given, "brain/ask#2", r#"{"done":true,"output":{"ok":1.50}}"#);
    let run = given.run();
    assert_eq!(run.status, RunStatus::Completed);
    assert_eq!(run.output.as_ref().unwrap().payload.data, r#"{"ok":1.50}"#);
    is_whole(run);
}

#[test]
fn a_plan_may_be_nothing_but_a_brain_that_has_nothing_to_do() {
    let mut given = Given::nothing();
    let plan = Plan::parse(r#"{"brain":{"tool":"b"}}"#).unwrap();
    given.append(created(Driver::Plan, Some(plan)));
    given.settle();
    end(&mut given, "brain/ask", r#"{"done":true}"#);
    assert_eq!((given.run().status, &given.run().output), (RunStatus::Completed, &None));
}

#[test]
fn an_answer_that_the_plan_cannot_take_is_a_failure_that_names_the_field() {
    for (answer, field) in [
        (r#""text""#, "answer: invalid type"),
        (r#"{"steps":[]}"#, "answer: steps:"),
        (r#"{}"#, "answer: steps:"),
        (r#"{"done":true,"fail":"x"}"#, "answer: fail"),
        (r#"{"steps":[{"name":"x","tool":"t"}],"done":true}"#, "answer: steps"),
        (r#"{"steps":[{"name":"x","tool":"t"}],"output":1}"#, "answer: output"),
        (r#"{"done":true,"state":1}"#, "answer: state"),
        (r#"{"stepz":[]}"#, "unknown field `stepz`"),
        (r#"{"steps":[{"name":"x","tool":"t"},{"name":"a","tool":"t"}]}"#, "answer: steps[1].name"),
        (r#"{"steps":[{"name":"x","tool":"t","input":{"$ref":"q#"}}]}"#, "answer: steps[0].input"),
        (r#"{"steps":[{"name":"x","tool":""}]}"#, "answer: steps[0].tool"),
        (r#"{"steps":[{"name":"other","scope":"brain","tool":"t"}]}"#, "answer: steps[0].scope"),
        (
            r#"{"steps":[{"name":"x","tool":"t","after":["brain/ask#2"]}]}"#,
            "answer: steps[0].after",
        ),
    ] {
        let mut given = given("", r#"[{"name":"a","tool":"t"}]"#);
        end(&mut given, "a", "1");
        let before = given.run().grown.clone();
        let kinds = end(&mut given, "brain/ask", answer);
        assert_eq!(kinds, ["step_completed", "step_retry_scheduled"], "{answer}");
        let ask = given.step("brain/ask");
        let error = ask.error.as_ref().unwrap();
        assert_eq!((error.class, error.code.as_str()), (ErrorClass::Contract, BRAIN_ANSWER));
        assert!(error.message.contains(field), "{answer}: {}", error.message);
        assert_eq!((ask.charged, &ask.output), (1, &None));
        assert_eq!(given.run().grown, before, "nothing of it is in the plan");
        is_whole(given.run());
        // The second time it is used up, and a redrive asks again.
        given.after(10).settle();
        end(&mut given, "brain/ask", answer);
        assert_eq!(given.step("brain/ask").status, StepStatus::DeadLettered);
        let letter_id = given.letter("brain/ask");
        let reason = "the model is repaired".to_owned();
        given.append(step(
            "brain/ask",
            StepEvent::Redriven { letter_id, reason, force: false, edit: None },
        ));
        given.settle();
        end(&mut given, "brain/ask", r#"{"done":true}"#);
        assert_eq!(given.run().status, RunStatus::Completed);
    }
}

#[test]
fn where_asking_twice_may_hurt_a_bad_answer_is_not_asked_for_again() {
    let mut given = given(r#","effect":"at_most_once""#, "[]");
    end(&mut given, "brain/ask", "[]");
    assert_eq!(given.step("brain/ask").status, StepStatus::DeadLettered);
}

#[test]
fn limits_of_turns_steps_state_and_bytes_hold() {
    let one = r#"{"steps":[{"name":"x","tool":"t"}]}"#;
    let mut given = given(r#","max_turns":1"#, "[]");
    end(&mut given, "brain/ask", one);
    let message = &given.step("brain/ask").error.as_ref().unwrap().message;
    assert_eq!(message, "answer: steps: 1 turns are all that there may be: end the run");
    let plan = Plan::parse(r#"{"brain":{"tool":"b"}}"#).unwrap();
    let said = |text: String| plan.grown(&Payload::json("output", text).unwrap());
    let list = |count: usize| {
        let steps: Vec<_> =
            (0..count).map(|n| format!(r#"{{"name":"s{n}","tool":"t"}}"#)).collect();
        format!(r#"{{"steps":[{}]}}"#, steps.join(","))
    };
    assert_eq!(said(list(1000)).unwrap().steps.len(), 1002);
    assert!(said(list(1001)).unwrap_err().to_string().starts_with("steps: 1001 is over"));
    let state =
        format!(r#"{{"steps":[{{"name":"x","tool":"t"}}],"state":"{}"}}"#, "x".repeat(32 * 1024));
    assert!(said(state).unwrap_err().to_string().starts_with("state: "));
    // Ten thousand steps in all, those that ask among them.
    let mut plan = plan.clone();
    for turn in 0.. {
        let steps: Vec<_> =
            (0..990).map(|n| format!(r#"{{"name":"t{turn}n{n}","tool":"t"}}"#)).collect();
        let text = format!(r#"{{"steps":[{}]}}"#, steps.join(","));
        match plan.grown(&Payload::json("output", text).unwrap()) {
            Ok(grown) => plan = grown,
            Err(error) => {
                assert_eq!(
                    (turn, error.to_string().starts_with("steps: 10001 is over")),
                    (10, true),
                    "{error}"
                );
                break;
            }
        }
    }
}

#[test]
fn what_a_brain_is_asked_with_is_bounded_and_tells_the_newest_first() {
    let steps: Vec<_> =
        (0..300).map(|n| format!(r#"{{"name":"s{n}","tool":"t","after":[]}}"#)).collect();
    let mut given = given("", &format!("[{}]", steps.join(",")));
    let large = format!("\"{}\"", "x".repeat(1000));
    for n in 0..300 {
        end(&mut given, &format!("s{n}"), &large);
    }
    let data = &given.step("brain/ask").spec.input.data;
    assert!(data.len() <= limits::ASK_STEPS_BYTES + 4096, "{}", data.len());
    let input = asked(&given, "brain/ask");
    let told = input["steps"].as_array().unwrap();
    assert_eq!(told.len() + input["steps_omitted"].as_u64().unwrap() as usize, 300);
    let (first, last) = (&told[0], told.last().unwrap());
    assert_eq!((&last["step"], last["output"].as_str().unwrap().len()), (&"s299#1".into(), 1000));
    assert_eq!((&first["omitted"], &first["size_bytes"]), (&true.into(), &1002.into()));
}

#[test]
fn a_second_answer_changes_nothing() {
    let mut given = given("", "[]");
    let first = given.step("brain/ask").live.clone().unwrap();
    let fails = failed("brain/ask", 1, first.lease, ErrorClass::Timeout);
    given.settle_with(vec![fails]);
    given.after(10).settle();
    let second = given.step("brain/ask").live.clone().unwrap();
    let (one, two) =
        (r#"{"steps":[{"name":"x","tool":"t"}]}"#, r#"{"steps":[{"name":"y","tool":"t"}]}"#);
    // An older one that comes while a newer attempt runs is evidence and no more.
    given.append(says("brain/ask", 1, first.lease, one));
    assert_eq!(given.step("brain/ask").status, StepStatus::Running);
    given.append(says("brain/ask", 2, second.lease, two));
    let after = given.run().clone();
    assert_eq!(names(&after), ["brain/ask#1", "y#1", "brain/ask#2"]);
    assert_eq!(given.append(says("brain/ask", 1, first.lease, one)), LATE);
    assert_eq!(given.append(says("brain/ask", 2, second.lease, one)), DUPLICATE);
    assert_eq!(given.run(), &after);
    is_whole(given.run());
}

#[test]
fn a_late_answer_counts_as_long_as_no_newer_attempt_began() {
    let mut given = given("", "[]");
    let first = given.step("brain/ask").live.clone().unwrap();
    given.settle_with(vec![failed("brain/ask", 1, first.lease, ErrorClass::Timeout)]);
    let nonsense = given.append(says("brain/ask", 1, first.lease, "[]"));
    assert_eq!(nonsense, LATE, "what nobody can take settles nothing");
    given.append(says("brain/ask", 1, first.lease, r#"{"steps":[{"name":"x","tool":"t"}]}"#));
    assert_eq!(names(given.run()), ["brain/ask#1", "x#1", "brain/ask#2"]);
}

#[test]
fn a_lost_attempt_is_asked_again() {
    let mut given = given("", "[]");
    given.lose_owner();
    let ask = given.step("brain/ask");
    assert!(matches!(ask.attempts[0].end, AttemptEnd::Lost(_)));
    assert_eq!((ask.status, ask.attempt, ask.charged), (StepStatus::Running, 2, 0));
}

#[test]
fn somebody_may_answer_in_place_of_the_brain() {
    let mut given = given(r#","effect":"at_most_once""#, "[]");
    given.lose_owner();
    assert_eq!(given.step("brain/ask").status, StepStatus::Unknown);
    assert_eq!(given.resolve_step("brain/ask", 1, true), refused(Reason::BrainAnswer));
    assert_eq!(given.step("brain/ask").status, StepStatus::Unknown);
    let output = Payload::json("output", r#"{"steps":[{"name":"x","tool":"t"}]}"#).unwrap();
    given.append(step(
        "brain/ask",
        StepEvent::Resolved(spine_schemas::Resolution {
            attempt: 1,
            happened: true,
            output: Some(Output::of(output)),
            reason: "from its log".into(),
        }),
    ));
    given.settle();
    assert_eq!(given.step("x").status, StepStatus::Running);
    is_whole(given.run());
}

#[test]
fn a_brain_that_is_given_up_ends_its_run_degraded() {
    let mut given = given("", r#"[{"name":"a","tool":"t"}]"#);
    end(&mut given, "a", "1");
    let lease = given.step("brain/ask").live.as_ref().unwrap().lease;
    given.settle_with(vec![failed("brain/ask", 1, lease, ErrorClass::Terminal)]);
    let (letter_id, reason) = (given.letter("brain/ask"), "enough".to_owned());
    let then = spine_schemas::Then::Skip;
    given.append(step("brain/ask", StepEvent::Discarded { letter_id, then, reason }));
    given.settle();
    assert_eq!(given.run().status, RunStatus::Degraded);
}

#[test]
fn what_was_done_in_all_turns_is_undone_the_newest_first() {
    let undo = r#""compensate":{"tool":"u","effect":"pure"}"#;
    let mut given =
        given(r#","on_exhausted":"compensate""#, &format!(r#"[{{"name":"a","tool":"t",{undo}}}]"#));
    end(&mut given, "a", "1");
    end(&mut given, "brain/ask#1", &format!(r#"{{"steps":[{{"name":"b","tool":"t",{undo}}}]}}"#));
    end(&mut given, "b", "1");
    end(&mut given, "brain/ask#2", r#"{"fail":"it is no use"}"#);
    assert!(given.run().undo.is_some() && given.run().is_open());
    end(&mut given, "compensate/b", "1");
    end(&mut given, "compensate/a", "1");
    let error = given.run().error.as_ref().unwrap();
    assert_eq!((given.run().status, error.code.as_str()), (RunStatus::Failed, "brain_failed"));
    assert_eq!((error.class, error.message.as_str()), (ErrorClass::Terminal, "it is no use"));
}

#[test]
fn a_brain_fails_its_run() {
    let mut given = given("", "[]");
    end(&mut given, "brain/ask", r#"{"fail":"it is no use"}"#);
    assert_eq!(given.run().status, RunStatus::Failed);
    let verdict = given.decide(super::bodies::run(RunEvent::Completed { output: None }));
    assert!(matches!(verdict, Verdict::Stale(..)));
}

/// A run of two turns that has ended.
fn ended() -> Given {
    let mut given = given("", r#"[{"name":"a","tool":"t","effect":"pure"}]"#);
    end(&mut given, "a", "1");
    end(&mut given, "brain/ask#1", r#"{"steps":[{"name":"b","tool":"t","effect":"idempotent"}]}"#);
    end(&mut given, "b", "2");
    end(&mut given, "brain/ask#2", r#"{"done":true}"#);
    assert_eq!(given.run().status, RunStatus::Completed);
    given
}

fn taken(original: &Given, from: &str) -> (Vec<String>, Vec<(String, bool)>) {
    let (_, plan) = fork_of(original, |_| {}, Some(from));
    let again = plan.again.iter().map(|step| (step.key.to_string(), step.may_repeat())).collect();
    (plan.reused.iter().map(|step| step.key.to_string()).collect(), again)
}

#[test]
fn a_fork_takes_answers_over_and_asks_again_from_the_cut() {
    let given = ended();
    let (reused, again) = taken(&given, "brain/ask#2");
    assert_eq!(reused, ["a#1", "brain/ask#1", "b#1"]);
    assert_eq!(again, [("brain/ask#2".to_owned(), false)]);
    let (reused, again) = taken(&given, "brain/ask#1");
    assert_eq!(reused, ["a#1"]);
    let expected = [("brain/ask#1", false), ("b#1", true), ("brain/ask#2", false)];
    assert_eq!(again, expected.map(|(step, repeats)| (step.to_owned(), repeats)));
    let (reused, _) = taken(&given, "b");
    assert_eq!(reused, ["a#1", "brain/ask#1"]);
}

#[test]
fn the_plan_of_a_fork_grows_by_what_it_takes_over() {
    let original = ended();
    let (new, plan) = fork_of(&original, |_| {}, Some("brain/ask#2"));
    assert_eq!(plan.reused.len(), 3);
    let mut fork = forks::begin(new, &plan, usize::MAX);
    fork.settle();
    is_whole(fork.run());
    let of_fork: Digest = fork.step("brain/ask#2").spec.input.digest;
    assert_eq!(of_fork, original.step("brain/ask#2").spec.input.digest, "asked for the same");
    end(&mut fork, "brain/ask#2", r#"{"steps":[{"name":"c","tool":"t"}]}"#);
    assert_eq!(fork.step("c").status, StepStatus::Running);
}

/// One thing that happens next to the first step that runs.
fn happens(given: &mut Given, what: u8, wait: u64) {
    given.after(wait).settle();
    let running = given.run().steps.values().find(|step| step.live.is_some()).cloned();
    let Some(step) = running else { return };
    let (key, live) = (step.key.to_string(), step.live.clone().unwrap());
    let turn = step.key.occurrence;
    let answer = match what % 8 {
        0 => r#"{"done":true}"#.to_owned(),
        1 => "[1]".to_owned(),
        2 => r#"{"steps":[{"name":"a","tool":"t"}]}"#.to_owned(),
        3 => {
            let fails = failed(&key, live.attempt, live.lease, ErrorClass::Transient);
            given.append(fails);
            return;
        }
        4 => {
            given.claim();
            given.after(3_600_000);
            return;
        }
        n => format!(
            r#"{{"steps":[{{"name":"t{turn}n{n}","tool":"t","effect":"pure"}}],"state":{n}}}"#
        ),
    };
    given.append(says(&key, live.attempt, live.lease, &answer));
    if what >= 128 {
        given.append(says(&key, live.attempt, live.lease, r#"{"fail":"late"}"#));
    }
}

proptest! {
    #![proptest_config(config(128))]

    #[test]
    fn the_plan_follows_from_the_steps_whatever_happens(
        all in prop::collection::vec((any::<u8>(), 0u64..50), 1..30)
    ) {
        let mut given = given("", r#"[{"name":"a","tool":"t","effect":"pure"}]"#);
        for (what, wait) in all {
            happens(&mut given, what, wait);
            let run = given.run();
            prop_assert_eq!(&brain::grown(&run.created, &run.steps).unwrap(), &run.grown);
            let asked = run.steps.keys().filter(|key: &&StepKey| *key.scope == *"brain").count();
            let answers = run.plan().unwrap().answers.len();
            prop_assert!(asked == answers || asked == answers + 1, "one turn at a time");
        }
    }
}
