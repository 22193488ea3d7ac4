//! The journal: every answer of `begin`, the same answer again, and requests that go together.

use super::world::World;
use serde_json::{Value, json};
use spine_schemas::{RunKey, StepKey, keys};

fn begin(op_id: u64, step: &str) -> Value {
    json!({"op": "begin", "op_id": op_id, "step": {"name": step}, "tool": "pay", "effect":
        "idempotent", "input": {"cents": 4200}, "retry": {"max_attempts": 1}})
}

fn complete(op_id: u64, step: &str, begun: &Value) -> Value {
    json!({"op": "complete", "op_id": op_id, "step": {"name": step}, "attempt": begun["attempt"],
        "lease": begun["lease"], "output": {"customer": "c9"}, "usage": {"cost_micros": 7}})
}

fn fail(op_id: u64, step: &str, begun: &Value, class: &str) -> Value {
    json!({"op": "fail", "op_id": op_id, "step": {"name": step}, "attempt": begun["attempt"],
        "lease": begun["lease"], "error": {"class": class, "code": "http_503"}})
}

#[tokio::test]
async fn begin_executes_then_replays() {
    let world = World::new();
    let run = world.journal_run("r").await;
    let begun = world.op(&run, begin(1, "pay")).await;
    let key = keys::idempotency_key("installation", &run, &StepKey::named("pay"), 0);
    let golden = json!({"status": "execute", "attempt": 1, "lease": "0-1",
        "lease_until": begun["lease_until"], "idempotency_key": key.to_string()});
    assert_eq!(begun, golden);
    assert!(begun["lease_until"].as_str().unwrap().ends_with('Z'), "{begun}");
    assert_eq!(world.op(&run, complete(2, "pay", &begun)).await, json!({"status": "ok"}));
    let again = world.op(&run, begin(3, "pay")).await;
    assert_eq!(again, json!({"status": "replay", "output": {"customer": "c9"}}));
    let end = json!({"op": "end", "op_id": 4, "status": "completed", "output": {"done": true}});
    assert_eq!(world.op(&run, end).await, json!({"status": "ok"}));
    let shown = world.get("/v1/runs/r").await.json();
    assert_eq!(
        (shown["status"].as_str(), shown["cost_micros"].as_u64()),
        (Some("completed"), Some(7))
    );
}

#[tokio::test]
async fn the_same_operation_gets_the_same_answer() {
    let world = World::new();
    let run = world.journal_run("r").await;
    let first = world.op(&run, begin(1, "pay")).await;
    assert_eq!(world.op(&run, begin(1, "pay")).await, first);
    let other = world.op(&run, begin(1, "other")).await;
    assert_eq!(
        (other["status"].as_str(), other["name"].as_str()),
        (Some("denied"), Some("op_reused"))
    );
    let shown = world.get("/v1/runs/r/steps").await.json();
    assert_eq!(shown["steps"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_running_step_is_waited_for() {
    let world = World::new();
    let run = world.journal_run("r").await;
    world.op(&run, begin(1, "pay")).await;
    let second = world.op(&run, begin(2, "pay")).await;
    assert_eq!(
        (second["status"].as_str(), second["for"].as_str()),
        (Some("wait"), Some("attempt"))
    );
    assert!(second["until"].is_string(), "{second}");
}

#[tokio::test]
async fn another_input_is_a_conflict() {
    let world = World::new();
    let run = world.journal_run("r").await;
    world.op(&run, begin(1, "pay")).await;
    let mut other = begin(2, "pay");
    other["input"] = json!({"cents": 1});
    let answer = world.op(&run, other).await;
    assert_eq!(answer["status"], "conflict");
    assert_ne!(answer["stored"], answer["given"]);
}

#[tokio::test]
async fn an_unknown_outcome_and_a_dead_letter_are_named() {
    let world = World::new();
    let run = world.journal_run("r").await;
    let mut careful = begin(1, "mail");
    careful["effect"] = json!("at_most_once");
    let begun = world.op(&run, careful.clone()).await;
    world.op(&run, fail(2, "mail", &begun, "unknown_outcome")).await;
    careful["op_id"] = json!(3);
    assert_eq!(world.op(&run, careful).await, json!({"status": "unknown", "attempt": 1}));

    let begun = world.op(&run, begin(4, "pay")).await;
    world.op(&run, fail(5, "pay", &begun, "transient")).await;
    let letter = world.dead_letter(&run, "pay").await;
    let answer = world.op(&run, begin(6, "pay")).await;
    assert_eq!(answer, json!({"status": "dead_lettered", "letter": letter}));
}

#[tokio::test]
async fn operations_of_a_request_stand_or_fall_in_order() {
    let world = World::new();
    let run = world.journal_run("r").await;
    let begun = world.op(&run, begin(1, "a")).await;
    let both = json!({"session": "S1", "ops": [complete(2, "a", &begun), begin(3, "b")]});
    let first = world.post("/v1/runs/r/journal", both.clone()).await.json();
    assert_eq!(first["results"][0]["status"], "ok");
    assert_eq!(first["results"][1]["status"], "execute");
    let again = world.post("/v1/runs/r/journal", both).await.json();
    assert_eq!(first, again, "a repeated request gets the same answers");

    let mut wrong = complete(4, "b", &first["results"][1]);
    wrong["lease"] = json!("0-0");
    let broken = json!({"session": "S1", "ops": [wrong, begin(5, "c")]});
    let results = world.post("/v1/runs/r/journal", broken).await.json()["results"].clone();
    assert_eq!(results[0]["status"], "denied", "{results}");
    assert_eq!(results[0]["name"], "wrong_lease");
    assert_eq!(results[1], json!({"status": "not_tried"}));
}

#[tokio::test]
async fn a_new_session_takes_over() {
    let world = World::new();
    let run = world.journal_run("r").await;
    world.op(&run, begin(1, "pay")).await;
    let body = json!({"session": "S2", "replaces": "S1", "ops": [begin(1, "pay")]});
    let results = world.post("/v1/runs/r/journal", body).await.json()["results"].clone();
    assert!(results[0]["status"] == "execute" || results[0]["status"] == "wait", "{results}");
    let old = world.op(&run, begin(9, "x")).await;
    assert_eq!(old["name"], "session_gone");
}

#[tokio::test]
async fn heartbeats_decisions_and_a_failed_end() {
    let world = World::new();
    let run = world.journal_run("r").await;
    let begun = world.op(&run, begin(1, "pay")).await;
    let beat = json!({"op": "heartbeat", "op_id": 2, "step": {"name": "pay"}, "attempt": 1,
        "lease": begun["lease"]});
    assert_eq!(world.op(&run, beat).await["status"], "ok");
    let decide = json!({"op": "decide", "op_id": 3, "step": {"name": "pay"}, "decision":
        {"decision": "stop", "agent": "a1", "params": {"n": 1.0}, "confidence": 0.5}});
    assert_eq!(world.op(&run, decide).await["status"], "ok");
    let shown = world.get("/v1/runs/r/decisions").await.json();
    assert_eq!(shown["decisions"][0]["decision"], "stop");
    assert_eq!(shown["decisions"][0]["step"], "pay#1");
    assert_eq!(shown["decisions"][0]["position"]["offset"], 3);
    assert_eq!(world.op(&run, fail(4, "pay", &begun, "terminal")).await["status"], "ok");
    let end = json!({"op": "end", "op_id": 5, "status": "failed",
        "error": {"class": "terminal", "code": "no_way", "message": "gave up"}});
    assert_eq!(world.op(&run, end).await["status"], "ok");
    let shown = world.get("/v1/runs/r").await.json();
    assert_eq!(
        (shown["status"].as_str(), shown["error"]["code"].as_str()),
        (Some("failed"), Some("no_way"))
    );
}

#[tokio::test]
async fn an_output_over_the_limit_is_recorded_without_its_bytes() {
    let world = World::new();
    let run = world.journal_run("r").await;
    let begun = world.op(&run, begin(1, "pay")).await;
    let mut done = complete(2, "pay", &begun);
    done["output"] = json!("x".repeat(2 * 1024 * 1024));
    assert_eq!(world.op(&run, done).await, json!({"status": "ok"}));
    let step = world.get("/v1/runs/r/steps/pay").await.json();
    assert_eq!(step["status"], "completed");
    assert_eq!(step["output"]["data"]["$payload"]["size_bytes"], 2 * 1024 * 1024 + 2);
}

#[tokio::test]
async fn a_run_begins_with_its_first_operations() {
    let world = World::new();
    let create = json!({"workflow": "chat", "input": {"user": "u1"}, "tags": {"team": "a"}});
    let first = json!({
        "session": "S1", "version": "3", "create": create, "ops": [begin(1, "a"), begin(2, "b")],
    });
    let answer = world.post("/v1/runs/r/journal", first.clone()).await.json();
    assert_eq!(answer["created"], true, "{answer}");
    assert_eq!(answer["results"][0]["status"], "execute", "{answer}");
    assert_eq!(answer["results"][1]["status"], "execute", "{answer}");
    let again = world.post("/v1/runs/r/journal", first.clone()).await.json();
    assert_eq!(again["created"], false);
    assert_eq!(again["results"], answer["results"], "a repeated request gets the same answers");

    // The run is the one that `POST /v1/runs` makes, whoever comes first.
    let mut plain = create.clone();
    plain["run_id"] = json!("r");
    plain["driver"] = json!("journal");
    plain["version"] = json!("3");
    assert_eq!(world.post("/v1/runs", plain).await.status, 200);
    world.journal_run("other").await;
    let same = json!({"session": "S1", "create": {"workflow": "w"}, "ops": [begin(1, "a")]});
    let answer = world.post("/v1/runs/other/journal", same).await.json();
    assert_eq!(
        (&answer["created"], &answer["results"][0]["status"]),
        (&json!(false), &json!("execute"))
    );

    // The next session of an agent that always sends it goes on where the last one was.
    let mut next = first.clone();
    next["session"] = json!("S2");
    next["replaces"] = json!("S1");
    let answer = world.post("/v1/runs/r/journal", next).await.json();
    assert_eq!(answer["created"], false);
    assert_ne!(answer["results"][0]["status"], "denied", "{answer}");
    assert_ne!(answer["results"][0]["status"], "not_tried", "{answer}");
}

#[tokio::test]
async fn a_run_that_was_made_otherwise_takes_no_operation() {
    let world = World::new();
    let run = world.journal_run("r").await;
    let wrong = json!({"session": "S1", "create": {"workflow": "other"}, "ops": [begin(1, "pay")]});
    for _ in 0..2 {
        let problem =
            world.post("/v1/runs/r/journal", wrong.clone()).await.problem(409, "run_exists");
        assert_ne!(problem["stored"], problem["given"], "{problem}");
    }
    // The operation was not tried, so it is still to be done.
    assert_eq!(world.op(&run, begin(1, "pay")).await["status"], "execute");
}

#[tokio::test]
async fn what_is_refused_at_the_door() {
    let world = World::new();
    let run = world.journal_run("r").await;
    let before = world.end().await;
    let change = |change: &dyn Fn(&mut Value)| {
        let mut op = begin(1, "pay");
        change(&mut op);
        json!({"session": "S1", "ops": [op]})
    };
    let creating =
        |create: Value| json!({"session": "S", "create": create, "ops": [begin(1, "a")]});
    let cases = [
        (change(&|op| op["surprise"] = json!(1)), "invalid_field", "ops[0].surprise"),
        (
            change(&|op| op["on_exhausted"] = json!("fail")),
            "policy_unsupported",
            "ops[0].on_exhausted",
        ),
        (change(&|op| op["lease_ms"] = json!(0)), "invalid_field", "ops[0].lease_ms"),
        (change(&|op| op["step"]["name"] = json!("a/b")), "invalid_field", "ops[0].step.name"),
        (change(&|op| op["op"] = json!("explode")), "invalid_field", "ops[0].op"),
        (
            change(&|op| op["retry"]["max_attempts"] = json!(0)),
            "invalid_field",
            "ops[0].spec.retry.max_attempts",
        ),
        (json!({"session": "S1", "ops": []}), "invalid_field", "ops"),
        (json!({"session": "", "ops": [begin(1, "a")]}), "invalid_field", "session"),
        (json!({"session": "S", "who": 1, "ops": []}), "invalid_field", "who"),
        (creating(json!({})), "invalid_field", "create"),
        (creating(json!({"workflow": ""})), "invalid_field", "create.run.workflow"),
        (creating(json!({"workflow": "w", "steps": []})), "invalid_field", "create.steps"),
    ];
    for (body, name, field) in cases {
        let problem = world.post("/v1/runs/r/journal", body).await.problem(422, name);
        assert_eq!(problem["field"], field, "{problem}");
    }
    let mut lease = complete(1, "pay", &json!({"attempt": 1, "lease": "7-1"}));
    let body = json!({"session": "S1", "ops": [lease.clone()]});
    world.post("/v1/runs/r/journal", body).await.problem(409, "wrong_lease");
    lease["lease"] = json!("nonsense");
    let body = json!({"session": "S1", "ops": [lease]});
    world.post("/v1/runs/r/journal", body).await.problem(409, "wrong_lease");
    assert_eq!(world.end().await, before);
    let absent = RunKey::new("default", "absent");
    let path = format!("/v1/runs/{}/journal", absent.run_id);
    let body = json!({"session": "S1", "ops": [begin(1, "a")]});
    world.post(&path, body).await.problem(404, "run_absent");
    assert_eq!(world.op(&run, begin(1, "pay")).await["status"], "execute");
}
