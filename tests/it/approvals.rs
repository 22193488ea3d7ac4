//! Approvals on the real binary: by two people, and of an agent's call.

use serde_json::{Value, json};
use spine_tests::{Fx, Spine, lines, waits};

fn post(spine: &Spine, path: &str, body: &Value) -> (u16, Value) {
    let reply = spine.http().post(path, body).expect("an answer");
    (reply.status, reply.json())
}

fn task_of(spine: &Spine, run: &str) -> String {
    waits::until("the task", || {
        let step = spine.get(&format!("/v1/runs/{run}/steps/charge")).json();
        step["task"].as_str().map(str::to_owned)
    })
}

fn approves(spine: &Spine, task: &str, by: &str) -> (u16, Value) {
    let body = json!({"decision": "approve", "reason": "seen", "actor": by});
    post(spine, &format!("/v1/tasks/{task}/decide"), &body)
}

/// What a command prints.
fn said(spine: &Spine, words: &[&str]) -> String {
    let out = spine.run(words);
    assert!(out.status.success(), "{words:?}: {out:?}");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

#[test]
fn p9_two_people_approve_over_a_kill_and_one_of_them_twice_is_one() {
    let (fx, mut spine) = (Fx::willing(), Spine::fresh().start());
    let mut charge = lines::step("charge", &fx.tool("charge"), "at_most_once");
    charge["approval"] = json!({"expires_ms": 600_000, "quorum": 2});
    spine.start_run(&lines::plan("r", &lines::quick(3), vec![charge]));
    let task = task_of(&spine, "r");
    let first =
        said(&spine, &["tasks", "decide", &task, "--approve", "--reason", "x", "--actor", "alice"]);
    assert!(first.contains("approved by 1 of 2"), "{first}");
    let (status, problem) = approves(&spine, &task, "alice");
    assert_eq!((status, &problem["name"]), (409, &json!("approved_already")), "{problem}");
    spine.kill();
    spine.restart();
    let offset = &problem["position"]["offset"];
    let why = spine.get(&format!("/v1/runs/r/why?at_least={offset}")).json();
    let words = why["why"].as_str().expect("words");
    assert!(words.contains("approved by 1 of 2: alice; needs one more, not alice"), "{words}");
    let listed = spine.get("/v1/tasks").json();
    let approval = &listed["tasks"][0]["approval"];
    assert_eq!((&approval["needed"], &approval["approved_by"]), (&json!(2), &json!(["alice"])));
    for words in [&["tasks", "show", &task][..], &["runs", "show", "r"]] {
        let shown = said(&spine, words);
        assert!(shown.contains("approved by 1 of 2: alice; needs one more"), "{shown}");
    }
    assert!(said(&spine, &["tasks", "list"]).contains("1 of 2"));
    assert!(fx.calls().is_empty(), "one is not enough");
    let (status, reply) = approves(&spine, &task, "bob");
    assert_eq!((status, &reply["status"]), (200, &json!("decided")), "{reply}");
    spine.wait_run("r", &["completed"]);
    assert_eq!(fx.calls().len(), 1);
    let (status, problem) = approves(&spine, &task, "carol");
    assert_eq!((status, &problem["name"]), (409, &json!("task_closed")), "{problem}");
    let offset = &problem["position"]["offset"];
    assert_eq!(spine.get(&format!("/v1/runs/r?at_least={offset}")).status, 200);
    spine.is_fold_of_log();
}

/// What an agent is told that begins its step `charge`.
fn begins(spine: &Spine, op_id: u64, cents: u64, expires_ms: u64) -> Value {
    let ops = json!({"session": "S", "ops": [{"op": "begin", "op_id": op_id, "step": {"name": "charge"},
        "tool": "pay.charge", "effect": "at_most_once", "input": {"cents": cents},
        "approval": {"expires_ms": expires_ms}}]});
    let (status, reply) = post(spine, "/v1/runs/j/journal", &ops);
    assert_eq!(status, 200, "{reply}");
    reply["results"][0].clone()
}

fn journal(spine: &Spine) {
    let run = json!({"run_id": "j", "workflow": "w", "version": "1", "driver": "journal"});
    assert_eq!(post(spine, "/v1/runs", &run).0, 201);
}

#[test]
fn an_agents_call_waits_for_its_approval_over_a_kill_and_a_rebuild() {
    let mut spine = Spine::fresh().start();
    journal(&spine);
    let first = begins(&spine, 1, 4200, 600_000);
    let (status, waits_for) = (&first["status"], &first["for"]);
    assert_eq!((status, waits_for), (&json!("wait"), &json!("approval")), "{first}");
    let task = first["task"].as_str().expect("a task").to_owned();
    assert_eq!(begins(&spine, 1, 4200, 600_000), first, "the same operation, the same answer");
    spine.kill();
    spine.forget_store();
    spine.restart();
    let open = waits::until("the task", || {
        let tasks = spine.get("/v1/tasks").json();
        tasks["tasks"].as_array()?.first().cloned()
    });
    assert_eq!((&open["id"], &open["step"]), (&json!(task), &json!("charge#1")), "{open}");
    assert_eq!(begins(&spine, 2, 4200, 600_000)["task"], json!(task), "one question");
    assert_eq!(begins(&spine, 3, 9900, 600_000)["status"], "conflict", "another call");
    let (status, reply) = approves(&spine, &task, "alice");
    assert_eq!(status, 200, "{reply}");
    let begun = begins(&spine, 4, 4200, 600_000);
    assert_eq!((&begun["status"], &begun["attempt"]), (&json!("execute"), &json!(1)), "{begun}");
    assert_eq!(begins(&spine, 5, 4200, 600_000)["for"], "attempt", "it is used up");
    // What was answered is in the log; the store follows until the server has ended.
    assert!(spine.stop().success());
    spine.is_fold_of_log();
}

#[test]
fn an_agents_call_that_nobody_approves_of_in_time_gets_a_letter() {
    let mut spine = Spine::fresh().start();
    journal(&spine);
    assert_eq!(begins(&spine, 1, 4200, 1500)["status"], "wait");
    spine.kill();
    spine.restart();
    let letter = waits::until("the letter", || {
        let letters = spine.get("/v1/dead-letters?status=open").json();
        letters["dead_letters"].as_array()?.first().cloned()
    });
    assert_eq!((&letter["class"], &letter["code"]), (&json!("policy"), &json!("approval_expired")));
    let told = begins(&spine, 2, 4200, 1500);
    assert_eq!((&told["status"], &told["letter"]), (&json!("dead_lettered"), &letter["id"]));
    let wrong = json!({"session": "S", "ops": [{"op": "begin", "op_id": 9, "step": {"name": "x"},
        "tool": "t", "approval": {"quorum": 17}}]});
    let (status, problem) = post(&spine, "/v1/runs/j/journal", &wrong);
    assert_eq!((status, &problem["field"]), (422, &json!("ops[0].approval.quorum")), "{problem}");
    assert!(spine.stop().success());
    spine.is_fold_of_log();
}
