//! The same question at two ways in, while owners change: exactly one gets what both want.

use crate::{fleet::Fleet, load::each};
use serde_json::{Value, json};
use spine_tests::{Fx, Http, Servers, lines, row, waits};
use std::{
    collections::BTreeMap,
    sync::{
        Barrier, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

const PARTITIONS: u32 = 12;
const WORKERS: usize = 3;
/// Pairs that race beside one another, so that one partition without an owner does not stop all.
const LANES: usize = 4;
/// Runs of a lane: its races go round, so that they lie in many partitions.
const RUNS: usize = 25;
/// Between two changes of owners.
const EVERY: Duration = Duration::from_secs(4);
/// No lease ends while its agent still asks for the answer.
const LEASE_MS: u64 = 600_000;

/// A race: its lane, and its number in it.
#[derive(Clone, Copy, Debug)]
struct Race {
    lane: usize,
    at: usize,
}

impl Race {
    fn run(self) -> String {
        format!("j{}-{}", self.lane, self.at % RUNS)
    }

    fn step(self) -> String {
        format!("s{}", self.at)
    }

    fn begin(self, session: &str) -> Value {
        json!({"session": session, "ops": [{"op": "begin", "op_id": self.at / RUNS + 1,
            "step": {"name": self.step()}, "tool": "pay", "effect": "at_most_once", "input": {},
            "lease_ms": LEASE_MS, "timeout_ms": LEASE_MS}]})
    }
}

/// Answers that had to be asked for again, by name.
type Again = Mutex<BTreeMap<String, u64>>;

/// Sends the same operation until it has an answer; whether it is `execute`.
fn begin(http: &mut Http, race: Race, session: &str, again: &Again) -> bool {
    let path = format!("/v1/runs/{}/journal", race.run());
    waits::until_taken(|| {
        let reply = http.post(&path, &race.begin(session)).expect("ways in do not end");
        let body = reply.json();
        if reply.status == 503 {
            let name = body["name"].as_str().unwrap_or("?").to_owned();
            *again.lock().expect("no racer panics").entry(name.clone()).or_default() += 1;
            return Err(name);
        }
        assert_eq!(reply.status, 200, "{race:?} {session}: {body}");
        let status = body["results"][0]["status"].as_str().unwrap_or_default();
        assert!(["execute", "wait"].contains(&status), "{race:?} {session}: {body}");
        Ok(status == "execute")
    })
}

/// One session's part in the races of a lane.
fn race_all(
    (port, session): (u16, &str),
    races: &[Race],
    at_once: &Barrier,
    pause: Duration,
    again: &Again,
) -> Vec<bool> {
    let mut http = Http::new(port);
    let one = |race: &Race| {
        waits::pass(pause);
        at_once.wait();
        begin(&mut http, *race, session, again)
    };
    races.iter().map(one).collect()
}

/// Kills a worker and adds another, in turn, until told to stop; gives how often.
fn change_owners(fleet: &mut Fleet, stop: &AtomicBool) -> usize {
    for change in 0.. {
        let next = Instant::now() + EVERY;
        while Instant::now() < next {
            if stop.load(Ordering::SeqCst) {
                return change;
            }
            waits::pass(Duration::from_millis(50));
        }
        if change % 2 == 0 {
            let mut worker = fleet.workers.remove(0);
            worker.kill();
        } else {
            fleet.add_worker();
        }
    }
    unreachable!("it goes on until it is told to stop")
}

/// Each race has one winner.
fn one_winner(races: &[Race], a: &[bool], b: &[bool]) -> usize {
    for ((race, a), b) in races.iter().zip(a).zip(b) {
        assert!(a != b, "{race:?}: A executes {a}, B executes {b}");
    }
    a.iter().filter(|won| **won).count()
}

/// The log has one accepted start of the step, and so has whoever asks the other way in.
fn one_start(port: u16, race: Race) {
    let path = format!("/v1/runs/{}/steps/{}", race.run(), race.step());
    let step = Http::new(port).get(&path).expect("an answer").json();
    assert_eq!(step["attempts"].as_array().map(Vec::len), Some(1), "{race:?}: {step}");
    assert_eq!(step["status"], "running", "{race:?}: {step}");
}

fn make_runs(port: u16) {
    let mut http = Http::new(port);
    for lane in 0..LANES {
        for run in 0..RUNS {
            let run = json!({"run_id": format!("j{lane}-{run}"), "workflow": "race",
                "version": "1", "driver": "journal"});
            let reply = http.post("/v1/runs", &run).expect("an answer");
            assert_eq!(reply.status, 201, "{}", reply.json());
        }
    }
}

#[test]
fn c4_two_ways_in_begin_a_step_at_once_while_owners_change_and_one_executes() {
    let Some(servers) = Servers::named() else { return };
    let started = Instant::now();
    let races = row::size(200, 10_000);
    let pause = Duration::from_millis(row::size(400, 20) as u64);
    let mut fleet = Fleet::start(&servers, PARTITIONS, WORKERS);
    let ports = fleet.ports();
    make_runs(ports[0]);
    let of_lane = |lane| (0..races / LANES).map(|at| Race { lane, at }).collect::<Vec<_>>();
    let lanes: Vec<Vec<Race>> = (0..LANES).map(of_lane).collect();
    let (stop, again, won) = (AtomicBool::new(false), Again::default(), Mutex::new(0));
    let run_lane = |races: &Vec<Race>| {
        let at_once = Barrier::new(2);
        let (a, b) = thread::scope(|scope| {
            let a = scope.spawn(|| race_all((ports[0], "A"), races, &at_once, pause, &again));
            let b = scope.spawn(|| race_all((ports[1], "B"), races, &at_once, pause, &again));
            (a.join().expect("session A"), b.join().expect("session B"))
        });
        *won.lock().expect("no lane panics") += one_winner(races, &a, &b);
    };
    let changes = thread::scope(|scope| {
        let changes = scope.spawn(|| change_owners(&mut fleet, &stop));
        let raced = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            each(&lanes, LANES, run_lane);
        }));
        stop.store(true, Ordering::SeqCst);
        raced.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        changes.join().expect("owners change")
    });
    assert!(changes >= 3, "owners changed only {changes} times");
    let all: Vec<Race> = lanes.concat();
    each(&all, LANES, |race| one_start(ports[0], *race));
    fleet.stop();
    fleet.is_fold_of_log();
    let parameters = json!({"races": races, "lanes": LANES, "partitions": PARTITIONS,
        "workers": WORKERS, "every_ms": EVERY.as_millis() as u64});
    let again = again.into_inner().expect("no racer panics");
    let won = won.into_inner().expect("no lane panics");
    let result = json!({"won_by_a": won, "owner_changes": changes, "asked_again": again});
    row::print("live_races", started, parameters, result);
}

#[test]
fn c5_two_plans_under_one_run_id_at_two_ways_in_one_is_taken() {
    let Some(servers) = Servers::named() else { return };
    let fx = Fx::willing();
    let mut fleet = Fleet::start(&servers, PARTITIONS, 2);
    let ports = fleet.ports();
    let at_once = Barrier::new(2);
    let post = |port: u16, run: usize, name: &str| {
        let steps = vec![lines::step(name, &fx.tool(name), "pure")];
        let plan = lines::plan(&format!("r{run}"), &lines::quick(1), steps);
        at_once.wait();
        Http::new(port).post("/v1/runs", &plan).expect("an answer")
    };
    for run in 0..row::size(30, 500) {
        let (a, b) = thread::scope(|scope| {
            let a = scope.spawn(|| post(ports[0], run, "a"));
            let b = scope.spawn(|| post(ports[1], run, "b"));
            (a.join().expect("one"), b.join().expect("other"))
        });
        let mut statuses = [a.status, b.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409], "{} {}", a.json(), b.json());
        let (taken, refused) = if a.status == 409 { ("b", a.json()) } else { ("a", b.json()) };
        assert_eq!(refused["name"], "run_exists", "{refused}");
        let digests = refused["stored"].is_string() && refused["given"].is_string();
        assert!(digests && refused["stored"] != refused["given"], "no digests: {refused}");
        let seen = fleet.ingests[run % 2].wait_run(&format!("r{run}"), &["completed"]);
        assert_eq!(seen["steps"]["completed"], 1, "{seen}");
        assert_eq!(fx.calls_of(&format!("r{run}"), taken).len(), 1, "of {taken}");
    }
    fleet.stop();
    fleet.is_fold_of_log();
}
