//! The JSON of plans and events.

use crate::substrate::{self, On};
use serde_json::{Value, json};

/// On Kafka no lock proves that a killed server is gone: its attempts are lost after their time-out, not
/// after the default of 30 s.
const LOST_MS: u64 = 1500;

/// A plan whose steps follow one another.
pub fn plan(run: &str, retry: &Value, steps: Vec<Value>) -> Value {
    json!({"run_id": run, "workflow": "it", "version": "1", "input": {"run": run},
        "retry": retry, "steps": steps})
}

/// A step with an empty input. Where a killed server is missed by a clock alone, its time-out is short.
pub fn step(name: &str, tool: &str, effect: &str) -> Value {
    let mut step = patient_step(name, tool, effect);
    if substrate::chosen() != On::Embedded {
        step["timeout_ms"] = json!(LOST_MS);
    }
    step
}

/// The same, which may take its time: for many at once, none of which is to be lost.
pub fn patient_step(name: &str, tool: &str, effect: &str) -> Value {
    json!({"name": name, "tool": tool, "effect": effect, "input": {}})
}

/// Attempts without much waiting between them.
pub fn quick(max_attempts: u32) -> Value {
    json!({"max_attempts": max_attempts, "initial_ms": 1, "multiplier": 1.0, "max_ms": 1,
        "jitter": 0.0})
}

/// A finished record run of `2 + 2 * steps` events.
pub fn record_run(run: &str, steps: usize) -> Vec<Value> {
    let mut lines = vec![json!({"kind": "run_created", "run_id": run,
        "run": {"workflow": "it", "version": "1", "input": {"n": 1}}})];
    for at in 0..steps {
        let step = json!({"name": format!("s{at}")});
        lines.push(json!({"kind": "step_started", "run_id": run, "step": step, "attempt": 1,
            "spec": {"tool": "t", "effect": "pure", "input": {"at": at}}}));
        lines.push(json!({"kind": "step_completed", "run_id": run, "step": step, "attempt": 1,
            "output": {"data": {"at": at}}}));
    }
    lines.push(json!({"kind": "run_completed", "run_id": run, "output": {"data": {"ok": true}}}));
    lines
}

/// One event a line.
pub fn ndjson(lines: &[Value]) -> Vec<u8> {
    lines.iter().flat_map(|line| format!("{line}\n").into_bytes()).collect()
}
