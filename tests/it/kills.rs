//! kill -9 at random moments under load, with a tool server that also fails after the effect.

use serde_json::{Value, json};
use spine_tests::{Answer, Call, Fx, Http, Spine, answers::spread, lines, row, waits};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

const EFFECTS: [&str; 3] = ["idempotent", "at_most_once", "pure"];
const STEPS: usize = 6;
const POSTERS: usize = 3;
/// Runs that a poster sends between two kills at most.
const PACE: Duration = Duration::from_millis(15);

/// What the load was told is there.
#[derive(Default)]
struct Acknowledged {
    plans: Vec<String>,
    records: Vec<String>,
}

fn behaviour(seed: u64) -> impl Fn(&Call, usize) -> Answer {
    move |call, before| match spread(seed, &[&call.run, &call.step, &before.to_string()]) % 20 {
        0 => Answer::DoneThen(500),
        1 => Answer::DoneThen(502),
        2 => Answer::DoneThen(504),
        3 => Answer::DoneThenDrops,
        4 => Answer::Refuses(503),
        5 => Answer::DoneAfter(Duration::from_millis(20)),
        _ => Answer::Done,
    }
}

fn plan(fx: &Fx, run: &str) -> Value {
    let step = |at: usize| {
        let name = format!("s{at}");
        lines::step(&name, &fx.tool(&name), EFFECTS[at % EFFECTS.len()])
    };
    lines::plan(run, &lines::quick(4), (0..STEPS).map(step).collect())
}

/// Posts until told to stop; a server that is away is no reason to stop.
fn load(poster: usize, port: u16, fx: &Fx, stop: &AtomicBool, acked: &Mutex<Acknowledged>) {
    let mut http = Http::new(port);
    for at in 0.. {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let (plan_id, record_id) = (format!("p{poster}-{at}"), format!("e{poster}-{at}"));
        let posted = http.post("/v1/runs", &plan(fx, &plan_id));
        let body = lines::ndjson(&lines::record_run(&record_id, 2));
        let sent = http.ask("POST", "/v1/events", "application/x-ndjson", &body);
        let mut acked = acked.lock().expect("no poster panics");
        if posted.is_ok_and(|reply| reply.status == 201) {
            acked.plans.push(plan_id);
        }
        if sent.is_ok_and(|reply| reply.status == 202) {
            acked.records.push(record_id);
        }
        drop(acked);
        waits::pass(PACE);
    }
}

/// Every acknowledged run is there and has ended, or says what it waits for.
fn check_runs(spine: &Spine, acked: &Acknowledged) -> BTreeMap<String, u64> {
    let mut statuses: BTreeMap<String, u64> = BTreeMap::new();
    for run in &acked.records {
        let seen = spine.wait_run(run, &["completed"]);
        assert_eq!(seen["steps"]["completed"], 2, "{seen}");
    }
    for run in &acked.plans {
        let seen = spine.wait_run(run, &["completed", "waiting"]);
        let status = seen["status"].as_str().unwrap_or_default();
        if status == "waiting" {
            let wait = seen["waiting_for"][0]["for"].as_str().unwrap_or_default();
            assert!(["resolution", "dead_letter"].contains(&wait), "{seen}");
            let why = spine.get(&format!("/v1/runs/{run}/why")).json();
            assert!(why.to_string().contains("spine "), "no command to go on: {why}");
        }
        *statuses.entry(status.to_owned()).or_default() += 1;
    }
    statuses
}

fn effect_of(step: &str) -> &'static str {
    let at: usize = step[1..step.len() - 2].parse().expect("a number");
    EFFECTS[at % EFFECTS.len()]
}

/// What the tool server saw: it alone knows what happened.
fn check_effects(fx: &Fx) {
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
    // S8e: a tool that writes key and row in one transaction has one row per step.
    let touched = calls.iter().filter(|call| call.effect);
    let touched: BTreeSet<_> = touched.map(|call| (&call.run, &call.step)).collect();
    assert_eq!(fx.rows().len(), touched.len());
    assert!(fx.rows().values().all(|rows| *rows == 1));
}

/// Finished steps are not called again: nothing is sent after a success that was recorded.
fn check_finished(spine: &Spine, fx: &Fx, acked: &Acknowledged) {
    for run in acked.plans.iter().step_by(7) {
        for step in spine.steps(run) {
            let name = step["name"].as_str().unwrap_or_default();
            let attempts = step["attempt"].as_u64().unwrap_or(0) as usize;
            let calls = fx.calls_of(run, name).len();
            assert!(calls <= attempts, "{run} {name}: {calls} calls, {attempts} attempts");
        }
    }
}

#[test]
fn f13_f14_f22_s8d_s8e_random_kills_under_load() {
    let started = Instant::now();
    let (seed, kills) = (17, row::size_on(20, 5, 200));
    let fx = Fx::start(behaviour(seed));
    let mut spine =
        Spine::fresh().with(&["--breaker-open-ms", "100", "--breaker-most-open-ms", "400"]).start();
    let (stop, acked) = (AtomicBool::new(false), Mutex::new(Acknowledged::default()));
    thread::scope(|scope| {
        for poster in 0..POSTERS {
            let (port, fx, stop, acked) = (spine.port(), &fx, &stop, &acked);
            scope.spawn(move || load(poster, port, fx, stop, acked));
        }
        for kill in 0..kills {
            let moment = 5 + spread(seed, &["kill", &kill.to_string()]) % 200;
            waits::pass(Duration::from_millis(moment));
            spine.kill();
            spine.restart();
        }
        stop.store(true, Ordering::SeqCst);
    });
    let acked = acked.into_inner().expect("no poster panics");
    assert!(acked.plans.len() > kills && acked.records.len() > kills, "there was no load");
    let statuses = check_runs(&spine, &acked);
    check_effects(&fx);
    check_finished(&spine, &fx, &acked);
    assert!(spine.stop().success(), "{}", spine.words());
    // The store that came through all this is the fold of the log.
    spine.is_fold_of_log();
    let result = json!({"plans": acked.plans.len(), "records": acked.records.len(),
        "calls": fx.calls().len(), "statuses": statuses});
    row::print("kills", started, json!({"kills": kills, "seed": seed}), result);
}

/// Runs of the batch, and items of each, which do not wait for one another.
const BATCH: (usize, usize) = (6, 8);
/// Calls that are answered before the tool freezes, and those that may be under way then.
const ANSWERED: usize = 20;
const UNDER_WAY: &str = "16";

/// Items that the store says are done.
fn done(spine: &Spine, run: &str) -> Vec<String> {
    let steps = spine.steps(run).into_iter().filter(|step| step["status"] == "completed");
    steps.map(|step| step["name"].as_str().expect("a name").to_owned()).collect()
}

/// Of a batch some items are done, some hang in their tool, and some never began; then the server is gone, and its
/// store with it.
#[test]
fn l25_a_batch_that_froze_in_its_tool_is_completed_by_a_fresh_instance() {
    let began = Instant::now();
    let served = AtomicUsize::new(0);
    let fx = Fx::start(move |_, _| match served.fetch_add(1, Ordering::SeqCst) < ANSWERED {
        true => Answer::Done,
        false => Answer::Hangs,
    });
    let mut spine = Spine::fresh().with(&["--attempts", UNDER_WAY]).start();
    let (runs, items) = BATCH;
    let runs: Vec<String> = (0..runs).map(|number| format!("b{number}")).collect();
    let item = |number: usize| {
        let mut item = lines::patient_step(&format!("i{number}"), &fx.tool("i"), "idempotent");
        item["after"] = json!([]);
        // On Kafka, where no lock proves that a server is gone, its calls are missed after this.
        item["timeout_ms"] = json!(8000);
        item
    };
    for run in &runs {
        spine.start_run(&lines::plan(run, &lines::quick(3), (0..items).map(item).collect()));
    }
    let under_way: usize = UNDER_WAY.parse().expect("a number");
    let is_frozen = || fx.calls().len() == ANSWERED + under_way;
    waits::until("the calls that hang", || is_frozen().then_some(()));
    let before = waits::until("items that are done", || {
        let before: Vec<_> = runs.iter().map(|run| (run, done(&spine, run))).collect();
        before.iter().any(|(_, done)| !done.is_empty()).then_some(before)
    });
    spine.kill();
    fx.behave(|_, _| Answer::Done);
    spine.forget_store();
    spine.restart();
    for run in &runs {
        let ended = spine.wait_run(run, &["completed"]);
        assert_eq!(ended["steps"]["completed"], items, "{ended}");
    }
    for (run, done) in &before {
        for item in done {
            assert_eq!(fx.calls_of(run, item).len(), 1, "{run} {item} was done before");
        }
    }
    let effects = fx.rows().len();
    assert_eq!(effects, runs.len() * items, "one key for each item");
    let result = json!({"calls": fx.calls().len(), "effects": effects});
    row::print("frozen_batch", began, json!({"runs": runs.len(), "items": items}), result);
    spine.is_fold_of_log();
}
