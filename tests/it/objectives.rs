//! What a service-level objective is counted from: runs that ended, degraded ones apart, each once.

use serde_json::{Value, json};
use spine_tests::{Answer, Fx, Spine, lines, waits};
use std::collections::BTreeMap;

const STATUSES: [&str; 4] = ["completed", "degraded", "failed", "cancelled"];

/// Ended runs as the process has counted them, by status.
fn counted(spine: &Spine) -> BTreeMap<String, u64> {
    let body = spine.get("/metrics").body;
    let text = String::from_utf8_lossy(&body);
    let of = |line: &str| {
        let rest = line.strip_prefix("spine_workers_ended_runs_total{status=\"")?;
        let (status, runs) = rest.split_once("\"} ")?;
        Some((status.to_owned(), runs.trim().parse().ok()?))
    };
    text.lines().filter_map(of).collect()
}

fn expected(counts: [u64; 4]) -> BTreeMap<String, u64> {
    STATUSES.map(str::to_owned).into_iter().zip(counts).collect()
}

fn wait_counted(spine: &Spine, counts: [u64; 4]) {
    let mut last = BTreeMap::new();
    let reached = waits::maybe(|| {
        last = counted(spine);
        (last == expected(counts)).then_some(())
    });
    assert!(reached.is_some(), "not {counts:?}: {last:?}");
}

/// A run whose one step fails, with what follows from that.
fn plan(fx: &Fx, run: &str, tool: &str, on_exhausted: &str) -> Value {
    let mut step = lines::step("a", &fx.tool(tool), "idempotent");
    step["on_exhausted"] = json!(on_exhausted);
    lines::plan(run, &lines::quick(1), vec![step])
}

fn ends(spine: &Spine, fx: &Fx) {
    for (run, tool, on_exhausted, status) in [
        ("well", "good", "fail", "completed"),
        ("well-too", "good", "skip", "completed"),
        ("less", "bad", "skip", "degraded"),
        ("not", "bad", "fail", "failed"),
    ] {
        spine.start_run(&plan(fx, run, tool, on_exhausted));
        spine.wait_run(run, &[status]);
    }
    spine.start_run(&plan(fx, "stopped", "bad", "dead_letter"));
    spine.wait_run("stopped", &["waiting"]);
    let stop = json!({"reason": "no use"});
    let reply = spine.http().post("/v1/runs/stopped/cancel", &stop).expect("an answer");
    assert!(reply.status < 300, "{}", reply.json());
    spine.wait_run("stopped", &["cancelled"]);
    // Of runs that others drive the ends count, too.
    let facts = lines::ndjson(&lines::record_run("reported", 1));
    let reply = spine.http().ask("POST", "/v1/events", "application/x-ndjson", &facts);
    assert_eq!(reply.expect("an answer").status, 202);
    spine.start_run(
        &json!({"run_id": "agent", "workflow": "it", "version": "1", "driver": "journal"}),
    );
    let end = json!({"op": "end", "op_id": 1, "status": "completed", "degraded": true});
    let reply = spine.http().post("/v1/runs/agent/journal", &json!({"session": "S", "ops": [end]}));
    assert_eq!(reply.expect("an answer").json()["results"][0]["status"], "ok");
}

#[test]
fn c15_ended_runs_count_once_by_status_and_degraded_apart() {
    let fx = Fx::start(|call, _| match call.path.as_str() {
        "/bad" => Answer::Refuses(422),
        _ => Answer::Done,
    });
    let mut spine = Spine::fresh().start();
    // All of them can be seen before there are any.
    wait_counted(&spine, [0; 4]);
    ends(&spine, &fx);
    wait_counted(&spine, [3, 2, 1, 1]);
    // What is in the store has counted; another process begins with nothing.
    spine.kill();
    spine.restart();
    wait_counted(&spine, [0; 4]);
    spine.start_run(&plan(&fx, "later", "bad", "skip"));
    spine.wait_run("later", &["degraded"]);
    wait_counted(&spine, [0, 1, 0, 0]);
    // Nor does a store that is built anew count it all again.
    spine.kill();
    spine.forget_store();
    spine.restart();
    spine.wait_run("later", &["degraded"]);
    spine.start_run(&plan(&fx, "last", "good", "fail"));
    spine.wait_run("last", &["completed"]);
    wait_counted(&spine, [1, 0, 0, 0]);
    assert!(spine.stop().success(), "{}", spine.words());
    spine.is_fold_of_log();
}
