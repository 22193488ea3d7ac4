//! Tools in trouble on the real binary: an outage over a kill, tools that ask for a pause, and operators who
//! hold tools and tenants back.

use serde_json::{Value, json};
use spine_tests::{Answer, Fx, Spine, lines, row, waits};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

fn step_of(spine: &Spine, run: &str, step: &str) -> Value {
    spine.get(&format!("/v1/runs/{run}/steps/{step}")).json()
}

fn ok(spine: &Spine, words: &[&str]) -> String {
    let out = spine.run(words);
    assert!(out.status.success(), "{words:?}: {out:?}");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// By the default policy.
fn plan(fx: &Fx, run: &str) -> Value {
    let mut pay = lines::step("pay", &fx.tool("pay"), "idempotent");
    pay["timeout_ms"] = json!(5000);
    json!({"run_id": run, "workflow": "it", "version": "1", "steps": [
        lines::step("note", &fx.tool("note"), "pure"), pay]})
}

#[test]
fn c3_l28_l36_an_outage_of_a_minute_costs_what_opens_a_breaker_and_ends_in_waves() {
    let down = Arc::new(AtomicBool::new(false));
    let is_down = down.clone();
    let fx = Fx::start(move |call, _| match call.path.ends_with("pay") {
        true if is_down.load(Ordering::SeqCst) => Answer::Refuses(503),
        true => Answer::DoneAfter(Duration::from_millis(30)),
        false => Answer::Done,
    });
    let mut spine = Spine::fresh().start();
    let runs = if row::is_soak() { 1000 } else { 200 };
    let outage = Duration::from_secs(60);
    let name = |number: usize| format!("r{number}");
    spine.start_run(&plan(&fx, "before"));
    spine.wait_run("before", &["completed"]);
    down.store(true, Ordering::SeqCst);
    let began = Instant::now();
    for number in 0..runs {
        spine.start_run(&plan(&fx, &name(number)));
        waits::pass(Duration::from_millis(5));
        if number == runs / 2 {
            spine.kill();
            spine.restart();
        }
    }
    waits::until("a run that is held back", || {
        let why = spine.get(&format!("/v1/runs/{}/why", name(runs - 1))).json();
        why["why"].as_str()?.contains("circuit breaker").then_some(())
    });
    let listed = ok(&spine, &["tools", "list"]);
    assert!(listed.contains("/pay") && listed.contains("open"), "{listed}");
    waits::pass(outage.saturating_sub(began.elapsed()));
    down.store(false, Ordering::SeqCst);
    let back = Instant::now();
    // The breaker is open for a minute at most before it is probed again.
    for number in 0..runs {
        spine.wait_run(&name(number), &["completed"]);
    }
    let pays: Vec<_> = fx.calls().into_iter().filter(|call| call.step == "pay#1").collect();
    let while_down = pays.iter().filter(|call| call.at < back && call.at >= began).count();
    let charged: u64 = (0..runs)
        .map(|number| step_of(&spine, &name(number), "pay")["charged"].as_u64().expect("a count"))
        .sum();
    let result = json!({"calls_while_down": while_down, "charged": charged,
        "drained_s": back.elapsed().as_secs_f64()});
    row::print(
        "breaker_outage",
        began,
        json!({"runs": runs, "outage_s": outage.as_secs()}),
        result,
    );
    assert!(charged <= 5, "{charged} attempts were charged");
    assert!(while_down < 60, "{while_down} calls of a dead tool");
    let effects = pays.iter().filter(|call| call.effect).count();
    assert_eq!(effects, runs + 1, "once each");
    let letters = spine.get("/v1/dead-letters").json();
    assert_eq!(letters["dead_letters"], json!([]), "{letters}");
    // Of the first calls after it was back, each wave is at most twice as large as what came before.
    let after: Vec<_> = pays.iter().filter(|call| call.at >= back).take(30).collect();
    let takes = Duration::from_millis(30);
    for (begun, call) in after.iter().enumerate() {
        let done = after.iter().filter(|other| other.at + takes <= call.at).count();
        assert!(begun <= 2 * done + 2, "call {begun} began when {done} had ended");
    }
    spine.is_fold_of_log();
}

#[test]
fn f2_a_tool_that_asks_for_a_pause_is_not_called_in_it_and_nothing_is_charged() {
    let fx = Fx::willing();
    let asked = Arc::new(AtomicBool::new(false));
    fx.behave(move |_, _| match asked.swap(true, Ordering::SeqCst) {
        false => Answer::RefusesFor(429, 3),
        true => Answer::Done,
    });
    let spine = Spine::fresh().start();
    let one = |run: &str| {
        let step = lines::step("pay", &fx.tool("pay"), "at_most_once");
        json!({"run_id": run, "workflow": "it", "version": "1", "steps": [step]})
    };
    spine.start_run(&one("first"));
    waits::until("the first call", || (!fx.calls().is_empty()).then_some(()));
    let limited = Instant::now();
    waits::until("the limit", || {
        let tools = spine.get("/v1/tools").json();
        tools["tools"][0]["limited_until"].as_str().map(drop)
    });
    for run in ["a", "b", "c", "d"] {
        spine.start_run(&one(run));
    }
    let why = waits::until("a run that is held back", || {
        let why = spine.get("/v1/runs/d/why").json()["why"].as_str()?.to_owned();
        why.contains("asked for a pause").then_some(why)
    });
    assert!(why.contains(&fx.tool("pay")), "{why}");
    for run in ["first", "a", "b", "c", "d"] {
        spine.wait_run(run, &["completed"]);
        assert_eq!(step_of(&spine, run, "pay")["charged"], 0);
    }
    let next = fx.calls()[1].at;
    assert!(next.duration_since(limited) >= Duration::from_millis(2900), "called in its pause");
    assert_eq!(fx.calls().len(), 6);
}

#[test]
fn l37_tools_and_tenants_are_held_back_over_a_restart_and_let_go() {
    let (fx, mut spine) = (Fx::willing(), Spine::fresh().start());
    let tool = fx.tool("pay");
    let said = ok(&spine, &["tools", "pause", &tool, "--reason", "broken", "--actor", "ada"]);
    assert!(said.contains("is paused"), "{said}");
    ok(&spine, &["tenants", "pause", "acme", "--reason", "owes us"]);
    spine.start_run(&plan(&fx, "held"));
    let mut other = plan(&fx, "other");
    other["tenant"] = json!("acme");
    spine.start_run(&other);
    spine.wait_run("held", &["waiting"]);
    spine.kill();
    spine.restart();
    waits::pass(Duration::from_millis(500));
    let steps: Vec<_> = fx.calls().into_iter().map(|call| (call.run, call.step)).collect();
    assert_eq!(steps, [("held".to_owned(), "note#1".to_owned())], "only what is not held back");
    let why = ok(&spine, &["runs", "why", "held"]);
    assert!(why.contains("somebody paused") && why.contains("spine tools resume"), "{why}");
    let why = ok(&spine, &["runs", "why", "other", "--tenant", "acme"]);
    assert!(why.contains("spine tenants resume acme"), "{why}");
    let listed = ok(&spine, &["tools", "list"]);
    assert!(listed.contains("broken") && listed.contains("tenant acme"), "{listed}");
    ok(&spine, &["tools", "resume", &tool, "--reason", "mended"]);
    spine.wait_run("held", &["completed"]);
    assert!(fx.calls_of("other", "note").is_empty());
    ok(&spine, &["tenants", "resume", "acme", "--reason", "paid"]);
    waits::until("the other tenant's run", || {
        let run = spine.get("/v1/runs/other?tenant=acme").json();
        (run["status"] == "completed").then_some(())
    });
    let listed = ok(&spine, &["tools", "list"]);
    assert!(listed.contains("nothing is held back"), "{listed}");
    spine.is_fold_of_log();
}

#[test]
fn f16_l37_a_paused_tool_is_not_asked_what_happened_until_it_goes_on() {
    let fx = Fx::start(|call, _| match call.path.ends_with("ask") {
        true => Answer::Says(json!({"happened": true}).to_string()),
        // Nobody waits that long for its answer.
        false => Answer::DoneAfter(Duration::from_secs(2)),
    });
    let (spine, ask) = (Spine::fresh().start(), fx.tool("ask"));
    ok(&spine, &["tools", "pause", &ask, "--reason", "moves house"]);
    let mut pay = lines::step("pay", &fx.tool("pay"), "probe");
    pay["timeout_ms"] = json!(300);
    pay["probe"] = json!({"tool": ask});
    spine.start_run(&json!({"run_id": "r", "workflow": "it", "version": "1", "steps": [pay]}));
    let why = waits::until("an answer that it is paused", || {
        let why = spine.get("/v1/runs/r/why").json()["why"].as_str()?.to_owned();
        why.contains("is paused").then_some(why)
    });
    assert_eq!(step_of(&spine, "r", "pay")["status"], "unknown", "{why}");
    let asked = || fx.calls().iter().filter(|call| call.path.ends_with("ask")).count();
    assert_eq!(asked(), 0, "{why}");
    ok(&spine, &["tools", "resume", &ask, "--reason", "has moved"]);
    spine.wait_run("r", &["completed"]);
    assert_eq!((asked(), fx.calls().len()), (1, 2), "asked once, and not called again");
    spine.is_fold_of_log();
}

#[test]
fn an_operator_opens_and_closes_a_breaker_by_hand() {
    let (fx, spine) = (Fx::willing(), Spine::fresh().start());
    let tool = fx.tool("pay");
    ok(&spine, &["tools", "breaker", &tool, "open", "--reason", "maintenance"]);
    spine.start_run(&plan(&fx, "r"));
    waits::until("the step that is held back", || {
        (step_of(&spine, "r", "pay")["status"] == "deferred").then_some(())
    });
    assert!(fx.calls_of("r", "pay").is_empty());
    let shown = spine.get("/v1/tools").json();
    assert_eq!(shown["tools"][0]["breaker"]["state"], "forced_open", "{shown}");
    let why = ok(&spine, &["runs", "why", "r"]);
    assert!(why.contains("opened its breaker"), "{why}");
    spine.wait_run("r", &["waiting"]);
    ok(&spine, &["tools", "breaker", &tool, "auto", "--reason", "over"]);
    spine.wait_run("r", &["completed"]);
    ok(&spine, &["tools", "breaker", &tool, "closed", "--reason", "trust it"]);
    assert_eq!(spine.get("/v1/tools").json()["tools"][0]["breaker"]["state"], "forced_closed");
    for (words, code) in [
        (vec!["tools", "breaker", tool.as_str(), "ajar", "--reason", "x"], 2),
        (vec!["tools", "pause", tool.as_str()], 2),
        (vec!["tools", "pause", "", "--reason", "x"], 1),
        (vec!["tenants", "pause", "No Such", "--reason", "x"], 1),
    ] {
        let out = spine.run(&words);
        assert_eq!(out.status.code(), Some(code), "{words:?}: {out:?}");
        assert!(!out.stderr.is_empty(), "{words:?}");
    }
    let (status, problem) = {
        let body = json!({"tool": tool, "reason": "x"});
        let reply = spine.http().post("/v1/tools/breaker", &body).expect("an answer");
        (reply.status, reply.json())
    };
    assert_eq!((status, &problem["field"]), (422, &json!("state")), "{problem}");
}
