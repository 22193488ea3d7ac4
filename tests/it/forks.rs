//! Forks on the real binary: what was finished is not called again, and a kill in between loses nothing.

use serde_json::{Value, json};
use spine_tests::{Answer, Fx, Spine, lines, waits};

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
fn c13_the_command_shows_what_may_happen_twice_before_it_forks_and_then_how_the_runs_differ() {
    let (fx, spine) = (fx(), Spine::fresh().start());
    spine.start_run(&plan(&fx));
    spine.wait_run("r", &["failed"]);
    let command =
        ["runs", "fork", "r", "--run-id", "f", "--reason", "again", "--from", "s5", "--set"];
    let command = [&command[..], &[r#"s7.input={"cents":71}"#]].concat();
    let look = spine.run(&[&command[..], &["--dry-run"]].concat());
    let shown = String::from_utf8_lossy(&look.stdout).into_owned();
    assert!(
        look.status.success() && shown.starts_with("takes over from r: s1, s2, s3, s4\n"),
        "{shown}"
    );
    assert!(shown.ends_with("nothing was done: this was a dry run\n"), "{shown}");
    let line = |step: &str| shown.lines().find(|line| line.starts_with(step)).expect("its line");
    assert!(line("s5 ").contains("the fork begins there"), "{shown}");
    assert!(line("s5 ").ends_with("may happen twice") && line("s7 ").ends_with('-'), "{shown}");

    let refused = spine.run(&command);
    let (told, said) =
        (String::from_utf8_lossy(&refused.stdout), String::from_utf8_lossy(&refused.stderr));
    assert!(!refused.status.success() && said.contains("--force accepts it"), "{told}{said}");
    assert!(told.contains("may happen twice"), "{told}");
    assert_eq!(spine.get("/v1/runs/f").status, 404, "nothing was done");

    let forced = spine.run(&[&command[..], &["--force"]].concat());
    let told = String::from_utf8_lossy(&forced.stdout);
    assert!(forced.status.success() && told.contains("run f forked\n"), "{told}");
    spine.wait_run("f", &["completed"]);
    assert_eq!((fx.calls_of("f", "s4").len(), fx.calls_of("f", "s5").len()), (0, 1));

    let diff = spine.run(&["runs", "diff", "r", "f"]);
    let told = String::from_utf8_lossy(&diff.stdout);
    for part in [
        "- r  it v1, failed",
        "+ f  it v1, completed",
        "\nstep s7\n",
        r#"- {"cents":7}"#,
        r#"+ {"cents":71}"#,
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let strange = spine.run(&["runs", "diff", "r", "nobody"]);
    assert!(!strange.status.success(), "{strange:?}");
}

/// The events of a run that an agent of a version or the creation made, with what became of them.
fn versions(spine: &Spine, run: &str) -> Vec<(String, String, String)> {
    let events = spine.get(&format!("/v1/runs/{run}/events?limit=1000")).json();
    let events = events["events"].as_array().expect("events").clone();
    let of = |event: &Value| {
        let text = |of: &Value| of.as_str().map(str::to_owned);
        let body = &event["event"];
        let version = text(&body["run"]["version"]).or_else(|| text(&body["op"]["version"]))?;
        Some((text(&event["kind"])?, version, text(&event["verdict"])?))
    };
    events.iter().filter_map(of).collect()
}

/// What an agent of a version says of a run that may be of another, one after the other.
fn agent_of(spine: &Spine, run: &str, version: &str) -> Vec<Value> {
    let mut op_id = 0;
    let mut says = |mut op: Value| {
        op_id += 1;
        op["op_id"] = json!(op_id);
        let body = json!({"session": format!("v{version}"), "version": version, "ops": [op]});
        let path = format!("/v1/runs/{run}/journal");
        let reply = spine.http().post(&path, &body).expect("an answer");
        reply.json()["results"][0].clone()
    };
    let begun = says(json!({"op": "begin", "step": {"name": "a"}, "tool": "t", "effect": "pure",
        "input": 1}));
    let decided = says(json!({"op": "decide", "decision": {"decision": "go on"}}));
    let mut answers = vec![begun.clone(), decided];
    if begun["status"] == "execute" {
        let done = json!({"op": "complete", "step": {"name": "a"}, "attempt": begun["attempt"],
            "lease": begun["lease"], "output": {"by": version}});
        answers.push(says(done));
    }
    answers.push(says(json!({"op": "end", "status": "completed", "output": version})));
    answers
}

#[test]
fn c16b_journal_runs_of_two_versions_end_each_with_its_own_and_no_history_mixes_them() {
    let mut spine = Spine::fresh().start();
    for version in ["1", "2"] {
        let body = json!({"run_id": format!("j{version}"), "workflow": "w", "version": version,
            "driver": "journal"});
        spine.start_run(&body);
    }
    for (run, other) in [("j1", "2"), ("j2", "1")] {
        let answers = agent_of(&spine, run, other);
        assert_eq!(answers.len(), 3, "it begins nothing: {answers:?}");
        assert!(answers.iter().all(|answer| answer["code"] == 1230), "{run}: {answers:?}");
    }
    spine.kill();
    spine.restart();
    for (run, own) in [("j1", "1"), ("j2", "2")] {
        let answers = agent_of(&spine, run, own);
        let statuses: Vec<&Value> = answers.iter().map(|answer| &answer["status"]).collect();
        assert_eq!(statuses, ["execute", "ok", "ok", "ok"], "{run}");
        let ended = spine.wait_run(run, &["completed"]);
        assert_eq!((&ended["version"], &ended["output"]["data"]), (&json!(own), &json!(own)));
        let versions = versions(&spine, run);
        assert_eq!(
            versions.len(),
            8,
            "a creation, three of the other, four of its own: {versions:?}"
        );
        for (kind, version, verdict) in &versions {
            assert_eq!(
                version == own,
                verdict == "applied",
                "{run}: {kind} of {version}: {verdict}"
            );
        }
    }
    spine.is_fold_of_log();
}

#[test]
fn c16b_plan_runs_of_two_versions_end_each_with_its_own_steps_over_a_restart() {
    let fx = Fx::start(|call, before| match (call.step.as_str(), before) {
        ("a#1", 0) => Answer::Hangs,
        _ => Answer::Done,
    });
    let mut spine = Spine::fresh().start();
    let plan = |version: &str, then: &str| {
        let run = format!("p{version}");
        let steps = ["a", then].map(|name| lines::step(name, &fx.tool(name), "idempotent"));
        let mut plan = lines::plan(&run, &lines::quick(3), steps.to_vec());
        plan["version"] = json!(version);
        plan
    };
    // The second one is deployed while a run of the first is on its way.
    spine.start_run(&plan("1", "one"));
    waits::until("the first call", || (!fx.calls_of("p1", "a").is_empty()).then_some(()));
    spine.start_run(&plan("2", "two"));
    waits::until("the first call", || (!fx.calls_of("p2", "a").is_empty()).then_some(()));
    spine.kill();
    spine.restart();
    for (version, then) in [("1", "one"), ("2", "two")] {
        let run = format!("p{version}");
        let ended = spine.wait_run(&run, &["completed"]);
        assert_eq!(ended["version"], version);
        let steps = spine.steps(&run);
        let names: Vec<&Value> = steps.iter().map(|step| &step["name"]).collect();
        assert_eq!(names, ["a", then]);
        let created = ("run_created".to_owned(), version.to_owned(), "applied".to_owned());
        assert_eq!(versions(&spine, &run), [created]);
    }
    // The newer plan does not take the place of the older one.
    let mut changed = plan("2", "two");
    changed["run_id"] = json!("p1");
    let reply = spine.http().post("/v1/runs", &changed).expect("an answer");
    assert_eq!((reply.status, &reply.json()["name"]), (409, &json!("run_exists")));
    let called: Vec<String> = fx.calls().into_iter().map(|call| call.run + &call.step).collect();
    let mixed = ["p1two#1".to_owned(), "p2one#1".to_owned()];
    assert!(mixed.iter().all(|call| !called.contains(call)), "{called:?}");
    assert!(spine.stop().success(), "{}", spine.words());
    spine.is_fold_of_log();
}
