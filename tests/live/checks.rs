//! What must hold after workers came and went: asked of the ways in and of the tool server.

use crate::load::{MAX_ATTEMPTS, Told, each, effect_of, events};
use serde_json::{Value, json};
use spine_tests::{Fx, Http, Spine};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};

/// Runs that are asked for at one time.
const AT_ONCE: usize = 6;

/// Every acknowledged run is there and has ended, or says what it waits for; both ways in say the same.
pub(crate) fn runs(ways: &[Spine], told: &Told) -> BTreeMap<String, u64> {
    let statuses = Mutex::new(BTreeMap::new());
    each(&told.records, AT_ONCE, |run| {
        let seen = ways[0].wait_run(run, &["completed"]);
        assert_eq!(seen["steps"]["completed"], seen["steps"]["total"], "{seen}");
        assert_eq!(get(ways[1].port(), run, ""), seen, "two ways in differ about {run}");
        in_order_of_posting(ways[1].port(), run);
    });
    each(&told.plans, AT_ONCE, |acked| {
        let run = &acked.run;
        let seen = ways[1].wait_run(run, &["completed", "waiting"]);
        let status = seen["status"].as_str().unwrap_or_default();
        if status == "waiting" {
            says_what_it_waits_for(&ways[0], run, &seen);
        }
        assert_eq!(get(ways[0].port(), run, ""), seen, "two ways in differ about {run}");
        ascends(run, &history(ways[0].port(), run));
        *statuses.lock().expect("no check panics").entry(status.to_owned()).or_default() += 1;
    });
    statuses.into_inner().expect("no check panics")
}

fn says_what_it_waits_for(way: &Spine, run: &str, seen: &Value) {
    let wait = seen["waiting_for"][0]["for"].as_str().unwrap_or_default();
    assert!(["resolution", "dead_letter"].contains(&wait), "{seen}");
    let why = way.get(&format!("/v1/runs/{run}/why")).json();
    assert!(why.to_string().contains("spine "), "no command to go on: {why}");
}

fn get(port: u16, run: &str, rest: &str) -> Value {
    let reply = Http::new(port).get(&format!("/v1/runs/{run}{rest}")).expect("an answer");
    assert_eq!(reply.status, 200, "{run}{rest}: {}", reply.json());
    reply.json()
}

/// The same as far as it is stored: what is called may not be there for a moment.
pub(crate) fn stored_history(port: u16, run: &str) -> Vec<Value> {
    let reply = Http::new(port).get(&format!("/v1/runs/{run}")).expect("an answer");
    if reply.status == 404 { Vec::new() } else { history(port, run) }
}

/// The events of a run, oldest first.
pub(crate) fn history(port: u16, run: &str) -> Vec<Value> {
    let page = get(port, run, "/events?limit=1000");
    assert_eq!(page["next"], Value::Null, "more than a page: {run}");
    page["events"].as_array().cloned().expect("a list of events")
}

/// A run lies in one partition, and its history ascends.
fn ascends(run: &str, history: &[Value]) {
    let place = |event: &Value| {
        let position = &event["position"];
        (position["partition"].as_u64(), position["offset"].as_u64())
    };
    for pair in history.windows(2) {
        let (one, next) = (place(&pair[0]), place(&pair[1]));
        assert!(one.0 == next.0 && one.1 < next.1, "{run}: {one:?} before {next:?}");
    }
}

/// Facts of one run that were posted one after the other lie so in the log, and each was applied.
fn in_order_of_posting(port: u16, run: &str) {
    let history = history(port, run);
    ascends(run, &history);
    let essence = |kind: &Value, step: &str| format!("{} {step}", kind.as_str().unwrap_or("?"));
    let posted = events(run);
    let posted: Vec<String> = posted
        .iter()
        .map(|event| essence(&event["kind"], event["step"]["name"].as_str().unwrap_or_default()))
        .collect();
    let found: Vec<String> = history
        .iter()
        .map(|event| {
            let step = event["step"].as_str().unwrap_or_default();
            essence(&event["kind"], step.trim_end_matches("#1"))
        })
        .collect();
    assert_eq!(found, posted, "{run}");
    let applied = history.iter().all(|event| event["verdict"] == "applied");
    assert!(applied, "{run}: {history:?}");
}

/// The tool server alone knows what happened: no second effect where there may be none, no attempt twice,
/// and one key for each step.
pub(crate) fn effects(fx: &Fx) {
    let mut sent = BTreeSet::new();
    let mut keys: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    let calls = fx.calls();
    for call in &calls {
        let once = sent.insert((&call.run, &call.step, call.attempt));
        assert!(once, "attempt {} of {} {} was sent twice", call.attempt, call.run, call.step);
        keys.entry((&call.run, &call.step)).or_default().insert(&call.key);
    }
    assert!(keys.values().all(|keys| keys.len() == 1), "a key changed");
    for ((run, step), effects) in fx.effects() {
        let once = effect_of(&step) != "at_most_once" || effects <= 1;
        assert!(once, "{run} {step}: {effects} effects of an at_most_once step");
    }
}

/// How attempts ended.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    pub(crate) all: u64,
    pub(crate) charged_most: u32,
    pub(crate) ends: BTreeMap<String, u64>,
    pub(crate) most: u64,
}

impl Attempts {
    pub(crate) fn json(&self) -> Value {
        json!({"attempts": self.all, "charged_most": self.charged_most, "ends": self.ends,
            "attempts_of_a_step_most": self.most})
    }
}

/// Attempts are within the policy, and every call that arrived is an attempt in the log.
pub(crate) fn attempts(way: &Spine, fx: &Fx, told: &Told) -> Attempts {
    let mut calls: BTreeMap<(String, String), Vec<u32>> = BTreeMap::new();
    for call in fx.calls() {
        calls.entry((call.run, call.step)).or_default().push(call.attempt);
    }
    let sum = Mutex::new(Attempts::default());
    each(&told.plans, AT_ONCE, |acked| {
        for step in way.steps(&acked.run) {
            let key = (acked.run.clone(), step["step"].as_str().unwrap_or_default().to_owned());
            count(&step, calls.get(&key).map_or(&[][..], Vec::as_slice), &sum);
        }
    });
    sum.into_inner().expect("no check panics")
}

fn count(step: &Value, calls: &[u32], sum: &Mutex<Attempts>) {
    let attempts = step["attempts"].as_array().cloned().unwrap_or_default();
    let is_charged = |attempt: &&Value| attempt["charged"] == true;
    let charged = attempts.iter().filter(is_charged).count() as u32;
    assert!(charged <= MAX_ATTEMPTS, "{charged} charged attempts: {step}");
    assert_eq!(step["charged"], charged, "{step}");
    let newest = step["attempt"].as_u64().unwrap_or(0);
    assert!(calls.iter().all(|call| u64::from(*call) <= newest), "{calls:?} of {step}");
    if step["status"] == "completed" {
        assert!(!calls.is_empty(), "completed without a call: {step}");
    }
    let mut sum = sum.lock().expect("no check panics");
    sum.all += attempts.len() as u64;
    sum.most = sum.most.max(newest);
    sum.charged_most = sum.charged_most.max(charged);
    for attempt in &attempts {
        let end = attempt["end"].as_str().unwrap_or("?").to_owned();
        *sum.ends.entry(end).or_default() += 1;
    }
}
