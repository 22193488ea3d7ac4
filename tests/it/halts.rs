//! A process that is halted between its intent and its act must not act when it wakes up late.

use rustix::process::Signal;
use serde_json::{Value, json};
use spine_schemas::time::Micros;
use spine_tests::{Fx, On, Spine, lines, substrate, waits};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const TIMEOUT: Duration = Duration::from_millis(400);
/// Which commit of the log it is, the claim being the first.
const RUN: usize = 2;
const START: usize = 3;
const OUTCOME: usize = 4;

/// Halts at three places: when the run is durable and its start is not, when the start is durable and
/// nobody knows it yet, and when the outcome is. Wakes the process after the time-out.
///
/// On Kafka readers may have seen a record before its writer is told. There the halt may come when the
/// call is out already, or a step further on; what must hold is the same.
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
        let (woken_at, before) = halted_and_woken(&spine, &fx, &plan);
        let run = spine.wait_run("r", &["completed", "waiting"]);
        let calls = fx.calls_of("r", "pay");
        assert!(calls.len() <= 1, "an at_most_once step was sent {} times", calls.len());
        let attempts = spine.steps("r")[0]["attempts"].clone();
        let started_at = |attempt: u32| {
            let text = attempts[attempt as usize - 1]["started_at"].as_str();
            text.and_then(Micros::parse).unwrap_or_else(|| panic!("no {attempt} in {attempts}"))
        };
        let late = calls[before..].iter().any(|call| started_at(call.attempt) < woken_at);
        assert!(!late, "sent after its time-out: {attempts}");
        let is_between = before == 0 && started_at(1) < woken_at;
        if is_between {
            assert_ne!(attempts[0]["end"], "completed", "{attempts}");
        }
        if substrate::chosen() == On::Embedded {
            assert_eq!(is_between, at == START, "{attempts}");
        }
        // Whether a reply that came while the process was halted is still taken is a matter of chance.
        let is_free = before == 1 && substrate::chosen() != On::Embedded;
        if !is_between && !is_free {
            assert_eq!((&run["status"], calls.len()), (&json!("completed"), 1), "{attempts}");
        }
    }
}

/// Posts a plan to a server that halts, and wakes it after the time-out: when that was, and how many calls
/// had come before.
fn halted_and_woken(spine: &Spine, fx: &Fx, plan: &Value) -> (Micros, usize) {
    std::thread::scope(|scope| {
        let posted = scope.spawn(|| spine.http().post("/v1/runs", plan));
        waits::until("the halt", || spine.is_halted().then_some(()));
        waits::pass(TIMEOUT);
        let before = fx.calls().len();
        waits::pass(TIMEOUT * 2);
        assert_eq!(fx.calls().len(), before, "a halted process sent something");
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
        spine.signal(Signal::CONT);
        let posted = posted.join().expect("no panic").expect("an answer");
        assert_eq!(posted.status, 201, "{}", posted.json());
        // Kafka's times have milliseconds.
        (Micros(since.as_millis() as i64 * 1000), before)
    })
}
