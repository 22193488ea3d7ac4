//! Results of equal calls that stand in for calls, on the real binary.

use serde_json::{Value, json};
use spine_tests::{Fx, Spine, lines, waits};
use std::time::Duration;

/// A run of one pure step.
fn look(fx: &Fx, run: &str, order: u64, max_age_ms: u64) -> Value {
    let mut look = lines::step("look", &fx.tool("look"), "pure");
    look["input"] = json!({"order": order});
    look["memo"] = json!({"max_age_ms": max_age_ms});
    lines::plan(run, &lines::quick(3), vec![look])
}

fn ends(spine: &Spine, plan: &Value) -> Value {
    let run = plan["run_id"].as_str().expect("a run");
    spine.start_run(plan);
    spine.wait_run(run, &["completed"]);
    spine.get(&format!("/v1/runs/{run}/steps/look")).json()
}

#[test]
fn c18_an_equal_call_is_not_made_again_and_says_so() {
    let (fx, mut spine) = (Fx::willing(), Spine::fresh().start());
    let first = ends(&spine, &look(&fx, "first", 17, 600_000));
    assert_eq!((&first["output"]["source"], &first["attempt"]), (&Value::Null, &json!(1)));
    let second = ends(&spine, &look(&fx, "second", 17, 600_000));
    assert_eq!((&second["output"]["source"], &second["attempt"]), (&json!("cache"), &json!(0)));
    assert_eq!(second["output"]["data"], first["output"]["data"]);
    assert_eq!(fx.calls().len(), 1, "{second}");
    let shown = spine.run(&["runs", "show", "second"]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("taken from an equal call"));
    let kinds = spine.get("/v1/runs/second/events").json();
    assert!(kinds.to_string().contains("step_reused"), "{kinds}");
    let body = spine.get("/metrics").body;
    let metrics = String::from_utf8_lossy(&body).into_owned();
    for row in [r#"memo_steps_total{outcome="hit"} 1"#, r#"memo_steps_total{outcome="miss"} 1"#] {
        assert!(metrics.contains(row), "{row}");
    }
    ends(&spine, &look(&fx, "other", 18, 600_000));
    assert_eq!(fx.calls().len(), 2, "another input");
    waits::pass(Duration::from_millis(50));
    ends(&spine, &look(&fx, "old", 17, 20));
    assert_eq!(fx.calls().len(), 3, "too old");
    let mut foreign = look(&fx, "foreign", 17, 600_000);
    foreign["tenant"] = json!("other");
    let reply = spine.http().post("/v1/runs", &foreign).expect("an answer");
    assert_eq!(reply.status, 201, "{}", reply.json());
    waits::until("the call for another tenant", || (fx.calls().len() == 4).then_some(()));
    spine.kill();
    spine.restart();
    ends(&spine, &look(&fx, "anew", 17, 600_000));
    assert_eq!(fx.calls().len(), 5, "a restart knows nothing");
    spine.is_fold_of_log();
}

#[test]
fn c18_a_call_with_effects_is_made_each_time() {
    let (fx, spine) = (Fx::willing(), Spine::fresh().start());
    let mut plan = look(&fx, "r", 17, 1000);
    plan["steps"][0]["effect"] = json!("idempotent");
    let reply = spine.http().post("/v1/runs", &plan).expect("an answer");
    assert_eq!((reply.status, &reply.json()["field"]), (422, &json!("steps[0].memo")));
}
