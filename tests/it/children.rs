//! Runs that are steps of others, on the real binary: one for each attempt whatever dies, and what becomes of
//! the one reaches the other.

use serde_json::{Value, json};
use spine_tests::{Answer, Fx, Spine, lines, waits};
use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

/// A step that is a run.
fn child(name: &str, steps: Vec<Value>) -> Value {
    json!({"name": name, "tool": "run",
        "run": {"plan": {"retry": lines::quick(2), "steps": steps}}})
}

/// The id of the run that an attempt of a step is.
fn child_of(spine: &Spine, run: &str, step: &str, attempt: usize) -> String {
    waits::until("the child", || {
        let steps = spine.steps(run);
        let step = steps.iter().find(|shown| shown["name"] == step)?;
        step["attempts"][attempt - 1]["run_id"].as_str().map(str::to_owned)
    })
}

fn post(spine: &Spine, path: &str, body: Value) -> (u16, Value) {
    let reply = spine.http().post(path, &body).expect("an answer");
    (reply.status, reply.json())
}

fn run_ids(spine: &Spine) -> Vec<String> {
    let listed = spine.get("/v1/runs").json();
    let runs = listed["runs"].as_array().expect("runs").iter();
    runs.map(|run| run["run_id"].as_str().expect("an id").to_owned()).collect()
}

/// `a`, then a run of `c1` and `c2`, then `z`, which gets what that run gave.
fn nested(fx: &Fx) -> Value {
    let mut pay = child(
        "pay",
        vec![
            lines::step("c1", &fx.tool("t"), "idempotent"),
            lines::step("c2", &fx.tool("t"), "idempotent"),
        ],
    );
    pay["input"] = json!({"order": {"$ref": "a#"}});
    pay["run"]["workflow"] = json!("payment");
    let mut last = lines::step("z", &fx.tool("t"), "idempotent");
    last["input"] = json!({"paid": {"$ref": "pay#"}});
    lines::plan(
        "r",
        &lines::quick(3),
        vec![lines::step("a", &fx.tool("t"), "idempotent"), pay, last],
    )
}

#[test]
fn s8f_c22_a_step_that_is_a_run_is_one_run_whatever_dies() {
    let fx = Fx::start(|call, _| match call.step.as_str() {
        step if step.starts_with('c') => Answer::DoneAfter(Duration::from_millis(150)),
        _ => Answer::Done,
    });
    let mut spine = Spine::fresh().start();
    spine.start_run(&nested(&fx));
    let pay = child_of(&spine, "r", "pay", 1);
    for _ in 0..3 {
        waits::pass(Duration::from_millis(60));
        spine.kill();
        spine.restart();
    }
    let run = spine.wait_run("r", &["completed"]);
    assert_eq!(run["steps"]["completed"], 3, "{run}");
    let mut ids = run_ids(&spine);
    ids.sort();
    assert_eq!(ids, ["r".to_owned(), pay.clone()], "one run for one attempt");
    let shown = spine.wait_run(&pay, &["completed"]);
    assert_eq!((&shown["workflow"], &shown["parent"]), (&json!("payment"), &json!("r")));
    assert_eq!(shown["caller"], json!({"step": "pay#1", "attempt": 1}));
    assert!(shown["input"]["order"].is_object(), "its input is that of the step: {shown}");
    let steps = spine.steps("r");
    let of = |name: &str| steps.iter().find(|step| step["name"] == name).expect("a step").clone();
    assert_eq!(of("pay")["output"]["data"], shown["output"]["data"]);
    assert_eq!(of("z")["input"]["paid"], shown["output"]["data"]);
    spine.is_fold_of_log();
}

#[test]
fn l21_a_pause_inside_a_child_runs_no_earlier_step_again() {
    let fx = Fx::willing();
    let mut spine = Spine::fresh().start();
    let inner = vec![
        lines::step("c1", &fx.tool("t"), "at_most_once"),
        json!({"name": "go", "tool": "signal:go"}),
        lines::step("c2", &fx.tool("t"), "at_most_once"),
    ];
    spine.start_run(&lines::plan("r", &lines::quick(1), vec![child("pay", inner)]));
    let pay = child_of(&spine, "r", "pay", 1);
    waits::until("the signal is awaited", || {
        let shown = spine.get(&format!("/v1/runs/{pay}")).json();
        shown["waiting_for"].to_string().contains("signal").then_some(())
    });
    let why = spine.get("/v1/runs/r/why").json();
    assert!(why["why"].as_str().expect("a sentence").contains(&pay), "{why}");
    // The pause of the parent is one of the child, too.
    assert_eq!(post(&spine, "/v1/runs/r/pause", json!({"reason": "wait"})).0, 200);
    waits::until("the child is paused", || {
        let shown = spine.get(&format!("/v1/runs/{pay}")).json();
        shown["paused"].is_object().then_some(())
    });
    let path = format!("/v1/runs/{pay}/signals/go");
    assert_eq!(post(&spine, &path, json!({"data": 1})).0, 200);
    spine.kill();
    spine.restart();
    assert_eq!(fx.calls_of(&pay, "c2").len(), 0, "nothing begins in a pause");
    assert_eq!(post(&spine, "/v1/runs/r/resume", json!({"reason": "go"})).0, 200);
    spine.wait_run("r", &["completed"]);
    assert_eq!((fx.calls_of(&pay, "c1").len(), fx.calls_of(&pay, "c2").len()), (1, 1));
    spine.is_fold_of_log();
}

#[test]
fn c22_cancelling_a_run_cancels_the_run_that_is_its_step_and_undoes_what_that_did() {
    let fx = Fx::willing();
    let spine = Spine::fresh().start();
    let mut first = lines::step("c1", &fx.tool("t"), "at_most_once");
    first["compensate"] = json!({"tool": fx.tool("undo"), "effect": "idempotent"});
    let inner = vec![first, json!({"name": "go", "tool": "signal:go"})];
    spine.start_run(&lines::plan("r", &lines::quick(1), vec![child("pay", inner)]));
    let pay = child_of(&spine, "r", "pay", 1);
    waits::until("c1", || (fx.calls_of(&pay, "c1").len() == 1).then_some(()));
    let body = json!({"reason": "changed my mind", "compensate": true});
    assert_eq!(post(&spine, "/v1/runs/r/cancel", body).0, 200);
    spine.wait_run("r", &["cancelled"]);
    let shown = spine.wait_run(&pay, &["cancelled"]);
    assert!(shown["error"]["message"].to_string().contains("run r is being cancelled"), "{shown}");
    let undone = fx.calls().into_iter().filter(|call| call.path.ends_with("undo")).count();
    assert_eq!(undone, 1);
    spine.is_fold_of_log();
}

#[test]
fn c22_killing_a_run_ends_the_run_that_is_its_step() {
    let fx = Fx::willing();
    let spine = Spine::fresh().start();
    let inner = vec![json!({"name": "go", "tool": "signal:go"})];
    spine.start_run(&lines::plan("r", &lines::quick(1), vec![child("pay", inner)]));
    let pay = child_of(&spine, "r", "pay", 1);
    spine.wait_run(&pay, &["waiting"]);
    assert_eq!(post(&spine, "/v1/runs/r/kill", json!({"reason": "now"})).0, 200);
    spine.wait_run("r", &["cancelled"]);
    spine.wait_run(&pay, &["cancelled"]);
    drop(fx);
    spine.is_fold_of_log();
}

#[test]
fn s8f_a_child_that_fails_fails_its_step_and_a_forced_redrive_begins_another() {
    let calls = AtomicUsize::new(0);
    let fx = Fx::start(move |_, _| match calls.fetch_add(1, Ordering::SeqCst) {
        0 => Answer::Refuses(422),
        _ => Answer::Done,
    });
    let spine = Spine::fresh().start();
    let mut inner = lines::step("c1", &fx.tool("t"), "idempotent");
    inner["on_exhausted"] = json!("fail");
    spine.start_run(&lines::plan("r", &lines::quick(3), vec![child("pay", vec![inner])]));
    let first = child_of(&spine, "r", "pay", 1);
    spine.wait_run("r", &["waiting"]);
    let steps = spine.steps("r");
    let (error, letter) = (&steps[0]["error"], steps[0]["letter"].as_str().expect("a letter"));
    assert_eq!(error["code"], "child_failed", "{error}");
    assert!(error["message"].to_string().contains(&first), "{error}");
    let path = format!("/v1/dead-letters/{letter}/redrive");
    let (status, problem) = post(&spine, &path, json!({"reason": "again"}));
    assert_eq!((status, &problem["name"]), (409, &json!("needs_force")), "{problem}");
    let forced = json!({"reason": "again", "force": true});
    assert!(post(&spine, &path, forced).0 < 300);
    spine.wait_run("r", &["completed"]);
    let second = child_of(&spine, "r", "pay", 2);
    assert_ne!(first, second);
    spine.wait_run(&second, &["completed"]);
    spine.is_fold_of_log();
}

#[test]
fn c21_a_bad_plan_of_a_child_is_refused_by_its_path() {
    let fx = Fx::willing();
    let spine = Spine::fresh().start();
    let tool = fx.tool("t");
    let step = json!({"name": "c", "tool": tool});
    let plan = |run: Value| json!({"name": "pay", "tool": "run", "run": run});
    let elsewhere = json!({"name": "c", "tool": "http://192.0.2.1/x"});
    let cases = [
        (json!({"name": "pay", "tool": "run"}), "steps[0].run"),
        (json!({"name": "pay", "tool": tool, "run": {"plan": {"steps": [step]}}}), "steps[0].run"),
        (plan(json!({"plan": {"steps": []}})), "steps[0].run.plan.steps"),
        (plan(json!({"plan": {"steps": [step, step]}})), "steps[0].run.plan.steps[1].name"),
        (plan(json!({"plan": {"steps": [elsewhere]}})), "steps[0].run.plan.steps[0].tool"),
        (plan(json!({"plan": {"steps": [step]}, "workflow": ""})), "steps[0].run.workflow"),
        (
            plan(json!({"plan": {"steps": [step],
                "faults": [{"step": "c#1", "attempt": 1, "fault": "timeout"}]}})),
            "steps[0].run.plan.faults",
        ),
    ];
    for (step, field) in cases {
        let body = json!({"run_id": "bad", "workflow": "w", "steps": [step]});
        let (status, problem) = post(&spine, "/v1/runs", body);
        assert_eq!((status / 100, &problem["field"]), (4, &json!(field)), "{problem}");
    }
    let mut deep = step;
    for level in 0..5 {
        deep =
            json!({"name": format!("l{level}"), "tool": "run", "run": {"plan": {"steps": [deep]}}});
    }
    let body = json!({"run_id": "bad", "workflow": "w", "steps": [deep]});
    let (status, problem) = post(&spine, "/v1/runs", body);
    assert!(status == 422 || status == 400, "{problem}");
    assert!(problem["detail"].to_string().contains("nested too deeply"), "{problem}");
    assert_eq!(spine.get("/v1/runs/bad").status, 404);
}
