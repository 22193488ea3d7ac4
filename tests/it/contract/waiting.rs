//! The rows of what waits: for a signal, for a time, for people. The server dies while it begins to, while it does, or
//! while the wait ends.

use super::{Ends, every};
use serde_json::{Value, json};
use spine_tests::{Answer, Fx, Reply, Spine, lines, row, waits};
use std::{collections::BTreeSet, fmt::Write as _};

/// What is awaited, and whether it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Signal,
    NoSignal,
    Sleep,
    Approved,
    Denied,
    Unanswered,
    Escalated,
}

use Kind::{Approved, Denied, Escalated, NoSignal, Signal, Sleep, Unanswered};

/// Where the server dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Point {
    BeforeWait,
    Waiting,
    BeforeEnd,
    AfterEnd,
    BeforeNext,
}

use Point::{AfterEnd, BeforeEnd, BeforeNext, BeforeWait, Waiting};

const THREADS: usize = 4;
/// Longer than any test.
const LONG_MS: u64 = 600_000;
/// How long something is awaited that does not come.
const SHORT_MS: u64 = 2000;

/// Effects of the call that rests on the wait, at a tool that knows its key. One event ends each wait.
const ROWS: [(Kind, &[Point], usize); 7] = [
    (Signal, &[BeforeWait, Waiting, BeforeEnd, AfterEnd, BeforeNext], 1),
    (NoSignal, &[BeforeWait, Waiting, BeforeNext], 0),
    (Sleep, &[BeforeWait, Waiting, BeforeNext], 1),
    (Approved, &[BeforeWait, Waiting, BeforeEnd, AfterEnd, BeforeNext], 1),
    (Denied, &[BeforeWait, Waiting, BeforeEnd, AfterEnd, BeforeNext], 0),
    (Unanswered, &[BeforeWait, Waiting, BeforeNext], 0),
    (Escalated, &[BeforeWait, Waiting, BeforeEnd, AfterEnd, BeforeNext], 1),
];

/// The rows one by one.
fn rows() -> Vec<(Kind, Point, usize)> {
    let of = |(kind, points, effects): &(Kind, &'static [Point], usize)| {
        let (kind, effects) = (*kind, *effects);
        points.iter().map(move |point| (kind, *point, effects))
    };
    ROWS.iter().flat_map(of).collect()
}

impl Point {
    fn words(self) -> &'static str {
        match self {
            BeforeWait => "before the wait is in the log",
            Waiting => "while it waits",
            BeforeEnd => "before what ends the wait is in the log",
            AfterEnd => "after what ends the wait is in the log, unanswered",
            BeforeNext => "before what follows is in the log",
        }
    }

    /// The planted end of the server. What its door is asked first is the run, then what ends the wait.
    fn fault(self, kind: Kind) -> Option<&'static str> {
        match self {
            BeforeWait if kind == Escalated => Some("called:1"),
            BeforeWait => Some("decided:1"),
            Waiting => None,
            BeforeEnd => Some("asked:2"),
            AfterEnd => Some("taken:2"),
            // The intent of the call that fails, and its outcome, are decided before.
            BeforeNext if kind == Escalated => Some("decided:3"),
            BeforeNext => Some("decided:2"),
        }
    }
}

impl Kind {
    fn words(self) -> &'static str {
        match self {
            Signal => "`signal:`, which comes",
            NoSignal => "`signal:`, which does not come in time",
            Sleep => "`sleep:`",
            Approved => "`approval`, given",
            Denied => "`approval`, denied",
            Unanswered => "`approval`, not given in time",
            Escalated => "the task of a step that has failed, answered by `complete`",
        }
    }

    /// Whether somebody ends it.
    fn is_answered(self) -> bool {
        matches!(self, Signal | Approved | Denied | Escalated)
    }

    /// The event that ends it.
    fn end(self) -> &'static str {
        match self {
            Signal => "signal_received",
            NoSignal | Sleep => "wait_expired",
            Approved | Denied | Escalated => "task_decided",
            Unanswered => "task_expired",
        }
    }

    /// What becomes of the step.
    fn outcome(self) -> &'static str {
        match self {
            Signal | Sleep | Approved | Escalated => Ends::Completed.words(),
            NoSignal | Denied | Unanswered => "has one dead letter",
        }
    }

    /// A call that rests on the wait. Its start may be in the log before the server dies, since whoever is not
    /// answered yet holds nothing up.
    fn plan(self, fx: &Fx) -> Value {
        let call = |name| lines::step(name, &fx.tool("act"), "idempotent");
        let waits = |tool: String, ms: u64| {
            vec![json!({"name": "a", "tool": tool, "deadline_ms": ms}), call("b")]
        };
        let asks = |ms: u64| {
            let mut asked = call("a");
            asked["approval"] = json!({"expires_ms": ms});
            vec![asked]
        };
        let steps = match self {
            Signal => waits("signal:go".into(), LONG_MS),
            NoSignal => waits("signal:go".into(), SHORT_MS),
            Sleep => waits(format!("sleep:{SHORT_MS}"), LONG_MS),
            Approved | Denied => asks(LONG_MS),
            Unanswered => asks(SHORT_MS),
            Escalated => {
                let mut fails = lines::step("a", &fx.tool("fails"), "idempotent");
                fails["on_exhausted"] = json!("escalate");
                vec![fails, call("b")]
            }
        };
        lines::plan("r", &lines::quick(3), steps)
    }

    /// Says what ends the wait.
    fn answer(self, spine: &Spine, name: &str) -> std::io::Result<Reply> {
        let (path, body) = match self {
            Approved | Denied => {
                let decision = if self == Approved { "approve" } else { "deny" };
                let path = format!("/v1/tasks/{}/decide", task(spine, name));
                (path, json!({"decision": decision, "reason": "looked at"}))
            }
            Escalated => {
                let path = format!("/v1/tasks/{}/decide", task(spine, name));
                (path, json!({"decision": "complete", "reason": "done by hand", "output": 1}))
            }
            Signal | NoSignal | Sleep | Unanswered => {
                ("/v1/runs/r/signals/go".to_owned(), json!({"data": 1}))
            }
        };
        let kind = "application/json\r\nIdempotency-Key: once";
        spine.http().ask("POST", &path, kind, body.to_string().as_bytes())
    }
}

/// The id of the one task, be it decided or not.
fn task(spine: &Spine, name: &str) -> String {
    waits::until(&format!("{name}: the task"), || {
        let tasks = spine.get("/v1/tasks?status=all").json();
        tasks["tasks"][0]["id"].as_str().map(str::to_owned)
    })
}

/// It waits, or has done so.
fn waits_by_now(spine: &Spine, name: &str) {
    waits::until(&format!("{name}: the wait"), || {
        let step = spine.get("/v1/runs/r/steps/a").json();
        let begins = ["scheduled", "running"].iter().any(|status| step["status"] == *status);
        (!begins && !step["status"].is_null()).then_some(())
    });
}

/// The server dies at the point of a row, and is started again.
fn dies(spine: &mut Spine, kind: Kind, point: Point, name: &str) {
    match point {
        Waiting => {
            waits_by_now(spine, name);
            spine.kill();
        }
        BeforeEnd | AfterEnd => {
            waits_by_now(spine, name);
            let told = kind.answer(spine, name);
            assert!(told.is_err(), "{name}: {told:?}");
        }
        BeforeNext if kind.is_answered() => {
            waits_by_now(spine, name);
            let _answered_or_not = kind.answer(spine, name);
        }
        BeforeWait | BeforeNext => {}
    }
    if point.fault(kind).is_some() {
        waits::until(&format!("{name}: the crash"), || spine.ended());
    }
    spine.fails_at(None);
    spine.restart();
}

/// The run completes, or its step has a letter.
fn ends(spine: &Spine, kind: Kind, name: &str) {
    match kind {
        Signal | Sleep | Approved | Escalated => drop(spine.wait_run("r", &["completed"])),
        NoSignal | Denied | Unanswered => {
            waits::until(&format!("{name}: the letter"), || {
                let step = spine.get("/v1/runs/r/steps/a").json();
                (step["status"] == "dead_lettered").then_some(())
            });
            let letters = spine.get("/v1/dead-letters").json();
            let letters = letters["dead_letters"].as_array().expect("letters");
            assert_eq!(letters.len(), 1, "{name}: {letters:?}");
        }
    }
}

fn check((kind, point, effects): &(Kind, Point, usize)) {
    let name = format!("{kind:?} {point:?}");
    let fx = Fx::start(|call, _| match call.path.as_str() {
        "/fails" => Answer::Refuses(422),
        _ => Answer::Done,
    });
    let mut spine = Spine::fresh();
    let plan = kind.plan(&fx);
    spine.fails_at(point.fault(*kind));
    spine.restart();
    let _acknowledged_or_not = spine.http().post("/v1/runs", &plan);
    dies(&mut spine, *kind, *point, &name);
    let again = spine.http().post("/v1/runs", &plan).expect("an answer");
    assert!(matches!(again.status, 200 | 201), "{name}: {}", again.json());
    if kind.is_answered() {
        // What is said again changes nothing.
        for _ in 0..2 {
            let told = kind.answer(&spine, &name).expect("an answer");
            assert!(matches!(told.status, 200 | 409), "{name}: {}", told.json());
        }
    }
    ends(&spine, *kind, &name);
    let events = spine.get("/v1/runs/r/events?limit=1000").json();
    let events = events["events"].as_array().expect("events");
    let is_end = |event: &&Value| event["kind"] == kind.end() && event["verdict"] == "applied";
    assert_eq!(events.iter().filter(is_end).count(), 1, "{name}: {events:?}");
    let effective = fx.calls().into_iter().filter(|call| call.effect);
    let keys: BTreeSet<String> = effective.map(|call| call.key).collect();
    assert_eq!(keys.len(), *effects, "{name}: {:?}", fx.calls());
}

#[test]
fn l24_every_row_of_what_waits_holds() {
    if !row::is_left_to_soak("the rows of what waits") {
        every("waiting", &rows(), THREADS, check);
    }
}

/// The table of the page, from the rows.
pub(super) fn table() -> String {
    let mut text = String::from(
        "| what waits | the server dies | ended | effects | the step |\n|---|---|---|---|---|\n",
    );
    for (kind, point, effects) in rows() {
        let (kind, point, outcome) = (kind.words(), point.words(), kind.outcome());
        writeln!(text, "| {kind} | {point} | 1 | {effects} | {outcome} |").expect("a string");
    }
    text
}
