//! The failure contract: what happens to a step of each effect class when the server, or whoever does the step, dies
//! at each point of its life. The rows are those of docs/failure-contract.md, which tests hold against them. Here are
//! those of plan runs with HTTP tools; those of other steps and drivers are beside.

mod afterwards;
mod awaits;
mod brain;
mod child;
mod facts;
mod journal;
mod probes;
mod queue;
mod waiting;

use serde_json::{Value, json};
use spine_tests::{Answer, Call, Fx, Spine, lines, row, waits};
use std::{
    collections::BTreeSet,
    fmt::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Where the server dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Point {
    BeforeIntent,
    AfterIntent,
    DuringNotDone,
    DuringDone,
    AfterEffect,
    AfterOutcome,
}

use Point::{AfterEffect, AfterIntent, AfterOutcome, BeforeIntent, DuringDone, DuringNotDone};

impl Point {
    fn words(self) -> &'static str {
        match self {
            BeforeIntent => "before the intent is in the log",
            AfterIntent => "after the intent, before the call",
            DuringNotDone => "during the call, which had no effect",
            DuringDone => "during the call, which had its effect",
            AfterEffect => "after the answer, before the outcome is in the log",
            AfterOutcome => "after the outcome is in the log",
        }
    }

    /// The planted end of the process; `None` where it is killed from outside.
    fn fault(self) -> Option<&'static str> {
        match self {
            BeforeIntent => Some("decided:1"),
            AfterIntent => Some("read_back:1"),
            DuringNotDone | DuringDone => None,
            AfterEffect => Some("called:1"),
            AfterOutcome => Some("outcome_read:1"),
        }
    }
}

/// How a step ends, without anybody's help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    Completed,
    Unknown,
}

impl Ends {
    fn words(self) -> &'static str {
        match self {
            Self::Completed => "completes by itself",
            Self::Unknown => "is `unknown` until somebody finds out",
        }
    }
}

/// What has become of a step: how often it was begun or called, effects at a remote that knows the key, and how it ends.
#[derive(Clone, Copy, Debug)]
struct Became(usize, usize, Ends);

/// It was done once, and that is known.
const DONE: Became = Became(1, 1, Ends::Completed);
/// It was done twice under one key.
const AGAIN: Became = Became(2, 1, Ends::Completed);
/// Nobody did it, and nobody knows.
const UNTRIED: Became = Became(0, 0, Ends::Unknown);
/// It was tried without effect, and nobody knows.
const IN_VAIN: Became = Became(1, 0, Ends::Unknown);
/// It was done once, and nobody knows.
const IN_DOUBT: Became = Became(1, 1, Ends::Unknown);

/// What workers and agents act on: it knows the key of each effect.
#[derive(Clone, Debug, Default)]
struct Remote {
    done: Arc<Mutex<BTreeSet<String>>>,
    begun: Arc<Mutex<Vec<String>>>,
}

impl Remote {
    /// Somebody begins the work under a key, and maybe the effect takes place.
    fn begin(&self, key: &Value, takes_effect: bool) {
        let key = key.as_str().expect("a key").to_owned();
        if takes_effect {
            self.done.lock().expect("the remote").insert(key.clone());
        }
        self.begun.lock().expect("the remote").push(key);
    }

    /// A tool that tells what happened under a key.
    fn probe(&self) -> Fx {
        let done = self.done.clone();
        Fx::start(move |call, _| {
            let happened = done.lock().expect("the remote").contains(&call.key);
            Answer::Says(json!({"happened": happened}).to_string())
        })
    }

    fn check(&self, name: &str, became: Became) {
        let Became(calls, effects, _) = became;
        let begun = self.begun.lock().expect("the remote").clone();
        assert_eq!(begun.len(), calls, "{name}: times that it was begun");
        let keys: BTreeSet<&String> = begun.iter().collect();
        assert!(keys.len() <= 1, "{name}: more than one key: {keys:?}");
        assert_eq!(self.done.lock().expect("the remote").len(), effects, "{name}: effects");
    }
}

/// The planted end of the server comes; in the next one nothing is planted.
fn comes_back(spine: &mut Spine, name: &str) {
    waits::until(&format!("{name}: the crash"), || spine.ended());
    spine.fails_at(None);
    spine.restart();
}

/// Checks every row of a table, some at a time, and prints how many held. One that does not hold keeps none of the
/// others from being checked.
fn every<T: Sync>(table: &str, rows: &[T], threads: usize, check: impl Fn(&T) + Sync) {
    let (began, next, held) = (Instant::now(), AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(row) = rows.get(next.fetch_add(1, Ordering::SeqCst)) {
                    if catch_unwind(AssertUnwindSafe(|| check(row))).is_ok() {
                        held.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    let held = held.into_inner();
    let parameters = json!({"table": table, "rows": rows.len(), "threads": threads});
    row::print("failure_contract", began, parameters, json!({"held": held}));
    assert_eq!(held, rows.len(), "rows of {table} that held; the others are told above");
}

/// The class of a step, and how it is told apart in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    Pure,
    Idempotent,
    ProbeVoids,
    ProbeWaits,
    ProbeByPerson,
    AtMostOnce,
}

use Class::{AtMostOnce, Idempotent, ProbeByPerson, ProbeVoids, ProbeWaits, Pure};

impl Class {
    fn words(self) -> &'static str {
        match self {
            Pure => "`pure`",
            Idempotent => "`idempotent`",
            ProbeVoids => "`probe`, a no makes the key void",
            ProbeWaits => "`probe`, a no does not",
            ProbeByPerson => "`probe` without `probe.tool`",
            AtMostOnce => "`at_most_once`",
        }
    }

    fn effect(self) -> &'static str {
        match self {
            Pure => "pure",
            Idempotent => "idempotent",
            ProbeVoids | ProbeWaits | ProbeByPerson => "probe",
            AtMostOnce => "at_most_once",
        }
    }

    /// A step of this class, whose tool can be asked where the class says so.
    fn step(self, tool: &str, probe: String) -> Value {
        let mut step = lines::step("a", tool, self.effect());
        step["timeout_ms"] = json!(TIMEOUT_MS);
        if matches!(self, ProbeVoids | ProbeWaits) {
            step["probe"] = json!({"tool": probe, "voids": self == ProbeVoids});
        }
        step
    }
}

/// A row: calls of the tool in all, effects at a tool that knows the key, and how the step ends.
struct Row(Class, Point, usize, usize, Ends);

const TIMEOUT_MS: u64 = 1500;
const THREADS: usize = 3;

const ROWS: [Row; 36] = [
    Row(Pure, BeforeIntent, 1, 1, Ends::Completed),
    Row(Pure, AfterIntent, 1, 1, Ends::Completed),
    Row(Pure, DuringNotDone, 2, 1, Ends::Completed),
    Row(Pure, DuringDone, 2, 1, Ends::Completed),
    Row(Pure, AfterEffect, 2, 1, Ends::Completed),
    Row(Pure, AfterOutcome, 1, 1, Ends::Completed),
    Row(Idempotent, BeforeIntent, 1, 1, Ends::Completed),
    Row(Idempotent, AfterIntent, 1, 1, Ends::Completed),
    Row(Idempotent, DuringNotDone, 2, 1, Ends::Completed),
    Row(Idempotent, DuringDone, 2, 1, Ends::Completed),
    Row(Idempotent, AfterEffect, 2, 1, Ends::Completed),
    Row(Idempotent, AfterOutcome, 1, 1, Ends::Completed),
    Row(ProbeVoids, BeforeIntent, 1, 1, Ends::Completed),
    Row(ProbeVoids, AfterIntent, 1, 1, Ends::Completed),
    Row(ProbeVoids, DuringNotDone, 2, 1, Ends::Completed),
    Row(ProbeVoids, DuringDone, 1, 1, Ends::Completed),
    Row(ProbeVoids, AfterEffect, 1, 1, Ends::Completed),
    Row(ProbeVoids, AfterOutcome, 1, 1, Ends::Completed),
    Row(ProbeWaits, BeforeIntent, 1, 1, Ends::Completed),
    Row(ProbeWaits, AfterIntent, 1, 1, Ends::Completed),
    Row(ProbeWaits, DuringNotDone, 2, 1, Ends::Completed),
    Row(ProbeWaits, DuringDone, 1, 1, Ends::Completed),
    Row(ProbeWaits, AfterEffect, 1, 1, Ends::Completed),
    Row(ProbeWaits, AfterOutcome, 1, 1, Ends::Completed),
    Row(ProbeByPerson, BeforeIntent, 1, 1, Ends::Completed),
    Row(ProbeByPerson, AfterIntent, 0, 0, Ends::Unknown),
    Row(ProbeByPerson, DuringNotDone, 1, 0, Ends::Unknown),
    Row(ProbeByPerson, DuringDone, 1, 1, Ends::Unknown),
    Row(ProbeByPerson, AfterEffect, 1, 1, Ends::Unknown),
    Row(ProbeByPerson, AfterOutcome, 1, 1, Ends::Completed),
    Row(AtMostOnce, BeforeIntent, 1, 1, Ends::Completed),
    Row(AtMostOnce, AfterIntent, 0, 0, Ends::Unknown),
    Row(AtMostOnce, DuringNotDone, 1, 0, Ends::Unknown),
    Row(AtMostOnce, DuringDone, 1, 1, Ends::Unknown),
    Row(AtMostOnce, AfterEffect, 1, 1, Ends::Unknown),
    Row(AtMostOnce, AfterOutcome, 1, 1, Ends::Completed),
];

/// A tool that knows its keys, and tells what happened under them.
fn tool(during: Option<Point>) -> (Fx, Arc<Mutex<BTreeSet<String>>>) {
    let done: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    let remote = done.clone();
    let fx = Fx::start(move |call, before| {
        let mut done = remote.lock().expect("the remote");
        if call.path == "/probe" {
            let happened = done.contains(&call.key);
            return Answer::Says(json!({"happened": happened}).to_string());
        }
        match during.filter(|_| before == 0) {
            Some(DuringNotDone) => return Answer::Hangs,
            Some(_) | None => done.insert(call.key.clone()),
        };
        match during.filter(|_| before == 0) {
            // Longer than the server lives.
            Some(DuringDone) => Answer::DoneAfter(Duration::from_secs(20)),
            Some(_) | None => Answer::Done,
        }
    });
    (fx, done)
}

fn acts(fx: &Fx) -> Vec<Call> {
    fx.calls().into_iter().filter(|call| call.path == "/act").collect()
}

/// Starts the run of a plan on a server that dies at a planted point, or else when the run has come so far, and starts
/// the server again. Whoever started the run does so once more.
fn over_a_crash(name: &str, plan: &Value, fault: Option<&str>, so_far: impl Fn() -> bool) -> Spine {
    let mut spine = Spine::fresh();
    spine.fails_at(fault);
    spine.restart();
    let _acknowledged_or_not = spine.http().post("/v1/runs", plan);
    if fault.is_some() {
        waits::until(&format!("{name}: the crash"), || spine.ended());
    } else {
        waits::until(&format!("{name}: the call"), || so_far().then_some(()));
        spine.kill();
    }
    spine.fails_at(None);
    spine.restart();
    let again = spine.http().post("/v1/runs", plan).expect("an answer");
    assert!(matches!(again.status, 200 | 201), "{name}: {}", again.json());
    spine
}

/// The run comes to this end.
fn comes_to(spine: &Spine, name: &str, ends: Ends) {
    let wanted = match ends {
        Ends::Completed => "completed",
        Ends::Unknown => "waiting",
    };
    let run = spine.wait_run("r", &[wanted]);
    if ends == Ends::Unknown {
        assert_eq!(run["waiting_for"][0]["for"], "resolution", "{name}: {run}");
    }
}

/// Lets the server die at the point of a row, starts it again, and checks what has become of the step.
fn check(row: &Row) {
    let Row(class, point, calls, effects, ends) = row;
    let name = format!("{class:?} {point:?}");
    let (fx, done) = tool(Some(*point));
    let plan =
        lines::plan("r", &lines::quick(3), vec![class.step(&fx.tool("act"), fx.tool("probe"))]);
    let spine = over_a_crash(&name, &plan, point.fault(), || !acts(&fx).is_empty());
    comes_to(&spine, &name, *ends);
    let seen = acts(&fx);
    let keys: BTreeSet<&str> = seen.iter().map(|call| call.key.as_str()).collect();
    assert_eq!(seen.len(), *calls, "{name}: calls: {seen:?}");
    assert!(keys.len() <= 1, "{name}: more than one key: {keys:?}");
    assert_eq!(done.lock().expect("the remote").len(), *effects, "{name}: effects");
    let shown = spine.run(&["runs", "show", "r"]);
    assert!(shown.status.success(), "{name}: {shown:?}");
}

#[test]
fn l24_every_row_of_the_failure_contract_holds() {
    every("plan", &ROWS, THREADS, check);
}

/// The table of the page, from the rows.
fn table() -> String {
    let mut text = String::from(
        "| effect class | the server dies | calls | effects | the step |\n|---|---|---|---|---|\n",
    );
    for Row(class, point, calls, effects, ends) in &ROWS {
        let (class, point, ends) = (class.words(), point.words(), ends.words());
        writeln!(text, "| {class} | {point} | {calls} | {effects} | {ends} |").expect("a string");
    }
    text
}

/// The page has this table behind the mark of its rows.
fn is_on_page(rows: &str, table: &str) {
    let page = std::fs::read_to_string("../docs/failure-contract.md").expect("the page");
    let begin = format!("<!-- rows: {rows} -->\n");
    let (_, rest) = page.split_once(&begin).expect("the mark before the table");
    let (shown, _) = rest.split_once("<!-- end -->").expect("the mark after the table");
    assert_eq!(shown, table, "put this between the marks:\n{table}");
}

#[test]
fn l24_the_page_of_the_failure_contract_says_what_is_tested() {
    is_on_page("tests/it/contract.rs", &table());
    is_on_page("tests/it/contract/probes.rs", &probes::table());
    is_on_page("tests/it/contract/afterwards.rs", &afterwards::table());
    is_on_page("tests/it/contract/child.rs", &child::table());
    is_on_page("tests/it/contract/waiting.rs", &waiting::table());
    is_on_page("tests/it/contract/brain.rs", &brain::table());
    is_on_page("tests/it/contract/queue.rs", &queue::table());
    is_on_page("tests/it/contract/journal.rs", &journal::table());
    is_on_page("tests/it/contract/awaits.rs", &awaits::table());
    is_on_page("tests/it/contract/facts.rs", &facts::table());
}
