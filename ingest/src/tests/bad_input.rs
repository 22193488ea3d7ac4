//! Everything that must not get in: each is a numbered 4xx, and nothing is appended.

use super::world::{World, ndjson, six_events};
use serde_json::{Value, json};

async fn refused(body: impl Into<axum::body::Body>, kind: &str) -> Value {
    let world = World::new();
    let reply = world.send("/v1/events", kind, body, &[]).await;
    assert!((400..500).contains(&reply.status), "{reply:?}");
    let json = reply.json();
    reply.problem(reply.status, json["name"].as_str().unwrap());
    assert_eq!(world.end().await, 0, "a refused batch left events behind");
    json
}

/// The one bad line of a batch: its number, the name of its code, its field.
async fn bad_line(lines: &[Value]) -> (u64, String, String) {
    let problem = refused(ndjson(lines), "application/x-ndjson").await;
    assert_eq!(problem["name"], "bad_events");
    assert_eq!(problem["errors"].as_array().unwrap().len(), 1, "{problem}");
    let error = &problem["errors"][0];
    assert!(error["code"].as_u64().unwrap() >= 1000 && error["message"].is_string(), "{error}");
    let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
    (error["line"].as_u64().unwrap(), text("name"), text("field"))
}

fn with(line: usize, change: impl FnOnce(&mut Value)) -> Vec<Value> {
    let mut lines = six_events("r1");
    change(&mut lines[line]);
    lines
}

fn named(line: u64, name: &str, field: &str) -> (u64, String, String) {
    (line, name.to_owned(), field.to_owned())
}

#[tokio::test]
async fn invalid_json_on_line_seven() {
    let mut body = ndjson(&six_events("r1"));
    body.push_str("{oops\n");
    let problem = refused(body, "application/x-ndjson").await;
    assert_eq!(problem["errors"][0]["line"], 7);
    assert_eq!(problem["errors"][0]["name"], "not_an_event");
}

#[tokio::test]
async fn an_unknown_field() {
    let lines = with(0, |line| line["surprise"] = json!(1));
    assert_eq!(bad_line(&lines).await, named(1, "invalid_field", "surprise"));
}

#[tokio::test]
async fn a_wrong_kind() {
    let lines = with(1, |line| line["kind"] = json!("run_exploded"));
    let (line, name, field) = bad_line(&lines).await;
    assert_eq!((line, name.as_str(), field.as_str()), (2, "invalid_field", "kind"));
}

#[tokio::test]
async fn no_run_id() {
    let lines = with(0, |line| {
        line.as_object_mut().unwrap().remove("run_id");
    });
    let (line, _, field) = bad_line(&lines).await;
    assert_eq!((line, field.as_str()), (1, "run_id"));
}

#[tokio::test]
async fn a_claim_from_outside() {
    let lines = with(1, |line| line["claim"] = json!(0));
    assert_eq!(bad_line(&lines).await, named(2, "owners_field", "claim"));
}

#[tokio::test]
async fn a_batch_from_outside() {
    let lines = with(1, |line| line["batch"] = json!({"id": "b", "index": 0}));
    assert_eq!(bad_line(&lines).await, named(2, "owners_field", "batch"));
}

#[tokio::test]
async fn an_outsiders_decision() {
    let mut lines = six_events("r1");
    lines[2] = json!({"kind": "step_lost", "run_id": "r1", "step": {"name": "lookup"},
        "attempt": 1, "lease": 1, "heartbeat": 1, "reason": "gone"});
    let (line, name, field) = bad_line(&lines).await;
    assert_eq!((line, name.as_str(), field.as_str()), (3, "not_a_fact", "kind"));
}

#[tokio::test]
async fn a_request_names_its_own_door() {
    let body = ndjson(&[json!({"kind": "step_resolved", "run_id": "r1",
        "step": {"name": "lookup"}, "attempt": 1, "reason": "seen",
        "resolution": {"happened": true}})]);
    let problem = refused(body, "application/x-ndjson").await;
    let message = problem["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains("/resolve"), "{problem}");
}

#[tokio::test]
async fn a_plan_run_through_events() {
    let lines = with(0, |line| line["run"]["driver"] = json!("journal"));
    assert_eq!(bad_line(&lines).await, named(1, "not_a_fact", "run.driver"));
}

#[tokio::test]
async fn a_negative_attempt() {
    let lines = with(1, |line| line["attempt"] = json!(-1));
    let (line, name, field) = bad_line(&lines).await;
    assert_eq!((line, name.as_str(), field.as_str()), (2, "invalid_field", "attempt"));
}

#[tokio::test]
async fn a_tenant_that_is_not_one() {
    let lines = with(0, |line| line["tenant"] = json!("No Such Tenant"));
    assert_eq!(bad_line(&lines).await, named(1, "bad_tenant", "tenant"));
}

#[tokio::test]
async fn a_payload_of_two_mebibytes() {
    let lines = with(0, |line| line["run"]["input"] = json!("z".repeat(2 * 1024 * 1024)));
    let (line, name, _) = bad_line(&lines).await;
    assert_eq!((line, name.as_str()), (1, "value_too_large"));
}

#[tokio::test]
async fn a_huge_depth() {
    let deep = |depth: usize| {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        format!(
            "{{\"kind\":\"run_created\",\"run_id\":\"x\",\"run\":{{\"workflow\":\"w\",\
             \"version\":\"1\",\"input\":{open}{close}}}}}"
        )
    };
    for depth in [65, 100, 1000, 100_000] {
        refused(deep(depth), "application/x-ndjson").await;
        refused(format!("[{}]", deep(depth)), "application/json").await;
    }
}

#[tokio::test]
async fn bodies_of_other_kinds() {
    for (body, kind, name) in [
        ("Obj\u{1}garbage", "application/avro", "bad_avro"),
        ("<xml/>", "application/xml", "media_type"),
        ("", "", "media_type"),
        ("", "application/x-ndjson", "empty_body"),
        ("\n\n", "application/x-ndjson", "empty_body"),
        ("[]", "application/json", "empty_body"),
        ("", "application/json", "empty_body"),
        ("{}", "application/json", "bad_json"),
        ("[1", "application/json", "bad_json"),
        ("null", "application/json", "bad_json"),
    ] {
        assert_eq!(refused(body, kind).await["name"], name, "{body} as {kind}");
    }
}

#[tokio::test]
async fn every_bad_line_is_told_up_to_a_limit() {
    let lines: Vec<Value> = (0..10_050).map(|at| json!({"kind": "nonsense", "n": at})).collect();
    let problem = refused(ndjson(&lines), "application/x-ndjson").await;
    assert_eq!(problem["errors"].as_array().unwrap().len(), 10_000);
    assert_eq!(problem["more_errors"], 50);
    assert_eq!(problem["errors"][9_999]["line"], 10_000);
}

#[tokio::test]
async fn too_many_events() {
    let line = "{\"kind\":\"x\"}\n";
    let problem = refused(line.repeat(50_001), "application/x-ndjson").await;
    assert_eq!(problem["name"], "too_many_events");
}

#[tokio::test]
async fn good_input_is_still_taken_afterwards() {
    let world = World::new();
    let bad = with(3, |line| line["surprise"] = json!(1));
    assert_eq!(world.events(&bad).await.status, 422);
    world.get("/v1/runs/r1").await.problem(404, "run_absent");
    assert_eq!(world.events(&six_events("r1")).await.status, 202);
}
