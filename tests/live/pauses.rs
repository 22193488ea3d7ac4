//! A pause that one of two processes was asked for: the other hears of it soon, and whichever is asked, neither plans nor
//! agents begin anything.

use crate::nodes::{Nodes, PARTITIONS};
use serde_json::{Value, json};
use spine_tests::{Fx, Servers, Spine, lines, row, waits};
use std::time::{Duration, Instant};

/// Far more than a healthy cluster takes.
const SOON: Duration = Duration::from_secs(1);

fn post(node: &Spine, path: &str, body: &Value) -> Value {
    let reply = node.http().post(path, body).expect("an answer");
    let (status, told) = (reply.status, reply.json());
    assert!(status < 300, "{path}: {status} {told}");
    told
}

fn is_paused(node: &Spine, tool: &str) -> bool {
    let listed = node.get("/v1/tools").json();
    let tools = listed["tools"].as_array().expect("a list");
    tools.iter().any(|shown| shown["tool"] == tool && !shown["paused"].is_null())
}

/// What a process tells an agent that begins a step with a tool.
fn begins(node: &Spine, (run, op_id): (&str, usize), tool: &str) -> Value {
    let begin = json!({"op": "begin", "op_id": op_id, "step": {"name": "pay"}, "tool": tool});
    let path = format!("/v1/runs/{run}/journal");
    post(node, &path, &json!({"session": "S", "ops": [begin]}))["results"][0].clone()
}

#[test]
fn l37_a_pause_at_one_process_is_kept_by_the_other_soon_and_agents_are_told_the_same() {
    let Some(servers) = Servers::named() else { return };
    let started = Instant::now();
    let (mut nodes, fx) = (Nodes::start(&servers, 2, &[]), Fx::willing());
    let tool = fx.tool("pay");
    let change = json!({"tool": tool, "reason": "broken", "actor": "ada"});
    post(&nodes.nodes[0], "/v1/tools/pause", &change);
    let asked = Instant::now();
    assert!(is_paused(&nodes.nodes[0], &tool), "whoever was asked knows at once");
    waits::until("the other to hear", || is_paused(&nodes.nodes[1], &tool).then_some(()));
    let heard = asked.elapsed();
    assert!(heard < SOON, "heard after {heard:?}");
    let plans: Vec<String> = (0..2).flat_map(|at| nodes.runs_of(at, "p").take(1)).collect();
    let agents: Vec<String> = (0..2).flat_map(|at| nodes.runs_of(at, "j").take(1)).collect();
    for run in &plans {
        let step = lines::step("pay", &tool, "pure");
        nodes.nodes[0].start_run(&lines::plan(run, &lines::quick(3), vec![step]));
    }
    for run in &agents {
        nodes.nodes[1].start_run(&json!({"run_id": run, "workflow": "w", "driver": "journal"}));
        for (at, node) in nodes.nodes.iter().enumerate() {
            let told = begins(node, (run, 1 + at), &tool);
            assert_eq!((&told["status"], &told["for"]), (&json!("wait"), &json!("tool_paused")));
            assert_eq!(told["paused"]["by"], "ada", "{told}");
        }
    }
    for run in &plans {
        nodes.nodes[1].wait_run(run, &["waiting"]);
    }
    assert!(fx.calls().is_empty(), "{:?}", fx.calls());
    post(&nodes.nodes[1], "/v1/tools/resume", &change);
    for run in &plans {
        nodes.nodes[0].wait_run(run, &["completed"]);
    }
    for run in &agents {
        let told = begins(&nodes.nodes[1], (run, 9), &tool);
        assert_eq!((&told["status"], &told["attempt"]), (&json!("execute"), &json!(1)), "{told}");
    }
    assert_eq!(fx.calls().len(), plans.len());
    nodes.are_fold_of_log();
    let result = json!({"heard_ms": heard.as_secs_f64() * 1000.0});
    row::print("pause_of_two", started, json!({"partitions": PARTITIONS}), result);
}
