//! Durable waits on the real binary: signals, sleeps, approvals, and 10,000 of them over kills and a
//! rebuild.

use serde_json::{Value, json};
use spine_tests::{Fx, Spine, lines, row, waits};
use std::time::{Duration, Instant};

fn post(spine: &Spine, path: &str, body: &Value) -> (u16, Value) {
    let reply = spine.http().post(path, body).expect("an answer");
    (reply.status, reply.json())
}

fn steps_of(fx: &Fx, run: &str) -> Vec<String> {
    fx.calls().into_iter().filter(|call| call.run == run).map(|call| call.step).collect()
}

/// A plan of a wait and a call that refers to what came.
fn paid(fx: &Fx, run: &str) -> Value {
    let wait = json!({"name": "paid", "tool": "signal:payment", "deadline_ms": 600_000});
    let mut ship = lines::step("ship", &fx.tool("ship"), "at_most_once");
    ship["input"] = json!({"cents": {"$ref": "paid#/cents"}});
    lines::plan(run, &lines::quick(3), vec![wait, ship])
}

#[test]
fn a_signal_resumes_its_run_over_a_kill_and_an_early_one_is_kept() {
    let (fx, mut spine) = (Fx::willing(), Spine::fresh().start());
    for run in ["late", "early"] {
        if run == "early" {
            // Its wait comes after a step that sleeps.
            let mut plan = paid(&fx, run);
            let sleep = json!({"name": "nap", "tool": "sleep:400"});
            plan["steps"].as_array_mut().expect("a list").insert(0, sleep);
            spine.start_run(&plan);
        } else {
            spine.start_run(&paid(&fx, run));
            spine.wait_run(run, &["waiting"]);
        }
    }
    let sent = json!({"data": {"cents": 7}, "actor": "shop"});
    let (status, reply) = post(&spine, "/v1/runs/early/signals/payment", &sent);
    assert_eq!((status, &reply["status"]), (200, &json!("received")), "{reply}");
    spine.kill();
    spine.restart();
    spine.wait_run("early", &["completed"]);
    let why = spine.get("/v1/runs/late/why").json();
    assert!(why["why"].as_str().expect("words").contains("signal payment"), "{why}");
    let step = spine.get("/v1/runs/late/steps/paid").json();
    assert_eq!(
        (&step["status"], &step["awaits"]["signal"]),
        (&json!("awaiting"), &json!("payment"))
    );
    let shown = spine.run(&["runs", "show", "late"]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("waits for the signal payment"));
    let sent = spine.run(&["runs", "signal", "late", "payment", "--actor", "shop"]);
    assert!(sent.status.success(), "{sent:?}");
    // Null has no cents.
    waits::until("the letter", || {
        let letters = spine.get("/v1/dead-letters").json();
        (letters["dead_letters"][0]["step"] == "ship#1").then_some(())
    });
    assert_eq!(fx.calls_of("early", "ship")[0].body, r#"{"cents":7}"#);
    let (refused, problem) = post(&spine, "/v1/runs/early/signals/payment", &json!({}));
    assert_eq!((refused, &problem["code"]), (409, &json!(1205)), "{problem}");
    let stored = format!("/v1/runs/early?at_least={}", problem["position"]["offset"]);
    assert_eq!(spine.get(&stored).status, 200);
    spine.is_fold_of_log();
}

#[test]
fn a_run_that_has_not_ended_by_its_deadline_fails_over_a_kill() {
    let (fx, mut spine) = (Fx::willing(), Spine::fresh().start());
    let mut plan = paid(&fx, "slow");
    plan["deadline_ms"] = json!(2500);
    spine.start_run(&plan);
    let waiting = spine.wait_run("slow", &["waiting"]);
    assert!(waiting["deadline_at"].is_string(), "{waiting}");
    let why = spine.get("/v1/runs/slow/why").json();
    assert!(why["why"].as_str().expect("words").contains("fails unless it ends by"), "{why}");
    spine.kill();
    spine.restart();
    let failed = spine.wait_run("slow", &["failed"]);
    assert_eq!(failed["error"]["code"], "run_deadline", "{failed}");
    assert!(fx.calls().is_empty());
    let mut plan = paid(&fx, "wrong");
    plan["on_deadline"] = json!("compensate");
    let (status, problem) = post(&spine, "/v1/runs", &plan);
    assert_eq!((status, &problem["field"]), (422, &json!("on_deadline")), "{problem}");
    spine.is_fold_of_log();
}

fn charge(fx: &Fx, run: &str) -> Value {
    let mut charge = lines::step("charge", &fx.tool("charge"), "at_most_once");
    charge["input"] = json!({"cents": 4200});
    charge["approval"] = json!({"expires_ms": 600_000});
    lines::plan(run, &lines::quick(3), vec![charge])
}

/// The id of the open task of a run.
fn task_of(spine: &Spine, run: &str) -> String {
    waits::until("the task", || {
        let step = spine.get(&format!("/v1/runs/{run}/steps/charge")).json();
        step["task"].as_str().map(str::to_owned)
    })
}

#[test]
fn p9_a_call_waits_for_its_approval_over_a_restart_and_a_no_is_never_a_call() {
    let (fx, mut spine) = (Fx::willing(), Spine::fresh().start());
    for run in ["yes", "no", "late"] {
        let mut plan = charge(&fx, run);
        if run == "late" {
            plan["steps"][0]["approval"]["expires_ms"] = json!(1500);
            plan["steps"][0]["on_exhausted"] = json!("fail");
        }
        spine.start_run(&plan);
        spine.wait_run(run, &["waiting", "failed"]);
    }
    spine.kill();
    spine.restart();
    spine.wait_run("late", &["failed"]);
    let late = spine.get("/v1/runs/late").json();
    assert_eq!(late["error"]["code"], "approval_expired", "{late}");
    assert!(fx.calls().is_empty(), "still pending after a restart");
    let (yes, no) = (task_of(&spine, "yes"), task_of(&spine, "no"));
    let shown = spine.run(&["tasks", "show", &yes]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("--approve"), "{shown:?}");
    let approved =
        spine.run(&["tasks", "decide", &yes, "--approve", "--reason", "fine", "--actor", "ada"]);
    assert!(approved.status.success(), "{approved:?}");
    let again = spine.run(&["tasks", "decide", &yes, "--deny", "--reason", "no"]);
    assert!(!again.status.success(), "a second click changes nothing");
    spine.wait_run("yes", &["completed"]);
    assert_eq!(steps_of(&fx, "yes"), ["charge#1"]);
    let (status, reply) = post(
        &spine,
        &format!("/v1/tasks/{no}/decide"),
        &json!({"decision": "deny", "reason": "too much"}),
    );
    assert_eq!(status, 200, "{reply}");
    waits::until("the letter", || {
        let letters = spine.get("/v1/dead-letters?status=open").json();
        let letter = letters["dead_letters"].as_array()?.first()?.clone();
        (letter["class"] == "policy" && letter["code"] == "approval_denied").then_some(())
    });
    assert!(steps_of(&fx, "no").is_empty());
    spine.is_fold_of_log();
}

#[test]
fn p9_a_changed_argument_needs_another_approval() {
    let (fx, spine) = (
        Fx::start(|call, _| match call.body.contains("4200") {
            true => spine_tests::Answer::Refuses(422),
            false => spine_tests::Answer::Done,
        }),
        Spine::fresh().start(),
    );
    spine.start_run(&charge(&fx, "r"));
    let first = task_of(&spine, "r");
    let approve = |task: &str| {
        let path = format!("/v1/tasks/{task}/decide");
        let (status, reply) =
            post(&spine, &path, &json!({"decision": "approve", "reason": "fine"}));
        assert_eq!(status, 200, "{reply}");
    };
    approve(&first);
    let letter = waits::until("the letter", || {
        let letters = spine.get("/v1/dead-letters?status=open").json();
        Some(letters["dead_letters"].as_array()?.first()?["id"].as_str()?.to_owned())
    });
    let edit = json!({"reason": "half of it", "input": {"cents": 2100}, "force": true});
    let (status, reply) = post(&spine, &format!("/v1/dead-letters/{letter}/redrive"), &edit);
    assert_eq!(status, 200, "{reply}");
    let second = task_of(&spine, "r");
    assert_ne!(first, second);
    waits::pass(Duration::from_millis(200));
    assert_eq!(fx.calls().len(), 1, "the changed call waits for its own approval");
    approve(&second);
    spine.wait_run("r", &["completed"]);
    assert_eq!(fx.calls().len(), 2);
}

/// Approves or denies; gives the status.
fn decide(spine: &Spine, task: &str, decision: &str) -> u16 {
    let body = json!({"decision": decision, "reason": "looked at"});
    post(spine, &format!("/v1/tasks/{task}/decide"), &body).0
}

/// The tasks that are open, by page.
fn open_tasks(spine: &Spine) -> usize {
    let (mut open, mut cursor) = (0, String::new());
    loop {
        let page = spine.get(&format!("/v1/tasks?status=open&limit=1000{cursor}")).json();
        open += page["tasks"].as_array().expect("a list").len();
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return open,
        }
    }
}

/// Two people decide at once: one of them does.
fn decided_twice_at_once(spine: &Spine, task: &str) {
    let at_once = std::sync::Barrier::new(2);
    let one = || {
        at_once.wait();
        decide(spine, task, "approve")
    };
    let mut statuses = std::thread::scope(|scope| {
        let both = [scope.spawn(one), scope.spawn(one)];
        both.map(|one| one.join().expect("an answer"))
    });
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
}

/// What was denied is redriven with another input: that needs another approval.
fn changed_and_approved(spine: &Spine, fx: &Fx, run: &str, denied: &str) {
    let letter = waits::until("the letter", || {
        let letters = spine.get("/v1/dead-letters?status=open").json();
        Some(letters["dead_letters"].as_array()?.first()?["id"].as_str()?.to_owned())
    });
    let edit = json!({"reason": "half of it", "input": {"cents": 2100}, "force": true});
    let (status, reply) = post(spine, &format!("/v1/dead-letters/{letter}/redrive"), &edit);
    assert_eq!(status, 200, "{reply}");
    let task = waits::until("another task", || {
        let step = spine.get(&format!("/v1/runs/{run}/steps/charge")).json();
        step["task"].as_str().filter(|task| *task != denied).map(str::to_owned)
    });
    assert_eq!(decide(spine, denied, "approve"), 409, "that one is closed");
    assert!(steps_of(fx, run).is_empty(), "the changed call waits for its own approval");
    assert_eq!(decide(spine, &task, "approve"), 200);
    spine.wait_run(run, &["completed"]);
    assert_eq!(fx.calls_of(run, "charge")[0].body, r#"{"cents":2100}"#);
}

#[test]
fn p9_many_runs_parked_on_an_approval_survive_kills_and_a_rebuild_and_resume_one_by_one() {
    let since = Instant::now();
    let runs = row::size_on(1_000, 200, 10_000);
    let (fx, mut spine) = (Fx::willing(), Spine::fresh().start());
    let mut http = spine.http();
    for number in 0..runs {
        let plan = charge(&fx, &format!("r{number}"));
        let reply = http.post("/v1/runs", &plan).expect("an answer");
        assert_eq!(reply.status, 201, "{}", reply.json());
    }
    spine.kill();
    spine.restart();
    let last = format!("r{}", runs - 1);
    spine.wait_run(&last, &["waiting"]);
    spine.kill();
    spine.forget_store();
    spine.restart();
    spine.wait_run(&last, &["waiting"]);
    let denied = format!("r{}", runs / 2);
    let task = task_of(&spine, &denied);
    assert_eq!(decide(&spine, &task, "deny"), 200);
    for run in ["r0", &last] {
        assert_eq!(decide(&spine, &task_of(&spine, run), "approve"), 200);
        spine.wait_run(run, &["completed"]);
    }
    assert_eq!(fx.calls().len(), 2, "each decision resumes exactly its run");
    decided_twice_at_once(&spine, &task_of(&spine, "r1"));
    spine.wait_run("r1", &["completed"]);
    changed_and_approved(&spine, &fx, &denied, &task);
    spine.kill();
    spine.restart();
    spine.wait_run(&last, &["completed"]);
    let open = open_tasks(&spine);
    assert_eq!((open, fx.calls().len()), (runs - 4, 4), "what was decided, and nothing else");
    spine.is_fold_of_log();
    row::print("parked", since, json!({"runs": runs}), json!({"open": open}));
}

#[test]
fn an_agent_awaits_a_signal_and_is_told_when_it_did_not_come() {
    let spine = Spine::fresh().start();
    let run = json!({"run_id": "j", "workflow": "w", "version": "1", "driver": "journal"});
    assert_eq!(post(&spine, "/v1/runs", &run).0, 201);
    let wait = |op: u64, more: &Value| {
        let mut body =
            json!({"op": "await", "op_id": op, "step": {"name": format!("w{}", more["n"])}});
        for name in ["signal", "timeout_ms", "sleep_ms"] {
            if !more[name].is_null() {
                body[name] = more[name].clone();
            }
        }
        let ops = json!({"session": "S", "ops": [body]});
        let (status, reply) = post(&spine, "/v1/runs/j/journal", &ops);
        assert_eq!(status, 200, "{reply}");
        reply["results"][0].clone()
    };
    let go = json!({"n": 1, "signal": "go"});
    let first = wait(1, &go);
    assert_eq!((&first["status"], &first["for"]), (&json!("wait"), &json!("signal")), "{first}");
    post(&spine, "/v1/runs/j/signals/go", &json!({"data": 5}));
    let told = wait(2, &go);
    assert_eq!((&told["status"], &told["output"]), (&json!("replay"), &json!(5)), "{told}");
    let soon = json!({"n": 2, "signal": "never", "timeout_ms": 100});
    assert_eq!(wait(3, &soon)["status"], "wait");
    let mut op = 3;
    let denied = waits::until("the end of the wait", || {
        op += 1;
        Some(wait(op, &soon)).filter(|answer| answer["status"] == "denied")
    });
    assert_eq!(denied["name"], "wait_expired", "{denied}");
    let (status, problem) = post(
        &spine,
        "/v1/runs/j/journal",
        &json!({"session": "S", "ops": [{"op": "await", "op_id": 99, "step": {"name": "x"}}]}),
    );
    assert_eq!((status, &problem["code"]), (422, &json!(1101)), "{problem}");
}
