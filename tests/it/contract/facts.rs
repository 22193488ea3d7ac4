//! The rows of record runs, of which nothing runs here: the server dies while facts are reported to it.

use super::every;
use serde_json::{Value, json};
use spine_tests::{Reply, Spine, lines, row, waits};
use std::fmt::Write as _;

/// Where the server dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Point {
    BeforeLog,
    Unanswered,
    Answered,
    BetweenReports,
}

use Point::{Answered, BeforeLog, BetweenReports, Unanswered};

impl Point {
    fn words(self) -> &'static str {
        match self {
            BeforeLog => "before the facts are in the log",
            Unanswered => "after the facts are in the log, unanswered",
            Answered => "right after the answer",
            BetweenReports => "between two reports, while a step runs elsewhere",
        }
    }

    /// The planted end of the server; `None` where it is killed from outside.
    fn fault(self) -> Option<&'static str> {
        match self {
            BeforeLog => Some("asked:1"),
            Unanswered => Some("taken:1"),
            Answered | BetweenReports => None,
        }
    }

    /// How many facts are reported first.
    fn first(self) -> usize {
        match self {
            BeforeLog | Unanswered | Answered => FACTS,
            // The run and the start of its step.
            BetweenReports => 2,
        }
    }
}

const THREADS: usize = 3;
/// Those of a run of one step.
const FACTS: usize = 4;

/// How often the first fact is in the log. Each counts once.
const ROWS: [(Point, usize); 4] =
    [(BeforeLog, 1), (Unanswered, 2), (Answered, 2), (BetweenReports, 2)];

/// Reports facts under one key.
fn report(spine: &Spine, facts: &[Value]) -> std::io::Result<Reply> {
    let kind = "application/x-ndjson\r\nIdempotency-Key: batch-1";
    spine.http().ask("POST", "/v1/events", kind, &lines::ndjson(facts))
}

fn check((point, copies): &(Point, usize)) {
    let name = format!("{point:?}");
    let facts = lines::record_run("r", 1);
    assert_eq!(facts.len(), FACTS);
    let mut spine = Spine::fresh();
    spine.fails_at(point.fault());
    spine.restart();
    let told = report(&spine, &facts[..point.first()]);
    if point.fault().is_some() {
        assert!(told.is_err(), "{name}: {told:?}");
        waits::until(&format!("{name}: the crash"), || spine.ended());
    } else {
        assert_eq!(told.expect("an answer").status, 202, "{name}");
        spine.kill();
    }
    spine.fails_at(None);
    spine.restart();
    if *point == BetweenReports {
        let run = spine.wait_run("r", &["running"]);
        assert_eq!(run["steps"]["completed"], 0, "{name}: {run}");
        let step = spine.get("/v1/runs/r/steps/s0").json();
        assert_eq!((&step["status"], &step["attempt"]), (&json!("running"), &json!(1)), "{step}");
    }
    let again = report(&spine, &facts).expect("an answer");
    assert_eq!(again.status, 202, "{name}: {}", again.json());
    let last = again.json()["positions"][0]["last_offset"].as_u64().expect("a position");
    let events = spine.get(&format!("/v1/runs/r/events?at_least={last}&limit=100")).json();
    let events = events["events"].as_array().expect("events");
    let first = events.iter().filter(|event| event["kind"] == "run_created").count();
    assert_eq!(first, *copies, "{name}: copies: {events:?}");
    let counted = events.iter().filter(|event| event["verdict"] == "applied").count();
    assert_eq!(counted, FACTS, "{name}: counted: {events:?}");
    let run = spine.wait_run("r", &["completed"]);
    assert_eq!(run["steps"]["completed"], 1, "{name}: {run}");
}

#[test]
fn l24_every_row_of_a_record_run_holds() {
    if !row::is_left_to_soak("the rows of record runs") {
        every("facts", &ROWS, THREADS, check);
    }
}

/// The table of the page, from the rows.
pub(super) fn table() -> String {
    let mut text =
        String::from("| the server dies | copies | counted | the run |\n|---|---|---|---|\n");
    for (point, copies) in ROWS {
        let point = point.words();
        writeln!(text, "| {point} | {copies} | 1 | is as it was reported |").expect("a string");
    }
    text
}
