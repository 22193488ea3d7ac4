//! What a tenant feels of the work of others: whose call comes next where slots are taken. No clock is asked.

use serde_json::{Value, json};
use spine_tests::{Answer, Fx, Spine, lines, waits};
use std::time::Duration;

/// Steps that may all begin at once.
fn plan(tenant: &str, run: &str, tools: &[String]) -> Value {
    let step = |(at, tool): (usize, &String)| {
        let mut step = lines::patient_step(&format!("s{at}"), tool, "pure");
        step["after"] = json!([]);
        step
    };
    let steps: Vec<Value> = tools.iter().enumerate().map(step).collect();
    json!({"tenant": tenant, "run_id": run, "workflow": "it", "version": "1", "steps": steps})
}

fn calls_of(fx: &Fx, run: &str) -> usize {
    fx.calls().iter().filter(|call| call.run == run).count()
}

fn wait_for(fx: &Fx, what: &str, run: &str, calls: usize) {
    waits::until(what, || (calls_of(fx, run) >= calls).then_some(()));
}

#[test]
fn l46_a_slot_that_a_backlog_gives_back_goes_to_the_tenant_who_waits() {
    const STEPS: usize = 300;
    const BEGUN: usize = 20;
    let fx = Fx::start(|_, _| Answer::DoneAfter(Duration::from_millis(20)));
    let spine = Spine::fresh().with(&["--attempts", "2"]).start();
    let tools: Vec<String> = (0..STEPS).map(|at| fx.tool(&format!("a{at}"))).collect();
    spine.start_run(&plan("a", "many", &tools));
    wait_for(&fx, "the backlog", "many", BEGUN);
    spine.start_run(&plan("b", "one", &[fx.tool("b")]));
    wait_for(&fx, "the other tenant", "one", 1);
    let calls = fx.calls();
    let before = calls.iter().position(|call| call.run == "one").expect("it was called");
    // It waits for an end, not for all: how many there were while it was being created is the machine's affair.
    assert!(before < STEPS / 2, "called after {before} of {STEPS} others");
}

#[test]
fn l46_a_slot_of_one_tool_is_not_lost_on_who_waits_for_another_tool() {
    let fx = Fx::start(|call, _| match call.path.as_str() {
        "/stuck" => Answer::Hangs,
        // So long that they wait for each other.
        _ => Answer::DoneAfter(Duration::from_millis(20)),
    });
    let flags = ["--attempts", "4", "--attempts-per-tool", "2", "--drain-ms", "1"];
    let spine = Spine::fresh().with(&flags).start();
    for number in 0..30 {
        spine.start_run(&plan("a", &format!("stuck{number}"), &[fx.tool("stuck")]));
    }
    let runs: Vec<String> = (0..60).map(|number| format!("b{number}")).collect();
    for run in &runs {
        spine.start_run(&plan("b", run, &[fx.tool("works")]));
    }
    for run in &runs {
        waits::until("every run of the other tenant", || {
            let run = spine.get(&format!("/v1/runs/{run}?tenant=b")).json();
            (run["status"] == "completed").then_some(())
        });
    }
    let stuck = fx.calls().iter().filter(|call| call.path == "/stuck").count();
    assert_eq!(stuck, 2, "the tool that hangs has its two slots, and they never came back");
}

#[test]
fn l46_calls_that_hang_leave_slots_to_other_tenants() {
    let fx = Fx::start(|call, _| match call.run.as_str() {
        "hangs" => Answer::Hangs,
        _ => Answer::Done,
    });
    let flags = ["--attempts", "8", "--attempts-per-tenant", "6", "--drain-ms", "1"];
    let spine = Spine::fresh().with(&flags).start();
    let tools: Vec<String> = (0..20).map(|at| fx.tool(&format!("hangs{at}"))).collect();
    spine.start_run(&plan("a", "hangs", &tools));
    wait_for(&fx, "all that may hang", "hangs", 6);
    spine.start_run(&plan("b", "works", &[fx.tool("b"), fx.tool("b"), fx.tool("b")]));
    wait_for(&fx, "the other tenant", "works", 3);
    assert_eq!(calls_of(&fx, "hangs"), 6);
}
