//! Plan runs against a tool server with seeded transient faults: the number that completes is not
//! a matter of chance, it is computed from the seed beforehand.

use serde_json::json;
use spine_tests::{Answer, Fx, Spine, answers::strikes, lines, row, waits};
use std::{collections::BTreeMap, time::Instant};

const SEED: u64 = 20_260_801;
const STEPS: usize = 10;

/// What the seed says about a run: its calls per step, and whether it completes.
fn foretold(run: &str, max_attempts: u32) -> (Vec<u32>, bool) {
    let mut calls = Vec::new();
    for at in 0..STEPS {
        let step = format!("s{at}#1");
        let won = (1..=max_attempts).find(|attempt| !strikes(SEED, run, &step, *attempt));
        calls.push(won.unwrap_or(max_attempts));
        if won.is_none() {
            return (calls, false);
        }
    }
    (calls, true)
}

fn run_id(max_attempts: u32, at: usize) -> String {
    format!("f{max_attempts}-{at}")
}

fn start_all(spine: &Spine, fx: &Fx, max_attempts: u32, runs: usize) {
    let mut http = spine.http();
    for at in 0..runs {
        let step = |at: usize| lines::patient_step(&format!("s{at}"), &fx.tool("t"), "idempotent");
        let steps = (0..STEPS).map(step).collect();
        let plan = lines::plan(&run_id(max_attempts, at), &lines::quick(max_attempts), steps);
        // A full queue says when to come back; that is the backpressure that was promised.
        waits::until("the run to be taken", || {
            let reply = http.post("/v1/runs", &plan).expect("an answer");
            assert!(reply.status == 201 || reply.status == 429, "{}", reply.json());
            (reply.status == 201).then_some(())
        });
    }
}

/// Runs with so many attempts; gives the part that completed, in percent.
fn with_attempts(spine: &Spine, fx: &Fx, max_attempts: u32, runs: usize) -> f64 {
    start_all(spine, fx, max_attempts, runs);
    let mut completed = 0;
    for at in 0..runs {
        let run = run_id(max_attempts, at);
        let (calls, completes) = foretold(&run, max_attempts);
        let seen = spine.wait_run(&run, &["completed", "waiting"]);
        assert_eq!(seen["status"] == "completed", completes, "{seen}");
        assert_eq!(seen["attempts"], calls.iter().sum::<u32>(), "{seen}");
        completed += u32::from(completes);
    }
    100.0 * f64::from(completed) / runs as f64
}

/// The tool server counted the same calls.
fn check_counts(fx: &Fx, max_attempts: u32, runs: usize) {
    let mut counted: BTreeMap<(String, String), u32> = BTreeMap::new();
    for call in fx.calls() {
        *counted.entry((call.run, call.step)).or_default() += 1;
    }
    for at in 0..runs {
        let run = run_id(max_attempts, at);
        for (at, calls) in foretold(&run, max_attempts).0.into_iter().enumerate() {
            let counted = counted.get(&(run.clone(), format!("s{at}#1")));
            assert_eq!(counted, Some(&calls), "{run} s{at}");
        }
    }
}

#[test]
fn f20_seeded_faults_give_exactly_the_foretold_completions() {
    let started = Instant::now();
    let runs = row::size_on(1000, 100, 10_000);
    let fx = Fx::start(|call, _| {
        let strikes = strikes(SEED, &call.run, &call.step, call.attempt);
        if strikes { Answer::Refuses(503) } else { Answer::Done }
    });
    let spine = Spine::fresh().with(&["--breaker-failures", "0"]).start();
    let mut rates = Vec::new();
    for (max_attempts, percent, tolerance) in [(1, 19.7, 1.2), (3, 96.7, 0.6), (4, 99.5, 0.25)] {
        let rate = with_attempts(&spine, &fx, max_attempts, runs);
        check_counts(&fx, max_attempts, runs);
        let near = (rate - percent).abs() <= tolerance;
        assert!(near || !row::is_soak(), "{max_attempts} attempts: {rate} % completed");
        rates.push(json!({"max_attempts": max_attempts, "completed_percent": rate}));
    }
    row::print("fault_rates", started, json!({"runs": runs, "seed": SEED}), json!(rates));
}
