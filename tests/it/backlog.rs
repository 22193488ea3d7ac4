//! A backlog behind a dead tool, while runs that do not need that tool go on: how long those take is printed beside how
//! long they took without it.

use serde_json::{Value, json};
use spine_tests::{Answer, Fx, Spine, lines, row, waits};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

const DOWN: u8 = 0;
const HALF: u8 = 1;
const UP: u8 = 2;
/// Between two runs that need no dead tool.
const PACE: Duration = Duration::from_millis(10);
const FLAGS: [&str; 4] = ["--breaker-open-ms", "500", "--breaker-most-open-ms", "4000"];
const OPEN_MS: usize = 500;
/// Calls in waves of which every second one fails, until the breaker has opened again.
const RELAPSE: usize = 25;
/// Calls of a tool that is back until its breaker lets everything through and what it let through in waves has been
/// called: the last wave is at most twice as large as those before it that made 50 successes.
const CANARIES: usize = 200;

/// A server of two tools: one works, and one is dead, comes back by half, and is back.
fn tools(mode: &Arc<AtomicU8>) -> Fx {
    let mode = mode.clone();
    let calls = AtomicU8::new(0);
    Fx::start(move |call, _| match (call.path.as_str(), mode.load(Ordering::SeqCst)) {
        ("/works", _) | (_, UP) => Answer::Done,
        (_, HALF) if calls.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) => Answer::Done,
        (..) => Answer::Refuses(503),
    })
}

/// By the default policy.
fn plan(fx: &Fx, run: &str, tool: &str, steps: usize) -> Value {
    let step = |at: usize| lines::patient_step(&format!("s{at}"), &fx.tool(tool), "idempotent");
    let steps: Vec<Value> = (0..steps).map(step).collect();
    json!({"run_id": run, "workflow": "it", "version": "1", "steps": steps})
}

/// From the request until the second of two steps is called: a door, a fold, an outcome and two intents. In
/// microseconds, ascending.
fn latencies(spine: &Spine, fx: &Fx, name: &str, runs: usize) -> Vec<u64> {
    let mut http = spine.http();
    let mut begun = BTreeMap::new();
    for number in 0..runs {
        let run = format!("{name}{number}");
        let next = Instant::now() + PACE;
        begun.insert(run.clone(), Instant::now());
        let reply = http.post("/v1/runs", &plan(fx, &run, "works", 2)).expect("an answer");
        assert_eq!(reply.status, 201, "{}", reply.json());
        waits::pass(next.saturating_duration_since(Instant::now()));
    }
    begun.keys().for_each(|run| drop(spine.wait_run(run, &["completed"])));
    let seconds = fx.calls().into_iter().filter(|call| call.step == "s1#1");
    let took = seconds.filter_map(|call| Some(call.at.duration_since(*begun.get(&call.run)?)));
    let mut took: Vec<u64> = took.map(|took| took.as_micros() as u64).collect();
    assert_eq!(took.len(), runs, "each is called once");
    took.sort_unstable();
    took
}

fn percentile(sorted: &[u64], percent: usize) -> u64 {
    sorted[(sorted.len() * percent / 100).min(sorted.len() - 1)]
}

/// In microseconds, and how many times what it was without a backlog.
fn beside(sorted: &[u64], alone: &[u64]) -> Value {
    let of = |percent| {
        let (with, without) = (percentile(sorted, percent), percentile(alone, percent));
        json!({"us": with, "ratio": (100 * with / without.max(1)) as f64 / 100.0})
    };
    json!({"p50": of(50), "p99": of(99)})
}

fn wait_held_back(spine: &Spine, run: &str) {
    waits::until("it is held back", || {
        let step = spine.get(&format!("/v1/runs/{run}/steps/s0")).json();
        (step["status"] == "deferred").then_some(())
    });
}

fn charged(spine: &Spine, run: &str) -> u64 {
    let step = spine.get(&format!("/v1/runs/{run}/steps/s0")).json();
    step["charged"].as_u64().expect("a count")
}

#[test]
fn l36_l46_a_backlog_behind_an_open_breaker_holds_up_nobody_and_is_released_in_waves() {
    if row::is_left_to_soak("a backlog behind an open breaker") {
        return;
    }
    let started = Instant::now();
    let (parked, healthy) = (row::size(300, 10_000), row::size(60, 2_000));
    let mode = Arc::new(AtomicU8::new(DOWN));
    let fx = tools(&mode);
    let spine = Spine::fresh().with(&FLAGS).start();
    drop(latencies(&spine, &fx, "warm", healthy / 4));
    let alone = latencies(&spine, &fx, "alone", healthy);
    let names: Vec<String> = (0..parked).map(|number| format!("p{number}")).collect();
    let mut http = spine.http();
    for run in &names {
        let reply = http.post("/v1/runs", &plan(&fx, run, "pay", 1)).expect("an answer");
        assert_eq!(reply.status, 201, "{}", reply.json());
    }
    wait_held_back(&spine, &names[parked - 1]);
    let behind = latencies(&spine, &fx, "behind", healthy);
    let calls_of_it = || fx.calls().into_iter().filter(|call| call.path == "/pay").count();
    let before = calls_of_it();
    mode.store(HALF, Ordering::SeqCst);
    let half = Instant::now();
    let relapsing = latencies(&spine, &fx, "half", healthy);
    // At least one wave, and the relapse after it.
    waits::until("calls of the tool", || (calls_of_it() >= before + 5).then_some(()));
    let at_half = calls_of_it() - before;
    let openings = 1 + half.elapsed().as_millis() as usize / OPEN_MS;
    assert!(at_half <= openings * RELAPSE, "{at_half} calls between at most {openings} relapses");
    mode.store(UP, Ordering::SeqCst);
    let back = Instant::now();
    let draining = latencies(&spine, &fx, "draining", healthy);
    names.iter().for_each(|run| drop(spine.wait_run(run, &["completed"])));
    let drained_ms = back.elapsed().as_millis() as u64;
    let charged: u64 = names.iter().map(|run| charged(&spine, run)).sum();
    let result = json!({"alone_us": {"p50": percentile(&alone, 50), "p99": percentile(&alone, 99)},
        "behind_it": beside(&behind, &alone), "tool_back_by_half": beside(&relapsing, &alone),
        "tool_back": beside(&draining, &alone), "calls_at_half": at_half, "charged": charged,
        "drained_ms": drained_ms});
    row::print("backlog", started, json!({"parked": parked, "healthy": healthy}), result);
    assert!(charged <= 5, "{charged} attempts were charged");
    let effects = fx.calls().iter().filter(|call| call.path == "/pay" && call.effect).count();
    assert_eq!(effects, parked, "once each");
    assert_eq!(spine.get("/v1/dead-letters").json()["dead_letters"], json!([]));
    spine.is_fold_of_log();
}

/// When the calls of a tool came that had been dead while so many runs were held back, the canaries left out.
fn released(flags: &[&str], takes: Duration, parked: usize) -> Vec<Instant> {
    let mode = Arc::new(AtomicU8::new(DOWN));
    let is_down = mode.clone();
    let fx = Fx::start(move |_, _| match is_down.load(Ordering::SeqCst) {
        DOWN => Answer::Refuses(503),
        _ => Answer::DoneAfter(takes),
    });
    let spine = Spine::fresh().with(&[&FLAGS[..], flags].concat()).start();
    let names: Vec<String> = (0..parked).map(|number| format!("p{number}")).collect();
    names.iter().for_each(|run| spine.start_run(&plan(&fx, run, "pay", 1)));
    wait_held_back(&spine, &names[parked - 1]);
    mode.store(UP, Ordering::SeqCst);
    names.iter().for_each(|run| drop(spine.wait_run(run, &["completed"])));
    let mut came: Vec<Instant> =
        fx.calls().into_iter().filter(|call| call.effect).map(|call| call.at).collect();
    assert_eq!(came.len(), parked, "once each");
    came.sort_unstable();
    came.split_off(CANARIES)
}

/// The most of the calls that came within so much time.
fn most_within(came: &[Instant], window: Duration) -> usize {
    let from = |first: Instant| came.iter().filter(move |at| (first..first + window).contains(*at));
    came.iter().map(|first| from(*first).count()).max().unwrap_or(0)
}

#[test]
fn l36_what_was_held_back_goes_on_at_its_pace() {
    let came = released(&["--release-per-second", "50"], Duration::ZERO, 350);
    let most = most_within(&came, Duration::from_secs(1));
    assert!((25..=60).contains(&most), "{most} in a second, instead of 50");
}

#[test]
fn l36_what_was_held_back_leaves_half_of_the_slots_to_others() {
    let takes = Duration::from_millis(200);
    let came = released(&["--attempts-per-tool", "16"], takes, 350);
    // None of these had ended when the last of them came.
    assert_eq!(most_within(&came, takes), 8);
}
