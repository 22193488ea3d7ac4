//! A process that is halted between its intent and its act must not act when it wakes up late.

use rustix::process::Signal;
use serde_json::json;
use spine_tests::{Fx, Spine, lines, waits};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_millis(400);

/// Halts when the start of the step is durable and nobody knows it yet; wakes it after the time-out.
#[test]
fn f21_f22_sigstop_between_intent_and_send_is_no_late_send() {
    // The claim, then the run with its first start or the two apart: the fault point is moved until
    // the halt comes after the start was durable.
    for at in 2..5 {
        let fx = Fx::willing();
        let mut spine = Spine::fresh();
        spine.fails_at(Some(&format!("durable:{at}:stop")));
        spine.restart();
        let mut step = lines::step("pay", &fx.tool("pay"), "at_most_once");
        step["timeout_ms"] = json!(TIMEOUT.as_millis() as u64);
        let plan = lines::plan("r", &lines::quick(1), vec![step]);
        std::thread::scope(|scope| {
            let posted = scope.spawn(|| spine.http().post("/v1/runs", &plan));
            waits::until("the halt", || spine.is_halted().then_some(()));
            let before = fx.calls().len();
            waits::pass(TIMEOUT * 3);
            assert_eq!(fx.calls().len(), before, "a halted process sent something");
            spine.signal(Signal::CONT);
            let posted = posted.join().expect("no panic").expect("an answer");
            assert_eq!(posted.status, 201, "{}", posted.json());
        });
        check(&spine, &fx);
    }
}

/// An attempt whose time-out had passed while the process was halted was not sent afterwards.
fn check(spine: &Spine, fx: &Fx) {
    let run = spine.wait_run("r", &["completed", "waiting"]);
    let calls = fx.calls_of("r", "pay");
    assert!(calls.len() <= 1, "an at_most_once step was sent {} times", calls.len());
    let step = &spine.steps("r")[0];
    for call in &calls {
        let attempts = step["attempts"].as_array().expect("attempts");
        let sent = attempts.iter().find(|of| of["attempt"] == call.attempt).expect("the attempt");
        let end = sent["end"].as_str().unwrap_or_default();
        assert!(end == "completed" || end == "failed", "sent late: {step}");
    }
    if run["status"] == "waiting" {
        assert_eq!(run["waiting_for"][0]["for"], "resolution", "{run}");
    }
}
