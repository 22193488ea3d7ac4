//! Queues on the real binary: workers that share one, long polls, kills of workers and of the server, fairness.

use serde_json::{Value, json};
use spine_tests::{Spine, Worker, lines, waits};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

/// A step of the queue `q`, beside the others.
fn step(name: &str, effect: &str) -> Value {
    let mut step = lines::patient_step(name, "queue:q", effect);
    step["after"] = json!([]);
    step
}

fn start(spine: &Spine, run: &str, steps: Vec<Value>) {
    spine.start_run(&lines::plan(run, &lines::quick(3), steps));
}

fn status(spine: &Spine, run: &str, name: &str) -> Value {
    spine.get(&format!("/v1/runs/{run}/steps/{name}")).json()["status"].clone()
}

fn wait_status(spine: &Spine, run: &str, name: &str, wanted: &str) {
    waits::until(wanted, || (status(spine, run, name) == wanted).then_some(()));
}

/// Works off a queue until it is empty for a while; what it was granted.
fn work_off(mut worker: Worker) -> Vec<(String, String, u64)> {
    let mut granted = Vec::new();
    loop {
        let leases = worker.lease("q", json!({"max": 3, "wait_ms": 1500}));
        if leases.is_empty() {
            return granted;
        }
        for lease in &leases {
            let text = |field: &Value| field.as_str().expect("a text").to_owned();
            let attempt = lease["attempt"].as_u64().expect("a number");
            granted.push((text(&lease["run_id"]), text(&lease["step"]["name"]), attempt));
            worker.complete("q", lease);
        }
    }
}

#[test]
fn two_workers_share_a_queue_and_no_step_is_granted_twice() {
    let spine = Spine::fresh().start();
    let names: Vec<String> = (0..20).map(|number| format!("s{number}")).collect();
    let runs = ["r0", "r1", "r2"];
    for run in runs {
        start(&spine, run, names.iter().map(|name| step(name, "at_most_once")).collect());
    }
    let workers = ["w1", "w2"].map(|name| Worker::new(name, &spine));
    let both = workers.map(|worker| thread::spawn(move || work_off(worker)));
    let [one, two] = both.map(|worker| worker.join().expect("a worker"));
    let all: BTreeSet<_> = one.iter().chain(&two).cloned().collect();
    assert_eq!((all.len(), one.len() + two.len()), (60, 60));
    assert!(all.iter().all(|(_, _, attempt)| *attempt == 1));
    for run in runs {
        spine.wait_run(run, &["completed"]);
    }
    spine.is_fold_of_log();
}

#[test]
fn a_poll_that_waits_is_answered_when_a_step_becomes_due() {
    let spine = Spine::fresh().start();
    let mut worker = Worker::new("w", &spine);
    let asked = Instant::now();
    assert!(worker.lease("q", json!({"wait_ms": 300})).is_empty());
    assert!(asked.elapsed() >= Duration::from_millis(300));
    let waiting = thread::spawn(move || (worker.one("q", 30_000), worker));
    start(&spine, "r", vec![step("a", "at_most_once")]);
    let (lease, mut worker) = waiting.join().expect("a worker");
    assert_eq!((&lease["run_id"], &lease["effect"]), (&json!("r"), &json!("at_most_once")));
    assert_eq!(lease["idempotency_key"].as_str().map(str::len), Some(64));
    worker.complete("q", &lease);
    let run = spine.wait_run("r", &["completed"]);
    assert_eq!(run["output"]["data"]["by"], "w", "{run}");
}

#[test]
fn l22_a_long_job_with_heartbeats_is_one_attempt_and_a_silent_one_is_unknown() {
    let spine = Spine::fresh().start();
    start(&spine, "long", vec![step("a", "at_most_once")]);
    let mut worker = Worker::new("w", &spine);
    let lease = worker.one("q", 1500);
    start(&spine, "silent", vec![step("a", "at_most_once")]);
    let lost = worker.one("q", 1500);
    let until = Instant::now() + Duration::from_secs(4);
    while Instant::now() < until {
        assert_eq!(worker.say("q", "heartbeat", &lease, json!({})).0, 200);
        thread::sleep(Duration::from_millis(300));
    }
    wait_status(&spine, "silent", "a", "unknown");
    assert_eq!(status(&spine, "long", "a"), "running");
    worker.complete("q", &lease);
    spine.wait_run("long", &["completed"]);
    assert_eq!(worker.say("q", "heartbeat", &lost, json!({})).1["name"], "step_state");
    // It was only slow: its success settles the question.
    worker.complete("q", &lost);
    spine.wait_run("silent", &["completed"]);
    spine.is_fold_of_log();
}

#[test]
fn a_worker_that_dies_gives_an_idempotent_step_to_another_under_the_same_key() {
    let spine = Spine::fresh().start();
    start(&spine, "r", vec![step("a", "idempotent")]);
    let first = Worker::new("dies", &spine).one("q", 1000);
    let mut other = Worker::new("lives", &spine);
    let second = other.one("q", 30_000);
    assert_eq!((&first["attempt"], &second["attempt"]), (&json!(1), &json!(2)));
    assert_eq!(first["idempotency_key"], second["idempotency_key"]);
    other.complete("q", &second);
    spine.wait_run("r", &["completed"]);
    spine.is_fold_of_log();
}

#[test]
fn a_kill_of_the_server_between_grant_and_completion_costs_nothing() {
    let mut spine = Spine::fresh().start();
    start(&spine, "r", vec![step("a", "at_most_once"), step("b", "at_most_once")]);
    let lease = Worker::new("w", &spine).one("q", 60_000);
    spine.kill();
    spine.restart();
    let mut worker = Worker::new("w", &spine);
    assert_eq!(worker.say("q", "heartbeat", &lease, json!({})).0, 200);
    worker.complete("q", &lease);
    worker.complete("q", &lease);
    // What waited is found again.
    let other = worker.one("q", 60_000);
    assert_ne!(other["step"], lease["step"]);
    worker.complete("q", &other);
    spine.wait_run("r", &["completed"]);
    spine.is_fold_of_log();
}

#[test]
fn a_worker_that_hangs_up_while_it_waits_leaves_nothing_behind() {
    let spine = Spine::fresh().start();
    for number in 0..20 {
        // It asks, and is gone before there is anything.
        let mut stream = TcpStream::connect(("127.0.0.1", spine.port())).expect("a connection");
        let body = format!(r#"{{"worker":"gone{number}","wait_ms":60000,"lease_ms":86400000}}"#);
        let head = format!(
            "POST /v1/queues/q/lease HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            spine.port(),
            body.len()
        );
        std::io::Write::write_all(&mut stream, head.as_bytes()).expect("a request");
    }
    start(&spine, "r", vec![step("a", "at_most_once")]);
    let mut worker = Worker::new("w", &spine);
    let lease = worker.one("q", 30_000);
    worker.complete("q", &lease);
    spine.wait_run("r", &["completed"]);
}

#[test]
fn l46_a_backlog_of_one_tenant_does_not_hold_up_another() {
    let spine = Spine::fresh().with(&["--attempts-per-run", "4"]).start();
    for number in 0..30 {
        let steps = (0..10).map(|step_no| step(&format!("s{step_no}"), "pure")).collect();
        let mut plan = lines::plan(&format!("r{number}"), &lines::quick(3), steps);
        plan["tenant"] = json!("big");
        spine.start_run(&plan);
    }
    let mut small = lines::plan("one", &lines::quick(3), vec![step("a", "pure")]);
    small["tenant"] = json!("small");
    spine.start_run(&small);
    let of = |tenant: &str| {
        let steps = spine.get(&format!("/v1/runs/one?tenant={tenant}")).json();
        steps["waiting_for"].to_string().contains("worker").then_some(())
    };
    waits::until("it waits", || of("small"));
    let mut worker = Worker::new("w", &spine);
    let leases = worker.lease("q", json!({"max": 4}));
    let tenants: BTreeMap<&str, usize> = leases.iter().fold(BTreeMap::new(), |mut count, lease| {
        *count.entry(lease["tenant"].as_str().expect("a text")).or_default() += 1;
        count
    });
    assert_eq!(tenants.get("small"), Some(&1), "{tenants:?}");
    let runs: BTreeSet<String> = leases.iter().map(|lease| lease["run_id"].to_string()).collect();
    assert_eq!(runs.len(), leases.len(), "each of another run");
    let only = worker.lease("q", json!({"max": 4, "tenants": ["small"], "wait_ms": 0}));
    assert!(only.is_empty(), "{only:?}");
}

#[test]
fn l37_a_paused_queue_grants_nothing_until_it_goes_on() {
    let spine = Spine::fresh().start();
    let paused = spine.run(&["tools", "pause", "queue:q", "--reason", "test"]);
    assert!(paused.status.success(), "{paused:?}");
    start(&spine, "r", vec![step("a", "pure")]);
    let why = waits::until("it is held back", || {
        let run = spine.get("/v1/runs/r").json();
        run["waiting_for"].to_string().contains("tool_paused").then_some(run)
    });
    let mut worker = Worker::new("w", &spine);
    assert!(worker.lease("q", json!({"wait_ms": 500})).is_empty(), "{why}");
    let resumed = spine.run(&["tools", "resume", "queue:q", "--reason", "test"]);
    assert!(resumed.status.success(), "{resumed:?}");
    waits::until("it waits for a worker", || {
        let run = spine.get("/v1/runs/r").json();
        run["waiting_for"].to_string().contains("worker").then_some(())
    });
    let lease = worker.one("q", 30_000);
    worker.complete("q", &lease);
    spine.wait_run("r", &["completed"]);
    spine.is_fold_of_log();
}

#[test]
fn a_stop_answers_those_who_wait() {
    let mut spine = Spine::fresh().start();
    let mut worker = Worker::new("w", &spine);
    let waiting = thread::spawn(move || {
        let reply = worker.ask("q", json!({"wait_ms": 60_000}));
        reply.map(|reply| (reply.status, reply.json()))
    });
    thread::sleep(Duration::from_millis(300));
    let since = Instant::now();
    assert!(spine.stop().success());
    assert!(since.elapsed() < Duration::from_secs(20), "{:?}", since.elapsed());
    let answer = waiting.join().expect("a worker").expect("an answer");
    assert_eq!(answer, (200, json!({"leases": []})));
}
