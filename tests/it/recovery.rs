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
    for (policy_name, more, status, recorded, told) in [
        ("dead_letter", json!({}), "waiting", "step_dead_lettered", DEAD_LETTER),
        ("fail", json!({}), "failed", "run_failed", FAIL),
        ("skip", json!({"default": {"risk": 0}}), "degraded", "step_skipped", SKIP),
        ("fallback", json!({"fallback": fallback}), "degraded", "fallback_started", FALLBACK),
        ("compensate", json!({}), "failed", "compensation_started", COMPENSATE),
        ("escalate", json!({}), "waiting", "task_opened", ESCALATE),
    ] {
        // A tool of its own: one that fails for all of them would be left alone by its breaker.
        let mut bad = lines::step("bad", &fx.tool(policy_name), "idempotent");
        bad["on_exhausted"] = json!(policy_name);
        more.as_object().expect("members").iter().for_each(|(name, of)| bad[name] = of.clone());
        let mut first = lines::step("first", &fx.tool("t"), "pure");
        first["compensate"] = json!({"tool": fx.tool("undo"), "effect": "pure"});
        spine.start_run(&lines::plan(policy_name, &policy(), vec![first, bad]));
        let run = spine.wait_run(policy_name, &[status]);
        let kinds = kinds(&spine, policy_name);
        assert!(kinds.iter().any(|kind| kind == recorded), "{policy_name}: {kinds:?}\n{run}");
        assert_eq!(fx.calls_of(policy_name, "bad").len(), 2, "{policy_name}");
        assert_eq!(shown(&spine, policy_name), story(told), "{policy_name}");
    }
    spine.is_fold_of_log();
}

/// What `runs show` says, without what differs from time to time.
fn shown(spine: &Spine, run: &str) -> String {
    let out = spine.run(&["runs", "show", run]);
    assert!(out.status.success(), "{run}: {out:?}");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let line = |line: &str| line.split_whitespace().map(plain).collect::<Vec<_>>().join(" ");
    let told = text.lines().filter(|line| !line.trim_start().starts_with("started"));
    told.map(|text| format!("{}\n", line(text))).collect()
}

/// A word without times and ids.
fn plain(word: &str) -> String {
    let bare = word.trim_matches(|of: char| !of.is_ascii_alphanumeric());
    let is_id = bare.len() == 64 && bare.bytes().all(|byte| byte.is_ascii_hexdigit());
    let has = |wanted: fn(&u8) -> bool| bare.as_bytes().iter().any(wanted);
    let in_time = |of: char| of.is_ascii_digit() || ".:-TZmsh".contains(of);
    let is_time = has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic) || bare.contains('.');
    if is_id {
        word.replace(bare, "ID")
    } else if is_time && bare.chars().all(in_time) {
        word.replace(bare, "TIME")
    } else {
        word.to_owned()
    }
}

const DEAD_LETTER: &str = "\
dead_letter waiting it v1, plan run, tenant default
steps 1 of 2 completed, 1 dead-lettered, 3 attempts
input {\"run\":\"dead_letter\"}

first completed pure
#1 +TIME TIME completed
bad dead_lettered idempotent
{TWICE}letter ID

Step bad#1 used up its attempts with http_503 (transient): repair the cause, then run 'spine dead-letters redrive ID \
--reason …', or 'discard'.
";

const FAIL: &str = "\
fail failed it v1, plan run, tenant default
steps 1 of 2 completed, 1 failed, 3 attempts
input {\"run\":\"fail\"}
error transient http_503: {503}

first completed pure
#1 +TIME TIME completed
bad failed idempotent
{TWICE}given up

The run failed at TIME with step bad#1 (http_503: {503}).
";

const SKIP: &str = "\
skip degraded it v1, plan run, tenant default
steps 1 of 2 completed, 3 attempts
input {\"run\":\"skip\"}
output {\"risk\":0} (degraded)

first completed pure
#1 +TIME TIME completed
bad skipped idempotent
{TWICE}left out; its default stands in

The run completed at TIME, with something left out or degraded.
";

const FALLBACK: &str = "\
fallback degraded it v1, plan run, tenant default
steps 2 of 3 completed, 4 attempts
input {\"run\":\"fallback\"}
output {\"did\":\"other#1\"} (degraded)

first completed pure
#1 +TIME TIME completed
bad skipped idempotent
{TWICE}step other#1 stands in
other completed pure
#1 +TIME TIME completed

The run completed at TIME, with something left out or degraded.
";

const COMPENSATE: &str = "\
compensate failed it v1, plan run, tenant default
steps 2 of 3 completed, 1 failed, 4 attempts
input {\"run\":\"compensate\"}
error transient http_503: {503}

first completed pure
#1 +TIME TIME completed
bad failed idempotent
{TWICE}given up
compensate/first completed pure
#1 +TIME TIME completed

The run failed at TIME with step bad#1 (http_503: {503}). What it had done was undone.
";

const ESCALATE: &str = "\
escalate waiting it v1, plan run, tenant default
steps 1 of 2 completed, 3 attempts
input {\"run\":\"escalate\"}

first completed pure
#1 +TIME TIME completed
bad awaiting idempotent
{TWICE}task ID: somebody is asked what to do

Step bad#1 used up its attempts with http_503 (transient), and somebody is asked what to do since TIME: 'spine tasks \
decide ID --retry --reason …', or '--complete', '--skip', '--fail'.
";

/// A story with what all have in common: a step that fails twice.
fn story(told: &str) -> String {
    let refused = r#"503 Service Unavailable: {"error":"scripted"}"#;
    let failed = format!("+TIME TIME failed transient http_503: {refused}");
    let twice = format!("#1 {failed}\n#2 {failed} after TIME of waiting\n");
    told.replace("{TWICE}", &twice).replace("{503}", refused)
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
    let hook = Fx::willing();
    let flags = ["--webhook", &hook.tool("hook"), "--webhook-kinds", "task_opened"];
    let mut spine = Spine::fresh().with(&flags).start();
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
    let page = waits::until("somebody who is told", || hook.calls().pop());
    let page: Value = serde_json::from_str(&page.body).expect("JSON");
    assert_eq!((&page["task_id"], &page["step"]), (&task["id"], &task["step"]), "{page}");
    let letters = spine.get("/v1/dead-letters?status=open").json();
    assert_eq!(letters["dead_letters"][0]["step"], "compensate/s2#1", "{letters}");
    is_steered_while_stuck(&spine, &fx);
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

/// A cancel is refused, since the run is on its way to its end; a fork does again what is undone there.
fn is_steered_while_stuck(spine: &Spine, fx: &Fx) {
    let post = |verb: &str, body: &Value| {
        let reply = spine.http().post(&format!("/v1/runs/r/{verb}"), body).expect("an answer");
        (reply.status, reply.json())
    };
    let (refused, problem) = post("cancel", &json!({"reason": "enough"}));
    assert_eq!((refused, &problem["name"]), (409, &json!("run_ending")), "{problem}");
    let paused = post("pause", &json!({"reason": "look"})).0;
    assert_eq!((paused, post("resume", &json!({"reason": "seen"})).0), (200, 200));
    let mut new = json!({"run_id": "f", "reason": "once more", "dry_run": true});
    let (status, plan) = post("fork", &new);
    assert_eq!((status, &plan["reused"]), (200, &json!([])), "{plan}");
    let again: Vec<String> = plan["again"].as_array().expect("a list").iter().map(told).collect();
    let expected = [
        "s1#1 undone yes true",
        "s2#1 undone yes true",
        "s3#1 undone no false",
        "s4#1 undone no false",
        "bad#1 unfinished maybe true",
    ];
    assert_eq!(again, expected);
    new["dry_run"] = json!(false);
    new["force"] = json!(true);
    fx.behave(|call, _| match (call.run.as_str(), call.step.as_str()) {
        ("r", "compensate/s2#1") => Answer::Refuses(503),
        _ => Answer::Done,
    });
    assert_eq!(post("fork", &new).0, 201);
    spine.wait_run("f", &["completed"]);
}

/// What a fork says of a step that it does not take over.
fn told(again: &Value) -> String {
    let word = |name: &str| again[name].as_str().unwrap_or("?").to_owned();
    let twice = &again["may_repeat"];
    format!("{} {} {} {twice}", word("step"), word("because"), word("happened"))
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
