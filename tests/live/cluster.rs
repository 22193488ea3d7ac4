//! Workers come and go under load: nothing is lost, nothing happens twice, order is kept.

use crate::{
    checks,
    fleet::{self, Fleet},
    load::{Load, Pace, Told, calls_by_second},
};
use serde_json::{Value, json};
use spine_tests::{Fx, Servers, row, substrate::SESSION_MS, waits};
use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

const PARTITIONS: u32 = 12;
const WORKERS: usize = 4;
/// Between two changes of the group.
const EVERY: Duration = Duration::from_secs(10);
/// Time at the beginning and at the end in which nothing changes: what goes on then is compared.
const CALM: Duration = Duration::from_secs(6);
/// F11b: partitions have a new owner within the lease and this.
const BEYOND_LEASE: Duration = Duration::from_secs(5);
const PACE: Pace = Pace { posters: 3, pause: Duration::from_millis(250) };

/// What is done to the group, in turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Kill,
    Add,
    Stop,
}

const CHANGES: [Change; 4] = [Change::Kill, Change::Add, Change::Stop, Change::Add];

/// How long partitions were without an owner, in milliseconds, by what was done.
type Takeovers = BTreeMap<&'static str, Vec<u64>>;

/// The first worker goes, and it is waited for new owners of what it had.
fn take_away(fleet: &mut Fleet, change: Change, takeovers: &mut Takeovers) {
    let way = fleet.ingests[0].port();
    let mut worker = fleet.workers.remove(0);
    let address = format!("127.0.0.1:{}", worker.port());
    let left = fleet::of_address(&fleet::held(way), &address);
    let since = Instant::now();
    let name = if change == Change::Kill { "kill" } else { "term" };
    thread::scope(|scope| {
        scope.spawn(|| match change {
            Change::Kill => worker.kill(),
            Change::Stop | Change::Add => {
                let ended = worker.stop();
                assert!(ended.success(), "{ended}:\n{}", worker.words());
            }
        });
        let took = fleet::takeover(way, &left, since);
        if !left.is_empty() {
            takeovers.entry(name).or_default().push(took.as_millis() as u64);
        }
    });
}

/// Runs what changes the group, under load; gives what was told and when the changes were over.
fn under_load(
    fleet: &mut Fleet,
    load: Load,
    fx: &Fx,
    change: impl FnOnce(&mut Fleet),
) -> (Told, Instant) {
    let mut over = Instant::now();
    thread::scope(|scope| {
        let load_ends = load.until_dropped();
        load.start(scope, &fleet.ports(), fx, PACE);
        waits::pass(CALM);
        change(fleet);
        over = Instant::now();
        waits::pass(CALM);
        drop(load_ends);
    });
    (load.told(), over)
}

fn most_ms(told: &Told) -> u64 {
    told.plans.iter().map(|acked| acked.took.as_millis() as u64).max().unwrap_or(0)
}

/// Calls a second before the first change and after the last; the first second is a warm-up.
fn throughput(fx: &Fx, begun: Instant, over: Instant) -> (f64, f64) {
    let seconds = calls_by_second(fx, begun);
    let mean = |from: usize, to: usize| {
        let of = &seconds[from.min(seconds.len())..to.min(seconds.len())];
        of.iter().sum::<usize>() as f64 / of.len().max(1) as f64
    };
    let after = over.saturating_duration_since(begun).as_secs() as usize + 1;
    let calm = CALM.as_secs() as usize;
    (mean(1, calm), mean(after, after + calm - 1))
}

/// Everything that is asked after the load has ended; the row's figures.
fn check(fleet: &mut Fleet, fx: &Fx, told: &Told) -> Value {
    assert!(told.plans.len() > 100 && told.records.len() > 100, "there was no load");
    assert!(told.facts_refused.is_empty(), "facts were refused: {:?}", told.facts_refused);
    let statuses = checks::runs(&fleet.ingests, told);
    checks::effects(fx);
    let attempts = checks::attempts(&fleet.ingests[1], fx, told);
    fleet.stop();
    fleet.is_fold_of_log();
    json!({"plans": told.plans.len(), "records": told.records.len(), "calls": fx.calls().len(),
        "statuses": statuses, "attempts": attempts.json(), "asked_again": told.asked_again,
        "plan_answer_most_ms": most_ms(told)})
}

/// Puts the figures into the row. What else the machine does decides the second one too, so that is said.
fn with_throughput(mut result: Value, (before, after): (f64, f64)) -> Value {
    let machine = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    result["calls_per_second"] = json!({"before": before.round(), "after": after.round()});
    result["load_average"] = json!(machine.split(' ').next());
    result
}

/// C16: the throughput returns.
fn returned((before, after): (f64, f64)) {
    assert!(after >= before / 2.0, "throughput did not return: {before}, then {after} calls/s");
}

#[test]
fn c16_workers_come_and_go_every_ten_seconds_under_load() {
    let Some(servers) = Servers::named() else { return };
    let started = Instant::now();
    let changes = row::size(4, 17);
    let mut fleet = Fleet::start(&servers, PARTITIONS, WORKERS);
    let load = Load::new(23);
    let fx = load.tools();
    let (begun, mut takeovers) = (Instant::now(), Takeovers::new());
    let (told, over) = under_load(&mut fleet, load, &fx, |fleet| {
        for at in 0..changes {
            let next = Instant::now() + EVERY;
            match CHANGES[at % CHANGES.len()] {
                Change::Add => fleet.add_worker(),
                change => take_away(fleet, change, &mut takeovers),
            }
            waits::pass(next.saturating_duration_since(Instant::now()));
        }
    });
    let rates = throughput(&fx, begun, over);
    let mut result = with_throughput(check(&mut fleet, &fx, &told), rates);
    result["takeover_ms"] = json!(takeovers);
    let parameters = json!({"workers": WORKERS, "ways_in": 2, "partitions": PARTITIONS,
        "changes": changes, "every_ms": EVERY.as_millis() as u64, "session_ms": SESSION_MS});
    row::print("cluster", started, parameters, result);
    in_time(&takeovers);
    returned(rates);
}

/// F11b: takeover within the lease and five seconds.
fn in_time(takeovers: &Takeovers) {
    let most = SESSION_MS + BEYOND_LEASE.as_millis() as u64;
    let worst = takeovers.values().flatten().max().copied().unwrap_or(0);
    assert!(worst < most, "a takeover took {worst} ms: {takeovers:?}");
}

/// Attempts that were lost although their worker was stopped in an orderly way.
fn lost(result: &Value) -> u64 {
    result["attempts"]["ends"]["lost"].as_u64().unwrap_or(0)
}

#[test]
fn f11b_rolling_restart_loses_no_attempt_and_refuses_no_fact() {
    let Some(servers) = Servers::named() else { return };
    let started = Instant::now();
    let rounds = row::size(1, 5);
    let mut fleet = Fleet::start(&servers, PARTITIONS, WORKERS);
    let load = Load::new(29);
    let fx = load.tools();
    let (begun, mut takeovers) = (Instant::now(), Takeovers::new());
    let (told, over) = under_load(&mut fleet, load, &fx, |fleet| {
        for _ in 0..rounds * WORKERS {
            // What a rolling update does: one goes, another one comes, and is ready before the next goes.
            take_away(fleet, Change::Stop, &mut takeovers);
            let worker = fleet.worker().start();
            fleet.workers.push(worker);
        }
    });
    let rates = throughput(&fx, begun, over);
    let mut result = with_throughput(check(&mut fleet, &fx, &told), rates);
    result["takeover_ms"] = json!(takeovers);
    let parameters = json!({"workers": WORKERS, "ways_in": 2, "partitions": PARTITIONS,
        "restarts": rounds * WORKERS, "session_ms": SESSION_MS});
    let lost = lost(&result);
    row::print("rolling_restart", started, parameters, result);
    in_time(&takeovers);
    returned(rates);
    assert_eq!(lost, 0, "attempts of workers that were stopped in an orderly way were lost");
}
