//! Resolving: somebody found out, and the step goes on from there.

use super::world::World;
use serde_json::{Value, json};
use spine_schemas::RunKey;

async fn unknown(world: &World) -> RunKey {
    let run = world.journal_run("r").await;
    let step = json!({"name": "mail", "scope": "a/b"});
    let begin = json!({"op": "begin", "op_id": 1, "step": step, "tool": "mail",
        "effect": "at_most_once", "input": {}});
    let begun = world.op(&run, begin).await;
    let fail = json!({"op": "fail", "op_id": 2, "step": step, "attempt": 1,
        "lease": begun["lease"], "error": {"class": "unknown_outcome", "code": "silence"}});
    assert_eq!(world.op(&run, fail).await["status"], "ok");
    run
}

const PATH: &str = "/v1/runs/r/steps/a%2Fb/mail%231/resolve";

async fn step(world: &World) -> Value {
    world.get("/v1/runs/r/steps/a/b/mail%231").await.json()
}

#[tokio::test]
async fn it_happened() {
    let world = World::new();
    unknown(&world).await;
    assert_eq!(step(&world).await["status"], "unknown");
    let body = json!({"happened": true, "reason": "in the outbox", "output": {"id": 1}});
    let reply = world.post(PATH, body.clone()).await;
    assert_eq!(
        reply.json(),
        json!({"status": "resolved", "step": "a/b/mail#1", "attempt": 1, "happened": true,
            "position": {"topic": "spine.steps", "partition": 0, "offset": 3}}),
    );
    let shown = step(&world).await;
    assert_eq!(shown["status"], "completed");
    assert_eq!(shown["output"], json!({"data": {"id": 1}, "source": "resolved"}));
    world.post(PATH, body).await.problem(409, "step_state");
}

#[tokio::test]
async fn it_did_not_happen() {
    let world = World::new();
    unknown(&world).await;
    let body = json!({"happened": false, "attempt": 1, "reason": "not in the outbox"});
    assert_eq!(world.post(PATH, body).await.status, 200);
    let shown = step(&world).await;
    assert_eq!(shown["status"], "scheduled");
    assert_eq!(shown["attempts"][0]["end"], "did_not_happen");
}

#[tokio::test]
async fn what_is_refused() {
    let world = World::new();
    unknown(&world).await;
    world.post(PATH, json!({"happened": true})).await.problem(422, "reason_missing");
    world.post(PATH, json!({"reason": "x"})).await.problem(422, "invalid_field");
    let other = json!({"happened": true, "attempt": 2, "reason": "x"});
    world.post(PATH, other).await.problem(409, "wrong_attempt");
    let body = json!({"happened": true, "reason": "x"});
    world.post("/v1/runs/r/steps/nobody/resolve", body.clone()).await.problem(404, "step_absent");
    world.post("/v1/runs/x/steps/nobody/resolve", body.clone()).await.problem(404, "run_absent");
    world.post("/v1/runs/r/steps/mail", body).await.problem(404, "route_unknown");
}
