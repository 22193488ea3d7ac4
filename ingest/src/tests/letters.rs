//! Dead letters: shown with their whole history, put back once, given up, and never by accident.

use super::world::{World, decision};
use crate::limits::PUT_BACK_AFTER;
use serde_json::{Value, json};
use spine_schemas::{Body, Event, PartitionEvent, RunKey};

/// A run whose step `pay` has a letter.
async fn dead(world: &World, effect: &str) -> (RunKey, String) {
    let run = world.journal_run("r").await;
    let begin = json!({"op": "begin", "op_id": 1, "step": {"name": "pay"}, "tool": "pay.refund",
        "effect": effect, "input": {"cents": 1}, "retry": {"max_attempts": 1}});
    let begun = world.op(&run, begin).await;
    let fail = json!({"op": "fail", "op_id": 2, "step": {"name": "pay"}, "attempt": 1,
        "lease": begun["lease"], "error": {"class": "terminal", "code": "http_400",
        "message": "no"}});
    assert_eq!(world.op(&run, fail).await["status"], "ok");
    let letter = world.dead_letter(&run, "pay").await;
    (run, letter)
}

#[tokio::test]
async fn a_letter_is_listed_and_shown() {
    let world = World::new();
    let (_, id) = dead(&world, "pure").await;
    let list = world.get("/v1/dead-letters").await.json();
    let row = &list["dead_letters"][0];
    assert_eq!(list["next"], Value::Null);
    let golden = json!({
        "id": id, "kind": "step", "status": "open", "tenant": "default", "run_id": "r",
        "step": "pay#1", "tool": "pay.refund", "class": "terminal", "code": "http_400",
        "message": "no", "generation": 0, "attempt_count": 1, "dead_at": row["dead_at"],
        "source": {"topic": "spine.steps", "partition": 0, "offset": 1},
        "decided": {"topic": "spine.steps", "partition": 0, "offset": 4},
        "closed_at": null, "closed_by": null, "closed_reason": null,
    });
    assert_eq!(*row, golden);
    let one = world.get(&format!("/v1/dead-letters/{id}")).await.json();
    assert_eq!(one["id"], json!(id));
    assert_eq!(one["attempts"].as_array().unwrap().len(), 1);
    assert_eq!(one["attempts"][0]["code"], "http_400");
    assert!(one["attempts"][0]["started_at"].is_string());
    assert_eq!(
        world.get("/v1/dead-letters?status=redriven").await.json()["dead_letters"],
        json!([])
    );
    world.get("/v1/dead-letters?status=lost").await.problem(400, "bad_query");
    world.get("/v1/dead-letters?cursor=zz").await.problem(400, "bad_query");
    let run = world.get("/v1/runs/r").await.json();
    assert_eq!(run["status"], "waiting");
    assert_eq!(run["waiting_for"], json!([{"for": "dead_letter", "step": "pay#1", "letter": id}]));
}

#[tokio::test]
async fn a_letter_is_put_back_once() {
    let world = World::new();
    let (run, id) = dead(&world, "pure").await;
    let path = format!("/v1/dead-letters/{id}/redrive");
    let body = json!({"reason": "fixed", "actor": "ann"});
    let reply = world.post(&path, body.clone()).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(
        reply.json(),
        json!({"id": id, "status": "redriven",
            "position": {"topic": "spine.steps", "partition": 0, "offset": 5}}),
    );
    let problem = world.post(&path, body).await.problem(409, "letter_closed");
    assert_eq!(problem["position"]["offset"], 6);
    let step = world.get("/v1/runs/r/steps/pay").await.json();
    assert_eq!(
        (step["status"].as_str(), step["generation"].as_u64()),
        (Some("scheduled"), Some(1))
    );
    let letter = world.get(&format!("/v1/dead-letters/{id}")).await.json();
    assert_eq!(
        (letter["status"].as_str(), letter["closed_by"].as_str()),
        (Some("redriven"), Some("ann"))
    );
    let begin = json!({"op": "begin", "op_id": 3, "step": {"name": "pay"}, "tool": "pay.refund",
        "effect": "pure", "input": {"cents": 1}});
    assert_eq!(world.op(&run, begin).await["attempt"], 2);
}

#[tokio::test]
async fn a_reason_is_mandatory_and_a_letter_must_be_there() {
    let world = World::new();
    let (_, id) = dead(&world, "pure").await;
    let before = world.end().await;
    for body in [json!({}), json!({"reason": "  "})] {
        for verb in ["redrive", "discard"] {
            let reply = world.post(&format!("/v1/dead-letters/{id}/{verb}"), body.clone()).await;
            reply.problem(422, "reason_missing");
        }
    }
    let body = json!({"reason": "x"});
    let zeros = "0".repeat(64);
    for absent in ["nonsense", zeros.as_str()] {
        let path = format!("/v1/dead-letters/{absent}/redrive");
        world.post(&path, body.clone()).await.problem(404, "letter_absent");
        world.get(&format!("/v1/dead-letters/{absent}")).await.problem(404, "letter_absent");
    }
    world.post(&format!("/v1/dead-letters/{id}/discard"), body).await.problem(422, "invalid_field");
    assert_eq!(world.end().await, before);
}

#[tokio::test]
async fn a_careful_step_needs_force() {
    let world = World::new();
    let (_, id) = dead(&world, "at_most_once").await;
    let path = format!("/v1/dead-letters/{id}/redrive");
    world.post(&path, json!({"reason": "fixed"})).await.problem(409, "needs_force");
    assert_eq!(world.post(&path, json!({"reason": "sure", "force": true})).await.status, 200);
}

#[tokio::test]
async fn an_edit_gets_a_new_key() {
    let world = World::new();
    let (run, id) = dead(&world, "idempotent").await;
    let before = world.get("/v1/runs/r/steps/pay").await.json();
    let body = json!({"reason": "wrong amount", "input": {"cents": 2}});
    assert_eq!(world.post(&format!("/v1/dead-letters/{id}/redrive"), body).await.status, 200);
    let after = world.get("/v1/runs/r/steps/pay").await.json();
    assert_eq!(after["input"], json!({"cents": 2}));
    assert_eq!(after["edit"], 1);
    assert_ne!(before["idempotency_key"], after["idempotency_key"]);
    // The agent has its own, and is told what is to be done.
    let begin = json!({"op": "begin", "op_id": 3, "step": {"name": "pay"}, "tool": "pay.refund",
        "effect": "idempotent", "input": {"cents": 1}});
    let begun = world.op(&run, begin.clone()).await;
    assert_eq!((&begun["status"], &begun["input"]), (&json!("execute"), &json!({"cents": 2})));
    assert_eq!(begun["idempotency_key"], after["idempotency_key"]);

    // Once it has another input it never again gets the key of one with the input of the other.
    let fail = json!({"op": "fail", "op_id": 4, "step": {"name": "pay"}, "attempt": 2,
        "lease": begun["lease"], "error": {"class": "terminal", "code": "http_400",
        "message": "no"}});
    assert_eq!(world.op(&run, fail).await["status"], "ok");
    let id = world.dead_letter(&run, "pay").await;
    let body = json!({"reason": "still wrong", "input": {"cents": 3}});
    assert_eq!(world.post(&format!("/v1/dead-letters/{id}/redrive"), body).await.status, 200);
    let again = world.op(&run, begin.clone()).await;
    assert_eq!((&again["status"], &again["name"]), (&json!("denied"), &json!("wrong_attempt")));
    let mut next = begin;
    next["op_id"] = json!(5);
    let begun = world.op(&run, next).await;
    assert_eq!(begun["input"], json!({"cents": 3}));
}

#[tokio::test]
async fn a_letter_is_given_up() {
    let world = World::new();
    let (_, id) = dead(&world, "pure").await;
    let path = format!("/v1/dead-letters/{id}/discard");
    let reply = world.post(&path, json!({"reason": "never mind", "then": "skip"})).await;
    assert_eq!((reply.status, reply.json()["status"].as_str()), (200, Some("discarded")));
    assert_eq!(world.get("/v1/runs/r/steps/pay").await.json()["status"], "skipped");
    let again = world.post(&path, json!({"reason": "never mind", "then": "skip"})).await;
    again.problem(409, "letter_closed");
}

/// A letter of a record: an outcome that nobody can have had.
async fn illegal(world: &World) -> String {
    let lines = [
        json!({"kind": "run_created", "run_id": "rec", "run": {"workflow": "w", "version": "1"}}),
        json!({"kind": "step_completed", "run_id": "rec", "step": {"name": "s"}, "attempt": 1,
            "output": {"data": 1}}),
    ];
    assert_eq!(world.events(&lines).await.status, 202);
    assert_eq!(world.get("/v1/runs/rec?at_least=1").await.status, 200);
    let list = world.get("/v1/dead-letters").await.json();
    assert_eq!(list["dead_letters"][0]["kind"], "record");
    list["dead_letters"][0]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_record_is_put_back_once_where_it_is_judged_anew() {
    let world = World::new();
    let id = illegal(&world).await;
    let started = json!({"kind": "step_started", "run_id": "rec", "step": {"name": "s"},
        "attempt": 1, "spec": {"tool": "t"}});
    assert_eq!(world.events(&[started]).await.status, 202);
    let path = format!("/v1/dead-letters/{id}/redrive");
    let reply = world.post(&path, json!({"reason": "the start was late"})).await;
    assert_eq!((reply.status, reply.json()["position"]["offset"].as_u64()), (200, Some(3)));
    assert_eq!(world.end().await, 5, "the closing and the original");
    let run = world.get("/v1/runs/rec?at_least=4").await.json();
    assert_eq!(run["steps"]["completed"], 1);
    world.post(&path, json!({"reason": "again"})).await.problem(409, "letter_closed");
    assert_eq!(world.end().await, 5, "nothing was put back twice");
    let history = world.get("/v1/runs/rec/events").await.json();
    let verdicts: Vec<_> =
        history["events"].as_array().unwrap().iter().map(|event| &event["verdict"]).collect();
    assert_eq!(verdicts, ["applied", "illegal", "applied", "applied"]);
}

#[tokio::test]
async fn a_record_is_given_up() {
    let world = World::new();
    let id = illegal(&world).await;
    let body = json!({"reason": "noise"});
    let path = format!("/v1/dead-letters/{id}/discard");
    assert_eq!(world.post(&path, body.clone()).await.status, 200);
    world.post(&path, body).await.problem(409, "letter_closed");
    let letter = world.get(&format!("/v1/dead-letters/{id}")).await.json();
    assert_eq!(
        (letter["status"].as_str(), letter["closed_reason"].as_str()),
        (Some("discarded"), Some("noise"))
    );
}

/// The closing of a record's letter, as another server appends it.
fn closing(id: &str) -> Event {
    let letter_id = id.parse().unwrap();
    let reason = "mended".to_owned();
    let body = PartitionEvent::RecordDisposed { letter_id, redriven: true, reason };
    decision(None, Body::Partition(body))
}

#[tokio::test]
async fn a_record_is_put_back_only_by_the_one_whose_closing_was_granted() {
    let world = World::new();
    let id = illegal(&world).await;
    // The other server was first, and the store does not know it yet: the letter looks open.
    world.append(None, &closing(&id)).await;
    let path = format!("/v1/dead-letters/{id}/redrive");
    let reply = world.post(&path, json!({"reason": "mended"})).await;
    let problem = reply.problem(409, "letter_closed");
    assert_eq!(problem["position"]["offset"], 3);
    assert_eq!(world.end().await, 4, "a refused closing, and no copy of the record");
}

#[tokio::test]
async fn a_record_whose_letter_was_closed_by_a_server_that_ended_is_put_back_later_and_once() {
    let world = World::new();
    let id = illegal(&world).await;
    world.append(None, &closing(&id)).await;
    assert_eq!(world.get("/v1/runs/rec?at_least=2").await.status, 200);
    let path = format!("/v1/dead-letters/{id}/redrive");
    let body = json!({"reason": "it did not come back"});
    world.post(&path, body.clone()).await.problem(409, "letter_closed");
    assert_eq!(world.end().await, 3, "the one who closed it may still be about to put it back");
    // The clock of this world goes on by a second with every append.
    for at in 0..PUT_BACK_AFTER.as_secs() {
        let line = json!({"kind": "run_created", "run_id": format!("other-{at}"),
            "run": {"workflow": "w", "version": "1"}});
        assert_eq!(world.events(&[line]).await.status, 202);
    }
    let end = world.end().await;
    let reply = world.post(&path, body.clone()).await;
    assert_eq!((reply.status, reply.json()["position"]["offset"].as_u64()), (200, Some(end)));
    let history = world.get(&format!("/v1/runs/rec/events?at_least={end}")).await.json();
    assert_eq!(history["events"].as_array().unwrap().len(), 3, "it is judged anew");
    world.post(&path, body).await.problem(409, "letter_closed");
    assert_eq!(world.end().await, end + 1, "and it is found when somebody asks again");
}
