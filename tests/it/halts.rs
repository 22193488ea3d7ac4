//! A process that is halted between its intent and its act must not act when it wakes up late.

use rustix::process::Signal;
use serde_json::json;
use spine_tests::{Fx, Spine, lines, waits};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_millis(400);
/// Which commit of the log it is, the claim being the first.
const RUN: usize = 2;
const START: usize = 3;
const OUTCOME: usize = 4;

/// Halts at three places: when the run is durable and its start is not, when the start is durable and
/// nobody knows it yet, and when the outcome is. Wakes the process after the time-out.
#[test]
fn f21_f22_sigstop_between_intent_and_send_is_no_late_send() {
    for at in [RUN, START, OUTCOME] {
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
        let run = spine.wait_run("r", &["completed", "waiting"]);
        let calls = fx.calls_of("r", "pay");
        assert!(calls.len() <= 1, "an at_most_once step was sent {} times", calls.len());
        let attempts = spine.steps("r")[0]["attempts"].clone();
        if at == START {
            let late = calls.iter().any(|call| call.attempt == 1);
            assert!(!late, "sent after its time-out: {attempts}");
            assert_ne!(attempts[0]["end"], "completed", "{attempts}");
        } else {
            assert_eq!((&run["status"], calls.len()), (&json!("completed"), 1), "{attempts}");
        }
    }
}
