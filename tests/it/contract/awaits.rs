//! The rows of what an agent awaits: a signal or a time, by the journal. The server dies while it begins to, while it
//! does, or while the wait ends.

use super::{comes_back, every};
use serde_json::{Value, json};
use spine_tests::{Spine, row, waits};
use std::fmt::Write as _;

/// What is awaited, and whether it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Signal,
    NoSignal,
    Sleep,
}

use Kind::{NoSignal, Signal, Sleep};

/// Where the server dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Point {
    BeforeAwait,
    AfterAwait,
    Waiting,
    BeforeSignal,
    AfterSignal,
    BeforeExpiry,
}

use Point::{AfterAwait, AfterSignal, BeforeAwait, BeforeExpiry, BeforeSignal, Waiting};

const THREADS: usize = 4;
/// Longer than any test.
const LONG_MS: u64 = 600_000;
/// How long something is awaited that does not come.
const SHORT_MS: u64 = 2000;

const ROWS: [(Kind, &[Point]); 3] = [
    (Signal, &[BeforeAwait, AfterAwait, Waiting, BeforeSignal, AfterSignal]),
    (NoSignal, &[BeforeAwait, AfterAwait, Waiting, BeforeExpiry]),
    (Sleep, &[BeforeAwait, AfterAwait, Waiting, BeforeExpiry]),
];

/// The rows one by one.
fn rows() -> Vec<(Kind, Point)> {
    let of = |(kind, points): &(Kind, &'static [Point])| {
        let kind = *kind;
        points.iter().map(move |point| (kind, *point))
    };
    ROWS.iter().flat_map(of).collect()
}

impl Point {
    fn words(self) -> &'static str {
        match self {
            BeforeAwait => "before `await` is in the log",
            AfterAwait => "after `await` is in the log, unanswered",
            Waiting => "while it waits",
            BeforeSignal => "before the signal is in the log",
            AfterSignal => "after the signal is in the log, unanswered",
            BeforeExpiry => "when the time is over, before that is in the log",
        }
    }

    /// The planted end of the server. What its door is asked first is the run, then `await`, then the signal. The
    /// end of a time is the first that its owner decides.
    fn fault(self) -> Option<&'static str> {
        match self {
            BeforeAwait => Some("asked:2"),
            AfterAwait => Some("taken:2"),
            Waiting => None,
            BeforeSignal => Some("asked:3"),
            AfterSignal => Some("taken:3"),
            BeforeExpiry => Some("decided:1"),
        }
    }
}

impl Kind {
    fn words(self) -> &'static str {
        match self {
            Signal => "a signal, which comes",
            NoSignal => "a signal, which does not come in time",
            Sleep => "a time",
        }
    }

    /// The event that ends it.
    fn end(self) -> &'static str {
        match self {
            Signal => "signal_received",
            NoSignal | Sleep => "wait_expired",
        }
    }

    /// What the agent is told once the wait has ended.
    fn told(self) -> (&'static str, &'static str) {
        match self {
            Signal => ("replay", "`replay` with its data"),
            NoSignal => ("denied", "`denied` for `wait_expired`"),
            Sleep => ("replay", "`replay`"),
        }
    }

    /// The operation, under a number.
    fn op(self, op_id: u64) -> Value {
        let mut op = json!({"op": "await", "op_id": op_id, "step": {"name": "a"}});
        match self {
            Signal => (op["signal"], op["timeout_ms"]) = (json!("go"), json!(LONG_MS)),
            NoSignal => (op["signal"], op["timeout_ms"]) = (json!("go"), json!(SHORT_MS)),
            Sleep => op["sleep_ms"] = json!(SHORT_MS),
        }
        op
    }

    /// Asks once; `None` where the server went away over it.
    fn asks(self, spine: &Spine, op_id: u64) -> Option<Value> {
        let body = json!({"session": "S", "ops": [self.op(op_id)]});
        let reply = spine.http().post("/v1/runs/r/journal", &body).ok()?;
        assert_eq!(reply.status, 200, "{}", reply.json());
        Some(reply.json()["results"][0].clone())
    }
}

fn signal(spine: &Spine) -> Option<u16> {
    let kind = "application/json\r\nIdempotency-Key: once";
    let reply = spine.http().ask("POST", "/v1/runs/r/signals/go", kind, br#"{"data":5}"#).ok()?;
    Some(reply.status)
}

/// The agent begins to wait, and the server dies at the point of a row.
fn dies(spine: &mut Spine, kind: Kind, point: Point, name: &str) {
    let answer = match kind.asks(spine, 1) {
        Some(answer) => {
            assert!(!matches!(point, BeforeAwait | AfterAwait), "{name}: {answer}");
            answer
        }
        None => {
            comes_back(spine, name);
            kind.asks(spine, 1).expect("an answer")
        }
    };
    assert_eq!(answer["status"], "wait", "{name}: {answer}");
    match point {
        BeforeAwait | AfterAwait => {}
        Waiting => {
            spine.kill();
            spine.restart();
        }
        BeforeSignal | AfterSignal => {
            assert_eq!(signal(spine), None, "{name}");
            comes_back(spine, name);
        }
        BeforeExpiry => comes_back(spine, name),
    }
}

fn check((kind, point): &(Kind, Point)) {
    let (kind, name) = (*kind, format!("{kind:?} {point:?}"));
    let mut spine = Spine::fresh();
    spine.fails_at(point.fault());
    spine.restart();
    spine.start_run(&json!({"run_id": "r", "workflow": "it", "version": "1", "driver": "journal"}));
    dies(&mut spine, kind, *point, &name);
    if kind == Signal {
        // What is said again counts once.
        assert_eq!([signal(&spine), signal(&spine)], [Some(200); 2], "{name}");
    }
    let mut op_id = 1;
    let told = waits::until(&format!("{name}: the end of the wait"), || {
        op_id += 1;
        kind.asks(&spine, op_id).filter(|answer| answer["status"] != "wait")
    });
    assert_eq!(told["status"], kind.told().0, "{name}: {told}");
    match kind {
        Signal => assert_eq!(told["output"], 5, "{name}: {told}"),
        NoSignal => assert_eq!(told["name"], "wait_expired", "{name}: {told}"),
        Sleep => {}
    }
    let events = waits::until(&format!("{name}: the store"), || {
        let events = spine.get("/v1/runs/r/events?limit=1000").json();
        let events = events["events"].as_array()?.clone();
        events.iter().any(|event| event["kind"] == kind.end()).then_some(events)
    });
    for which in ["wait_created", kind.end()] {
        let is = |event: &&Value| event["kind"] == which && event["verdict"] == "applied";
        assert_eq!(events.iter().filter(is).count(), 1, "{name}: {which}: {events:?}");
    }
    spine.stop();
    spine.is_fold_of_log();
}

#[test]
fn l24_every_row_of_what_an_agent_awaits_holds() {
    if !row::is_left_to_soak("the rows of what agents await") {
        every("awaits", &rows(), THREADS, check);
    }
}

/// The table of the page, from the rows.
pub(super) fn table() -> String {
    let mut text = String::from(
        "| what the agent awaits | the server dies | ended | it is told |\n|---|---|---|---|\n",
    );
    for (kind, point) in rows() {
        let (what, point, told) = (kind.words(), point.words(), kind.told().1);
        writeln!(text, "| {what} | {point} | 1 | {told} |").expect("a string");
    }
    text
}
