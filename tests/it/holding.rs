//! Runs that are held back or made to end, on the real binary: cancel, kill, pause, resume.

use serde_json::{Value, json};
use spine_tests::{Answer, Fx, Spine, lines, waits};
use std::time::Duration;

fn post(spine: &Spine, path: &str, body: &Value) -> (u16, Value) {
    let reply = spine.http().post(path, body).expect("an answer");
    (reply.status, reply.json())
}

/// A tool server whose steps named `slow` take a while.
fn fx() -> Fx {
    Fx::start(|call, _| match call.step.starts_with("slow") {
        true => Answer::DoneAfter(Duration::from_millis(700)),
        false => Answer::Done,
    })
}

fn plan(fx: &Fx, run: &str) -> Value {
    let mut first = lines::step("first", &fx.tool("t"), "at_most_once");
    first["compensate"] = json!({"tool": fx.tool("undo"), "effect": "pure"});
    let slow = lines::step("slow", &fx.tool("t"), "at_most_once");
    let last = lines::step("last", &fx.tool("t"), "pure");
    lines::plan(run, &lines::quick(3), vec![first, slow, last])
}

fn until_slow_runs(fx: &Fx, run: &str) {
    waits::until("the slow call", || (!fx.calls_of(run, "slow").is_empty()).then_some(()));
}

fn steps(spine: &Spine, run: &str) -> Vec<String> {
    let mut steps: Vec<String> = spine
        .steps(run)
        .iter()
        .map(|step| {
            format!(
                "{} {}",
                step["name"].as_str().expect("a name"),
                step["status"].as_str().expect("a status")
            )
        })
        .collect();
    steps.sort();
    steps
}

#[test]
fn a_cancelled_run_waits_for_the_call_under_way_and_then_is_undone_if_asked() {
    let (fx, spine) = (fx(), Spine::fresh().start());
    for (run, compensate) in [("plain", false), ("undone", true)] {
        spine.start_run(&plan(&fx, run));
        until_slow_runs(&fx, run);
        let asked = json!({"reason": "changed my mind", "compensate": compensate});
        let (status, reply) = post(&spine, &format!("/v1/runs/{run}/cancel"), &asked);
        assert_eq!((status, &reply["status"]), (200, &json!("cancelling")), "{reply}");
        let seen = spine.get(&format!("/v1/runs/{run}?at_least={}", reply["position"]["offset"]));
        assert_eq!(seen.json()["cancelling"]["reason"], "changed my mind", "{}", seen.json());
        let run_view = spine.wait_run(run, &["cancelled"]);
        assert_eq!(run_view["error"]["message"], "changed my mind", "{run_view}");
        let listed = steps(&spine, run);
        assert!(listed.contains(&"slow completed".to_owned()), "{listed:?}: it was waited for");
        assert!(fx.calls_of(run, "last").is_empty(), "nothing new starts");
        assert_eq!(fx.calls_of(run, "compensate/first").len(), usize::from(compensate), "{run}");
        let (again, reply) = post(&spine, &format!("/v1/runs/{run}/cancel"), &asked);
        assert_eq!(again, 200, "asking again changes nothing");
        let stored = format!("/v1/runs/{run}?at_least={}", reply["position"]["offset"]);
        assert_eq!(spine.get(&stored).status, 200);
    }
    spine.is_fold_of_log();
}

#[test]
fn a_killed_run_ends_at_once_and_its_careful_call_stays_a_question() {
    let (fx, spine) = (fx(), Spine::fresh().start());
    spine.start_run(&plan(&fx, "r"));
    until_slow_runs(&fx, "r");
    let killed = spine.run(&["runs", "kill", "r", "--reason", "now"]);
    assert!(killed.status.success(), "{killed:?}");
    spine.wait_run("r", &["cancelled"]);
    assert!(steps(&spine, "r").contains(&"slow unknown".to_owned()), "{:?}", steps(&spine, "r"));
    let (late, problem) = post(&spine, "/v1/runs/r/pause", &json!({}));
    assert_eq!((late, &problem["code"]), (409, &json!(1205)), "{problem}");
    for verb in ["cancel", "kill", "pause"] {
        let path = format!("/v1/runs/nobody/{verb}");
        let (absent, problem) = post(&spine, &path, &json!({"reason": "x"}));
        assert_eq!((absent, &problem["code"]), (404, &json!(1201)), "{problem}");
    }
    let record = json!({"run_id": "rec", "workflow": "w", "version": "1", "driver": "record"});
    assert_eq!(post(&spine, "/v1/runs", &record).0, 201);
    let (refused, problem) = post(&spine, "/v1/runs/rec/kill", &json!({}));
    assert_eq!((refused, &problem["code"]), (409, &json!(1206)), "{problem}");
    waits::pass(Duration::from_millis(800));
    assert!(fx.calls_of("r", "last").is_empty());
    let letters = spine.get("/v1/dead-letters").json();
    assert_eq!(letters["dead_letters"], json!([]), "none of these was a report");
    spine.is_fold_of_log();
}

#[test]
fn l37_l23_a_paused_run_starts_nothing_survives_a_kill_and_resumes_where_it_was() {
    let (fx, mut spine) = (fx(), Spine::fresh().start());
    spine.start_run(&plan(&fx, "r"));
    until_slow_runs(&fx, "r");
    let (status, reply) =
        post(&spine, "/v1/runs/r/pause", &json!({"reason": "a look", "actor": "ada"}));
    assert_eq!(status, 200, "{reply}");
    spine.wait_run("r", &["waiting"]);
    let run = spine.get("/v1/runs/r").json();
    assert_eq!(
        (&run["paused"]["by"], &run["waiting_for"][0]["for"]),
        (&json!("ada"), &json!("paused"))
    );
    spine.kill();
    spine.restart();
    waits::pass(Duration::from_millis(300));
    assert!(fx.calls_of("r", "last").is_empty(), "not after a restart either");
    let why = spine.get("/v1/runs/r/why").json();
    assert!(why["why"].as_str().expect("words").contains("spine runs resume r"), "{why}");
    let resumed = spine.run(&["runs", "resume", "r"]);
    assert!(resumed.status.success(), "{resumed:?}");
    spine.wait_run("r", &["completed"]);
    for step in ["first", "slow", "last"] {
        assert_eq!(fx.calls_of("r", step).len(), 1, "{step}: resume is not replay");
    }
    spine.is_fold_of_log();
}

#[test]
fn l37_a_paused_step_waits_and_others_go_on() {
    let fx = Fx::start(|call, count| match (call.step.as_str(), count) {
        ("held#1", 0) => Answer::Refuses(503),
        _ => Answer::Done,
    });
    let spine = Spine::fresh().start();
    let retry = json!({"max_attempts": 3, "initial_ms": 400, "jitter": 0.0});
    let held = lines::step("held", &fx.tool("t"), "pure");
    let mut free = lines::step("free", &fx.tool("t"), "pure");
    free["after"] = json!([]);
    spine.start_run(&lines::plan("r", &retry, vec![held, free]));
    waits::until("the first attempt", || {
        let step = spine.get("/v1/runs/r/steps/held").json();
        (step["status"] == "retry_waiting").then_some(())
    });
    let held = spine.run(&["steps", "pause", "r", "held", "--reason", "a look"]);
    assert!(held.status.success(), "{held:?}");
    waits::until("the other step", || (!fx.calls_of("r", "free").is_empty()).then_some(()));
    waits::pass(Duration::from_millis(600));
    assert_eq!(fx.calls_of("r", "held").len(), 1);
    let (status, reply) = post(&spine, "/v1/runs/r/steps/held/resume", &json!({"reason": "seen"}));
    assert_eq!(status, 200, "{reply}");
    spine.wait_run("r", &["completed"]);
    assert_eq!(fx.calls_of("r", "held").len(), 2);
    let (unknown, _) = post(&spine, "/v1/runs/r/steps/held/freeze", &json!({}));
    assert_eq!(unknown, 404);
}

#[test]
fn an_agent_learns_of_a_pause_and_of_a_cancel_when_it_asks() {
    let spine = Spine::fresh().start();
    let (created, reply) = post(
        &spine,
        "/v1/runs",
        &json!({"run_id": "j", "workflow": "w", "version": "1", "driver": "journal"}),
    );
    assert_eq!(created, 201, "{reply}");
    let begin = |op: u64, step: &str| {
        let body = json!({"session": "S", "ops": [{"op": "begin", "op_id": op, "step": {"name": step},
            "tool": "t", "effect": "pure", "input": {}}]});
        post(&spine, "/v1/runs/j/journal", &body).1["results"][0].clone()
    };
    let first = begin(1, "a");
    assert_eq!(first["status"], "execute", "{first}");
    post(&spine, "/v1/runs/j/pause", &json!({}));
    let waits_for = begin(2, "b");
    assert_eq!(
        (&waits_for["status"], &waits_for["for"]),
        (&json!("wait"), &json!("paused")),
        "{waits_for}"
    );
    post(&spine, "/v1/runs/j/resume", &json!({}));
    post(&spine, "/v1/runs/j/cancel", &json!({"reason": "enough"}));
    let denied = begin(3, "b");
    assert_eq!(denied["status"], "denied", "{denied}");
    let complete = json!({"session": "S", "ops": [{"op": "complete", "op_id": 4, "step": {"name": "a"},
        "attempt": 1, "lease": first["lease"], "output": {}}]});
    post(&spine, "/v1/runs/j/journal", &complete);
    spine.wait_run("j", &["cancelled"]);
}
