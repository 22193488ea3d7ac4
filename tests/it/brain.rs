//! Brains on the real binary: turns, a bad answer, kills during and between turns, a rebuilt store, a fork.

use serde_json::{Value, json};
use spine_tests::{Answer, Call, Fx, Spine, lines, waits};
use std::time::Duration;

fn body(fx: &Fx) -> Value {
    let mut plan = lines::plan("r", &lines::quick(4), vec![]);
    plan["brain"] = json!({"tool": fx.tool("brain"), "timeout_ms": 1500, "max_turns": 5});
    plan
}

fn turn(call: &Call) -> u64 {
    serde_json::from_str::<Value>(&call.body).expect("JSON")["turn"].as_u64().expect("a number")
}

/// Three turns of two steps each, then the end.
fn says(call: &Call, tool: &str) -> Answer {
    let turn = turn(call);
    if turn > 3 {
        return Answer::Says(json!({"done": true, "output": {"turns": turn}}).to_string());
    }
    let step = |n: u64| {
        let name = format!("t{turn}n{n}");
        json!({"name": name, "tool": tool, "effect": "idempotent", "input": {"turn": turn}})
    };
    Answer::Says(json!({"steps": [step(1), step(2)], "state": {"turn": turn}}).to_string())
}

fn fx(slow: Duration) -> Fx {
    let fx = Fx::willing();
    let tool = fx.tool("t");
    fx.behave(move |call, before| match call.path.as_str() {
        "/brain" if turn(call) == 2 && before < 2 => Answer::Says("[\"hm\"]".into()),
        "/brain" => says(call, &tool),
        _ => Answer::DoneAfter(slow),
    });
    fx
}

fn names(spine: &Spine) -> Vec<String> {
    let steps = spine.steps("r");
    let mut names: Vec<String> =
        steps.iter().filter_map(|step| Some(step["step"].as_str()?.to_owned())).collect();
    names.sort();
    names
}

#[test]
fn a_brain_of_three_turns_survives_kills_and_a_bad_answer() {
    let (fx, mut spine) = (fx(Duration::from_millis(40)), Spine::fresh().start());
    spine.start_run(&body(&fx));
    for calls in [1, 3, 6] {
        waits::until("the next calls", || (fx.calls().len() >= calls).then_some(()));
        spine.kill();
        spine.restart();
    }
    let run = spine.wait_run("r", &["completed"]);
    assert_eq!(run["output"]["data"], json!({"turns": 4}));
    assert_eq!((&run["brain"]["turn"], &run["brain"]["max_turns"]), (&json!(4), &json!(5)));
    let all = names(&spine);
    assert_eq!(all.len(), 10, "{all:?}");
    for row in fx.rows().values() {
        assert_eq!(*row, 1);
    }
    let asked = spine.steps("r").into_iter().find(|step| step["step"] == "brain/ask#2").unwrap();
    assert!(asked.to_string().contains("brain_answer"), "{asked}");
    spine.kill();
    spine.forget_store();
    spine.restart();
    spine.wait_run("r", &["completed"]);
    assert_eq!(names(&spine), all);
    let fork =
        json!({"run_id": "f", "reason": "think again", "from": "brain/ask#3", "force": true});
    let reply = spine.http().post("/v1/runs/r/fork", &fork).expect("an answer");
    assert_eq!(reply.status, 201, "{}", reply.json());
    assert_eq!(reply.json()["reused"].as_array().unwrap().len(), 6);
    spine.wait_run("f", &["completed"]);
    let diff = spine.get("/v1/runs/r/diff/f").json();
    assert_eq!(diff["equal_steps"], 8, "two asks name their run: {diff}");
    spine.is_fold_of_log();
}

#[test]
fn a_brain_is_checked_at_the_door_and_its_answers_are_as_well() {
    let (fx, spine) = (Fx::willing(), Spine::fresh().start());
    let mut plan = body(&fx);
    plan["brain"]["max_turns"] = json!(0);
    let reply = spine.http().post("/v1/runs", &plan).expect("an answer");
    assert_eq!((reply.status, &reply.json()["field"]), (422, &json!("brain.max_turns")));
    fx.behave(|_, _| {
        Answer::Says(r#"{"steps":[{"name":"x","tool":"http://203.0.113.9/x"}]}"#.into())
    });
    spine.start_run(&body(&fx));
    spine.wait_run("r", &["waiting"]);
    let asked = spine.steps("r").remove(0).to_string();
    assert!(asked.contains("answer: steps[0].tool: "), "{asked}");
}
