//! Parallel branches: whatever order they end in, and whoever dies meanwhile, each is the same step under the same key.

use serde_json::{Value, json};
use spine_tests::{Answer, Fx, Spine, answers::spread, lines, row, waits};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

const BRANCHES: usize = 50;
const SCHEDULES: usize = 100;
/// No branch takes longer.
const MOST_MS: u64 = 40;

/// Branches that wait for nothing, and a step that waits for all of them.
fn plan(fx: &Fx, run: &str) -> Value {
    let branch = |at: usize| {
        let mut step = lines::patient_step(&format!("b{at}"), &fx.tool("t"), "idempotent");
        step["after"] = json!([]);
        step
    };
    let mut steps: Vec<Value> = (0..BRANCHES).map(branch).collect();
    let mut join = lines::patient_step("join", &fx.tool("t"), "idempotent");
    join["after"] = steps.iter().map(|step| step["name"].clone()).collect();
    join["input"] = json!([{"$ref": "b0#/did"}, {"$ref": "b49#/did"}]);
    steps.push(join);
    json!({"run_id": run, "workflow": "it", "version": "1", "steps": steps})
}

/// The steps of a run in the order in which they ended, as its history has it.
fn ended(spine: &Spine, run: &str) -> Vec<String> {
    let events = spine.get(&format!("/v1/runs/{run}/events?limit=1000")).json();
    let events = events["events"].as_array().expect("events");
    let done = events
        .iter()
        .filter(|event| event["kind"] == "step_completed" && event["verdict"] == "applied");
    done.map(|event| event["step"].as_str().expect("a step").to_owned()).collect()
}

#[test]
fn c17_fifty_branches_keep_their_identities_over_a_hundred_schedules_and_a_kill() {
    let began = Instant::now();
    let fx = Fx::start(|call, before| {
        let at = [call.run.as_str(), call.step.as_str(), &before.to_string()];
        Answer::DoneAfter(Duration::from_millis(spread(17, &at) % MOST_MS))
    });
    let mut spine = Spine::fresh().start();
    let runs: Vec<String> = (0..SCHEDULES).map(|number| format!("r{number}")).collect();
    runs.iter().for_each(|run| spine.start_run(&plan(&fx, run)));
    let half = SCHEDULES * BRANCHES / 2;
    waits::until("half of the calls", || (fx.calls().len() >= half).then_some(()));
    spine.kill();
    spine.restart();
    runs.iter().for_each(|run| drop(spine.wait_run(run, &["completed"])));
    let mut expected: BTreeSet<String> = (0..BRANCHES).map(|at| format!("b{at}#1")).collect();
    expected.insert("join#1".to_owned());
    let (mut keys, mut twice) = (BTreeMap::new(), 0);
    for call in fx.calls() {
        let of = (call.run, call.step);
        let first = keys.entry(of.clone()).or_insert_with(|| call.key.clone());
        twice += usize::from(call.attempt > 1);
        assert_eq!(*first, call.key, "{of:?} is one step with one key");
        if of.1 == "join#1" {
            assert_eq!(call.body, r#"["b0#1","b49#1"]"#);
        }
    }
    let different: BTreeSet<&String> = keys.values().collect();
    assert_eq!(different.len(), SCHEDULES * (BRANCHES + 1), "each step has its own key");
    let mut orders = BTreeSet::new();
    for run in &runs {
        let order = ended(&spine, run);
        assert_eq!(order.len(), expected.len(), "{run}: each ended once");
        assert_eq!(order.iter().cloned().collect::<BTreeSet<String>>(), expected, "{run}");
        orders.insert(order);
    }
    let result = json!({"orders": orders.len(), "calls": fx.calls().len(), "again": twice});
    row::print("branches", began, json!({"runs": SCHEDULES, "branches": BRANCHES}), result);
    assert_eq!(orders.len(), SCHEDULES, "no two schedules were equal");
    spine.is_fold_of_log();
}
