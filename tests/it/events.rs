//! Many events: appended through HTTP in batches, folded, queried, replayed, compared; in bounded
//! memory.

use serde_json::json;
use spine_tests::{Fx, Spine, lines, row, waits};
use std::time::{Duration, Instant};

/// Events of one record run: created, 10 steps started and completed, completed.
const EVENTS_OF_RUN: usize = 22;
const RUNS_PER_BATCH: usize = 200;
/// Events of a plan run of 10 steps: created, each started, completed, the run's end.
const EVENTS_OF_PLAN: usize = 22;
const MEMORY_KIB: u64 = 300 * 1024;

fn rate(events: usize, took: Duration) -> u64 {
    (events as f64 / took.as_secs_f64().max(0.001)) as u64
}

fn append_all(spine: &Spine, batches: usize) -> usize {
    let mut http = spine.http();
    let mut last = 0;
    for batch in 0..batches {
        let runs =
            (0..RUNS_PER_BATCH).flat_map(|run| lines::record_run(&format!("e{batch}-{run}"), 10));
        let body = lines::ndjson(&runs.collect::<Vec<_>>());
        let reply = waits::until("a batch to be taken", || {
            let reply = http.ask("POST", "/v1/events", "application/x-ndjson", &body);
            let reply = reply.expect("an answer");
            assert!(reply.status == 202 || reply.status == 429, "{}", reply.json());
            (reply.status == 202).then_some(reply)
        });
        let answer = reply.json();
        assert_eq!(answer["appended"], RUNS_PER_BATCH * EVENTS_OF_RUN, "{answer}");
        last = answer["positions"][0]["last_offset"].as_u64().unwrap_or(0) as usize;
    }
    last
}

fn run_plans(spine: &Spine, fx: &Fx, plans: usize) {
    let mut http = spine.http();
    for plan in 0..plans {
        let step = |at: usize| lines::patient_step(&format!("s{at}"), &fx.tool("t"), "pure");
        let plan = lines::plan(&format!("p{plan}"), &lines::quick(1), (0..10).map(step).collect());
        waits::until("a plan to be taken", || {
            let reply = http.post("/v1/runs", &plan).expect("an answer");
            assert!(reply.status == 201 || reply.status == 429, "{}", reply.json());
            (reply.status == 201).then_some(())
        });
    }
    for plan in 0..plans {
        spine.wait_run(&format!("p{plan}"), &["completed"]);
    }
}

/// Waits until the store has the event at an offset.
fn stored(spine: &Spine, run: &str, offset: usize) {
    let path = format!("/v1/runs/{run}?at_least={offset}");
    waits::until("the store to follow", || {
        spine.http().get(&path).ok().filter(|reply| reply.status == 200)
    });
}

#[test]
fn f1_f4_c14_many_events_are_taken_folded_queried_and_replayed_equal() {
    let started = Instant::now();
    let events = row::size_on(100_000, 10_000, 1_000_000);
    let plans = events / 10 / EVENTS_OF_PLAN;
    let batches = (events - plans * EVENTS_OF_PLAN).div_ceil(RUNS_PER_BATCH * EVENTS_OF_RUN);
    let fx = Fx::willing();
    let mut server = Spine::fresh().start();
    let appending = Instant::now();
    let last = append_all(&server, batches);
    let appended = appending.elapsed();
    stored(&server, "e0-0", last);
    let stored = appending.elapsed();
    let peak_of_http_kib = server.peak_kib();
    run_plans(&server, &fx, plans);
    let run = server.get(&format!("/v1/runs/e{}-7", batches - 1)).json();
    assert_eq!((&run["status"], &run["steps"]["completed"]), (&json!("completed"), &json!(10)));
    let page = server.get("/v1/runs?limit=100").json();
    assert_eq!(page["runs"].as_array().map(Vec::len), Some(100));
    let peak_kib = server.peak_kib();
    let (peak_mib, peak_of_http_mib) = (peak_kib / 1024, peak_of_http_kib / 1024);
    let held = format!("the server held {peak_mib} MiB, {peak_of_http_mib} before the plan runs");
    assert!(peak_kib < MEMORY_KIB, "{held}");
    assert!(server.stop().success(), "{}", server.words());
    let (code, replay) = server.replay("fresh", &["--compare", &server.store_url()]);
    assert_eq!(code, Some(0), "{replay}");
    assert!(replay["records"].as_u64() >= Some(events as u64), "{replay}");
    let sent = batches * RUNS_PER_BATCH * EVENTS_OF_RUN;
    let result = json!({
        "append_events_per_s": rate(sent, appended),
        "fold_and_store_events_per_s": rate(sent, stored),
        "replay_events_per_s": replay["records_per_second"],
        "peak_mib": peak_mib,
        "peak_of_http_mib": peak_of_http_mib,
    });
    row::print("events", started, json!({"events": events, "plan_runs": plans}), result);
}
