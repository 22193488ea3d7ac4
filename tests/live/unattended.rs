//! The worker group is gone: nobody is left who could append an event that says so, and the ways in make noise.

use crate::fleet::Fleet;
use serde_json::{Value, json};
use spine_schemas::keys;
use spine_tests::{Answer, Fx, Servers, Spine, lines, row, waits};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

const PARTITIONS: u32 = 3;
const STALL_AFTER_S: u64 = 3;
/// How long the attempt may take that its worker does not survive.
const TIMEOUT_MS: u64 = 6000;

/// A run in a partition of its own.
fn run_in(partition: u32) -> String {
    let mut names = (0..).map(|number| format!("r{number}"));
    let is_there = |name: &String| {
        keys::partition_of(format!("default/{name}").as_bytes(), PARTITIONS) == partition
    };
    names.find(is_there).expect("one of many")
}

fn append(spine: &Spine, run: &str) {
    let body = lines::ndjson(&lines::record_run(run, 1));
    let reply = spine.http().ask("POST", "/v1/events", "application/x-ndjson", &body);
    assert_eq!(reply.expect("an answer").status, 202);
}

/// Whether each partition is unattended, as a way in measures it.
fn measured(spine: &Spine) -> Option<Vec<bool>> {
    let series = |partition| format!("spine_partition_unattended{{partition=\"{partition}\"}}");
    (0..PARTITIONS).map(|partition| Some(spine.metric(&series(partition))? != 0.0)).collect()
}

/// Two ways in that tell alarms, and a worker that tells nothing.
fn start(servers: &Servers, hook: &Fx) -> Fleet {
    let (log, store) = (servers.fresh_log(PARTITIONS, 1), servers.fresh_store());
    let (after, hook) = (STALL_AFTER_S.to_string(), hook.tool("hook"));
    let flags = ["--roles", "ingest", "--stall-after", &after, "--webhook", &hook];
    let ingest = || Spine::on(&log, &store).with(&flags).start();
    let ingests = vec![ingest(), ingest()];
    let mut fleet = Fleet { log, store, ingests, workers: Vec::new() };
    fleet.add_worker();
    waits::until("an owner of every partition", || {
        (fleet.held().len() == PARTITIONS as usize).then_some(())
    });
    fleet
}

/// What the webhook was told: each record once, and again with equal bytes only.
fn told(hook: &Fx) -> Vec<Value> {
    let mut by_id: BTreeMap<String, String> = BTreeMap::new();
    for call in hook.calls() {
        let before = by_id.insert(call.key, call.body.clone());
        assert!(before.is_none_or(|before| before == call.body), "two forms of {}", call.body);
    }
    by_id.values().map(|body| serde_json::from_str(body).expect("JSON")).collect()
}

/// Every way in says so everywhere, and takes events all the same.
fn is_said(fleet: &Fleet, expected: [bool; PARTITIONS as usize]) {
    for ingest in &fleet.ingests {
        waits::until("the metric", || (measured(ingest)? == expected).then_some(()));
        let ready = ingest.get("/readyz");
        assert_eq!(ready.status, 200, "{}", ready.json());
        let ready = ready.json();
        let named = ready["unattended"].as_array().cloned().unwrap_or_default();
        let named: Vec<u64> = named.iter().filter_map(|one| one["partition"].as_u64()).collect();
        let wanted = (0..).zip(expected).filter(|(_, is_named)| *is_named);
        assert_eq!(named, wanted.map(|(partition, _)| partition).collect::<Vec<_>>(), "{ready}");
    }
}

#[test]
fn f32_without_workers_the_ways_in_say_that_nothing_moves_although_no_event_does() {
    let Some(servers) = Servers::named() else { return };
    let hook = Fx::willing();
    let fx = Fx::start(|_, before| if before == 0 { Answer::Hangs } else { Answer::Done });
    let mut fleet = start(&servers, &hook);
    let [owed, idle, behind] = [0, 1, 2].map(run_in);
    append(&fleet.ingests[0], &idle);
    fleet.ingests[0].wait_run(&idle, &["completed"]);
    is_said(&fleet, [false; 3]);
    let mut step = lines::patient_step("pay", &fx.tool("pay"), "pure");
    step["timeout_ms"] = json!(TIMEOUT_MS);
    fleet.ingests[0].start_run(&lines::plan(&owed, &lines::quick(3), vec![step]));
    waits::until("the call", || (!fx.calls().is_empty()).then_some(()));
    waits::until("the stored start", || {
        let steps = fleet.ingests[0].steps(&owed);
        (steps.first()?["status"] == "running").then_some(())
    });
    let killed = Instant::now();
    fleet.workers.iter_mut().for_each(Spine::kill);
    fleet.workers.clear();
    append(&fleet.ingests[1], &behind);
    is_said(&fleet, [true, false, true]);
    let alarmed_ms = killed.elapsed().as_millis() as u64;
    row::print(
        "unattended_cluster",
        killed,
        json!({"stall_after_s": STALL_AFTER_S, "timeout_ms": TIMEOUT_MS}),
        json!({"alarmed_after_ms": alarmed_ms}),
    );
    let records = waits::until("the webhook", || Some(told(&hook)).filter(|told| told.len() == 2));
    assert!(records.iter().all(|record| record["kind"] == "partition_unattended"), "{records:?}");
    let places = records.iter().filter_map(|record| record["position"]["partition"].as_u64());
    assert_eq!(places.collect::<BTreeSet<_>>(), BTreeSet::from([0, 2]));
    let why = records.iter().filter_map(|record| record["reason"].as_str());
    assert_eq!(why.filter(|why| why.contains(&format!("run default/{owed} "))).count(), 1);
    let run = fleet.ingests[0].get(&format!("/v1/runs/{owed}")).json();
    assert_eq!((&run["status"], &run["stalled_since"]), (&json!("running"), &Value::Null), "{run}");
    fleet.add_worker();
    for run in [&owed, &behind] {
        fleet.ingests[1].wait_run(run, &["completed"]);
    }
    is_said(&fleet, [false; 3]);
    assert_eq!(told(&hook).len(), 2, "that it is over is no alarm");
    fleet.stop();
    fleet.is_fold_of_log();
}
