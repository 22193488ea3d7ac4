//! kill -9 at every event boundary of a plan: before an append is sent, when it is durable and not
//! yet acknowledged, and when it is acknowledged.

use serde_json::{Value, json};
use spine_tests::{Call, Fx, On, Spine, lines, row, substrate, waits};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

const EFFECTS: [&str; 3] = ["pure", "idempotent", "at_most_once"];
const STEPS: usize = 10;
/// More boundaries than the plan has; the enumeration ends by itself before.
const MOST: u64 = 100;
/// After this a call that was written has arrived.
const IN_FLIGHT: Duration = Duration::from_millis(50);
const THREADS: usize = 3;
/// Every so manyth boundary on servers, where each crash costs the time after which a member of a group
/// is missed.
const STRIDE: u64 = 3;

fn plan(fx: &Fx) -> Value {
    let step = |at: usize| {
        let name = format!("s{at}");
        lines::step(&name, &fx.tool(&name), EFFECTS[at % EFFECTS.len()])
    };
    lines::plan("r", &lines::quick(3), (0..STEPS).map(step).collect())
}

/// What must be equal with and without a crash: name, status and output of each step.
fn outcome(spine: &Spine) -> Vec<(String, String, Value)> {
    let text = |step: &Value, name: &str| step[name].as_str().unwrap_or_default().to_owned();
    let of =
        |step: &Value| (text(step, "name"), text(step, "status"), step["output"]["data"].clone());
    let mut steps: Vec<_> = spine.steps("r").iter().map(of).collect();
    steps.sort_by(|a, b| a.0.cmp(&b.0));
    steps
}

fn without_a_crash() -> Vec<(String, String, Value)> {
    let fx = Fx::willing();
    let spine = Spine::fresh().start();
    spine.start_run(&plan(&fx));
    spine.wait_run("r", &["completed"]);
    assert_eq!(fx.calls().len(), STEPS);
    outcome(&spine)
}

/// Runs until the process dies at the point. Whether the run was acknowledged; `None` when the run
/// ended first.
fn until_the_crash(spine: &mut Spine, fx: &Fx) -> Option<bool> {
    if spine.try_start().is_err() {
        return Some(false);
    }
    let mut http = spine.http();
    let acknowledged = match http.post("/v1/runs", &plan(fx)) {
        Ok(reply) => {
            assert_eq!(reply.status, 201, "{}", reply.json());
            true
        }
        Err(_) => false,
    };
    waits::until("the crash or the end of the run", || {
        if spine.ended().is_some() {
            return Some(Some(acknowledged));
        }
        let run = http.get("/v1/runs/r").ok()?.json();
        (run["status"] == "completed").then_some(None)
    })
}

/// Answers every unknown outcome truthfully until the run has ended; gives their number.
fn to_the_end(spine: &Spine, fx: &Fx) -> usize {
    let mut unknown = 0;
    loop {
        let run = spine.wait_run("r", &["completed", "waiting"]);
        if run["status"] == "completed" {
            return unknown;
        }
        let step = run["waiting_for"][0]["step"].clone();
        let name = step["name"].as_str().or(step.as_str()).unwrap_or_default();
        let name = name.trim_end_matches("#1").to_owned();
        assert_eq!(run["waiting_for"][0]["for"], "resolution", "{run}");
        unknown += 1;
        let mut body = json!({"happened": false, "reason": "asked the tool"});
        if fx.calls_of("r", &name).iter().any(|call| call.effect) {
            body["happened"] = json!(true);
            body["output"] = json!({"did": format!("{name}#1")});
        }
        let reply = spine.http().post(&format!("/v1/runs/r/steps/{name}/resolve"), &body);
        let reply = reply.expect("an answer");
        assert_eq!(reply.status, 200, "{}", reply.json());
        let offset = reply.json()["position"]["offset"].clone();
        spine.get(&format!("/v1/runs/r?at_least={offset}"));
    }
}

/// A step whose successor was called before the crash had ended: it is not called again.
fn check_calls(before: &[Call], after: &[Call], unknown: usize) {
    let names: BTreeSet<&str> = before.iter().map(|call| call.step.as_str()).collect();
    let caught = before.last().map(|call| call.step.as_str());
    let again = after[before.len()..].iter().filter(|call| names.contains(call.step.as_str()));
    let again: Vec<&str> = again.map(|call| call.step.as_str()).collect();
    assert!(again.iter().all(|step| Some(*step) == caught), "called again: {again:?}");
    assert!(again.len() <= 1 && unknown <= 1, "{} again, {unknown} unknown", again.len());
    let mut keys: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for call in after {
        keys.entry(&call.step).or_default().insert(&call.key);
    }
    assert_eq!(keys.len(), STEPS);
    assert!(keys.values().all(|keys| keys.len() == 1), "keys changed: {keys:?}");
    for ((_, step), effects) in effects(after) {
        let at: usize = step[1..step.len() - 2].parse().expect("a number");
        assert!(effects == 1 || EFFECTS[at % 3] != "at_most_once", "{step}: {effects} effects");
    }
}

/// At no place of the history does a step begin whose predecessor's result is not there before it (L20).
fn check_order(spine: &Spine) {
    let history = spine.get("/v1/runs/r/events?limit=1000").json();
    let events = history["events"].as_array().expect("events");
    let mut completed = BTreeSet::new();
    let mut begun = 0;
    for event in events {
        let Some(name) = event["step"].as_str() else { continue };
        let at: usize = name.trim_end_matches("#1")[1..].parse().expect("a number");
        match event["kind"].as_str().expect("a kind") {
            "step_completed" | "step_resolved" => _ = completed.insert(at),
            "step_started" => {
                begun += 1;
                assert!(
                    at == 0 || completed.contains(&(at - 1)),
                    "{name} begins first: {events:?}"
                );
            }
            _ => {}
        }
    }
    assert!(begun >= STEPS && completed.len() == STEPS, "{begun} begun, {completed:?}");
}

fn effects(calls: &[Call]) -> BTreeMap<(String, String), usize> {
    let mut effects = BTreeMap::new();
    for call in calls.iter().filter(|call| call.effect) {
        *effects.entry((call.run.clone(), call.step.clone())).or_default() += 1;
    }
    effects
}

/// Crashes at one boundary and checks what follows. `false` when the run ends before the boundary.
fn crash_at(point: &str, expected: &[(String, String, Value)]) -> bool {
    let fx = Fx::willing();
    let mut spine = Spine::fresh();
    spine.fails_at(Some(point));
    let Some(acknowledged) = until_the_crash(&mut spine, &fx) else { return false };
    // A call that the dead process had written may still be on its way.
    waits::pass(IN_FLIGHT);
    let before = fx.calls();
    spine.fails_at(None);
    spine.restart();
    let again = spine.http().post("/v1/runs", &plan(&fx)).expect("an answer");
    assert!(again.status == 200 || (!acknowledged && again.status == 201), "{point}: {again:?}");
    let unknown = to_the_end(&spine, &fx);
    check_calls(&before, &fx.calls(), unknown);
    assert_eq!(outcome(&spine), expected, "{point}");
    check_order(&spine);
    true
}

fn every_boundary(name: &str) {
    let started = Instant::now();
    let expected = without_a_crash();
    let is_sparse = substrate::chosen() != On::Embedded && !row::is_soak();
    let stride = if is_sparse { STRIDE } else { 1 };
    let (next, done) = (AtomicU64::new(1), AtomicBool::new(false));
    let crashes = AtomicU64::new(0);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while !done.load(Ordering::SeqCst) {
                    let at = next.fetch_add(stride, Ordering::SeqCst);
                    assert!(at < MOST, "the enumeration does not end");
                    if crash_at(&format!("{name}:{at}"), &expected) {
                        crashes.fetch_add(1, Ordering::SeqCst);
                    } else {
                        done.store(true, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    let crashes = crashes.into_inner();
    assert!(
        crashes > STEPS as u64 / stride,
        "only {crashes} boundaries: is the feature fault-points on?"
    );
    row::print("boundaries", started, json!({"point": name}), json!({"crashes": crashes}));
}

#[test]
fn f3_f12_f21_l20_a_kill_before_each_append() {
    every_boundary("decided");
}

#[test]
fn f3_f12_f21_l20_a_kill_when_an_append_is_durable_and_not_acknowledged() {
    every_boundary("durable");
}

#[test]
fn f3_f12_f21_l20_a_kill_after_each_acknowledged_append() {
    every_boundary("appended");
}
