//! The rows of steps that are runs: the server dies while one run begins the other, or hears of its end.

use super::{AtMostOnce, Class, Ends, Pure, every, over_a_crash};
use serde_json::{Value, json};
use spine_tests::{Answer, Fx, Spine, lines, row};
use std::{collections::BTreeSet, fmt::Write as _, time::Duration};

/// Where the server dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Point {
    BeforeIntent,
    BeforeBegun,
    AfterBegun,
    DuringCall,
    BeforeTold,
    AfterTold,
}

use Point::{AfterBegun, AfterTold, BeforeBegun, BeforeIntent, BeforeTold, DuringCall};

impl Point {
    fn words(self) -> &'static str {
        match self {
            BeforeIntent => "before the intent is in the log",
            BeforeBegun => "after the intent, before the other run is in the log",
            AfterBegun => "after the other run is in the log, before it does anything",
            DuringCall => "during a call of the other run, which had its effect",
            BeforeTold => "after the end of the other run, before its step is told",
            AfterTold => "after its step was told",
        }
    }

    /// The planted end of the process; `None` where it is killed from outside. What is told first is that the other
    /// run begins, then how it ended.
    fn fault(self) -> Option<&'static str> {
        match self {
            BeforeIntent => Some("decided:1"),
            BeforeBegun => Some("telling:1"),
            AfterBegun => Some("told:1"),
            DuringCall => None,
            BeforeTold => Some("telling:2"),
            AfterTold => Some("told:2"),
        }
    }
}

const THREADS: usize = 3;
/// Another attempt is another run with other keys, so a step that is a run has no other class.
const CLASSES: [Class; 2] = [Pure, AtMostOnce];

/// Calls of the one step in the other run, in each class. They have one effect, and the step completes.
const ROWS: [(Point, usize); 6] = [
    (BeforeIntent, 1),
    (BeforeBegun, 1),
    (AfterBegun, 1),
    (DuringCall, 2),
    (BeforeTold, 1),
    (AfterTold, 1),
];

/// The rows one by one, by class.
fn rows() -> Vec<(Class, Point, usize)> {
    let of = |class| ROWS.iter().map(move |(point, calls)| (class, *point, *calls));
    CLASSES.into_iter().flat_map(of).collect()
}

/// A run of one step, which is a run of one step.
fn plan(class: Class, fx: &Fx) -> Value {
    let inner = json!({"retry": lines::quick(3),
        "steps": [lines::step("c", &fx.tool("act"), "idempotent")]});
    let step =
        json!({"name": "a", "tool": "run", "effect": class.effect(), "run": {"plan": inner}});
    lines::plan("r", &lines::quick(3), vec![step])
}

/// The runs that were begun for the step.
fn begun(spine: &Spine) -> Vec<Value> {
    let listed = spine.get("/v1/runs").json();
    let runs = listed["runs"].as_array().expect("runs").iter();
    runs.filter(|run| run["run_id"] != "r").cloned().collect()
}

fn check((class, point, calls): &(Class, Point, usize)) {
    let name = format!("{class:?} {point:?}");
    let dies = *point == DuringCall;
    let fx = Fx::start(move |_, before| match dies && before == 0 {
        // Longer than the server lives.
        true => Answer::DoneAfter(Duration::from_secs(20)),
        false => Answer::Done,
    });
    let is_called = || !fx.calls().is_empty();
    let spine = over_a_crash(&name, &plan(*class, &fx), point.fault(), is_called);
    spine.wait_run("r", &["completed"]);
    let runs = begun(&spine);
    assert_eq!(runs.len(), 1, "{name}: runs: {runs:?}");
    assert_eq!(runs[0]["status"], "completed", "{name}: {runs:?}");
    let step = spine.get("/v1/runs/r/steps/a").json();
    assert_eq!(step["attempts"].as_array().map(Vec::len), Some(1), "{name}: {step}");
    assert_eq!(step["attempts"][0]["run_id"], runs[0]["run_id"], "{name}: {step}");
    let seen = fx.calls();
    assert_eq!(seen.len(), *calls, "{name}: calls: {seen:?}");
    let keys: BTreeSet<&str> = seen.iter().map(|call| call.key.as_str()).collect();
    assert_eq!(keys.len(), 1, "{name}: keys: {keys:?}");
}

#[test]
fn l24_s8f_every_row_of_a_step_that_is_a_run_holds() {
    if !row::is_left_to_soak("the rows of steps that are runs") {
        every("child", &rows(), THREADS, check);
    }
}

/// The table of the page, from the rows.
pub(super) fn table() -> String {
    let mut text = String::from(
        "| effect class | the server dies | runs | calls | effects | the step |\n|---|---|---|---|---|---|\n",
    );
    for (class, point, calls) in rows() {
        let (class, point, ends) = (class.words(), point.words(), Ends::Completed.words());
        writeln!(text, "| {class} | {point} | 1 | {calls} | 1 | {ends} |").expect("a string");
    }
    text
}
