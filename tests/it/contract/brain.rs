//! The rows of a brain's own call: the server dies while it is asked for the first steps of a run.

use super::{
    AGAIN, AfterEffect, AfterIntent, AfterOutcome, AtMostOnce, Became, BeforeIntent, Class, DONE,
    DuringNotDone, IN_VAIN, Idempotent, Point, Pure, TIMEOUT_MS, UNTRIED, comes_to, every,
    over_a_crash,
};
use serde_json::{Value, json};
use spine_tests::{Answer, Fx, lines, row};
use std::fmt::Write as _;

const THREADS: usize = 3;
/// A brain has nobody else who could be asked what it has answered.
const CLASSES: [Class; 3] = [Pure, Idempotent, AtMostOnce];

/// How often the brain is asked for its first answer, how often the step of that answer is done, and how the question
/// ends, in each of the classes.
const ROWS: [(Point, [Became; 3]); 5] = [
    (BeforeIntent, [DONE; 3]),
    (AfterIntent, [DONE, DONE, UNTRIED]),
    (DuringNotDone, [AGAIN, AGAIN, IN_VAIN]),
    (AfterEffect, [AGAIN, AGAIN, IN_VAIN]),
    (AfterOutcome, [DONE; 3]),
];

/// The rows one by one, by class.
fn rows() -> Vec<(Class, Point, Became)> {
    let of = |(at, class)| ROWS.iter().map(move |(point, became)| (class, *point, became[at]));
    CLASSES.into_iter().enumerate().flat_map(of).collect()
}

/// A question is not an effect.
fn words(point: Point) -> &'static str {
    if point == DuringNotDone { "during the call" } else { point.words() }
}

/// A brain that asks for one step and then ends the run; its first call may hang longer than the server lives.
fn brain(hangs: bool) -> Fx {
    let fx = Fx::willing();
    let step = json!({"name": "a", "tool": fx.tool("act"), "effect": "idempotent"});
    let first = json!({"steps": [step]}).to_string();
    fx.behave(move |call, before| match call.step.as_str() {
        "brain/ask#1" if hangs && before == 0 => Answer::Hangs,
        "brain/ask#1" => Answer::Says(first.clone()),
        "brain/ask#2" => Answer::Says(r#"{"done":true}"#.into()),
        _ => Answer::Done,
    });
    fx
}

fn plan(class: Class, fx: &Fx) -> Value {
    let mut plan = lines::plan("r", &lines::quick(3), vec![]);
    plan["brain"] =
        json!({"tool": fx.tool("brain"), "effect": class.effect(), "timeout_ms": TIMEOUT_MS});
    plan
}

fn check((class, point, became): &(Class, Point, Became)) {
    let name = format!("{class:?} {point:?}");
    let fx = brain(*point == DuringNotDone);
    let is_called = || !fx.calls().is_empty();
    let spine = over_a_crash(&name, &plan(*class, &fx), point.fault(), is_called);
    let Became(asked, done, ends) = *became;
    comes_to(&spine, &name, ends);
    let seen = fx.calls();
    let count = |step: &str| seen.iter().filter(|call| call.step == step).count();
    assert_eq!(count("brain/ask#1"), asked, "{name}: asked: {seen:?}");
    assert_eq!(count("a#1"), done, "{name}: done: {seen:?}");
}

#[test]
fn l24_every_row_of_a_brain_holds() {
    if !row::is_left_to_soak("the rows of brains") {
        every("brain", &rows(), THREADS, check);
    }
}

/// The table of the page, from the rows.
pub(super) fn table() -> String {
    let mut text = String::from(
        "| effect class | the server dies | asked | done | the question |\n|---|---|---|---|---|\n",
    );
    for (class, point, Became(asked, done, ends)) in rows() {
        let (class, point, ends) = (class.words(), words(point), ends.words());
        writeln!(text, "| {class} | {point} | {asked} | {done} | {ends} |").expect("a string");
    }
    text
}
