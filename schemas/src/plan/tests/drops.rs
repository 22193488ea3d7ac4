//! Brains that are asked between steps: where, what their answers make of the list, and what they can drop.

use crate::{Error, Payload, Plan, Result, StepKey};

/// Five steps one after the other; the brain is asked behind the third.
const FIVE: &str = r#"[{"name":"s1","tool":"t"},{"name":"s2","tool":"t"},{"name":"s3","tool":"t","then_ask":true},
    {"name":"s4","tool":"t","input":{"$ref":"s1#"}},{"name":"s5","tool":"t"}]"#;

fn with_brain(steps: &str) -> Plan {
    Plan::parse(format!(r#"{{"brain":{{"tool":"b"}},"steps":{steps}}}"#)).unwrap()
}

fn says(plan: &Plan, answer: &str) -> Result<Plan> {
    plan.grown(&Payload::json("output", answer.to_owned()).unwrap())
}

fn names(plan: &Plan) -> Vec<String> {
    let name = |step: &super::PlanStep| match plan.dropped.get(&step.key) {
        Some(turn) => format!("{} dropped at {turn}", step.key.name),
        None if &*step.key.name == "ask" => format!("ask {}", step.key.occurrence),
        None => step.key.name.to_string(),
    };
    plan.in_list().iter().map(name).collect()
}

/// The steps that come right before one, by name.
fn before(plan: &Plan, name: &str) -> Vec<String> {
    let (_, step) = plan.find(&StepKey::named(name)).unwrap();
    step.after.iter().map(|at| plan.steps[*at].key.to_string()).collect()
}

#[test]
fn the_brain_is_asked_where_a_step_says_so_and_what_follows_comes_after_it() {
    let plan = with_brain(FIVE);
    assert_eq!(names(&plan), ["s1", "s2", "s3", "ask 1", "s4", "s5"]);
    assert_eq!(plan.next_ask().unwrap().key.to_string(), "brain/ask#1");
    assert_eq!(plan.next_ask().unwrap().after, [0, 1, 2]);
    assert_eq!(before(&plan, "s4"), ["brain/ask#1"]);
    // What names its predecessors waits, too.
    let aside = FIVE.replace(r#""name":"s5""#, r#""name":"s5","after":["s1"]"#);
    assert_eq!(before(&with_brain(&aside), "s5"), ["s1#1", "brain/ask#1"]);
    // Not behind what it drops, where nothing has happened.
    let twice = with_brain(&FIVE.replace(r#""name":"s4""#, r#""name":"s4","then_ask":true"#));
    let grown = says(&twice, r#"{"drop":["s4"]}"#).unwrap();
    assert_eq!(names(&grown)[3..], ["ask 1", "s4 dropped at 1", "s5", "ask 2"]);
    let grown = says(&twice, r#"{"steps":[]}"#).unwrap();
    assert_eq!(names(&grown)[3..], ["ask 1", "s4", "ask 2", "s5"]);
    // Behind the last step it is asked anyway.
    let last = with_brain(r#"[{"name":"a","tool":"t","then_ask":true}]"#);
    assert_eq!(names(&last), ["a", "ask 1"]);
}

#[test]
fn new_steps_come_before_what_is_left_and_dropped_ones_keep_their_places() {
    let plan = with_brain(FIVE);
    let answer = r#"{"drop":["s4"],"steps":[{"name":"n1","tool":"t","input":{"$ref":"s3#"}},
        {"name":"n2","tool":"t"}]}"#;
    let grown = says(&plan, answer).unwrap();
    assert_eq!(
        names(&grown),
        ["s1", "s2", "s3", "ask 1", "n1", "n2", "s4 dropped at 1", "s5", "ask 2"]
    );
    assert_eq!((grown.settled, before(&grown, "n1")), (4, vec!["brain/ask#1".to_owned()]));
    assert_eq!(before(&grown, "s5"), ["n2#1"], "it followed s4, and does not begin with n1");
    let (next, _) = grown.find(&grown.next_ask().unwrap().key).unwrap();
    assert_eq!(grown.steps[next].after, [3, 4, 5, 6, 7], "dropped or not");
    let given: Vec<_> = grown.steps.iter().map(|step| (step.given_at, step.place)).collect();
    assert_eq!(given[..4], [(0, 0), (0, 1), (0, 2), (0, 0)]);
    assert_eq!(given[4..], [(1, 0), (1, 1), (0, 3), (0, 4), (0, 0)]);
    assert_eq!(grown.path(7), "steps[4]");
}

#[test]
fn later_turns_lie_where_the_list_has_come_to() {
    let plan = with_brain(FIVE);
    let on = says(&plan, r#"{"steps":[]}"#).unwrap();
    assert_eq!(names(&on), ["s1", "s2", "s3", "ask 1", "s4", "s5", "ask 2"]);
    // A step of an answer may say so, too.
    let first = r#"{"steps":[{"name":"n1","tool":"t","then_ask":true},{"name":"n2","tool":"t"}]}"#;
    let grown = says(&plan, first).unwrap();
    assert_eq!(names(&grown), ["s1", "s2", "s3", "ask 1", "n1", "ask 2", "n2", "s4", "s5"]);
    let grown = says(&grown, r#"{"drop":["n2","s5"],"state":1}"#).unwrap();
    let expected = ["n1", "ask 2", "n2 dropped at 2", "s4", "s5 dropped at 2", "ask 3"];
    assert_eq!(names(&grown)[4..], expected);
    assert_eq!(before(&grown, "s4"), ["brain/ask#2"]);
    let again = plan.answered(grown.answers.clone()).unwrap();
    assert_eq!((names(&again), again.dropped), (names(&grown), grown.dropped.clone()));
    // What is over for good leaves the rest out.
    for end in [r#"{"done":true}"#, r#"{"fail":"no"}"#] {
        let ended = says(&grown, end).unwrap();
        assert_eq!((ended.next_ask().is_none(), names(&ended)), (true, names(&grown)));
        let ended = says(&plan, end).unwrap();
        assert_eq!(names(&ended)[3..], ["ask 1", "s4 dropped at 1", "s5 dropped at 1"]);
    }
}

#[test]
fn what_came_after_a_dropped_step_comes_after_what_that_came_after() {
    let plan = with_brain(
        r#"[{"name":"a","tool":"t","then_ask":true},{"name":"b","tool":"t","after":[]},
            {"name":"c","tool":"t","after":[]},{"name":"d","tool":"t","after":["b","c"]},
            {"name":"e","tool":"t","after":["d"]}]"#,
    );
    let grown = says(&plan, r#"{"drop":["d"]}"#).unwrap();
    assert_eq!(before(&grown, "e"), ["brain/ask#1", "b#1", "c#1"]);
    let grown = says(&plan, r#"{"drop":["b","d"]}"#).unwrap();
    assert_eq!(before(&grown, "e"), ["brain/ask#1", "c#1"]);
}

/// The field that an answer is refused with, and what is said of it.
fn refused(plan: &Plan, answer: &str) -> (String, String) {
    match says(plan, answer).map(|plan| names(&plan)) {
        Err(Error::Invalid { field, message }) => (field, message),
        other => panic!("{answer}: {other:?}"),
    }
}

#[test]
fn a_brain_cannot_drop_what_has_begun_nor_what_others_need() {
    let five = with_brain(
        &FIVE.replace(r#""name":"s5""#, r#""name":"s5","input":[{"$ref":"s4#/x"}]"#).replace(
            r#""name":"s2""#,
            r#""name":"s2","on_exhausted":"fallback","fallback":[{"name":"f","tool":"t"}]"#,
        ),
    );
    let new = r#""steps":[{"name":"n","tool":"t","input":{"$ref":"s4#"}}]"#;
    for (answer, field, message) in [
        (
            r#"{"drop":["s3"]}"#,
            "drop[0]",
            "s3#1 has begun or ended: only what comes later can be dropped",
        ),
        (r#"{"drop":["s5","s9"]}"#, "drop[1]", "there is no step s9#1"),
        (r#"{"drop":["s5","s5#1"]}"#, "drop[1]", "s5#1 is dropped already"),
        (r#"{"drop":["f"]}"#, "drop[0]", "f#1 is no step of the list"),
        (r#"{"drop":["brain/ask#1"]}"#, "drop[0]", "brain/ask#1 is no step of the list"),
        (
            r#"{"drop":["n"],"steps":[{"name":"n","tool":"t"}]}"#,
            "drop[0]",
            "n#1 is of this very answer",
        ),
        (r#"{"drop":["s4"]}"#, "drop", "s5#1 refers to the output of s4#1, which is dropped"),
        (
            &format!(r#"{{"drop":["s4","s5"],{new}}}"#),
            "steps[0].input",
            "n#1 refers to the output of s4#1, which is dropped",
        ),
        (
            r#"{"drop":["s4"],"done":true}"#,
            "drop",
            "is not needed: what is left is dropped when the run ends",
        ),
        ("{}", "steps", super::brain::NOTHING_SAID),
        (r#"{"state":1}"#, "steps", super::brain::NOTHING_SAID),
        (r#"{"drop":["s4","s5"]}"#, "", ""),
    ] {
        if field.is_empty() {
            assert!(says(&five, answer).is_ok(), "both may go");
        } else {
            assert_eq!(refused(&five, answer), (field.to_owned(), message.to_owned()), "{answer}");
        }
    }
    let without = says(&five, r#"{"drop":["s4","s5"],"steps":[{"name":"n","tool":"t"}]}"#).unwrap();
    let (field, message) = refused(&without, &format!("{{{}}}", new.replace("\"n\"", "\"m\"")));
    let expected = ("steps[0].input", "m#1 refers to the output of s4#1, which is dropped");
    assert_eq!((field.as_str(), message.as_str()), expected, "also at a later turn");
    assert_eq!(refused(&without, r#"{"drop":["s4"]}"#).0, "drop[0]", "and it is not dropped twice");
    assert_eq!(refused(&without, r#"{"steps":[]}"#).0, "steps", "nothing is left to go on with");
    let many = format!(r#"{{"drop":{:?}}}"#, vec!["s4"; 1001]);
    assert_eq!(says(&five, &many).unwrap_err(), Error::too_large("drop", 1001, 1000));
}

#[test]
fn a_step_says_that_the_brain_is_asked_only_where_there_is_one_and_in_the_list() {
    let step = r#"{"name":"a","tool":"t","then_ask":true}"#;
    let beside = r#"{"name":"b","tool":"t","on_exhausted":"fallback","fallback":"#;
    for (source, field) in [
        (format!(r#"{{"steps":[{step}]}}"#), "steps[0].then_ask"),
        (
            format!(r#"{{"brain":{{"tool":"b"}},"steps":[{beside}[{step}]}}]}}"#),
            "steps[0].fallback[0].then_ask",
        ),
    ] {
        let error = Plan::parse(source.clone()).unwrap_err();
        assert!(matches!(&error, Error::Invalid { field: of, .. } if of == field), "{error}");
    }
}
