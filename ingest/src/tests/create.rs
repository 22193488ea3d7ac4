//! `POST /v1/runs`: new, the same again, another under the same name, and what a plan may not be.

use super::world::{World, settings};
use serde_json::{Value, json};

fn plan(run_id: &str) -> Value {
    json!({"run_id": run_id, "workflow": "refund", "version": "3", "input": {"order": "A-17"},
        "retry": {"max_attempts": 4, "initial_ms": 200, "multiplier": 2.0, "max_ms": 60000, "jitter": 0.2},
        "steps": [
            {"name": "lookup", "tool": "http://127.0.0.1:9000/lookup", "effect": "pure",
                "input": {"order": {"$ref": "run#/order"}}},
            {"name": "refund", "tool": "http://127.0.0.1:9000/refund", "effect": "idempotent",
                "timeout_ms": 30000, "after": ["lookup"],
                "input": {"customer": {"$ref": "lookup#/customer"}, "cents": 4200}}]})
}

#[tokio::test]
async fn a_plan_is_new_once() {
    let world = World::new();
    let first = world.post("/v1/runs", plan("refund-17")).await;
    assert_eq!(first.status, 201, "{first:?}");
    assert_eq!(first.headers["location"], "/v1/runs/refund-17");
    assert_eq!(
        first.json(),
        json!({"tenant": "default", "run_id": "refund-17", "driver": "plan", "created": true,
            "position": {"topic": "spine.steps", "partition": 0, "offset": 0}}),
    );
    let again = world.post("/v1/runs", plan("refund-17")).await;
    assert_eq!((again.status, again.json()["created"].as_bool()), (200, Some(false)));
    let run = world.get("/v1/runs/refund-17").await.json();
    assert_eq!(run["status"], "running");
    assert_eq!(run["steps"]["total"], 2);
    assert_eq!(run["waiting_for"], json!([{"for": "owner"}]));
}

#[tokio::test]
async fn another_plan_under_the_name_is_a_conflict_with_both_digests() {
    let world = World::new();
    world.post("/v1/runs", plan("r")).await;
    let mut other = plan("r");
    other["input"]["order"] = json!("B-1");
    let problem = world.post("/v1/runs", other).await.problem(409, "run_exists");
    let digest = |name: &str| problem[name].as_str().unwrap().to_owned();
    assert_eq!(digest("stored").len(), 64);
    assert_ne!(digest("stored"), digest("given"));
    let holder = world.get("/v1/runs/r").await.json();
    assert_eq!(holder["digest"], problem["stored"]);
    assert_eq!(holder["status"], problem["run_status"]);
}

#[tokio::test]
async fn a_conflicting_record_run_names_the_stored_digest() {
    let world = World::new();
    let run = |workflow: &str| json!({"run_id": "r", "workflow": workflow, "driver": "record"});
    assert_eq!(world.post("/v1/runs", run("one")).await.status, 201);
    assert_eq!(world.post("/v1/runs", run("one")).await.status, 200);
    let problem = world.post("/v1/runs", run("two")).await.problem(409, "run_exists");
    assert_eq!(problem["stored"].as_str().unwrap().len(), 64);
}

#[tokio::test]
async fn a_run_without_an_id_gets_one() {
    let world = World::new();
    let reply = world.post("/v1/runs", json!({"workflow": "w", "driver": "journal"})).await;
    let run_id = reply.json()["run_id"].as_str().unwrap().to_owned();
    assert_eq!((reply.status, run_id.len()), (201, 32));
    assert_eq!(world.get(&format!("/v1/runs/{run_id}")).await.json()["version"], "1");
}

#[tokio::test]
async fn c5b_the_same_request_under_a_key_makes_one_run_and_another_one_is_refused() {
    let world = World::new();
    let post = async |key: &str, body: Value| {
        let headers = [("idempotency-key", key)];
        world.send("/v1/runs", "application/json", body.to_string(), &headers).await
    };
    let run = |tenant: &str, workflow: &str| json!({"tenant": tenant, "workflow": workflow, "driver": "journal"});
    let (one, two) = tokio::join!(post("k", run("a", "w")), post("k", run("a", "w")));
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 201]);
    let run_id = one.json()["run_id"].clone();
    assert_eq!(two.json()["run_id"], run_id);
    let problem = post("k", run("a", "other")).await.problem(422, "key_reused");
    assert_eq!(problem["run_id"], run_id);
    assert_ne!(post("l", run("a", "w")).await.json()["run_id"], run_id);
    assert_eq!(post("k", run("b", "w")).await.status, 201, "keys are each tenant's own");
    let mut named = run("a", "w");
    named["run_id"] = json!("named");
    assert_eq!(post("k", named.clone()).await.json()["run_id"], "named");
    named["workflow"] = json!("other");
    post("k", named).await.problem(409, "run_exists");
    post("", run("a", "w")).await.problem(400, "bad_request");
}

#[tokio::test]
async fn tenants_are_apart() {
    let world = World::new();
    let run = json!({"run_id": "r", "tenant": "acme", "workflow": "w", "driver": "journal"});
    assert_eq!(world.post("/v1/runs", run).await.status, 201);
    world.get("/v1/runs/r").await.problem(404, "run_absent");
    assert_eq!(world.get("/v1/runs/r?tenant=acme").await.status, 200);
    world.get("/v1/runs/r?tenant=No").await.problem(422, "bad_tenant");
}

#[tokio::test]
async fn what_is_refused_at_the_door() {
    let world = World::new();
    let change = |change: &dyn Fn(&mut Value)| {
        let mut body = plan("r");
        change(&mut body);
        body
    };
    let long = "x".repeat(300 * 1024);
    let cases = [
        (change(&|body| body["surprise"] = json!(1)), "invalid_field"),
        (change(&|body| body["workflow"] = Value::Null), "invalid_field"),
        (change(&|body| body["tenant"] = json!("A b")), "bad_tenant"),
        (change(&|body| body["run_id"] = json!("")), "invalid_field"),
        (change(&|body| body["driver"] = json!("journal")), "invalid_field"),
        (change(&|body| body["steps"] = json!([])), "invalid_field"),
        (change(&|body| body["steps"][0]["tool"] = json!("http://example.com/")), "tool_refused"),
        (change(&|body| body["steps"][0]["colour"] = json!("red")), "invalid_field"),
        (change(&|body| body["steps"][1]["after"] = json!(["nobody"])), "invalid_field"),
        (change(&|body| body["input"] = json!(long)), "value_too_large"),
        (
            change(&|body| {
                body["faults"] = json!([{"step": "lookup", "attempt": 1, "fault": "timeout"}]);
            }),
            "faults_refused",
        ),
        (json!({"run_id": "r", "workflow": "w"}), "driver_missing"),
        (json!({"run_id": "r", "workflow": "w", "driver": "plan"}), "driver_missing"),
        (json!({"run_id": "r", "workflow": "w", "driver": "brain"}), "invalid_field"),
        (
            json!({"run_id": "r", "workflow": "w", "driver": "journal", "retry": {}}),
            "invalid_field",
        ),
        (json!({"run_id": "r", "driver": "journal"}), "invalid_field"),
    ];
    for (body, name) in cases {
        let reply = world.post("/v1/runs", body.clone()).await;
        assert_eq!((reply.status, reply.json()["name"].as_str()), (422, Some(name)), "{body}");
    }
    let reply = world.send("/v1/runs", "application/json", "{", &[]).await;
    reply.problem(400, "bad_json");
    let huge = json!({"workflow": "w", "input": "x".repeat(3 * 1024 * 1024)});
    world.post("/v1/runs", huge).await.problem(413, "body_too_large");
    world.send("/v1/runs", "text/plain", "{}", &[]).await.problem(415, "media_type");
    assert_eq!(world.end().await, 0);
}

#[tokio::test]
async fn faults_are_for_test_tenants() {
    let mut settings = settings();
    settings.test_tenants.insert("test".into());
    let world = World::with(1, settings, |log| log);
    let mut body = plan("r");
    body["tenant"] = json!("test");
    body["faults"] = json!([{"step": "lookup", "attempt": 1, "fault": "timeout"}]);
    assert_eq!(world.post("/v1/runs", body).await.status, 201);
}

#[tokio::test]
async fn a_step_with_very_many_references_is_refused() {
    let world = World::new();
    let plan = |count: usize| {
        json!({"workflow": "w", "input": {"a": 1}, "steps": [{"name": "s",
            "tool": "http://127.0.0.1:9000/t", "input": vec![json!({"$ref": "run#/a"}); count]}]})
    };
    let problem = world.post("/v1/runs", plan(257)).await.problem(422, "value_too_large");
    assert_eq!(problem["field"], "steps[0].input.$ref");
    assert_eq!(world.end().await, 0);
    assert_eq!(world.post("/v1/runs", plan(256)).await.status, 201);
}
