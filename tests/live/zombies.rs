//! Workers that were stopped and come back after somebody took their place: the log holds what they
//! append, the fold makes nothing of it, and they act on nothing.

use crate::{
    checks::{self, history, stored_history},
    fleet::{Fleet, Held},
    load::{Load, Pace, Told, each},
};
use rustix::process::Signal;
use serde_json::{Value, json};
use spine_tests::{Answer, Fx, Servers, Spine, lines, row, substrate::SESSION_MS, waits};
use std::{
    collections::BTreeMap,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

/// What a worker may do while it does not know yet that it was replaced, it does within this.
const AWAKE: Duration = Duration::from_secs(5);
const PACE: Pace = Pace { posters: 2, pause: Duration::from_millis(100) };
const PARTITIONS: u32 = 4;
const TIMEOUT_MS: u64 = 1000;

/// A fleet whose first worker owns everything, and a second one that has begun to join.
fn one_and_a_spare(servers: &Servers, partitions: u32, point: Option<&str>) -> Fleet {
    let mut fleet = Fleet::without_workers(servers, partitions);
    let mut first = fleet.worker();
    first.fails_at(point);
    first.restart();
    fleet.workers.push(first);
    fleet.add_worker();
    fleet
}

/// Waits until every partition is held, and none by this worker.
fn replaced(fleet: &Fleet, worker: &Spine, partitions: u32) -> BTreeMap<u32, Held> {
    let address = format!("127.0.0.1:{}", worker.port());
    waits::until("others in the place of the halted worker", || {
        let held = fleet.held();
        let is_replaced = held.values().all(|held| held.address != address);
        (is_replaced && held.len() == partitions as usize).then_some(held)
    })
}

/// A start that the fold accepted.
#[derive(Clone, Debug)]
struct Start {
    by: String,
    partition: u32,
    offset: u64,
}

/// The starts of a run that the fold accepted and the store has, by run, step and attempt.
fn starts(port: u16, run: &str) -> BTreeMap<(String, String, u64), Start> {
    let mut starts = BTreeMap::new();
    for event in stored_history(port, run) {
        if event["kind"] == "step_started" && event["verdict"] == "applied" {
            let step = event["step"].as_str().unwrap_or_default().to_owned();
            let by = event["actor"].as_str().unwrap_or_default().to_owned();
            let (partition, offset) = place(&event);
            let attempt = event["attempt"].as_u64().unwrap_or(0);
            starts.insert((run.to_owned(), step, attempt), Start { by, partition, offset });
        }
    }
    starts
}

/// Whatever arrived at the tools since the zombie woke up was not decided by it before somebody took its
/// place. It may own partitions again, under a new claim.
fn sent_nothing(
    port: u16,
    fx: &Fx,
    zombie: &str,
    since: &BTreeMap<u32, Held>,
    woken: Instant,
) -> usize {
    let calls = fx.calls();
    let late: Vec<_> = calls.iter().filter(|call| call.at >= woken).collect();
    let mut known = BTreeMap::new();
    for call in &late {
        let key = (call.run.clone(), call.step.clone(), u64::from(call.attempt));
        // A call may be under way before the store has its start, and never before the log has.
        let start = waits::until(&format!("the start of {key:?}, which was sent"), || {
            if !known.contains_key(&key) {
                known.extend(starts(port, &call.run));
            }
            known.get(&key).cloned()
        });
        let is_behind = since.get(&start.partition).is_some_and(|held| start.offset > held.claim);
        let is_others = start.by != format!("owner:{zombie}");
        assert!(
            is_behind || is_others,
            "{key:?} of {start:?} was sent {:?} after the worker woke up; others hold {since:?}",
            call.at - woken
        );
    }
    late.len()
}

/// What the zombie appended under its old claim behind the claim of whoever replaced it and what changed
/// nothing, by kind, verdict and reason. Of its decisions none counts.
fn of_zombie(
    port: u16,
    runs: &[String],
    zombie: &str,
    since: &BTreeMap<u32, Held>,
) -> BTreeMap<String, u64> {
    let mut verdicts = BTreeMap::new();
    for run in runs {
        for event in history(port, run) {
            let (partition, offset) = place(&event);
            let Some(newer) = since.get(&partition).map(|held| held.claim) else { continue };
            let under = event["event"]["claim"].as_u64();
            let is_old = offset > newer && under.is_none_or(|claim| claim < newer);
            if !is_old || event["actor"] != format!("owner:{zombie}") {
                continue;
            }
            let is_late = event["reason"] == "older_claim" || event["reason"] == "broken_batch";
            let is_stale = event["verdict"] == "stale" && is_late;
            assert!(is_stale || is_outcome(&event), "a decision of a zombie counted: {event}");
            // An outcome names no claim: which of them were late only their verdict says.
            if event["verdict"] == "applied" {
                continue;
            }
            let name = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
            let name = format!("{} {} {}", name("kind"), name("verdict"), name("reason"));
            *verdicts.entry(name.trim().to_owned()).or_default() += 1;
        }
    }
    verdicts
}

/// What happened, happened, whoever reports it: outcomes are not fenced.
fn is_outcome(event: &Value) -> bool {
    let kind = event["kind"].as_str().unwrap_or_default();
    ["step_completed", "step_failed", "step_released"].contains(&kind)
}

fn place(event: &Value) -> (u32, u64) {
    let position = &event["position"];
    let number = |field: &str| position[field].as_u64().expect("a position");
    (number("partition") as u32, number("offset"))
}

/// What one halt came to.
#[derive(Debug, Default)]
struct Halt {
    lag: u64,
    in_flight: usize,
    late_calls: usize,
}

/// Halts the first worker under load until others have its place and have caught up; then wakes it.
fn halt_and_wake(fleet: &mut Fleet, fx: &Fx) -> (Halt, String, BTreeMap<u32, Held>) {
    let port = fleet.ingests[0].port();
    let address = format!("127.0.0.1:{}", fleet.workers[0].port());
    let own = waits::until("a partition of the first worker", || {
        fleet.held().into_values().find(|held| held.address == address)
    });
    let before = fx.calls().len();
    fleet.workers[0].signal(Signal::STOP);
    let lag = fleet.held().values().map(|held| held.lag).sum();
    waits::pass(Duration::from_millis(SESSION_MS));
    let since = replaced(fleet, &fleet.workers[0], PARTITIONS);
    let in_flight = fx.calls().len() - before;
    waits::pass(AWAKE);
    let woken = Instant::now();
    fleet.workers[0].signal(Signal::CONT);
    waits::pass(AWAKE);
    let late_calls = sent_nothing(port, fx, &own.worker, &since, woken);
    (Halt { lag, in_flight, late_calls }, own.worker, since)
}

/// C6: a worker that is halted for longer than its session changes nothing when it comes back.
#[test]
fn c6_a_worker_that_was_halted_under_load_changes_nothing_when_it_wakes_up() {
    let Some(servers) = Servers::named() else { return };
    let started = Instant::now();
    let rounds = row::size(2, 10);
    let mut fleet = one_and_a_spare(&servers, PARTITIONS, None);
    let load = Load::new(31);
    let fx = load.tools();
    let mut halts = Vec::new();
    thread::scope(|scope| {
        let load_ends = load.until_dropped();
        load.start(scope, &fleet.ports(), &fx, PACE);
        waits::pass(Duration::from_secs(2));
        for _ in 0..rounds {
            halts.push(halt_and_wake(&mut fleet, &fx));
            // The other one is next.
            fleet.workers.rotate_left(1);
        }
        drop(load_ends);
    });
    let told = load.told();
    assert!(told.facts_refused.is_empty(), "facts were refused: {:?}", told.facts_refused);
    let statuses = checks::runs(&fleet.ingests, &told);
    checks::effects(&fx);
    let attempts = checks::attempts(&fleet.ingests[0], &fx, &told);
    let verdicts = verdicts_of(&fleet, &told, &halts);
    fleet.stop();
    fleet.is_fold_of_log();
    let halts: Vec<Value> = halts
        .iter()
        .map(|(halt, ..)| {
            json!({"lag_at_halt": halt.lag, "late_calls_of_others": halt.late_calls,
                "calls_of_others_meanwhile": halt.in_flight})
        })
        .collect();
    let result = json!({"plans": told.plans.len(), "records": told.records.len(), "halts": halts,
        "statuses": statuses, "attempts": attempts.json(), "events_of_zombies": verdicts});
    let parameters = json!({"rounds": rounds, "partitions": PARTITIONS, "session_ms": SESSION_MS});
    row::print("zombies", started, parameters, result);
}

fn verdicts_of(
    fleet: &Fleet,
    told: &Told,
    halts: &[(Halt, String, BTreeMap<u32, Held>)],
) -> BTreeMap<String, u64> {
    let runs: Vec<String> = told.plans.iter().map(|acked| acked.run.clone()).collect();
    let all = Mutex::new(BTreeMap::new());
    each(&runs, 6, |run| {
        for (_, zombie, since) in halts {
            let of_run =
                of_zombie(fleet.ingests[0].port(), std::slice::from_ref(run), zombie, since);
            for (name, count) in of_run {
                *all.lock().expect("no check panics").entry(name).or_default() += count;
            }
        }
    });
    all.into_inner().expect("no check panics")
}

/// Where the worker halts: its N-th batch is decided and not appended. The first one holds the start of
/// the first step; the second its outcome and the start of the next step.
const POINTS: [(usize, &str); 2] = [(1, "decided:1:stop"), (2, "decided:2:stop")];

fn two_steps(fx: &Fx) -> Value {
    let step = |name: &str| {
        let mut step = lines::step(name, &fx.tool(name), "at_most_once");
        step["timeout_ms"] = json!(TIMEOUT_MS);
        step
    };
    lines::plan("r", &lines::quick(2), vec![step("one"), step("two")])
}

/// C6: an append that was queued before the take-over and lands minutes after it folds to stale.
#[test]
fn c6_an_append_that_lands_after_the_takeover_folds_to_stale() {
    let Some(servers) = Servers::named() else { return };
    let started = Instant::now();
    let asleep = Duration::from_secs(row::size(3, 180) as u64);
    let mut rows = Vec::new();
    for (at, point) in POINTS {
        let fx = Fx::start(|_, _| Answer::DoneAfter(Duration::from_millis(50)));
        let mut fleet = one_and_a_spare(&servers, 1, Some(point));
        let own = waits::until("its claim", || fleet.held().remove(&0));
        let reply = thread::scope(|scope| {
            let posted = scope.spawn(|| post_until_answered(&fleet.ingests[0], &two_steps(&fx)));
            waits::until("the halt", || fleet.workers[0].is_halted().then_some(()));
            posted.join().expect("no panic")
        });
        assert!([200, 201].contains(&reply), "{reply}");
        let since = replaced(&fleet, &fleet.workers[0], 1);
        let expected = if at == 1 { "completed" } else { "waiting" };
        fleet.ingests[1].wait_run("r", &[expected]);
        waits::pass(asleep);
        let woken = Instant::now();
        fleet.workers[0].signal(Signal::CONT);
        // The late success completes the first step, and its owner goes on with the second.
        fleet.ingests[1].wait_run("r", &["completed"]);
        let stale = waits::until("the late append", || {
            let verdicts =
                of_zombie(fleet.ingests[0].port(), &["r".to_owned()], &own.worker, &since);
            let is_there = verdicts.contains_key("step_started stale older_claim");
            is_there.then_some(verdicts)
        });
        let late = sent_nothing(fleet.ingests[0].port(), &fx, &own.worker, &since, woken);
        assert_eq!(late, at - 1, "calls after it woke up: {:?}", fx.calls());
        for step in ["one", "two"] {
            assert_eq!(fx.calls_of("r", step).len(), 1, "{step}: {:?}", fx.calls());
        }
        fleet.stop();
        fleet.is_fold_of_log();
        rows.push(json!({"point": point, "events_of_the_zombie": stale}));
    }
    let parameters = json!({"asleep_ms": asleep.as_millis() as u64, "session_ms": SESSION_MS});
    row::print("late_append", started, parameters, json!(rows));
}

/// Sends a plan until it is answered: its owner may be halted before it tells the verdict.
fn post_until_answered(way: &Spine, plan: &Value) -> u16 {
    waits::until("an answer to the plan", || {
        let reply = way.http().post("/v1/runs", plan).expect("an answer");
        (reply.status != 503).then_some(reply.status)
    })
}
