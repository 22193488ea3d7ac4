//! Bad input of every kind: a clear numbered error, nothing changed, and the server goes on.

use serde_json::{Value, json};
use spine_tests::{Fx, Reply, Spine, lines};

const NDJSON: &str = "application/x-ndjson";

fn with(line: usize, change: impl FnOnce(&mut Value)) -> Vec<u8> {
    let mut all = lines::record_run("bad", 3);
    change(&mut all[line]);
    lines::ndjson(&all)
}

/// What must not get in through `POST /v1/events`: its story, the bytes, and what the answer names.
fn bad_events() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let mut broken = lines::ndjson(&lines::record_run("bad", 2));
    broken.extend_from_slice(b"{oops\n");
    let deep = format!(
        "{{\"kind\":\"run_created\",\"run_id\":\"bad\",\"run\":{{\"workflow\":\"w\",\"version\":\"1\",\"input\":{}{}}}}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let outsider = json!({"kind": "step_lost", "run_id": "bad", "step": {"name": "s0"},
        "attempt": 1, "lease": 1, "heartbeat": 1, "reason": "gone"});
    vec![
        ("invalid JSON on line 7", broken, "\"line\":7"),
        ("an unknown field", with(0, |line| line["surprise"] = json!(1)), "surprise"),
        ("an unknown kind", with(1, |line| line["kind"] = json!("run_exploded")), "kind"),
        ("an outsider's decision", with(2, |line| *line = outsider), "not_a_fact"),
        ("a claim", with(1, |line| line["claim"] = json!(0)), "claim"),
        (
            "a payload of 2 MiB",
            with(0, |line| line["run"]["input"] = json!("z".repeat(2 << 20))),
            "value_too_large",
        ),
        ("a negative attempt", with(1, |line| line["attempt"] = json!(-1)), "attempt"),
        ("a huge depth", deep.into_bytes(), "\"code\""),
        ("a bad tenant", with(0, |line| line["tenant"] = json!("No Such")), "bad_tenant"),
        ("no run", with(0, |line| line["run_id"] = Value::Null), "run_id"),
        ("not UTF-8", vec![b'"', 0xFF, 0xFE, b'"', b'\n'], "\"code\""),
    ]
}

fn is_refused(what: &str, reply: &Reply, names: &str) {
    assert!((400..500).contains(&reply.status), "{what}: {} {}", reply.status, reply.json());
    assert!(reply.code() >= 1000, "{what}: no number in {}", reply.json());
    let text = String::from_utf8_lossy(&reply.body);
    assert!(text.contains(names), "{what}: no {names} in {text}");
}

#[test]
fn c21_bad_events_are_refused_by_number_and_change_nothing() {
    let spine = Spine::fresh().start();
    let mut http = spine.http();
    let before = spine.events_of_log().len();
    for (what, body, names) in bad_events() {
        let reply = http.ask("POST", "/v1/events", NDJSON, &body).expect("an answer");
        is_refused(what, &reply, names);
    }
    for (kind, body) in
        [("application/xml", "<x/>"), ("application/avro", "Obj\u{1}"), (NDJSON, "")]
    {
        let reply = http.ask("POST", "/v1/events", kind, body.as_bytes()).expect("an answer");
        is_refused(kind, &reply, "\"code\"");
    }
    assert_eq!(spine.events_of_log().len(), before, "a refused batch is in the log");
    assert_eq!(spine.get("/v1/runs/bad").status, 404);
    let good = lines::ndjson(&lines::record_run("good", 2));
    let reply = http.ask("POST", "/v1/events", NDJSON, &good).expect("an answer");
    assert_eq!(reply.status, 202, "{}", reply.json());
    spine.wait_run("good", &["completed"]);
}

#[test]
fn c21_events_that_the_state_does_not_allow_change_no_run() {
    let spine = Spine::fresh().start();
    let mut http = spine.http();
    let good = lines::ndjson(&lines::record_run("good", 1));
    http.ask("POST", "/v1/events", NDJSON, &good).expect("an answer");
    spine.wait_run("good", &["completed"]);
    let late = json!({"kind": "step_started", "run_id": "good", "step": {"name": "late"},
        "attempt": 1, "spec": {"tool": "t", "effect": "pure", "input": {}}});
    let reply = http.ask("POST", "/v1/events?wait=verdict", NDJSON, &lines::ndjson(&[late]));
    is_refused("a wrong kind for the state", &reply.expect("an answer"), "illegal_events");
    let run = spine.get("/v1/runs/good").json();
    assert_eq!((&run["status"], &run["steps"]["total"]), (&json!("completed"), &json!(1)), "{run}");
}

#[test]
fn c21_bad_plans_journals_and_questions_are_refused_by_number() {
    let fx = Fx::willing();
    let spine = Spine::fresh().start();
    let mut http = spine.http();
    let step = |tool: &str| vec![lines::step("a", tool, "pure")];
    let plan = |steps: Vec<Value>| lines::plan("bad", &lines::quick(1), steps);
    let mut surprise = plan(step(&fx.tool("t")));
    surprise["steps"][0]["surprise"] = json!(1);
    let mut later = plan(step(&fx.tool("t")));
    later["steps"][0]["after"] = json!(["z"]);
    let attempts = lines::plan("bad", &lines::quick(0), step(&fx.tool("t")));
    let cases = [
        ("a tool elsewhere", plan(step("http://192.0.2.1/t")), "tool"),
        ("an unknown field", surprise, "surprise"),
        ("an unknown step", later, "after"),
        ("no attempts", attempts, "max_attempts"),
        ("nobody to drive it", json!({"run_id": "bad", "workflow": "w", "version": "1"}), "driver"),
        ("not an object", json!([]), "\"code\""),
    ];
    for (what, body, names) in &cases {
        is_refused(what, &http.post("/v1/runs", body).expect("an answer"), names);
    }
    let op = json!({"session": "S", "ops": [{"op": "begin", "op_id": 1, "step": {"name": "a"},
        "tool": "t"}]});
    let reply = http.post("/v1/runs/none/journal", &op).expect("an answer");
    is_refused("a journal of no run", &reply, "run_absent");
    let nowhere = format!("/v1/dead-letters/{}", "0".repeat(64));
    for path in ["/v1/runs/none", "/v1/nothing", "/v1/runs?limit=0", &nowhere] {
        is_refused(path, &http.get(path).expect("an answer"), "\"code\"");
    }
    assert_eq!(spine.get("/v1/runs/bad").status, 404);
    assert!(fx.calls().is_empty());
    assert_eq!(spine.get("/readyz").status, 200);
}
