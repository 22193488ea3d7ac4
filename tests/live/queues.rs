//! Workers of a queue in a cluster: they ask one process, and get the steps of all.

use crate::nodes::{Nodes, PARTITIONS, partition_of};
use serde_json::{Value, json};
use spine_tests::{Servers, Spine, Worker, lines, row, waits};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

const NODES: usize = 3;
const STEPS: usize = 5;
/// Long enough that none ends by itself.
const LONG_MS: u64 = 600_000;

/// What was granted: run, step and attempt.
type Grants = Vec<(String, String, u64)>;

fn plan(run: &str, queue: &str, effect: &str, steps: usize) -> Value {
    let step = |at: usize| {
        let mut step = lines::patient_step(&format!("s{at}"), &format!("queue:{queue}"), effect);
        step["after"] = json!([]);
        step
    };
    lines::plan(run, &lines::quick(3), (0..steps).map(step).collect())
}

fn text(field: &Value) -> String {
    field.as_str().expect("a text").to_owned()
}

/// Asks once, and does what it is given.
fn work(worker: &mut Worker, max: usize, granted: &mut Grants) -> usize {
    let leases = worker.lease("q", json!({"max": max, "wait_ms": 2000, "lease_ms": LONG_MS}));
    for lease in &leases {
        let run = format!("{}/{}", text(&lease["tenant"]), text(&lease["run_id"]));
        let attempt = lease["attempt"].as_u64().expect("a number");
        granted.push((run, text(&lease["step"]["name"]), attempt));
        worker.complete("q", lease);
    }
    leases.len()
}

/// A worker that goes on until so many steps were done by all.
fn work_off(node: &Spine, name: &str, done: &AtomicUsize, all: usize) -> Grants {
    let (mut worker, mut granted) = (Worker::new(name, node), Grants::new());
    waits::until("all steps", || {
        let count = work(&mut worker, 3, &mut granted);
        (done.fetch_add(count, Ordering::SeqCst) + count >= all).then_some(())
    });
    granted
}

/// The backlog of one tenant in all partitions, and three runs of another, one in the partitions of each node.
fn backlog(nodes: &Nodes, runs: usize) -> BTreeSet<String> {
    let mut http = nodes.nodes[1].http();
    let mut start = |plan: &Value| {
        let reply = http.post("/v1/runs", plan).expect("an answer");
        assert_eq!(reply.status, 201, "{}", reply.json());
    };
    for number in 0..runs {
        start(&plan(&format!("r{number}"), "q", "at_most_once", STEPS));
    }
    let mut small = BTreeSet::new();
    for node in 0..NODES {
        let own = nodes.partitions_of(node);
        let mut names = (0..).map(|number| format!("s{number}"));
        let run = names.find(|run| own.contains(&partition_of("small", run)));
        let run = run.expect("there is always one");
        let mut plan = plan(&run, "q", "at_most_once", 1);
        plan["tenant"] = json!("small");
        start(&plan);
        small.insert(format!("small/{run}"));
    }
    for run in &small {
        let path = format!("/v1/runs/{}?tenant=small", run.trim_start_matches("small/"));
        waits::until("it waits for a worker", || {
            let run = nodes.nodes[0].get(&path).json();
            run["waiting_for"].to_string().contains("worker").then_some(())
        });
    }
    small
}

/// Grants of each node's partitions.
fn by_node(nodes: &Nodes, granted: &Grants) -> Vec<usize> {
    let of = |at: usize| {
        let own = nodes.partitions_of(at);
        let is_own = |run: &str| {
            let (tenant, run) = run.split_once('/').expect("a key");
            own.contains(&partition_of(tenant, run))
        };
        granted.iter().filter(|(run, ..)| is_own(run)).count()
    };
    (0..NODES).map(of).collect()
}

/// A poll waits at one process when a step becomes due at another: how long until it is answered.
fn answered_from_elsewhere(nodes: &Nodes) -> u64 {
    let run = nodes.runs_of(2, "elsewhere").next().expect("there is always one");
    let mut worker = Worker::new("waits", &nodes.nodes[0]);
    let (mut worker, lease, begun) = thread::scope(|scope| {
        let waits = scope.spawn(|| {
            let lease = worker.one("q", LONG_MS);
            (worker, lease)
        });
        // By now it has asked everybody once, and waits.
        waits::pass(Duration::from_millis(1500));
        assert!(!waits.is_finished(), "there was nothing to be granted");
        let begun = Instant::now();
        nodes.nodes[1].start_run(&plan(&run, "q", "at_most_once", 1));
        let (worker, lease) = waits.join().expect("a worker");
        (worker, lease, begun)
    });
    let took = begun.elapsed().as_millis() as u64;
    assert_eq!(lease["run_id"], run.as_str(), "{lease}");
    worker.complete("q", &lease);
    nodes.nodes[0].wait_run(&run, &["completed"]);
    took
}

#[test]
fn s2c_l46_workers_that_ask_one_process_get_each_step_of_all_once_and_tenants_take_turns() {
    let Some(servers) = Servers::named() else { return };
    let started = Instant::now();
    let runs = row::size(36, 240);
    let mut nodes = Nodes::start(&servers, NODES, &[]);
    let small = backlog(&nodes, runs);
    let all = runs * STEPS + small.len();
    let (mut first, mut worker) = (Grants::new(), Worker::new("w0", &nodes.nodes[0]));
    let has_all = |granted: &Grants| {
        let runs: BTreeSet<&String> = granted.iter().map(|(run, ..)| run).collect();
        small.iter().all(|run| runs.contains(run))
    };
    while !has_all(&first) {
        work(&mut worker, 2, &mut first);
        // Owners are called in turn, and the fastest of those that look takes the poll: a turn is likely, not sure.
        assert!(first.len() < all * 7 / 8, "the long backlog goes first: {first:?}");
    }
    let turns = first.len();
    let done = AtomicUsize::new(turns);
    let others = thread::scope(|scope| {
        let (node, done) = (&nodes.nodes[0], &done);
        let work = |name| scope.spawn(move || work_off(node, name, done, all));
        let workers: Vec<_> = ["w1", "w2", "w3"].into_iter().map(work).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker")).collect::<Grants>()
    });
    let granted: Grants = first.into_iter().chain(others).collect();
    let distinct: BTreeSet<_> = granted.iter().cloned().collect();
    assert_eq!((granted.len(), distinct.len()), (all, all), "a step was granted twice");
    assert!(granted.iter().all(|(.., attempt)| *attempt == 1), "{granted:?}");
    let of_nodes = by_node(&nodes, &granted);
    assert!(of_nodes.iter().all(|count| *count > 0), "{of_nodes:?}");
    for number in 0..runs {
        nodes.nodes[2].wait_run(&format!("r{number}"), &["completed"]);
    }
    let from_elsewhere_ms = answered_from_elsewhere(&nodes);
    nodes.are_fold_of_log();
    let parameters = json!({"nodes": NODES, "partitions": PARTITIONS, "steps": all});
    let result = json!({"granted_by_node": of_nodes, "granted_until_each_tenant_had_its_turn": turns,
        "long_poll_answered_from_elsewhere_ms": from_elsewhere_ms});
    row::print("queue_cluster", started, parameters, result);
}

/// Starts runs of one step in partitions of the node that will die; gives what a worker has of them then.
fn leased(nodes: &Nodes, kind: (&str, &str, &str), runs: usize, lease_ms: u64) -> Vec<Value> {
    let (queue, name, effect) = kind;
    for run in nodes.runs_of(1, name).take(runs) {
        nodes.nodes[0].start_run(&plan(&run, queue, effect, 1));
    }
    let mut worker = Worker::new(name, &nodes.nodes[0]);
    let mut leases = Vec::new();
    waits::until("their steps", || {
        let asked = json!({"max": runs - leases.len(), "wait_ms": 2000, "lease_ms": lease_ms});
        leases.extend(worker.lease(queue, asked));
        (leases.len() == runs).then_some(())
    });
    leases
}

/// Says something again until an owner takes it.
fn insist(worker: &mut Worker, queue: &str, verb: &str, lease: &Value, more: &Value) {
    waits::until_taken(|| match worker.say(queue, verb, lease, more.clone()) {
        (200, _) => Ok(()),
        (503, problem) => Err(problem["name"].to_string()),
        (status, problem) => panic!("{verb} of {lease}: {status} {problem}"),
    });
}

/// What a queue still grants, by run: at least so many steps.
fn granted_again(nodes: &Nodes, queue: &str, least: usize) -> BTreeMap<String, Value> {
    let (mut worker, mut granted) = (Worker::new("lives", &nodes.nodes[0]), BTreeMap::new());
    waits::until("the steps of the dead worker", || {
        for lease in worker.lease(queue, json!({"max": 10, "wait_ms": 2000, "lease_ms": LONG_MS})) {
            let twice = granted.insert(text(&lease["run_id"]), lease);
            assert!(twice.is_none(), "granted twice: {twice:?}");
        }
        (granted.len() >= least).then_some(())
    });
    granted
}

#[test]
fn c16_f11c_leases_of_a_killed_process_are_kept_by_who_lives_and_granted_again_where_nobody_does() {
    let Some(servers) = Servers::named() else { return };
    let started = Instant::now();
    let runs = row::size(4, 40);
    let mut nodes = Nodes::start(&servers, NODES, &[]);
    let kept = leased(&nodes, ("kept", "kept", "at_most_once"), runs, LONG_MS);
    let again = leased(&nodes, ("silent", "again", "idempotent"), runs, 3000);
    let asks = leased(&nodes, ("silent", "asks", "at_most_once"), runs, 3000);
    let killed = nodes.kill(1);
    let mut worker = Worker::new("kept", &nodes.nodes[0]);
    let output = worker.output();
    for lease in &kept {
        insist(&mut worker, "kept", "heartbeat", lease, &json!({}));
    }
    let takeover_ms = nodes.taken_over(&killed).as_millis() as u64;
    let granted = granted_again(&nodes, "silent", runs);
    for before in &again {
        let lease = granted.get(&text(&before["run_id"])).expect("it is granted again");
        assert_eq!(lease["attempt"], 2, "{lease}");
        assert_eq!(lease["idempotency_key"], before["idempotency_key"]);
        insist(&mut worker, "silent", "complete", lease, &output);
    }
    for lease in &asks {
        let path = format!("/v1/runs/{}/steps/s0", text(&lease["run_id"]));
        waits::until("it is unknown", || {
            (nodes.nodes[2].get(&path).json()["status"] == "unknown").then_some(())
        });
    }
    let more = worker.lease("silent", json!({"wait_ms": 1000}));
    assert_eq!((granted.len(), more.len()), (runs, 0), "nobody is given a careful step again");
    // Their worker was only slow: its success settles the question. Those of the other have run all the time.
    for lease in &asks {
        insist(&mut worker, "silent", "complete", lease, &output);
    }
    for lease in &kept {
        insist(&mut worker, "kept", "complete", lease, &output);
    }
    for lease in kept.iter().chain(&again).chain(&asks) {
        let run = text(&lease["run_id"]);
        nodes.nodes[2].wait_run(&run, &["completed"]);
        let attempts = nodes.nodes[2].steps(&run)[0]["attempts"].as_array().map(Vec::len);
        let expected = if run.starts_with("again") { 2 } else { 1 };
        assert_eq!(attempts, Some(expected), "{run}");
    }
    nodes.are_fold_of_log();
    let parameters = json!({"nodes": NODES, "partitions": PARTITIONS, "leases": 3 * runs});
    row::print("queue_kill", started, parameters, json!({"takeover_ms": takeover_ms}));
}
