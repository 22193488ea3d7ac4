//! The rows of steps whose tool is asked what happened: their call was not answered in time, its effect is there, is
//! not, or comes later, and the server dies around the question.

use super::{Ends, every};
use serde_json::{Value, json};
use spine_tests::{Answer, Call, Fx, Spine, lines, row, waits};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    sync::{Arc, Mutex},
    time::Duration,
};

/// What a no of the tool means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Voids,
    Waits,
}

use Kind::{Voids, Waits};

/// What became of the first call, which nobody waits for any more when the tool is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum First {
    TookEffect,
    DidNothing,
    TakesEffectLater,
}

use First::{DidNothing, TakesEffectLater, TookEffect};

/// Where the server dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Point {
    WhileAsked,
    BeforeFinding,
    AfterFinding,
}

use Point::{AfterFinding, BeforeFinding, WhileAsked};

/// Calls of the tool in all; effects are one in each row.
const ROWS: [(Kind, First, usize); 6] = [
    (Voids, TookEffect, 1),
    (Voids, DidNothing, 2),
    (Voids, TakesEffectLater, 2),
    (Waits, TookEffect, 1),
    (Waits, DidNothing, 2),
    (Waits, TakesEffectLater, 1),
];
const POINTS: [Point; 3] = [WhileAsked, BeforeFinding, AfterFinding];
const THREADS: usize = 4;
const TIMEOUT_MS: u64 = 1000;

impl Kind {
    fn words(self) -> &'static str {
        match self {
            Voids => "makes the key void",
            Waits => "does not",
        }
    }
}

impl First {
    fn words(self) -> &'static str {
        match self {
            TookEffect => "took effect",
            DidNothing => "did nothing",
            TakesEffectLater => "takes effect after the question",
        }
    }
}

impl Point {
    fn words(self) -> &'static str {
        match self {
            WhileAsked => "while its tool is asked",
            BeforeFinding => "after the answer, before it is in the log",
            AfterFinding => "after the answer is in the log",
        }
    }

    /// The planted end of the server; `None` where it is killed from outside.
    fn fault(self) -> Option<&'static str> {
        match self {
            WhileAsked => None,
            BeforeFinding => Some("probed:1"),
            AfterFinding => Some("finding_read:1"),
        }
    }
}

/// A remote that knows its keys, and makes them void where it is asked to.
#[derive(Debug, Default)]
struct Remote {
    done: BTreeSet<String>,
    /// Up to which attempt calls under a key are refused.
    void: BTreeMap<String, u32>,
    /// A call that still is on its way there, and its attempt.
    late: Option<(String, u32)>,
    asked: usize,
}

impl Remote {
    fn acts(&mut self, call: &Call, first: Option<First>) -> Answer {
        match first {
            Some(TookEffect) => drop(self.done.insert(call.key.clone())),
            Some(DidNothing) => {}
            Some(TakesEffectLater) => self.late = Some((call.key.clone(), call.attempt)),
            None => return self.does(&call.key, call.attempt),
        }
        Answer::Hangs
    }

    fn does(&mut self, key: &str, attempt: u32) -> Answer {
        if self.void.get(key).is_some_and(|up_to| attempt <= *up_to) {
            return Answer::Refuses(409);
        }
        self.done.insert(key.to_owned());
        Answer::Done
    }

    /// The call that was on its way arrives after the tool has been asked about it.
    fn is_asked(&mut self, call: &Call) -> Answer {
        self.asked += 1;
        let question: Value = serde_json::from_str(&call.body).expect("a question");
        let happened = self.done.contains(&call.key);
        if !happened && question["void"] == true {
            self.void.insert(call.key.clone(), call.attempt);
        }
        if let Some((key, attempt)) = self.late.take() {
            self.does(&key, attempt);
        }
        Answer::Says(json!({"happened": happened}).to_string())
    }
}

/// The tool of a row. Where the server dies while it asks, the first question gets no answer in that time.
fn tool(first: First, point: Point, remote: &Arc<Mutex<Remote>>) -> Fx {
    let remote = remote.clone();
    Fx::start(move |call, before| {
        let mut remote = remote.lock().expect("the remote");
        if call.path == "/act" {
            return remote.acts(call, (before == 0).then_some(first));
        }
        match remote.is_asked(call) {
            Answer::Says(_) if point == WhileAsked && remote.asked == 1 => {
                Answer::DoneAfter(Duration::from_secs(20))
            }
            answer => answer,
        }
    })
}

fn check(&(kind, first, calls, point): &(Kind, First, usize, Point)) {
    let name = format!("{kind:?} {first:?} {point:?}");
    let remote = Arc::default();
    let (fx, mut spine) = (tool(first, point, &remote), Spine::fresh());
    let mut step = lines::step("a", &fx.tool("act"), "probe");
    step["timeout_ms"] = json!(TIMEOUT_MS);
    step["probe"] = json!({"tool": fx.tool("probe"), "voids": kind == Voids});
    spine.fails_at(point.fault());
    spine.restart();
    spine.start_run(&lines::plan("r", &lines::quick(3), vec![step]));
    if point == WhileAsked {
        let asked = || remote.lock().expect("the remote").asked;
        waits::until(&format!("{name}: the question"), || (asked() > 0).then_some(()));
        spine.kill();
    } else {
        waits::until(&format!("{name}: the crash"), || spine.ended());
    }
    spine.fails_at(None);
    spine.restart();
    let run = spine.wait_run("r", &["completed", "failed", "waiting"]);
    assert_eq!(run["status"], "completed", "{name}: {run}");
    let acts = fx.calls().into_iter().filter(|call| call.path == "/act").count();
    assert_eq!(acts, calls, "{name}: calls: {:?}", fx.calls());
    let remote = remote.lock().expect("the remote");
    assert_eq!(remote.done.len(), 1, "{name}: effects under a key: {remote:?}");
    let keys: BTreeSet<String> = fx.calls().into_iter().map(|call| call.key).collect();
    assert_eq!(keys.len(), 1, "{name}: keys: {keys:?}");
    // An answer that was lost is asked for again; one that is in the log and says that it happened is not.
    match (point, first) {
        (WhileAsked | BeforeFinding, _) => assert!(remote.asked >= 2, "{name}: {remote:?}"),
        (AfterFinding, TookEffect) => assert_eq!(remote.asked, 1, "{name}: {remote:?}"),
        (AfterFinding, DidNothing | TakesEffectLater) => {}
    }
}

/// The rows one by one.
fn rows() -> Vec<(Kind, First, usize, Point)> {
    let of = |&(kind, first, calls): &(Kind, First, usize)| {
        POINTS.into_iter().map(move |point| (kind, first, calls, point))
    };
    ROWS.iter().flat_map(of).collect()
}

#[test]
fn l24_every_row_of_what_is_asked_holds() {
    if !row::is_left_to_soak("the rows of what is asked") {
        every("probes", &rows(), THREADS, check);
    }
}

/// The table of the page, from the rows.
pub(super) fn table() -> String {
    let mut text = String::from(
        "| a no | the first call | the server dies | calls | effects | the step |\n|---|---|---|---|---|---|\n",
    );
    for (kind, first, calls, point) in rows() {
        let (kind, first, point) = (kind.words(), first.words(), point.words());
        let ends = Ends::Completed.words();
        writeln!(text, "| {kind} | {first} | {point} | {calls} | 1 | {ends} |").expect("a string");
    }
    text
}
