//! Steps that kill whoever runs them, as one does that takes all the memory: each is given up after ten losses in a
//! row, and what runs beside it ends as if nothing had been.

use serde_json::json;
use spine_schemas::limits::LOST_IN_ROW;
use spine_tests::{Answer, Fx, Spine, Worker, lines, row, waits};
use std::time::Instant;

/// Losses after which it is given up.
const LOSSES: usize = LOST_IN_ROW as usize;

fn is_given_up(spine: &Spine, run: &str, by: &str) {
    let seen = spine.wait_run(run, &["waiting"]);
    assert_eq!(seen["waiting_for"][0]["for"], "dead_letter", "{seen}");
    let step = spine.get(&format!("/v1/runs/{run}/steps/{by}")).json();
    let error = (&step["error"]["class"], &step["error"]["code"]);
    assert_eq!(error, (&json!("lost"), &json!("lost_too_often")), "{step}");
    assert_eq!((&step["attempt"], &step["charged"]), (&json!(LOSSES), &json!(0)), "{step}");
    let why = spine.get(&format!("/v1/runs/{run}/why")).json();
    let why = why["why"].as_str().expect("a sentence");
    assert!(why.contains("lost_too_often") && why.contains("spine dead-letters"), "{why}");
}

/// Runs beside it, each of which is called once, or again under the same key where its server was killed.
fn are_unaffected(spine: &Spine, fx: &Fx, runs: &[String]) {
    for run in runs {
        let ended = spine.wait_run(run, &["completed"]);
        assert_eq!(ended["steps"]["dead_lettered"], 0, "{ended}");
        for step in ["a", "b"] {
            let calls = fx.calls_of(run, step);
            assert!(calls.iter().all(|call| call.key == calls[0].key), "{run} {step}: a new key");
        }
    }
}

#[test]
fn f11c_a_step_that_kills_the_server_is_given_up_and_others_complete() {
    if row::is_left_to_soak("ten servers that are killed by a step") {
        return;
    }
    let began = Instant::now();
    let fx = Fx::start(|call, _| match call.path.as_str() {
        "/kills" => Answer::Hangs,
        _ => Answer::Done,
    });
    let mut spine = Spine::fresh().start();
    let plan = |run: &str, tools: &[&str]| {
        let step = |name: &&str| lines::step(name, &fx.tool(name), "idempotent");
        lines::plan(run, &lines::quick(3), tools.iter().map(step).collect())
    };
    spine.start_run(&plan("killer", &["kills"]));
    let mut others: Vec<String> = Vec::new();
    for losses in 1..=LOSSES {
        for number in 0..5 {
            let run = format!("r{losses}-{number}");
            spine.start_run(&plan(&run, &["a", "b"]));
            others.push(run);
        }
        // As soon as it is called there is no server any more.
        let calls = || fx.calls_of("killer", "kills").len();
        waits::until("its next attempt", || (calls() == losses).then_some(()));
        spine.kill();
        spine.restart();
    }
    is_given_up(&spine, "killer", "kills");
    are_unaffected(&spine, &fx, &others);
    assert_eq!(fx.calls_of("killer", "kills").len(), LOSSES, "it is not called any more");
    let result = json!({"calls_of_it": LOSSES, "others": others.len(), "calls": fx.calls().len()});
    row::print("killer", began, json!({"losses": LOSSES}), result);
    assert!(spine.stop().success(), "{}", spine.words());
    spine.is_fold_of_log();
}

#[test]
fn f11c_a_step_that_kills_its_workers_is_given_up_and_others_complete() {
    let spine = Spine::fresh().start();
    let plan = |run: &str| {
        lines::plan(run, &lines::quick(3), vec![lines::patient_step("a", "queue:q", "pure")])
    };
    spine.start_run(&plan("killer"));
    let others: Vec<String> = (1..=LOSSES).map(|number| format!("r{number}")).collect();
    for (run, deaths) in others.iter().zip(1..) {
        spine.start_run(&plan(run));
        // Who gets it is not heard of again; whoever comes next does what there is.
        let mut worker = Worker::new(&format!("w{deaths}"), &spine);
        let lease = waits::until("the killer", || {
            let lease = worker.one("q", 1000);
            if lease["run_id"] == "killer" {
                return Some(lease);
            }
            worker.complete("q", &lease);
            None
        });
        assert_eq!(lease["attempt"], json!(deaths), "{lease}");
    }
    let mut worker = Worker::new("last", &spine);
    waits::until("the end of the others", || {
        let leases = worker.lease("q", json!({"max": 10, "wait_ms": 0}));
        for lease in &leases {
            assert_ne!(lease["run_id"], "killer", "it is not granted any more");
            worker.complete("q", lease);
        }
        let ended =
            |run: &String| spine.get(&format!("/v1/runs/{run}")).json()["status"] == "completed";
        others.iter().all(ended).then_some(())
    });
    is_given_up(&spine, "killer", "a");
    spine.is_fold_of_log();
}
