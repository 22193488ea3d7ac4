//! The rows of what follows when a step is out of attempts: a fallback takes over, or what the run has done is undone.
//! The server dies before that is in the log, or at a point of the call that follows.

use super::{Ends, every};
use serde_json::{Value, json};
use spine_tests::{Answer, Fx, Spine, lines, row, waits};
use std::{
    collections::BTreeSet,
    fmt::Write as _,
    sync::{Arc, Mutex},
    time::Duration,
};

/// What follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Fallback,
    Undo,
}

use Kind::{Fallback, Undo};

/// Where the server dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Point {
    BeforeFailure,
    AfterIntent,
    DuringNotDone,
    DuringDone,
    AfterEffect,
    AfterOutcome,
}

use Point::{AfterEffect, AfterIntent, AfterOutcome, BeforeFailure, DuringDone, DuringNotDone};

const KINDS: [Kind; 2] = [Fallback, Undo];
/// Calls of what follows; effects are one in each row.
const ROWS: [(Point, usize); 6] = [
    (BeforeFailure, 1),
    (AfterIntent, 1),
    (DuringNotDone, 2),
    (DuringDone, 2),
    (AfterEffect, 2),
    (AfterOutcome, 1),
];
const THREADS: usize = 4;

impl Kind {
    fn words(self) -> &'static str {
        match self {
            Fallback => "its fallback is done",
            Undo => "what was done is undone",
        }
    }

    /// How the run ends.
    fn ends(self) -> &'static str {
        match self {
            Fallback => "degraded",
            Undo => "failed",
        }
    }

    /// A step that is done, and one that fails for good.
    fn plan(self, fx: &Fx) -> Value {
        let mut done = lines::step("done", &fx.tool("works"), "idempotent");
        let mut fails = lines::step("fails", &fx.tool("fails"), "idempotent");
        match self {
            Fallback => {
                fails["on_exhausted"] = json!("fallback");
                fails["fallback"] = json!([lines::step("instead", &fx.tool("act"), "idempotent")]);
            }
            Undo => {
                fails["on_exhausted"] = json!("compensate");
                done["compensate"] = json!({"tool": fx.tool("act"), "effect": "idempotent"});
            }
        }
        for step in [&mut done, &mut fails] {
            step["timeout_ms"] = json!(TIMEOUT_MS);
        }
        lines::plan("r", &lines::quick(3), vec![done, fails])
    }
}

const TIMEOUT_MS: u64 = 1500;

impl Point {
    fn words(self) -> &'static str {
        match self {
            BeforeFailure => "before the last failure is in the log",
            AfterIntent => "after the intent of what follows, before its call",
            DuringNotDone => "during that call, which had no effect",
            DuringDone => "during that call, which had its effect",
            AfterEffect => "after its answer, before the outcome is in the log",
            AfterOutcome => "after the outcome is in the log",
        }
    }

    /// The planted end of the process, two calls having gone before; `None` where it is killed from outside.
    fn fault(self) -> Option<&'static str> {
        match self {
            BeforeFailure => Some("called:2"),
            AfterIntent => Some("read_back:3"),
            DuringNotDone | DuringDone => None,
            AfterEffect => Some("called:3"),
            AfterOutcome => Some("outcome_read:3"),
        }
    }
}

/// The tool of what follows knows its keys.
fn tools(point: Point, done: &Arc<Mutex<BTreeSet<String>>>) -> Fx {
    let done = done.clone();
    Fx::start(move |call, before| {
        match call.path.as_str() {
            "/works" => return Answer::Done,
            "/fails" => return Answer::Refuses(422),
            _ => {}
        }
        if point == DuringNotDone && before == 0 {
            return Answer::Hangs;
        }
        done.lock().expect("the remote").insert(call.key.clone());
        match point == DuringDone && before == 0 {
            // Longer than the server lives.
            true => Answer::DoneAfter(Duration::from_secs(20)),
            false => Answer::Done,
        }
    })
}

fn check(&(kind, point, calls): &(Kind, Point, usize)) {
    let name = format!("{kind:?} {point:?}");
    let done = Arc::default();
    let (fx, mut spine) = (tools(point, &done), Spine::fresh());
    let calls_of = |path: &str| fx.calls().into_iter().filter(|call| call.path == path).count();
    spine.fails_at(point.fault());
    spine.restart();
    spine.start_run(&kind.plan(&fx));
    if point.fault().is_some() {
        waits::until(&format!("{name}: the crash"), || spine.ended());
    } else {
        waits::until(&format!("{name}: the call"), || (calls_of("/act") > 0).then_some(()));
        spine.kill();
    }
    spine.fails_at(None);
    spine.restart();
    spine.wait_run("r", &[kind.ends()]);
    assert_eq!(calls_of("/act"), calls, "{name}: calls of what follows: {:?}", fx.calls());
    assert_eq!(done.lock().expect("the remote").len(), 1, "{name}: effects of what follows");
    let failed = 1 + usize::from(point == BeforeFailure);
    assert_eq!((calls_of("/works"), calls_of("/fails")), (1, failed), "{name}: {:?}", fx.calls());
}

/// The rows one by one.
fn rows() -> Vec<(Kind, Point, usize)> {
    let of = |kind| ROWS.iter().map(move |&(point, calls)| (kind, point, calls));
    KINDS.into_iter().flat_map(of).collect()
}

#[test]
fn l24_every_row_of_what_follows_a_failure_holds() {
    if !row::is_left_to_soak("the rows of what follows a failure") {
        every("afterwards", &rows(), THREADS, check);
    }
}

/// The table of the page, from the rows.
pub(super) fn table() -> String {
    let mut text = String::from(
        "| what follows | the server dies | calls | effects | what follows |\n|---|---|---|---|---|\n",
    );
    for (kind, point, calls) in rows() {
        let (kind, point, ends) = (kind.words(), point.words(), Ends::Completed.words());
        writeln!(text, "| {kind} | {point} | {calls} | 1 | {ends} |").expect("a string");
    }
    text
}
