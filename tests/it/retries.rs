//! Retries, time-outs and waits: as many attempts as the policy says, and never earlier.

use serde_json::{Value, json};
use spine_schemas::time::Micros;
use spine_tests::{Answer, Call, Fx, On, Spine, answers::spread, lines, row, substrate, waits};
use std::time::{Duration, Instant};

fn policy(max_attempts: u32, initial_ms: u64) -> Value {
    json!({"max_attempts": max_attempts, "initial_ms": initial_ms, "multiplier": 2.0,
        "max_ms": 60_000, "jitter": 0.0})
}

/// A run of one step `t`, with further fields.
fn one(run: &str, fx: &Fx, effect: &str, retry: &Value, more: Value) -> Value {
    let mut step = lines::step("t", &fx.tool("t"), effect);
    for (name, value) in more.as_object().into_iter().flatten() {
        step[name] = value.clone();
    }
    lines::plan(run, retry, vec![step])
}

/// No attempt earlier than the policy says after the one before.
fn check_spacing(calls: &[Call], initial_ms: u64) {
    for (at, pair) in calls.windows(2).enumerate() {
        let gap = pair[1].at - pair[0].at;
        let due = Duration::from_millis(initial_ms << at);
        assert!(gap >= due, "attempt {} came after {gap:?}, not {due:?}", at + 2);
    }
}

#[test]
fn f1_c1_k_failures_then_success_are_k_plus_one_attempts_and_never_early() {
    let spine = Spine::fresh().start();
    for k in [0, 1, 3] {
        let fx = Fx::start(move |_, n| if n < k { Answer::Refuses(503) } else { Answer::Done });
        let run = format!("k{k}");
        spine.start_run(&one(&run, &fx, "idempotent", &policy(4, 40), json!({})));
        let seen = spine.wait_run(&run, &["completed"]);
        let calls = fx.calls_of(&run, "t");
        assert_eq!((calls.len(), &seen["attempts"]), (k + 1, &json!(k + 1)), "{seen}");
        check_spacing(&calls, 40);
        assert!(calls.iter().all(|call| call.key == calls[0].key && !call.key.is_empty()));
        let attempts: Vec<u32> = calls.iter().map(|call| call.attempt).collect();
        assert_eq!(attempts, (1..=k as u32 + 1).collect::<Vec<_>>());
    }
}

#[test]
fn c2_retry_after_wins_over_the_policy_and_costs_no_attempt() {
    let fx = Fx::start(|_, n| if n == 0 { Answer::RefusesFor(429, 1) } else { Answer::Done });
    let spine = Spine::fresh().start();
    spine.start_run(&one("r", &fx, "at_most_once", &policy(1, 10), json!({})));
    spine.wait_run("r", &["completed"]);
    let calls = fx.calls_of("r", "t");
    assert_eq!(calls.len(), 2);
    assert!(calls[1].at - calls[0].at >= Duration::from_secs(1), "earlier than Retry-After");
}

#[test]
fn c21_f24_a_hung_tool_ends_at_its_time_out_and_at_its_deadline() {
    let fx = Fx::start(|_, _| Answer::Hangs);
    let spine = Spine::fresh().start();
    spine.start_run(&one("r", &fx, "pure", &policy(2, 10), json!({"timeout_ms": 150})));
    let deadline = json!({"timeout_ms": 100, "deadline_ms": 500});
    spine.start_run(&one("d", &fx, "pure", &policy(1000, 10), deadline));
    spine.start_run(&one("u", &fx, "at_most_once", &policy(3, 10), json!({"timeout_ms": 100})));
    let started = Instant::now();
    let seen = spine.wait_run("r", &["waiting"]);
    assert_eq!(seen["steps"]["dead_lettered"], 1, "{seen}");
    assert_eq!(fx.calls_of("r", "t").len(), 2);
    // The time-out counts from the intent: what an append takes is not added to it.
    let attempts = spine.steps("r")[0]["attempts"].clone();
    let at = |n: usize| attempts[n]["started_at"].as_str().and_then(Micros::parse).expect("a time");
    assert!(at(1).ms_since(at(0)) >= 150, "{attempts}");
    let seen = spine.wait_run("d", &["waiting"]);
    assert_eq!(seen["steps"]["dead_lettered"], 1, "{seen}");
    let seen = spine.wait_run("u", &["waiting"]);
    assert_eq!(seen["waiting_for"][0]["for"], "resolution", "{seen}");
    assert_eq!(fx.calls_of("u", "t").len(), 1);
    assert!(started.elapsed() < Duration::from_secs(20), "a hung tool held the owner");
}

#[test]
fn c9_a_restart_during_a_backoff_fires_once_and_not_early() {
    let fx = Fx::start(|_, n| if n == 0 { Answer::Refuses(503) } else { Answer::Done });
    let mut spine = Spine::fresh().start();
    // On servers a start takes seconds, and the wait must outlast it. A second kill might hit the retry.
    let (wait_ms, kills) = if substrate::chosen() == On::Embedded { (1000, 2) } else { (8000, 1) };
    spine.start_run(&one("r", &fx, "idempotent", &policy(3, wait_ms), json!({})));
    waits::until("the wait", || {
        let steps = spine.steps("r");
        (steps.first()?["status"] == "retry_waiting").then_some(())
    });
    for _ in 0..kills {
        spine.kill();
        spine.restart();
    }
    spine.wait_run("r", &["completed"]);
    let calls = fx.calls_of("r", "t");
    assert_eq!(calls.len(), 2, "it fired {} times", calls.len() - 1);
    let waited = calls[1].at - calls[0].at;
    assert!(waited >= Duration::from_millis(wait_ms), "earlier than the policy");
}

#[test]
fn c9_a_late_success_completes_a_step_that_was_given_up_for_lost() {
    let spine = Spine::fresh().start();
    spine.start_run(&json!({"run_id": "j", "workflow": "w", "version": "1", "driver": "journal"}));
    let ask = |op: Value| {
        let body = json!({"session": "S", "ops": [op]});
        let reply = spine.http().post("/v1/runs/j/journal", &body).expect("an answer");
        assert_eq!(reply.status, 200, "{}", reply.json());
        reply.json()["results"][0].clone()
    };
    let begun = ask(json!({"op": "begin", "op_id": 1, "step": {"name": "a"}, "tool": "t",
        "effect": "at_most_once", "input": {}, "lease_ms": 200}));
    assert_eq!(begun["status"], "execute", "{begun}");
    waits::until("the lease's end", || {
        (spine.steps("j").first()?["status"] == "unknown").then_some(())
    });
    let ended = ask(json!({"op": "complete", "op_id": 2, "step": {"name": "a"}, "attempt": 1,
        "lease": begun["lease"], "output": {"late": true}}));
    assert_eq!(ended["status"], "ok", "{ended}");
    waits::until("the step to be completed", || {
        (spine.steps("j").first()?["status"] == "completed").then_some(())
    });
}

#[test]
fn f24_parallel_branches_run_beside_one_another_and_references_are_resolved() {
    let fx = Fx::start(|call, _| match call.path.as_str() {
        "/a" => Answer::Says("{\"customer\":\"c9\"}".into()),
        "/slow" => Answer::DoneAfter(Duration::from_millis(300)),
        _ => Answer::Done,
    });
    let spine = Spine::fresh().start();
    let slow = |name: &str| {
        let mut step = lines::step(name, &fx.tool("slow"), "pure");
        step["after"] = json!(["a"]);
        step
    };
    let mut last = lines::step("last", &fx.tool("last"), "idempotent");
    last["after"] = json!(["x", "y"]);
    last["input"] = json!({"who": {"$ref": "a#/customer"}, "run": {"$ref": "run#/run"}});
    let steps = vec![lines::step("a", &fx.tool("a"), "pure"), slow("x"), slow("y"), last];
    spine.start_run(&lines::plan("r", &lines::quick(1), steps));
    spine.wait_run("r", &["completed"]);
    let (x, y) = (fx.calls_of("r", "x"), fx.calls_of("r", "y"));
    let apart = x[0].at.max(y[0].at) - x[0].at.min(y[0].at);
    assert!(apart < Duration::from_millis(300), "the branches waited for one another: {apart:?}");
    let body: Value = serde_json::from_str(&fx.calls_of("r", "last")[0].body).expect("JSON");
    assert_eq!(body, json!({"who": "c9", "run": "r"}));
}

/// What else happens to the run between its failures, a kill of the server included, is no attempt.
#[test]
fn l27_attempts_are_counted_exactly_whatever_happens_between_them() {
    const MOST: usize = 4;
    let fx = Fx::start(|_, _| Answer::Refuses(503));
    let mut spine = Spine::fresh().start();
    spine.start_run(&one("r", &fx, "idempotent", &policy(MOST as u32, 600), json!({})));
    for failed in 1..MOST {
        waits::until("a failure", || {
            let step = spine.steps("r").first()?.clone();
            (step["status"] == "retry_waiting" && step["attempt"] == failed).then_some(())
        });
        for (path, body) in [
            ("signals/news", json!({"data": failed})),
            ("pause", json!({"reason": "a look"})),
            ("resume", json!({"reason": "seen"})),
        ] {
            let reply = spine.http().post(&format!("/v1/runs/r/{path}"), &body);
            let reply = reply.expect("an answer");
            assert!([200, 201].contains(&reply.status), "{path}: {}", reply.json());
        }
        if failed == 2 {
            spine.kill();
            spine.restart();
        }
    }
    let seen = spine.wait_run("r", &["waiting"]);
    let step = spine.steps("r").swap_remove(0);
    assert_eq!((&seen["attempts"], &step["attempt"]), (&json!(MOST), &json!(MOST)), "{step}");
    assert_eq!(step["attempts"].as_array().map(Vec::len), Some(MOST), "{step}");
    let called: Vec<u32> = fx.calls().iter().map(|call| call.attempt).collect();
    assert_eq!(called, (1..=MOST as u32).collect::<Vec<_>>());
    spine.is_fold_of_log();
}

/// What docs/recovery.md says that a process may retry: what was saved up, so many a second, and a part of other starts.
const SAVED: f64 = 200.0;
const PER_SECOND: f64 = 10.0;
const PER_START: f64 = 0.2;

#[test]
fn c3_retries_of_a_tool_that_fails_by_half_keep_to_the_budget_of_the_process() {
    let began = Instant::now();
    let runs = row::size(320, 800);
    let fx = Fx::start(|call, before| match spread(11, &[&call.run, &before.to_string()]) % 2 {
        0 => Answer::Refuses(503),
        _ => Answer::Done,
    });
    let spine = Spine::fresh().with(&["--breaker-failures", "0"]).start();
    let (first, mut posted, mut http) = (Instant::now(), Vec::new(), spine.http());
    for number in 0..runs {
        let plan = one(&format!("r{number}"), &fx, "idempotent", &lines::quick(30), json!({}));
        posted.push(Instant::now());
        let reply = http.post("/v1/runs", &plan).expect("an answer");
        assert_eq!(reply.status, 201, "{}", reply.json());
    }
    for number in 0..runs {
        spine.wait_run(&format!("r{number}"), &["completed"]);
    }
    let calls = fx.calls();
    let retries: Vec<&Call> = calls.iter().filter(|call| call.attempt > 1).collect();
    assert_eq!(calls.len(), runs + retries.len(), "one first attempt each");
    for (made, call) in (1..).zip(&retries) {
        let seconds = (call.at - first).as_secs_f64();
        let others = posted.partition_point(|at| *at < call.at) as f64;
        let most = SAVED + PER_SECOND * seconds + PER_START * others;
        assert!(f64::from(made) <= most, "{made} retries after {seconds} s and {others} others");
    }
    // Else nothing was held back.
    assert!(retries.len() as f64 > SAVED + PER_START * runs as f64, "{} retries", retries.len());
    let result = json!({"first_attempts": runs, "retries": retries.len(),
        "after_s": (retries[retries.len() - 1].at - first).as_secs_f64()});
    row::print("retry_budget", began, json!({"runs": runs, "fails_percent": 50}), result);
    spine.is_fold_of_log();
}
