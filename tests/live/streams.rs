//! Listeners in a cluster: they ask any process, and hear what is said at any other, over a change of owners.

use crate::nodes::Nodes;
use serde_json::{Value, json};
use spine_tests::{Listener, Servers, Spine, waits};

/// Sends the operations of the agent; gives the answer to the last one.
fn journal(node: &Spine, run: &str, ops: &Value) -> Value {
    let request = json!({"session": "s", "ops": ops});
    let path = format!("/v1/runs/{run}/journal");
    let reply = node.http().post(&path, &request).expect("an answer");
    assert_eq!(reply.status, 200, "{}", reply.json());
    let results = reply.json()["results"].as_array().cloned().unwrap_or_default();
    assert!(results.iter().all(|answer| answer["code"].is_null()), "{results:?}");
    results.last().cloned().unwrap_or_default()
}

fn say(node: &Spine, run: &str, words: &str) -> (u16, Value) {
    let said = json!({"step": "draft", "attempt": 1, "data": words});
    let reply = node.http().post(&format!("/v1/runs/{run}/stream"), &said).expect("an answer");
    (reply.status, reply.json())
}

fn listen(node: &Spine, run: &str) -> Listener {
    let path = format!("/v1/runs/{run}/stream");
    waits::until("somebody to listen to", || Listener::open(node.port(), &path).ok())
}

#[test]
fn l31_any_process_may_be_listened_and_spoken_to_and_an_owner_that_dies_is_followed_by_another() {
    let Some(servers) = Servers::named() else { return };
    let mut nodes = Nodes::start(&servers, 2, &[]);
    let run = nodes.runs_of(1, "chat").next().expect("there is always one");
    let first = &nodes.nodes[0];
    first.start_run(
        &json!({"run_id": run, "workflow": "chat", "version": "1", "driver": "journal"}),
    );
    let begin = json!([{"op": "begin", "op_id": 1, "step": {"name": "draft"}, "tool": "model",
        "effect": "pure", "lease_ms": 600_000}]);
    let lease = journal(first, &run, &begin)["lease"].clone();
    let mut far = listen(first, &run);
    let mut near = listen(&nodes.nodes[1], &run);
    let live = json!([{"step": "draft#1", "attempt": 1}]);
    for listener in [&mut far, &mut near] {
        let (name, data) = listener.next().expect("a greeting");
        assert_eq!((name.as_str(), &data["live"]), ("listening", &live));
    }
    for node in &nodes.nodes {
        assert_eq!(say(node, &run, "Dear"), (200, json!({"listeners": 2})));
    }
    let part = |words: &str| {
        let data = json!({"step": "draft#1", "attempt": 1, "data": words});
        Some(("part".to_owned(), data))
    };
    for listener in [&mut far, &mut near] {
        assert_eq!((listener.next(), listener.next()), (part("Dear"), part("Dear")));
    }
    nodes.kill(1);
    assert_eq!((far.next(), near.next()), (None, None), "both hear that the owner is gone");
    let first = &nodes.nodes[0];
    let mut again = listen(first, &run);
    assert_eq!(again.next().expect("a greeting").1["live"], live, "the agent has not noticed");
    assert_eq!(say(first, &run, "Ms"), (200, json!({"listeners": 1})));
    assert_eq!(again.next(), part("Ms"));
    let end = json!([{"op": "complete", "op_id": 2, "step": {"name": "draft"}, "attempt": 1,
        "lease": lease, "output": "Dear Ms"}, {"op": "end", "op_id": 3, "status": "completed"}]);
    journal(first, &run, &end);
    let names: Vec<String> = again.map(|(name, _)| name).collect();
    assert_eq!(names, ["attempt_ended", "run_ended"]);
}
