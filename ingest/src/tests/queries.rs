//! Lists, histories and explanations.

use super::world::{World, six_events};
use serde_json::{Value, json};

async fn world_with_a_run() -> World {
    let world = World::new();
    world.events(&six_events("r1")).await;
    assert_eq!(world.get("/v1/runs/r1?at_least=0:5").await.status, 200);
    world
}

#[tokio::test]
async fn runs_are_listed_newest_first_page_by_page() {
    let world = World::new();
    for run in 0..5 {
        world.journal_run(&format!("r{run}")).await;
    }
    let mut seen = Vec::new();
    let mut path = "/v1/runs?limit=2".to_owned();
    loop {
        let page = world.get(&path).await.json();
        for run in page["runs"].as_array().unwrap() {
            seen.push(run["run_id"].as_str().unwrap().to_owned());
        }
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/runs?limit=2&cursor={next}");
    }
    assert_eq!(seen, ["r4", "r3", "r2", "r1", "r0"]);
    let page = world.get("/v1/runs?status=completed").await.json();
    assert_eq!(page, json!({"runs": [], "next": null}));
    let page = world.get("/v1/runs?workflow=w&tenant=default&limit=1").await.json();
    let row = &page["runs"][0];
    let golden = json!({
        "tenant": "default", "run_id": "r4", "workflow": "w", "version": "1", "driver": "journal",
        "status": "running", "steps": {"total": 0, "completed": 0, "failed": 0, "dead_lettered": 0},
        "attempts": 0, "cost_micros": 0, "started_at": row["started_at"], "ended_at": null,
        "applied": {"topic": "spine.steps", "partition": 0, "offset": 4},
    });
    assert_eq!(*row, golden);
}

#[tokio::test]
async fn the_history_holds_every_event() {
    let world = world_with_a_run().await;
    let page = world.get("/v1/runs/r1/events?limit=4").await.json();
    assert_eq!(page["events"].as_array().unwrap().len(), 4);
    assert_eq!(page["next"], 4);
    let first = &page["events"][0];
    assert_eq!(first["position"], json!({"topic": "spine.steps", "partition": 0, "offset": 0}));
    assert_eq!(
        (first["kind"].as_str(), first["verdict"].as_str()),
        (Some("run_created"), Some("applied"))
    );
    assert_eq!(first["event"]["run"]["input"], json!({"order": "A-17"}));
    assert_eq!(first["event"]["actor"], "api");
    let page = world.get("/v1/runs/r1/events?from=4").await.json();
    assert_eq!(page["events"].as_array().unwrap().len(), 2);
    assert_eq!(page["next"], Value::Null);
}

#[tokio::test]
async fn the_history_of_one_run_among_many() {
    let world = World::new();
    for run in 0..400 {
        let kind = json!({"kind": "run_created", "run_id": format!("x{run}"), "run":
            {"workflow": "w", "version": "1"}});
        let ours =
            json!({"kind": "decision_recorded", "run_id": "x0", "decision": {"decision": "d"}});
        let lines = if run % 300 == 0 { vec![kind, ours] } else { vec![kind] };
        world.events(&lines).await;
    }
    let end = world.end().await - 1;
    assert_eq!(world.get(&format!("/v1/runs/x0?at_least={end}")).await.status, 200);
    let page = world.get("/v1/runs/x0/events").await.json();
    let offsets: Vec<_> = page["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["position"]["offset"].as_u64().unwrap())
        .collect();
    assert_eq!(offsets, [0, 1, 302]);
    assert_eq!(page["events"][2]["event"]["run_id"], "x0");
}

#[tokio::test]
async fn steps_have_everything_to_understand_them() {
    let world = world_with_a_run().await;
    let page = world.get("/v1/runs/r1/steps").await.json();
    let step = &page["steps"][0];
    for name in [
        "step",
        "scope",
        "name",
        "occurrence",
        "status",
        "attempt",
        "charged",
        "attempts",
        "due_at",
        "lease_until",
        "tool",
        "effect",
        "error",
        "output",
        "idempotency_key",
        "letter",
        "generation",
        "edit",
        "input",
    ] {
        assert!(step.get(name).is_some(), "{name} is missing in {step}");
    }
    assert_eq!(
        (step["step"].as_str(), step["tool"].as_str()),
        (Some("lookup#1"), Some("crm.lookup"))
    );
    assert_eq!(step["output"], json!({"data": {"customer": "c9"}}));
    assert_eq!(step["attempts"][0]["end"], "completed");
    assert_eq!(page["next"], Value::Null);
    assert_eq!(world.get("/v1/runs/r1/steps/lookup").await.json(), *step);
    world.get("/v1/runs/r1/steps/nobody").await.problem(404, "step_absent");
}

#[tokio::test]
async fn steps_come_page_by_page() {
    let world = World::new();
    let run = world.journal_run("r").await;
    for (op_id, name) in (1..).zip(["a", "b", "c"]) {
        let begin = json!({"op": "begin", "op_id": op_id, "step": {"name": name}, "tool": "t"});
        world.op(&run, begin).await;
    }
    let page = world.get("/v1/runs/r/steps?limit=2").await.json();
    assert_eq!((page["steps"].as_array().unwrap().len(), page["next"].as_str()), (2, Some("b#1")));
    let page = world.get("/v1/runs/r/steps?limit=2&after=b%231").await.json();
    assert_eq!(page["steps"][0]["step"], "c#1");
    assert_eq!(page["next"], Value::Null);
}

#[tokio::test]
async fn why_is_a_sentence_and_what_comes_next() {
    let world = World::new();
    world.journal_run("r").await;
    let why = world.get("/v1/runs/r/why").await.json();
    assert!(why["why"].as_str().unwrap().contains("the agent"), "{why}");
    assert!(why["next"].as_array().unwrap().contains(&json!("step_started")), "{why}");
}

#[tokio::test]
async fn questions_that_cannot_be_answered() {
    let world = world_with_a_run().await;
    for path in ["", "/steps", "/events", "/decisions", "/why"] {
        world.get(&format!("/v1/runs/absent{path}")).await.problem(404, "run_absent");
    }
    world.get("/v1/runs/r1?at_least=99").await.problem(503, "not_stored_yet");
    for path in [
        "/v1/runs/r1?at_least=x",
        "/v1/runs/r1?at_least=7:0",
        "/v1/runs/r1?surprise=1",
        "/v1/runs?limit=0",
        "/v1/runs?limit=1001",
        "/v1/runs?status=lost",
        "/v1/runs?cursor=nonsense",
        "/v1/runs/r1/events?from=-1",
    ] {
        world.get(path).await.problem(400, "bad_query");
    }
}
