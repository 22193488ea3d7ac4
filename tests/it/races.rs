//! Two who want the same thing at once: exactly one gets it, and the other is told.

use serde_json::{Value, json};
use spine_tests::{Fx, Http, Spine, lines, row};
use std::{sync::Barrier, thread, time::Instant};

fn begin(session: &str, at: usize) -> Value {
    json!({"session": session, "ops": [{"op": "begin", "op_id": at + 1,
        "step": {"name": format!("s{at}")}, "tool": "pay", "effect": "at_most_once", "input": {}}]})
}

/// Whether this session was told to execute each step.
fn begin_all(port: u16, session: &str, races: usize, at_once: &Barrier) -> Vec<bool> {
    let mut http = Http::new(port);
    let one = |at: usize| {
        at_once.wait();
        let path = format!("/v1/runs/j{}/journal", at / 100);
        let reply = http.post(&path, &begin(session, at)).expect("an answer");
        assert_eq!(reply.status, 200, "{}", reply.json());
        let status = reply.json()["results"][0]["status"].clone();
        assert!(status == "execute" || status == "wait", "{}", reply.json());
        status == "execute"
    };
    (0..races).map(one).collect()
}

#[test]
fn c4_two_sessions_begin_a_step_at_once_and_one_executes() {
    let started = Instant::now();
    let races = row::size_on(500, 200, 10_000);
    let spine = Spine::fresh().start();
    for run in 0..races.div_ceil(100) {
        let run = json!({"run_id": format!("j{run}"), "workflow": "race", "version": "1",
            "driver": "journal"});
        spine.start_run(&run);
    }
    let at_once = Barrier::new(2);
    let (a, b) = thread::scope(|scope| {
        let a = scope.spawn(|| begin_all(spine.port(), "A", races, &at_once));
        let b = scope.spawn(|| begin_all(spine.port(), "B", races, &at_once));
        (a.join().expect("session A"), b.join().expect("session B"))
    });
    for (at, (a, b)) in a.iter().zip(&b).enumerate() {
        assert!(a != b, "race {at}: A executes {a}, B executes {b}");
    }
    let won = a.iter().filter(|won| **won).count();
    row::print("races", started, json!({"races": races}), json!({"won_by_a": won}));
}

#[test]
fn c5_two_plans_under_one_run_id_one_is_taken() {
    let fx = Fx::willing();
    let spine = Spine::fresh().start();
    let at_once = Barrier::new(2);
    let post = |run: usize, name: &str| {
        let steps = vec![lines::step(name, &fx.tool(name), "pure")];
        let plan = lines::plan(&format!("r{run}"), &lines::quick(1), steps);
        at_once.wait();
        spine.http().post("/v1/runs", &plan).expect("an answer")
    };
    for run in 0..20 {
        let (a, b) = thread::scope(|scope| {
            let a = scope.spawn(|| post(run, "a"));
            let b = scope.spawn(|| post(run, "b"));
            (a.join().expect("one"), b.join().expect("other"))
        });
        let mut statuses = [a.status, b.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409], "{} {}", a.json(), b.json());
        let refused = if a.status == 409 { a.json() } else { b.json() };
        assert_eq!(refused["name"], "run_exists", "{refused}");
        let text = refused.to_string();
        assert!(text.contains("stored") && text.contains("given"), "no digests: {text}");
    }
}
