//! A tool that is dead for two processes: one finds out, and both leave it alone. And a tool that asks for a pause,
//! which four processes keep.

use crate::nodes::{Nodes, PARTITIONS, partition_of};
use serde_json::{Value, json};
use spine_tests::{Answer, Call, Fx, Servers, Spine, lines, row, waits};
use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

const OPEN_MS: u64 = 1500;
const MOST_OPEN_MS: u64 = 3000;
/// Failures that open a breaker.
const FAILURES: u64 = 5;
const OUTAGE: Duration = Duration::from_secs(8);
/// How long a call takes once the tool is back.
const TAKES: Duration = Duration::from_millis(30);

fn state(node: &Spine) -> Option<String> {
    let tools = node.get("/v1/tools").json();
    Some(tools["tools"][0]["breaker"]["state"].as_str()?.to_owned())
}

/// Starts runs at a process, in partitions of its own.
fn start(nodes: &Nodes, fx: &Fx, at: usize, name: &str, runs: usize) -> Vec<String> {
    let names: Vec<String> = nodes.runs_of(at, &format!("{name}{at}")).take(runs).collect();
    for run in &names {
        let mut step = lines::patient_step("pay", &fx.tool("pay"), "idempotent");
        step["timeout_ms"] = json!(5000);
        // By the default policy.
        let plan = json!({"run_id": run, "workflow": "live", "version": "1", "steps": [step]});
        nodes.nodes[at].start_run(&plan);
    }
    names
}

fn charged(node: &Spine, runs: &[String]) -> u64 {
    let one = |run: &String| {
        let step = node.get(&format!("/v1/runs/{run}/steps/pay")).json();
        step["charged"].as_u64().unwrap_or_else(|| panic!("no count: {step}"))
    };
    runs.iter().map(one).sum()
}

fn is_held_back(node: &Spine, run: &str) -> bool {
    let step = node.get(&format!("/v1/runs/{run}/steps/pay")).json();
    step["status"] == "deferred"
}

/// Calls that one process made.
fn calls_of(own: &BTreeSet<u32>, calls: &[Call]) -> Vec<Call> {
    let is_own = |call: &&Call| own.contains(&partition_of("default", &call.run));
    calls.iter().filter(is_own).cloned().collect()
}

/// Of the first calls of a process after the tool was back, each wave is at most twice as large as what had come
/// back by then; one may have been a probe of its own.
fn in_waves(node: usize, own: &BTreeSet<u32>, calls: &[Call], back: Instant) {
    let after = calls_of(own, calls).into_iter().filter(|call| call.at >= back);
    let after: Vec<Call> = after.take(30).collect();
    for (begun, call) in after.iter().enumerate() {
        let done = after.iter().filter(|other| other.at + TAKES <= call.at).count();
        assert!(begun <= 2 * done + 3, "node {node}: call {begun} began when {done} had ended");
    }
}

fn letters(node: &Spine) -> Value {
    node.get("/v1/dead-letters").json()["dead_letters"].clone()
}

#[test]
fn c3_l28_l36_one_process_finds_a_dead_tool_and_the_other_leaves_it_alone_too() {
    let Some(servers) = Servers::named() else { return };
    let started = Instant::now();
    let runs = row::size(60, 500);
    let is_down = Arc::new(AtomicBool::new(true));
    let down = is_down.clone();
    let fx = Fx::start(move |_, _| match down.load(Ordering::SeqCst) {
        true => Answer::Refuses(503),
        false => Answer::DoneAfter(TAKES),
    });
    let (open, most) = (OPEN_MS.to_string(), MOST_OPEN_MS.to_string());
    let flags = ["--breaker-open-ms", &open, "--breaker-most-open-ms", &most];
    let mut nodes = Nodes::start(&servers, 2, &flags);
    let own = [nodes.partitions_of(0), nodes.partitions_of(1)];
    let began = Instant::now();
    let finds = start(&nodes, &fx, 0, "finds", runs);
    waits::until("the other has heard", || {
        matches!(state(&nodes.nodes[1])?.as_str(), "open" | "half_open").then_some(())
    });
    assert!(calls_of(&own[1], &fx.calls()).is_empty(), "it has not called the tool itself");
    let hears = start(&nodes, &fx, 1, "hears", runs);
    for run in &hears {
        waits::until("it is held back", || is_held_back(&nodes.nodes[1], run).then_some(()));
    }
    waits::pass(OUTAGE.saturating_sub(began.elapsed()));
    is_down.store(false, Ordering::SeqCst);
    let back = Instant::now();
    for (node, run) in [(0, &finds), (1, &hears)]
        .into_iter()
        .flat_map(|(at, of)| of.iter().map(move |run| (at, run)))
    {
        nodes.nodes[node].wait_run(run, &["completed"]);
    }
    let drained_ms = back.elapsed().as_millis() as u64;
    let calls = fx.calls();
    let while_down = calls.iter().filter(|call| !call.effect).count();
    let by_hearsay = calls_of(&own[1], &calls).iter().filter(|call| !call.effect).count();
    let charged = [charged(&nodes.nodes[0], &finds), charged(&nodes.nodes[1], &hears)];
    let parameters = json!({"nodes": 2, "partitions": PARTITIONS, "runs": 2 * runs,
        "outage_ms": back.duration_since(began).as_millis() as u64});
    let result = json!({"calls_while_down": while_down, "of_the_one_that_heard": by_hearsay,
        "charged": charged, "drained_ms": drained_ms});
    row::print("breaker_cluster", started, parameters, result);
    assert!(charged[0] <= FAILURES, "{charged:?} attempts were charged");
    assert_eq!(charged[1], 0, "it had heard that the tool is dead");
    // What opened it, what was under way, and a probe of each for every time that it was open.
    let probes = 2 * (back.duration_since(began).as_millis() as usize / OPEN_MS as usize + 1);
    assert!(while_down < 30 + probes, "{while_down} calls of a dead tool");
    assert!(by_hearsay <= probes, "{by_hearsay} calls of a tool that was said to be dead");
    assert_eq!(calls.iter().filter(|call| call.effect).count(), 2 * runs, "once each");
    assert_eq!(letters(&nodes.nodes[0]), json!([]));
    in_waves(0, &own[0], &calls, back);
    in_waves(1, &own[1], &calls, back);
    nodes.are_fold_of_log();
}

const WORKERS: usize = 4;
/// Runs that each is given in a pause.
const IDLE_RUNS: usize = 20;
/// What the tool says in `Retry-After`.
const PAUSE: Duration = Duration::from_secs(5);
/// Within this, processes at work have heard of it, and what they had sent before has arrived.
const HEARD: Duration = Duration::from_secs(2);

/// A tool that asks for a pause at some of its calls, and says the same to whoever calls in it.
#[derive(Clone, Default)]
struct Limiter {
    calls: Arc<AtomicUsize>,
    asks_at: Arc<AtomicUsize>,
    /// The calls that were answered first with 429, one for each time that it asked.
    asked: Arc<Mutex<Vec<Instant>>>,
}

impl Limiter {
    fn tool(&self) -> Fx {
        let limiter = self.clone();
        Fx::start(move |call, _| {
            let mut asked = limiter.asked.lock().expect("the limiter");
            let number = 1 + limiter.calls.fetch_add(1, Ordering::SeqCst);
            if number == limiter.asks_at.load(Ordering::SeqCst) {
                asked.push(call.at);
            }
            match asked.last().is_some_and(|at| call.at < *at + PAUSE) {
                true => Answer::RefusesFor(429, PAUSE.as_secs()),
                false => Answer::DoneAfter(TAKES),
            }
        })
    }

    /// Asks at so manyth call from now on.
    fn asks_at(&self, number: usize) {
        self.asks_at.store(number + self.calls.load(Ordering::SeqCst), Ordering::SeqCst);
    }

    fn asked(&self, time: usize) -> Instant {
        waits::until("the pause", || self.asked.lock().expect("the limiter").get(time).copied())
    }
}

fn is_limited(node: &Spine) -> bool {
    let tools = node.get("/v1/tools").json();
    tools["tools"][0]["limited_until"].is_string()
}

/// When calls came that were not to come, counted from the one that was told so first.
fn in_pause(fx: &Fx, asked: Instant) -> Vec<Duration> {
    let all = fx.calls().into_iter().map(|call| call.at);
    all.filter(|at| *at > asked && *at < asked + PAUSE).map(|at| at - asked).collect()
}

/// Does something at each of the processes at the same time.
fn at_each<T: Send>(nodes: &Nodes, does: impl Fn(usize) -> T + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let does = &does;
        let all: Vec<_> = (0..nodes.nodes.len()).map(|at| scope.spawn(move || does(at))).collect();
        all.into_iter().map(|thread| thread.join().expect("no panic")).collect()
    })
}

fn all_completed(nodes: &Nodes, runs: &[Vec<String>]) {
    for (node, runs) in nodes.nodes.iter().zip(runs) {
        runs.iter().for_each(|run| drop(node.wait_run(run, &["completed"])));
        assert_eq!(charged(node, runs), 0, "a pause costs no attempt");
    }
}

#[test]
fn f2_a_pause_that_a_tool_asks_for_is_kept_by_four_workers() {
    let Some(servers) = Servers::named() else { return };
    let started = Instant::now();
    let runs = row::size(60, 600);
    let limiter = Limiter::default();
    let fx = limiter.tool();
    let mut nodes = Nodes::start(&servers, WORKERS, &[]);
    // One of them is told, and the others hear of it before they have anything to do.
    limiter.asks_at(1);
    let first = start(&nodes, &fx, 0, "first", 1);
    let asked = limiter.asked(0);
    for node in &nodes.nodes {
        waits::until("that it has heard", || is_limited(node).then_some(()));
    }
    let heard_ms = asked.elapsed().as_millis() as u64;
    let mut idle = at_each(&nodes, |at| start(&nodes, &fx, at, "idle", IDLE_RUNS));
    assert!(asked.elapsed() < PAUSE, "nobody was kept waiting");
    idle[0].extend(first);
    all_completed(&nodes, &idle);
    let early = in_pause(&fx, asked);
    assert!(early.is_empty(), "called in the pause that it had asked for: {early:?}");
    // All of them are at it.
    limiter.asks_at(runs);
    let busy = at_each(&nodes, |at| start(&nodes, &fx, at, "busy", runs));
    all_completed(&nodes, &busy);
    let late = in_pause(&fx, limiter.asked(1));
    let late_ms: Vec<u64> = late.iter().map(|late| late.as_millis() as u64).collect();
    assert!(late.iter().all(|late| *late < HEARD), "called in its pause: {late_ms:?}");
    let all = 1 + WORKERS * (IDLE_RUNS + runs);
    assert_eq!(fx.calls().iter().filter(|call| call.effect).count(), all, "once each");
    assert_eq!(letters(&nodes.nodes[0]), json!([]));
    let parameters = json!({"workers": WORKERS, "runs": all, "retry_after_s": PAUSE.as_secs()});
    let result =
        json!({"heard_ms": heard_ms, "calls_in_pause": early.len(), "at_work_ms": late_ms});
    row::print("rate_limit", started, parameters, result);
    nodes.are_fold_of_log();
}
