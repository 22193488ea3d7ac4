//! The plan of the demo: an agent that refunds an order, in ten steps.

use super::faults::Faults;
use serde_json::{Value, json};

/// The run's id.
pub(super) const RUN: &str = "refund-17";
/// A tenant on which the demo's server injects faults.
pub(super) const TENANT: &str = "test";
/// First wait of the policy; it doubles.
pub(super) const INITIAL_MS: u64 = 100;
/// How long the tools of most steps may take.
pub(super) const TIMEOUT_MS: u64 = 800;
/// Attempts of the step whose tool is broken.
pub(super) const POLICY_ATTEMPTS: u32 = 3;

/// A step, what repeating it may do, and what it follows.
pub(super) struct Step {
    pub(super) name: &'static str,
    pub(super) effect: &'static str,
    after: &'static [&'static str],
}

const fn step(name: &'static str, effect: &'static str, after: &'static [&'static str]) -> Step {
    Step { name, effect, after }
}

/// The ten steps.
pub(super) const STEPS: [Step; 10] = [
    step("lookup", "pure", &[]),
    step("history", "pure", &["lookup"]),
    step("classify", "pure", &["lookup"]),
    step("plan", "pure", &["history", "classify"]),
    step("policy", "pure", &["plan"]),
    step("draft", "pure", &["plan"]),
    step("refund", "idempotent", &["policy"]),
    step("ledger", "idempotent", &["refund"]),
    step("email", "at_most_once", &["draft", "ledger"]),
    step("summary", "pure", &["email"]),
];

/// The body for `POST /v1/runs`.
pub(super) fn body(tools: &str, tenant: &str, faults: &Faults, in_cluster: bool) -> Value {
    let steps: Vec<Value> = STEPS.iter().map(|step| step_json(step, tools, in_cluster)).collect();
    let injected: Vec<Value> = faults
        .injected()
        .into_iter()
        .map(|(step, attempt)| json!({"step": step, "attempt": attempt, "fault": "timeout"}))
        .collect();
    json!({
        "run_id": RUN,
        "tenant": tenant,
        "workflow": "refund",
        "version": "3",
        "input": {"order": "A-17", "message": "The blue mug arrived broken."},
        "tags": {"team": "billing"},
        "retry": {"max_attempts": 4, "initial_ms": INITIAL_MS, "multiplier": 2.0, "max_ms": 2000,
            "jitter": 0.0},
        "steps": steps,
        "faults": injected,
    })
}

fn step_json(step: &Step, tools: &str, in_cluster: bool) -> Value {
    let mut json = json!({
        "name": step.name,
        "tool": format!("{tools}/{}", step.name),
        "effect": step.effect,
        "after": step.after,
        "timeout_ms": TIMEOUT_MS,
        "input": input(step.name),
    });
    if step.name == "policy" {
        json["retry"] = json!({"max_attempts": POLICY_ATTEMPTS, "initial_ms": INITIAL_MS,
            "multiplier": 2.0, "max_ms": 2000, "jitter": 0.0});
    }
    if step.name == "refund" {
        // Its first reply never comes: the server is killed meanwhile. On a cluster no lock tells
        // that it is gone, so that its attempt is lost only after this time.
        json["timeout_ms"] = json!(if in_cluster { 8_000 } else { 30_000 });
    }
    json
}

fn input(step: &str) -> Value {
    match step {
        "lookup" => json!({"order": {"$ref": "run#/order"}}),
        "history" => json!({"customer": {"$ref": "lookup#/customer"}, "limit": 5}),
        "classify" => {
            json!({"text": {"$ref": "run#/message"}, "labels": ["damaged", "late", "other"]})
        }
        "plan" => {
            json!({"label": {"$ref": "classify#/label"}, "orders": {"$ref": "history#/orders"}})
        }
        "policy" => json!({"action": {"$ref": "plan#/action"}, "cents": {"$ref": "lookup#/cents"}}),
        "draft" => json!({"to": {"$ref": "lookup#/name"}, "about": {"$ref": "plan#/action"}}),
        "refund" => {
            json!({"customer": {"$ref": "lookup#/customer"}, "cents": {"$ref": "lookup#/cents"}})
        }
        "ledger" => json!({"booking": {"$ref": "refund#/booking"}}),
        "email" => json!({"body": {"$ref": "draft#/text"}}),
        _ => json!({"of": {"$ref": "run#/order"}}),
    }
}

/// What a tool answers, and what it says that it used.
pub(super) fn answer(step: &str) -> (Value, Option<Value>) {
    let used = |input: u64, output: u64, cost: u64| {
        Some(json!({"provider": "demo", "model": "m1", "input_uncached": input,
            "output_text": output, "cost_micros": cost}))
    };
    match step {
        "lookup" => (json!({"customer": "c9", "name": "Ada", "cents": 4200}), None),
        "history" => {
            (json!({"orders": [{"id": "A-3", "cents": 900}, {"id": "A-17", "cents": 4200}]}), None)
        }
        "classify" => (json!({"label": "damaged", "confidence": 0.97}), used(212, 8, 1_060)),
        "plan" => (json!({"action": "refund", "why": "damaged on arrival"}), used(640, 55, 4_100)),
        "policy" => (json!({"allowed": true, "rule": "R-12"}), None),
        "draft" => (json!({"text": "Dear Ada, your money is on its way."}), used(480, 120, 5_900)),
        "refund" => (json!({"booking": "B-1", "cents": 4200}), None),
        "ledger" => (json!({"entry": 88_123_456_789_012_345_u64}), None),
        "email" => (json!({"sent": true}), None),
        _ => (json!({"ok": true}), used(90, 30, 700)),
    }
}
