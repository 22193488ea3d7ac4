//! Load at every way in: plans whose tools fail after the effect, and record runs whose events come in
//! several requests, each through another way in.

use serde_json::{Value, json};
use spine_tests::{Answer, Call, Fx, Http, answers::spread, lines, waits};
use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, Scope},
    time::{Duration, Instant},
};

pub(crate) const EFFECTS: [&str; 3] = ["idempotent", "at_most_once", "pure"];
pub(crate) const MAX_ATTEMPTS: u32 = 4;
const STEPS: usize = 6;
const RECORD_STEPS: usize = 3;
/// Requests that bring one record run.
const PARTS: usize = 3;
/// An attempt whose worker died is given up after this.
const TIMEOUT_MS: u64 = 2000;

/// How much load.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Posters at each way in.
    pub(crate) posters: usize,
    /// Between two posts of a poster.
    pub(crate) pause: Duration,
}

/// A plan that was acknowledged, and how long that took.
#[derive(Clone, Debug)]
pub(crate) struct Acked {
    pub(crate) run: String,
    pub(crate) took: Duration,
}

/// What the load was told.
#[derive(Debug, Default)]
pub(crate) struct Told {
    pub(crate) plans: Vec<Acked>,
    pub(crate) records: Vec<String>,
    /// Refusals of facts: there should be none while the brokers are well.
    pub(crate) facts_refused: Vec<String>,
    /// Answers to plans that had to be asked for again, by name.
    pub(crate) asked_again: BTreeMap<String, u64>,
}

/// A load that goes on until it is told to stop.
pub(crate) struct Load {
    seed: u64,
    stop: AtomicBool,
    told: Mutex<Told>,
}

/// Ends a load.
pub(crate) struct Stop<'load>(&'load AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Load {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, stop: AtomicBool::new(false), told: Mutex::default() }
    }

    /// Starts the posters, each on a thread of this scope.
    pub(crate) fn start<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        ports: &[u16],
        fx: &'scope Fx,
        pace: Pace,
    ) {
        for (at, port) in ports.iter().copied().enumerate() {
            for poster in 0..pace.posters {
                let name = format!("{at}-{poster}");
                let ports = ports.to_vec();
                scope.spawn(move || self.plans(&name, port, fx, pace.pause));
                let name = format!("{at}-{poster}");
                scope.spawn(move || self.records(&name, &ports, pace.pause));
            }
        }
    }

    /// Ends the load when it is dropped, also by a panic: the scope waits for the posters.
    pub(crate) fn until_dropped(&self) -> Stop<'_> {
        Stop(&self.stop)
    }

    /// What was told, once all posters have ended.
    pub(crate) fn told(self) -> Told {
        self.told.into_inner().expect("no poster panics")
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn plans(&self, name: &str, port: u16, fx: &Fx, pause: Duration) {
        let mut http = Http::new(port);
        for at in 0.. {
            if self.is_stopped() {
                return;
            }
            let run = format!("p{name}-{at}");
            let begun = Instant::now();
            self.make(&mut http, &plan(fx, &run));
            let acked = Acked { run, took: begun.elapsed() };
            self.told.lock().expect("no poster panics").plans.push(acked);
            waits::pass(pause);
        }
    }

    /// Sends a plan until it is answered. It names its run, so it may be sent again.
    fn make(&self, http: &mut Http, plan: &Value) {
        waits::until_taken(|| {
            let reply = http.post("/v1/runs", plan).expect("ways in do not end");
            if reply.status == 201 || reply.status == 200 {
                return Ok(());
            }
            assert_eq!(reply.status, 503, "{}", reply.json());
            let name = reply.json()["name"].as_str().unwrap_or("?").to_owned();
            let mut told = self.told.lock().expect("no poster panics");
            *told.asked_again.entry(name.clone()).or_default() += 1;
            Err(name)
        });
    }

    fn records(&self, name: &str, ports: &[u16], pause: Duration) {
        let mut ways: Vec<Http> = ports.iter().map(|port| Http::new(*port)).collect();
        for at in 0.. {
            if self.is_stopped() {
                return;
            }
            let run = format!("e{name}-{at}");
            let part = |part: usize| {
                let way = &mut ways[(at + part) % ports.len()];
                let body = lines::ndjson(&parts(&run)[part]);
                way.ask("POST", "/v1/events", "application/x-ndjson", &body)
            };
            let replies: Vec<_> = (0..PARTS).map(part).collect();
            let mut told = self.told.lock().expect("no poster panics");
            let refused = |reply: &std::io::Result<spine_tests::Reply>| match reply {
                Ok(reply) if reply.status == 202 => None,
                Ok(reply) => Some(format!("{run}: {} {}", reply.status, reply.json())),
                Err(error) => Some(format!("{run}: {error}")),
            };
            let refused: Vec<String> = replies.iter().filter_map(refused).collect();
            if refused.is_empty() {
                told.records.push(run);
            }
            told.facts_refused.extend(refused);
            drop(told);
            waits::pass(pause);
        }
    }

    /// How the tools behave: by seed, mostly well, sometimes failing after the effect.
    pub(crate) fn tools(&self) -> Fx {
        let seed = self.seed;
        Fx::start(move |call, before| behaviour(seed, call, before))
    }
}

fn behaviour(seed: u64, call: &Call, before: usize) -> Answer {
    match spread(seed, &[&call.run, &call.step, &before.to_string()]) % 20 {
        0 => Answer::DoneThen(500),
        1 => Answer::DoneThen(502),
        2 => Answer::DoneThen(504),
        3 => Answer::DoneThenDrops,
        4 => Answer::Refuses(503),
        5..=9 => Answer::DoneAfter(Duration::from_millis(300)),
        _ => Answer::Done,
    }
}

fn plan(fx: &Fx, run: &str) -> Value {
    let step = |at: usize| {
        let name = format!("s{at}");
        let mut step = lines::step(&name, &fx.tool(&name), EFFECTS[at % EFFECTS.len()]);
        step["timeout_ms"] = json!(TIMEOUT_MS);
        step
    };
    lines::plan(run, &lines::quick(MAX_ATTEMPTS), (0..STEPS).map(step).collect())
}

/// The events of a record run, as they are posted.
pub(crate) fn events(run: &str) -> Vec<Value> {
    lines::record_run(run, RECORD_STEPS)
}

fn parts(run: &str) -> Vec<Vec<Value>> {
    let events = events(run);
    events.chunks(events.len().div_ceil(PARTS)).map(<[Value]>::to_vec).collect()
}

/// The effect class of a step of the plans, by its text form.
pub(crate) fn effect_of(step: &str) -> &'static str {
    let at: usize = step[1..].trim_end_matches("#1").parse().expect("a number");
    EFFECTS[at % EFFECTS.len()]
}

/// Calls of tools in each second since `begun`.
pub(crate) fn calls_by_second(fx: &Fx, begun: Instant) -> Vec<usize> {
    let mut seconds = Vec::new();
    for call in fx.calls() {
        let second = call.at.saturating_duration_since(begun).as_secs() as usize;
        seconds.resize(seconds.len().max(second + 1), 0);
        seconds[second] += 1;
    }
    seconds
}

/// Does something at each of many items, a few at a time.
pub(crate) fn each<T: Sync>(items: &[T], at_once: usize, work: impl Fn(&T) + Sync) {
    let share = items.len().div_ceil(at_once).max(1);
    thread::scope(|scope| {
        for items in items.chunks(share) {
            scope.spawn(|| items.iter().for_each(&work));
        }
    });
}
