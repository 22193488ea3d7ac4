//! What a fork may be given in place of the original's, by the command: another input, another plan, another version,
//! and that it undoes what it took over. Forks of agents' runs, and of what cannot be forked.

use serde_json::{Value, json};
use spine_tests::{Answer, Fx, Spine, lines, waits};
use std::path::PathBuf;

/// What `spine runs fork r` says, and whether it did it.
fn forks(spine: &Spine, words: &[&str]) -> (bool, String) {
    let command = ["runs", "fork", "r", "--run-id", "f", "--reason", "another try"];
    let out = spine.run(&[&command[..], words].concat());
    let said = [out.stdout, out.stderr].concat();
    (out.status.success(), String::from_utf8_lossy(&said).into_owned())
}

fn file(spine: &Spine, name: &str, text: &Value) -> PathBuf {
    let path = spine.dir().join(name);
    std::fs::write(&path, text.to_string()).expect("a file");
    path
}

/// A step that only reads, so that doing it again needs nobody's leave.
fn reads(fx: &Fx, name: &str, input: Value) -> Value {
    let mut step = lines::step(name, &fx.tool(name), "pure");
    step["input"] = input;
    step
}

/// A run of a step that rests on nothing, and one that rests on the input of the run.
fn resting_on_the_input(fx: &Fx, spine: &Spine) -> Value {
    let steps = vec![reads(fx, "a", json!(1)), reads(fx, "b", json!({"$ref": "run#/cents"}))];
    let mut plan = lines::plan("r", &lines::quick(1), steps);
    plan["input"] = json!({"cents": 5});
    spine.start_run(&plan);
    spine.wait_run("r", &["completed"]);
    plan
}

#[test]
fn c13_a_fork_with_another_input_does_again_what_rests_on_it() {
    let (fx, spine) = (Fx::willing(), Spine::fresh().start());
    resting_on_the_input(&fx, &spine);
    let input = file(&spine, "input.json", &json!({"cents": 7}));
    let (ok, told) = forks(&spine, &["--input", input.to_str().expect("a name")]);
    assert!(ok && told.starts_with("takes over from r: a\n"), "{told}");
    assert!(told.contains("it is given something else"), "{told}");
    let run = spine.wait_run("f", &["completed"]);
    assert_eq!((&run["input"], &run["version"]), (&json!({"cents": 7}), &json!("1")));
    let bodies = |run: &str, step: &str| {
        let calls = fx.calls_of(run, step).into_iter();
        calls.map(|call| call.body).collect::<Vec<String>>()
    };
    assert_eq!((bodies("f", "a").len(), bodies("f", "b")), (0, vec!["7".to_owned()]));
    assert_eq!(bodies("r", "b"), ["5"], "the original is untouched");
    let (ok, told) = forks(&spine, &["--input", "nowhere.json"]);
    assert!(!ok && told.contains("nowhere.json"), "{told}");
    spine.is_fold_of_log();
}

#[test]
fn c13_c16b_a_fork_with_another_plan_and_version_keeps_what_both_plans_ask_for() {
    let (fx, spine) = (Fx::willing(), Spine::fresh().start());
    let plan = resting_on_the_input(&fx, &spine);
    let steps = json!({"steps": [plan["steps"][0], reads(&fx, "c", json!({"$ref": "a#"}))]});
    let newer = file(&spine, "newer.json", &steps);
    let words = ["--plan", newer.to_str().expect("a name"), "--workflow-version", "2"];
    let (ok, told) = forks(&spine, &words);
    assert!(ok && told.starts_with("takes over from r: a\n"), "{told}");
    assert!(told.contains("the fork has no such step"), "{told}");
    assert_eq!(spine.wait_run("f", &["completed"])["version"], "2");
    assert_eq!(spine.wait_run("r", &["completed"])["version"], "1");
    let calls = |step: &str| fx.calls_of("f", step).len();
    assert_eq!((calls("a"), calls("b"), calls("c")), (0, 0, 1));

    let (ok, told) = forks(&spine, &[&words[..], &["--set", "a.input=2"]].concat());
    assert!(!ok && told.contains("cannot be used with"), "{told}");
    let both = json!({"run_id": "g", "reason": "both", "steps": steps["steps"],
        "change": {"a": {"input": 2}}});
    let problem = spine.http().post("/v1/runs/r/fork", &both).expect("an answer");
    assert_eq!((problem.status, &problem.json()["field"]), (422, &json!("change")));
    let no_plan = file(&spine, "no_plan.json", &json!({"steps": [{"name": "a"}]}));
    let (ok, told) = forks(&spine, &["--plan", no_plan.to_str().expect("a name")]);
    assert!(!ok && told.contains("tool"), "{told}");
    spine.is_fold_of_log();
}

/// A step that can be undone, and one that is refused, after which the fork is to be undone.
fn undone(name: &str, words: &[&str]) -> usize {
    let fx = Fx::start(|call, _| match call.path.as_str() {
        "/refuses" => Answer::Refuses(422),
        _ => Answer::Done,
    });
    let spine = Spine::fresh().start();
    let mut done = lines::step("done", &fx.tool("does"), "idempotent");
    done["compensate"] = json!({"tool": fx.tool("undoes"), "effect": "idempotent"});
    let mut refused = lines::step("refused", &fx.tool("refuses"), "idempotent");
    refused["on_exhausted"] = json!("fail");
    spine.start_run(&lines::plan("r", &lines::quick(1), vec![done, refused]));
    spine.wait_run("r", &["failed"]);
    let then = ["--set", r#"refused.on_exhausted="compensate""#];
    let (ok, told) = forks(&spine, &[&then[..], words].concat());
    assert!(ok && told.contains(&format!("of that done {name} undone if the fork is")), "{told}");
    spine.wait_run("f", &["failed"]);
    assert!(fx.calls_of("f", "done").is_empty(), "it was taken over");
    spine.is_fold_of_log();
    fx.calls().iter().filter(|call| call.path == "/undoes").count()
}

#[test]
fn c8_c13_a_fork_undoes_what_it_took_over_only_where_it_is_told_to() {
    assert_eq!(undone("are not", &[]), 0, "that is the original's business");
    assert_eq!(undone("are", &["--undo-reused"]), 1);
}

/// What an agent is answered.
fn says(spine: &Spine, run: &str, op_id: u64, op: &Value) -> Value {
    let mut op = op.clone();
    op["op_id"] = json!(op_id);
    let body = json!({"session": "agent", "ops": [op]});
    let reply = spine.http().post(&format!("/v1/runs/{run}/journal"), &body).expect("an answer");
    reply.json()["results"][0].clone()
}

fn begin(name: &str, effect: &str) -> Value {
    json!({"op": "begin", "step": {"name": name}, "tool": "by hand", "effect": effect, "input": name})
}

/// Waits until the store has what the agent did last.
fn is_stored(spine: &Spine, step: &str) {
    waits::until("the end of the step", || {
        let step = spine.get(&format!("/v1/runs/r/steps/{step}")).json();
        (step["status"] == "completed").then_some(())
    });
}

/// Does a step, which nobody has done.
fn does(spine: &Spine, run: &str, op_id: u64, name: &str, effect: &str) {
    let begun = says(spine, run, op_id, &begin(name, effect));
    assert_eq!(begun["status"], "execute", "{begun}");
    let done = json!({"op": "complete", "step": {"name": name}, "attempt": begun["attempt"],
        "lease": begun["lease"], "output": {"by": run}});
    assert_eq!(says(spine, run, op_id + 1, &done)["status"], "ok");
}

#[test]
fn c13_l40_a_fork_of_an_agents_run_replays_what_was_done_before_the_cut() {
    let mut spine = Spine::fresh().start();
    spine.start_run(&json!({"run_id": "r", "workflow": "it", "version": "1", "driver": "journal"}));
    for (op_id, (name, effect)) in
        [("a", "idempotent"), ("b", "pure"), ("c", "idempotent")].iter().enumerate()
    {
        does(&spine, "r", 1 + 2 * op_id as u64, name, effect);
    }
    is_stored(&spine, "c");
    let original = spine.get("/v1/runs/r/steps").json();

    let (ok, told) = forks(&spine, &["--from", "b"]);
    assert!(!ok && told.contains("--force accepts it"), "c may happen twice: {told}");
    assert_eq!(spine.get("/v1/runs/f").status, 404, "nothing was done");
    let (ok, told) = forks(&spine, &["--from", "b", "--force"]);
    assert!(ok && told.starts_with("takes over from r: a\n"), "{told}");
    // What was taken over is in the log, so it is there after a kill.
    spine.kill();
    spine.restart();
    let replayed = says(&spine, "f", 1, &begin("a", "idempotent"));
    let by = json!({"by": "r"});
    assert_eq!((&replayed["status"], &replayed["output"]), (&json!("replay"), &by));
    does(&spine, "f", 2, "b", "pure");
    does(&spine, "f", 4, "other", "idempotent");
    let end = json!({"op": "end", "status": "completed", "output": 1});
    assert_eq!(says(&spine, "f", 6, &end)["status"], "ok");
    spine.wait_run("f", &["completed"]);
    assert_eq!(spine.get("/v1/runs/r/steps").json(), original, "the original is untouched");
    spine.is_fold_of_log();
}

#[test]
fn c13_what_cannot_be_forked_so_is_refused_with_what_is_wrong() {
    let spine = Spine::fresh().start();
    spine.start_run(&json!({"run_id": "r", "workflow": "it", "version": "1", "driver": "journal"}));
    does(&spine, "r", 1, "a", "pure");
    is_stored(&spine, "a");
    let (ok, told) = forks(&spine, &["--set", "a.input=2"]);
    assert!(!ok && told.contains("it has no plan that could be changed"), "{told}");
    let plan = file(&spine, "plan.json", &json!({"steps": []}));
    let (ok, told) = forks(&spine, &["--plan", plan.to_str().expect("a name")]);
    assert!(!ok && told.contains("it has no plan that could be changed"), "{told}");
    let (ok, told) = forks(&spine, &["--from", "z"]);
    assert!(!ok && told.contains("no step z"), "{told}");
    let body = lines::ndjson(&lines::record_run("facts", 1));
    let reply = spine.http().ask("POST", "/v1/events", "application/x-ndjson", &body);
    assert_eq!(reply.expect("an answer").status, 202);
    spine.wait_run("facts", &["completed"]);
    let of_facts = json!({"reason": "another try"});
    let problem = spine.http().post("/v1/runs/facts/fork", &of_facts).expect("an answer");
    assert_eq!((problem.status, &problem.json()["name"]), (409, &json!("wrong_driver")));
    let of_nobody = spine.http().post("/v1/runs/nobody/fork", &of_facts).expect("an answer");
    assert_eq!(of_nobody.status, 404);
    let unknown = json!({"reason": "another try", "inputs": 1});
    let problem = spine.http().post("/v1/runs/r/fork", &unknown).expect("an answer");
    assert_eq!(problem.status, 422, "{}", problem.json());
    assert_eq!(spine.get("/v1/runs/f").status, 404, "nothing was done");
}
