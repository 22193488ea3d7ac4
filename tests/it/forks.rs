//! Forks on the real binary: what was finished is not called again, and a kill in between loses nothing.

use serde_json::{Value, json};
use spine_tests::{Answer, Fx, Spine, lines};

const STEPS: usize = 10;

/// Ten steps, of which the seventh is refused as long as its input is the old one.
fn plan(fx: &Fx) -> Value {
    let step = |at: usize| {
        let mut step = lines::step(&format!("s{at}"), &fx.tool("t"), "idempotent");
        step["input"] = json!({"cents": at});
        step["on_exhausted"] = json!("fail");
        step
    };
    lines::plan("r", &lines::quick(1), (1..=STEPS).map(step).collect())
}

fn fx() -> Fx {
    Fx::start(|call, _| match call.body.contains(r#""cents":7}"#) {
        true => Answer::Refuses(422),
        false => Answer::Done,
    })
}

fn fork(spine: &Spine, body: &Value) -> (u16, Value) {
    let reply = spine.http().post("/v1/runs/r/fork", body).expect("an answer");
    (reply.status, reply.json())
}

#[test]
fn c13_l40_a_fork_keeps_finished_work_and_changes_a_parameter() {
    let (fx, mut spine) = (fx(), Spine::fresh().start());
    spine.start_run(&plan(&fx));
    spine.wait_run("r", &["failed"]);
    let original = spine.get("/v1/runs/r/steps").json();
    let change = json!({"s7": {"input": {"cents": 70.0}}});
    let dry = json!({"reason": "try", "dry_run": true, "change": change});
    let (status, shown) = fork(&spine, &dry);
    assert_eq!((status, shown["reused"].as_array().map(Vec::len)), (200, Some(6)), "{shown}");
    assert_eq!(shown["again"][0]["because"], "unfinished");
    assert_eq!(shown["again"][0]["may_repeat"], false, "a refusal had no effect");
    let new = json!({"run_id": "f", "reason": "another amount", "change": change});
    assert_eq!(fork(&spine, &new).0, 201);
    spine.wait_run("f", &["completed"]);
    for at in 1..=STEPS {
        let (again, calls) = (at > 6, fx.calls_of("f", &format!("s{at}")).len());
        assert_eq!(calls, usize::from(again), "s{at}");
    }
    assert!(fx.calls_of("f", "s7")[0].body.contains("70.0"), "literals stay as they are written");
    assert_eq!(spine.get("/v1/runs/r/steps").json(), original, "the original is untouched");
    // What was forked before is told so, after a kill as well.
    spine.kill();
    spine.restart();
    assert_eq!(fork(&spine, &new).0, 200);
    let other = json!({"run_id": "f", "reason": "something else", "change": change});
    let (status, problem) = fork(&spine, &other);
    assert_eq!((status, &problem["name"]), (409, &json!("run_exists")), "{problem}");
    let diff = spine.get("/v1/runs/r/diff/f").json();
    let differs: Vec<&str> =
        diff["steps"].as_array().unwrap().iter().filter_map(|step| step["step"].as_str()).collect();
    assert_eq!(differs, ["s10#1", "s7#1", "s8#1", "s9#1"]);
    assert_eq!(diff["equal_steps"], 6);
    spine.is_fold_of_log();
}

#[test]
fn c13_effects_that_may_happen_twice_are_listed_first_and_must_be_accepted() {
    let (fx, spine) = (fx(), Spine::fresh().start());
    spine.start_run(&plan(&fx));
    spine.wait_run("r", &["failed"]);
    let new = json!({"run_id": "f", "reason": "again", "from": "s5",
        "change": {"s7": {"input": {"cents": 71}}}});
    let (status, problem) = fork(&spine, &new);
    assert_eq!((status, &problem["name"]), (409, &json!("needs_force")), "{problem}");
    let repeats: Vec<&Value> =
        problem["repeats"].as_array().unwrap().iter().map(|step| &step["step"]).collect();
    assert_eq!(repeats, ["s5#1", "s6#1"]);
    assert_eq!(fx.calls().len(), 7, "nothing was done");
    assert_eq!(spine.get("/v1/runs/f").status, 404);
    let mut forced = new;
    forced["force"] = json!(true);
    assert_eq!(fork(&spine, &forced).0, 201);
    let run = spine.wait_run("f", &["completed"]);
    assert_eq!(run["fork"]["force"], true);
    assert_eq!(fx.calls_of("f", "s5").len(), 1);
    spine.is_fold_of_log();
}

#[test]
fn c16b_a_journal_run_ends_with_the_version_that_it_began_with() {
    let spine = Spine::fresh().start();
    for version in ["1", "2"] {
        let body = json!({"run_id": format!("j{version}"), "workflow": "w", "version": version,
            "driver": "journal"});
        spine.start_run(&body);
    }
    let ops = |run: &str, version: &str| {
        let body = json!({"session": "S", "version": version, "ops": [
            {"op": "begin", "op_id": 1, "step": {"name": "a"}, "tool": "t", "effect": "pure", "input": 1}]});
        let reply =
            spine.http().post(&format!("/v1/runs/{run}/journal"), &body).expect("an answer");
        reply.json()["results"][0].clone()
    };
    assert_eq!(ops("j1", "2")["code"], 1230, "version_conflict");
    assert_eq!(ops("j1", "1")["status"], "execute");
    assert_eq!(ops("j2", "2")["status"], "execute", "two versions run side by side");
}
