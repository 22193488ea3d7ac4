//! The rows of queue steps: the server dies, or the worker.

use super::{
    AGAIN, AtMostOnce, Became, Class, DONE, Ends, IN_DOUBT, IN_VAIN, Idempotent, ProbeByPerson,
    ProbeVoids, ProbeWaits, Pure, Remote, UNTRIED, every,
};
use serde_json::{Value, json};
use spine_tests::{Fx, Spine, Worker, lines, row, waits};
use std::fmt::Write as _;

/// Who dies, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Point {
    ServerBeforeGrant,
    ServerBeforeAnswer,
    ServerDuringWork,
    ServerBeforeOutcome,
    ServerAfterOutcome,
    WorkerBeforeWork,
    WorkerNotDone,
    WorkerDone,
    WorkerAfterOutcome,
}

use Point::{
    ServerAfterOutcome, ServerBeforeAnswer, ServerBeforeGrant, ServerBeforeOutcome,
    ServerDuringWork, WorkerAfterOutcome, WorkerBeforeWork, WorkerDone, WorkerNotDone,
};

impl Point {
    fn words(self) -> &'static str {
        match self {
            ServerBeforeGrant => "the server, before the grant is in the log",
            ServerBeforeAnswer => "the server, after the grant, before the worker hears of it",
            ServerDuringWork => "the server, while the worker is at it",
            ServerBeforeOutcome => "the server, before the outcome is in the log",
            ServerAfterOutcome => "the server, after the outcome is in the log, unanswered",
            WorkerBeforeWork => "the worker, after the grant, before the work",
            WorkerNotDone => "the worker, during the work, which had no effect",
            WorkerDone => "the worker, during the work, which had its effect",
            WorkerAfterOutcome => "the worker, after it has sent the outcome",
        }
    }

    /// The planted end of the server. What its door is asked first is the run, then what the worker says.
    fn fault(self) -> Option<&'static str> {
        match self {
            // Decided first is that the step waits, then the grant.
            ServerBeforeGrant => Some("decided:2"),
            ServerBeforeAnswer => Some("granted:1"),
            ServerBeforeOutcome => Some("asked:2"),
            ServerAfterOutcome => Some("taken:2"),
            ServerDuringWork | WorkerBeforeWork | WorkerNotDone | WorkerDone
            | WorkerAfterOutcome => None,
        }
    }

    /// How long the first worker has the step: not long where nobody goes on with it.
    fn lease_ms(self) -> u64 {
        match self {
            ServerBeforeAnswer | WorkerBeforeWork | WorkerNotDone | WorkerDone => 1000,
            ServerBeforeGrant | ServerDuringWork | ServerBeforeOutcome | ServerAfterOutcome
            | WorkerAfterOutcome => LONG_MS,
        }
    }

    /// Times of a step: short where a probe waits until no work can go on any more.
    fn timeout_ms(self) -> u64 {
        if self.lease_ms() == LONG_MS { LONG_MS } else { 2500 }
    }
}

const LONG_MS: u64 = 60_000;
const THREADS: usize = 6;
const CLASSES: [Class; 6] = [Pure, Idempotent, ProbeVoids, ProbeWaits, ProbeByPerson, AtMostOnce];

/// What becomes of a step of each of the classes, in their order.
const ROWS: [(Point, [Became; 6]); 9] = [
    (ServerBeforeGrant, [DONE; 6]),
    (ServerBeforeAnswer, [DONE, DONE, DONE, DONE, UNTRIED, UNTRIED]),
    (ServerDuringWork, [DONE; 6]),
    (ServerBeforeOutcome, [DONE; 6]),
    (ServerAfterOutcome, [DONE; 6]),
    (WorkerBeforeWork, [DONE, DONE, DONE, DONE, UNTRIED, UNTRIED]),
    (WorkerNotDone, [AGAIN, AGAIN, AGAIN, AGAIN, IN_VAIN, IN_VAIN]),
    (WorkerDone, [AGAIN, AGAIN, DONE, DONE, IN_DOUBT, IN_DOUBT]),
    (WorkerAfterOutcome, [DONE; 6]),
];

/// The rows one by one, by class.
fn rows() -> Vec<(Class, Point, Became)> {
    let of = |(at, class)| ROWS.iter().map(move |(point, became)| (class, *point, became[at]));
    CLASSES.into_iter().enumerate().flat_map(of).collect()
}

/// Until it has what it asked for: a server that is started again may know nothing of the queue yet.
fn granted(spine: &Spine, lease_ms: u64) -> Value {
    let mut worker = Worker::new("w1", spine);
    let wanted = json!({"wait_ms": 2000, "lease_ms": lease_ms});
    waits::until("a step", || worker.lease("q", wanted.clone()).into_iter().next())
}

/// Lets the server die, or the worker.
fn dies(spine: &mut Spine, point: Point, remote: &Remote) {
    let mut worker = Worker::new("w1", spine);
    let ends = |spine: &mut Spine| waits::until("the crash", || spine.ended());
    match point {
        ServerBeforeGrant | ServerBeforeAnswer => {
            let asked = worker.ask("q", json!({"wait_ms": 20_000, "lease_ms": point.lease_ms()}));
            assert!(asked.is_err(), "{asked:?}");
            ends(spine);
        }
        ServerDuringWork | ServerBeforeOutcome | ServerAfterOutcome => {
            let lease = granted(spine, point.lease_ms());
            remote.begin(&lease["idempotency_key"], true);
            if point == ServerDuringWork {
                spine.kill();
            } else {
                let told = worker.tell("q", "complete", &lease, worker.output());
                assert!(told.is_err(), "{told:?}");
                ends(spine);
            }
            spine.fails_at(None);
            spine.restart();
            // What is said again changes nothing.
            let mut worker = Worker::new("w1", spine);
            (0..2).for_each(|_| worker.complete("q", &lease));
        }
        WorkerBeforeWork | WorkerNotDone | WorkerDone | WorkerAfterOutcome => {
            let lease = granted(spine, point.lease_ms());
            if point != WorkerBeforeWork {
                remote.begin(&lease["idempotency_key"], point != WorkerNotDone);
            }
            if point == WorkerAfterOutcome {
                worker.complete("q", &lease);
            }
        }
    }
}

/// Another worker goes on until the run stands where it must; it is given nothing of a step that is `unknown`.
fn goes_on(spine: &Spine, remote: &Remote, name: &str, ends: Ends) {
    let mut worker = Worker::new("w2", spine);
    waits::until(name, || {
        for lease in worker.lease("q", json!({"wait_ms": 100, "lease_ms": LONG_MS})) {
            remote.begin(&lease["idempotency_key"], true);
            worker.complete("q", &lease);
        }
        let run = spine.get("/v1/runs/r").json();
        let is_unknown = run["waiting_for"][0]["for"] == "resolution";
        match ends {
            Ends::Completed => (run["status"] == "completed").then_some(()),
            Ends::Unknown => is_unknown.then_some(()),
        }
    });
    let more = worker.lease("q", json!({"wait_ms": 200}));
    assert!(more.is_empty(), "{name}: {more:?}");
}

fn check((class, point, became): &(Class, Point, Became)) {
    let name = format!("{class:?} {point:?}");
    let remote = Remote::default();
    let fx: Fx = remote.probe();
    let mut step = class.step("queue:q", fx.tool("probe"));
    step["timeout_ms"] = json!(point.timeout_ms());
    let mut spine = Spine::fresh();
    spine.fails_at(point.fault());
    spine.restart();
    spine.start_run(&lines::plan("r", &lines::quick(3), vec![step]));
    dies(&mut spine, *point, &remote);
    if spine.is_down() {
        spine.fails_at(None);
        spine.restart();
    }
    goes_on(&spine, &remote, &name, became.2);
    remote.check(&name, *became);
}

#[test]
fn l24_every_row_of_a_queue_holds() {
    if !row::is_left_to_soak("the rows of queues") {
        every("queue", &rows(), THREADS, check);
    }
}

/// The table of the page, from the rows.
pub(super) fn table() -> String {
    let mut text = String::from(
        "| effect class | what dies, and when | work begun | effects | the step |\n|---|---|---|---|---|\n",
    );
    for (class, point, Became(begun, effects, ends)) in rows() {
        let (class, point, ends) = (class.words(), point.words(), ends.words());
        writeln!(text, "| {class} | {point} | {begun} | {effects} | {ends} |").expect("a string");
    }
    text
}
