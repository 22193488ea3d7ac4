//! What a plan does when a step of it is out of attempts: left out, replaced, undone, asked about.

use serde_json::{Value, json};
use spine_tests::{Answer, Fx, Spine, lines, waits};
use std::time::Duration;

fn policy() -> Value {
    json!({"max_attempts": 2, "initial_ms": 10, "jitter": 0.0})
}

/// A tool server that refuses the steps whose names begin with `bad`.
fn fx() -> Fx {
    Fx::start(|call, _| match call.step.starts_with("bad") {
        true => Answer::Refuses(503),
        false => Answer::Done,
    })
}

fn step_of(spine: &Spine, run: &str, step: &str) -> Value {
    let reply = spine.get(&format!("/v1/runs/{run}/steps/{step}"));
    assert_eq!(reply.status, 200, "{}", reply.json());
    reply.json()
}

fn kinds(spine: &Spine, run: &str) -> Vec<String> {
    let events = spine.get(&format!("/v1/runs/{run}/events?limit=1000")).json();
    let events = events["events"].as_array().expect("a list of events").clone();
    let applied = events.iter().filter(|event| event["verdict"] == "applied");
    applied.map(|event| event["kind"].as_str().expect("a kind").to_owned()).collect()
}

fn why(spine: &Spine, run: &str) -> String {
    let why = spine.get(&format!("/v1/runs/{run}/why")).json();
    why["why"].as_str().expect("a sentence").to_owned()
}

/// The one open task, once the store has it.
fn open_task(spine: &Spine) -> Value {
    waits::until("an open task", || {
        let tasks = spine.get("/v1/tasks?status=open").json();
        tasks["tasks"].as_array()?.first().cloned()
    })
}

fn decide(spine: &Spine, task: &Value, body: &Value) -> (u16, Value) {
    let path = format!("/v1/tasks/{}/decide", task["id"].as_str().expect("an id"));
    let reply = spine.http().post(&path, body).expect("an answer");
    (reply.status, reply.json())
}

#[test]
fn f23_one_failing_step_under_each_policy_ends_in_six_recorded_outcomes() {
    let (fx, spine) = (fx(), Spine::fresh().start());
    let fallback = json!([lines::step("other", &fx.tool("t"), "pure")]);
    for (policy_name, more, statuses, recorded) in [
        ("dead_letter", json!({}), ["waiting"], "step_dead_lettered"),
        ("fail", json!({}), ["failed"], "run_failed"),
        ("skip", json!({"default": {"risk": 0}}), ["degraded"], "step_skipped"),
        ("fallback", json!({"fallback": fallback}), ["degraded"], "fallback_started"),
        ("compensate", json!({}), ["failed"], "compensation_started"),
        ("escalate", json!({}), ["waiting"], "task_opened"),
    ] {
        // A tool of its own: one that fails for all of them would be left alone by its breaker.
        let mut bad = lines::step("bad", &fx.tool(policy_name), "idempotent");
        bad["on_exhausted"] = json!(policy_name);
        more.as_object().expect("members").iter().for_each(|(name, of)| bad[name] = of.clone());
        spine.start_run(&lines::plan(policy_name, &policy(), vec![bad]));
        let run = spine.wait_run(policy_name, &statuses);
        let kinds = kinds(&spine, policy_name);
        assert!(kinds.iter().any(|kind| kind == recorded), "{policy_name}: {kinds:?}\n{run}");
        assert_eq!(fx.calls_of(policy_name, "bad").len(), 2, "{policy_name}");
        let shown = spine.run(&["runs", "show", policy_name]);
        assert!(shown.status.success(), "{policy_name}: {shown:?}");
    }
    spine.is_fold_of_log();
}

#[test]
fn c15_a_step_that_may_be_missing_is_left_out_and_its_default_stands_in() {
    let (fx, spine) = (fx(), Spine::fresh().start());
    let mut score = lines::step("bad-score", &fx.tool("t"), "idempotent");
    score["on_exhausted"] = json!("skip");
    score["default"] = json!({"risk": "unknown"});
    let mut refund = lines::step("refund", &fx.tool("t"), "at_most_once");
    refund["input"] = json!({"risk": {"$ref": "bad-score#/risk"}});
    spine.start_run(&lines::plan("r", &policy(), vec![score, refund]));
    let seen = spine.wait_run("r", &["degraded"]);
    let refunds = fx.calls_of("r", "refund");
    assert_eq!((refunds.len(), refunds[0].body.as_str()), (1, r#"{"risk":"unknown"}"#), "{seen}");
    let step = step_of(&spine, "r", "bad-score");
    assert_eq!((&step["status"], &step["output"]["degraded"]), (&json!("skipped"), &json!(true)));
    let letters = spine.get("/v1/dead-letters").json();
    assert_eq!(letters["dead_letters"], json!([]), "{letters}");
    assert!(why(&spine, "r").contains("left out"));
}

#[test]
fn c12_the_primary_is_dead_its_fallback_ran_and_the_trace_shows_both() {
    let (fx, spine) = (fx(), Spine::fresh().start());
    let tool = fx.tool("t");
    let mut charge = lines::step("bad-charge", &tool, "idempotent");
    charge["on_exhausted"] = json!("fallback");
    let mut second = lines::step("second", &tool, "at_most_once");
    second["input"] = json!({"from": {"$ref": "first#/did"}});
    charge["fallback"] = json!([lines::step("first", &tool, "pure"), second]);
    let mut email = lines::step("email", &tool, "at_most_once");
    email["input"] = json!({"paid_by": {"$ref": "bad-charge#/did"}});
    spine.start_run(&lines::plan("r", &policy(), vec![charge, email]));
    spine.wait_run("r", &["degraded"]);
    let steps: Vec<String> = fx.calls().into_iter().map(|call| call.step).collect();
    let expected = ["bad-charge#1", "bad-charge#1", "first#1", "second#1", "email#1"];
    assert_eq!(steps, expected);
    assert_eq!(fx.calls_of("r", "email")[0].body, r#"{"paid_by":"second#1"}"#);
    let primary = step_of(&spine, "r", "bad-charge");
    assert_eq!(primary["output"]["source"], "step second#1");
    let shown = spine.run(&["runs", "show", "r"]);
    let text = String::from_utf8_lossy(&shown.stdout);
    assert!(text.contains("step second#1 stands in"), "{text}");
    assert!(text.contains("4 of 4") || text.contains("3 of 4"), "{text}");
}

#[test]
fn c11_somebody_is_asked_and_each_answer_resumes_the_run_its_own_way() {
    let (fx, spine) = (fx(), Spine::fresh().start());
    let plan = |run: &str| {
        let mut bad = lines::step("bad", &fx.tool("t"), "at_most_once");
        bad["on_exhausted"] = json!("escalate");
        bad["not_applied"] = json!([503]);
        let mut next = lines::step("next", &fx.tool("t"), "pure");
        next["input"] = json!({"$ref": "bad#"});
        lines::plan(run, &policy(), vec![bad, next])
    };
    for (run, answer, status, body) in [
        ("complete", json!({"output": {"by": "hand"}}), "completed", r#"{"by":"hand"}"#),
        ("skip", json!({"output": 7}), "degraded", "7"),
        ("fail", json!({}), "failed", ""),
    ] {
        spine.start_run(&plan(run));
        spine.wait_run(run, &["waiting"]);
        let task = open_task(&spine);
        assert_eq!((&task["run_id"], &task["step"]), (&json!(run), &json!("bad#1")), "{task}");
        let sentence = why(&spine, run);
        assert!(sentence.contains(task["id"].as_str().expect("an id")), "{sentence}");
        let (refused, problem) = decide(&spine, &task, &json!({"decision": run}));
        assert_eq!((refused, &problem["code"]), (422, &json!(1109)), "no reason: {problem}");
        let mut answer = answer;
        answer["decision"] = json!(run);
        answer["reason"] = json!("asked the shop");
        answer["actor"] = json!("ada");
        let (taken, reply) = decide(&spine, &task, &answer);
        assert_eq!(taken, 200, "{reply}");
        let (again, problem) = decide(&spine, &task, &answer);
        assert_eq!((again, &problem["code"]), (409, &json!(1226)), "counted once: {problem}");
        spine.wait_run(run, &[status]);
        let bodies: Vec<_> = fx.calls_of(run, "next").into_iter().map(|call| call.body).collect();
        assert_eq!(bodies.join(""), body, "{run}");
        let closed = waits::until("the end of the task", || {
            let path = format!("/v1/tasks/{}", task["id"].as_str()?);
            Some(spine.get(&path).json()).filter(|task| task["status"] == "decided")
        });
        assert_eq!(closed["closed_by"], "ada", "{closed}");
    }
    spine.start_run(&plan("retry"));
    spine.wait_run("retry", &["waiting"]);
    let task = open_task(&spine);
    fx.behave(|_, _| Answer::Done);
    let told = spine.run(&[
        "tasks",
        "decide",
        task["id"].as_str().expect("an id"),
        "--retry",
        "--reason",
        "mended",
    ]);
    assert!(told.status.success(), "{told:?}");
    spine.wait_run("retry", &["completed"]);
    assert_eq!(fx.calls_of("retry", "bad").len(), 3, "with one key");
    assert_eq!(spine.get("/v1/tasks?status=open").json()["tasks"], json!([]));
    assert_eq!(spine.get("/v1/dead-letters").json()["dead_letters"], json!([]));
    spine.is_fold_of_log();
}

/// Four steps that can be undone, and a fifth that fails.
fn undoable(fx: &Fx) -> Value {
    let mut steps: Vec<Value> = (1..5)
        .map(|number| {
            let mut step = lines::step(&format!("s{number}"), &fx.tool("t"), "at_most_once");
            let mut undo = json!({"tool": fx.tool("undo"), "effect": "idempotent"});
            undo["input"] = json!({"undoes": {"$ref": format!("s{number}#/did")}});
            step["compensate"] = undo;
            step
        })
        .collect();
    let mut bad = lines::step("bad", &fx.tool("t"), "idempotent");
    bad["on_exhausted"] = json!("compensate");
    steps.push(bad);
    lines::plan("r", &policy(), steps)
}

fn undone(fx: &Fx) -> Vec<String> {
    let calls = fx.calls().into_iter().filter(|call| call.step.starts_with("compensate/"));
    calls.map(|call| call.step.replace("compensate/", "")).collect()
}

#[test]
fn c8_the_fifth_step_fails_and_four_to_one_are_undone_in_order() {
    let (fx, spine) = (fx(), Spine::fresh().start());
    spine.start_run(&undoable(&fx));
    let run = spine.wait_run("r", &["failed"]);
    assert_eq!(undone(&fx), ["s4#1", "s3#1", "s2#1", "s1#1"], "{run}");
    assert_eq!(run["failed_step"], "bad#1", "{run}");
    assert_eq!(fx.calls_of("r", "compensate/s3")[0].body, r#"{"undoes":"s3#1"}"#);
    spine.is_fold_of_log();
}

#[test]
fn c8_a_crash_half_way_resumes_and_one_that_fails_is_a_letter_and_a_task() {
    let fx = Fx::start(|call, _| match call.step.as_str() {
        "bad#1" | "compensate/s2#1" => Answer::Refuses(503),
        "compensate/s3#1" => Answer::Hangs,
        _ => Answer::Done,
    });
    let mut spine = Spine::fresh().start();
    spine.start_run(&undoable(&fx));
    waits::until("the second undo", || (undone(&fx).len() == 2).then_some(()));
    spine.kill();
    fx.behave(|call, _| match call.step.as_str() {
        "compensate/s2#1" => Answer::Refuses(503),
        _ => Answer::Done,
    });
    spine.restart();
    let run = spine.wait_run("r", &["waiting"]);
    assert_eq!(undone(&fx)[..3], ["s4#1", "s3#1", "s3#1"], "{run}: the one that was cut off again");
    assert!(!undone(&fx).contains(&"s1#1".to_owned()), "not before the one that is stuck");
    assert!(run["compensating"]["code"].is_string(), "{run}");
    let task = open_task(&spine);
    assert_eq!(task["step"], "compensate/s2#1", "{task}");
    let letters = spine.get("/v1/dead-letters?status=open").json();
    assert_eq!(letters["dead_letters"][0]["step"], "compensate/s2#1", "{letters}");
    fx.behave(|_, _| Answer::Done);
    let letter = letters["dead_letters"][0]["id"].as_str().expect("an id");
    let redrive = ["dead-letters", "redrive", letter, "--reason", "mended"];
    assert!(spine.run(&redrive).status.success());
    spine.wait_run("r", &["failed"]);
    assert_eq!(undone(&fx).last().map(String::as_str), Some("s1#1"));
    waits::until("the end of the task", || {
        let open = spine.get("/v1/tasks?status=open").json();
        (open["tasks"] == json!([])).then_some(())
    });
    spine.is_fold_of_log();
}

#[test]
fn a_plan_that_recovers_in_ways_that_cannot_be_is_refused_by_its_place() {
    let (fx, spine) = (fx(), Spine::fresh().start());
    let refuse = |step: Value, place: &str| {
        let plan = lines::plan("r", &policy(), vec![step]);
        let reply = spine.http().post("/v1/runs", &plan).expect("an answer");
        let problem = reply.json();
        assert_eq!(reply.status, 422, "{problem}");
        assert!(problem["detail"].as_str().expect("a detail").contains(place), "{problem}");
    };
    let step = || lines::step("a", &fx.tool("t"), "pure");
    let with = |name: &str, value: Value| {
        let mut step = step();
        step[name] = value;
        step
    };
    refuse(with("on_exhausted", json!("fallback")), "steps[0].fallback");
    refuse(with("fallback", json!([step()])), "steps[0].fallback");
    refuse(with("on_exhausted", json!("panic")), "steps");
    refuse(with("compensate", json!({"tool": "http://example.org/x"})), "steps[0].compensate.tool");
    refuse(with("scope", json!("compensate")), "steps[0].scope");
    waits::pass(Duration::from_millis(20));
    assert_eq!(spine.get("/v1/runs/r").status, 404);
}
