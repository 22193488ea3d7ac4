//! Brains on the real binary: turns, a bad answer, kills during and between turns, a rebuilt store, a fork, and one that
//! thinks again in the middle of a plan.

use serde_json::{Value, json};
use spine_tests::{Answer, Call, Fx, Spine, lines, waits};
use std::time::Duration;

fn body(fx: &Fx) -> Value {
    let mut plan = lines::plan("r", &lines::quick(4), vec![]);
    plan["brain"] = json!({"tool": fx.tool("brain"), "timeout_ms": 1500, "max_turns": 5});
    plan
}

fn turn(call: &Call) -> u64 {
    serde_json::from_str::<Value>(&call.body).expect("JSON")["turn"].as_u64().expect("a number")
}

/// Three turns of two steps each, then the end.
fn says(call: &Call, tool: &str) -> Answer {
    let turn = turn(call);
    if turn > 3 {
        return Answer::Says(json!({"done": true, "output": {"turns": turn}}).to_string());
    }
    let step = |n: u64| {
        let name = format!("t{turn}n{n}");
        json!({"name": name, "tool": tool, "effect": "idempotent", "input": {"turn": turn}})
    };
    Answer::Says(json!({"steps": [step(1), step(2)], "state": {"turn": turn}}).to_string())
}

fn fx(slow: Duration) -> Fx {
    let fx = Fx::willing();
    let tool = fx.tool("t");
    fx.behave(move |call, before| match call.path.as_str() {
        "/brain" if turn(call) == 2 && before < 2 => Answer::Says("[\"hm\"]".into()),
        "/brain" => says(call, &tool),
        _ => Answer::DoneAfter(slow),
    });
    fx
}

fn names(spine: &Spine, run: &str) -> Vec<String> {
    let steps = spine.steps(run);
    let mut names: Vec<String> =
        steps.iter().filter_map(|step| Some(step["step"].as_str()?.to_owned())).collect();
    names.sort();
    names
}

#[test]
fn a_brain_of_three_turns_survives_kills_and_a_bad_answer() {
    let (fx, mut spine) = (fx(Duration::from_millis(40)), Spine::fresh().start());
    spine.start_run(&body(&fx));
    for calls in [1, 3, 6] {
        waits::until("the next calls", || (fx.calls().len() >= calls).then_some(()));
        spine.kill();
        spine.restart();
    }
    let run = spine.wait_run("r", &["completed"]);
    assert_eq!(run["output"]["data"], json!({"turns": 4}));
    assert_eq!((&run["brain"]["turn"], &run["brain"]["max_turns"]), (&json!(4), &json!(5)));
    let all = names(&spine, "r");
    assert_eq!(all.len(), 10, "{all:?}");
    for row in fx.rows().values() {
        assert_eq!(*row, 1);
    }
    let asked = spine.steps("r").into_iter().find(|step| step["step"] == "brain/ask#2").unwrap();
    assert!(asked.to_string().contains("brain_answer"), "{asked}");
    spine.kill();
    spine.forget_store();
    spine.restart();
    spine.wait_run("r", &["completed"]);
    assert_eq!(names(&spine, "r"), all);
    let fork =
        json!({"run_id": "f", "reason": "think again", "from": "brain/ask#3", "force": true});
    let reply = spine.http().post("/v1/runs/r/fork", &fork).expect("an answer");
    assert_eq!(reply.status, 201, "{}", reply.json());
    assert_eq!(reply.json()["reused"].as_array().unwrap().len(), 6);
    spine.wait_run("f", &["completed"]);
    let diff = spine.get("/v1/runs/r/diff/f").json();
    assert_eq!(diff["equal_steps"], 8, "two asks name their run: {diff}");
    spine.is_fold_of_log();
}

#[test]
fn a_brain_is_checked_at_the_door_and_its_answers_are_as_well() {
    let (fx, spine) = (Fx::willing(), Spine::fresh().start());
    let mut plan = body(&fx);
    plan["brain"]["max_turns"] = json!(0);
    let reply = spine.http().post("/v1/runs", &plan).expect("an answer");
    assert_eq!((reply.status, &reply.json()["field"]), (422, &json!("brain.max_turns")));
    fx.behave(|_, _| {
        Answer::Says(r#"{"steps":[{"name":"x","tool":"http://203.0.113.9/x"}]}"#.into())
    });
    spine.start_run(&body(&fx));
    spine.wait_run("r", &["waiting"]);
    let asked = spine.steps("r").remove(0).to_string();
    assert!(asked.contains("answer: steps[0].tool: "), "{asked}");
}

/// What docs/brain.md shows of a brain that is asked in between, in its order: the plan, the answer, what is printed.
fn page(fx: &Fx) -> [String; 3] {
    let page = std::fs::read_to_string("../docs/brain.md").expect("the page");
    let (_, of) = page.split_once("## Asked in between").expect("the part");
    let (of, _) = of.split_once("\n## ").expect("its end");
    let of = of.replace("http://127.0.0.1:9000/", &fx.tool(""));
    let of = of.replace("http://127.0.0.1:9100/", &fx.tool(""));
    let blocks = of.split("\n\n").filter(|block| block.starts_with("    "));
    let blocks: Vec<String> = blocks.map(str::to_owned).collect();
    blocks.try_into().expect("three of them")
}

/// What a command prints of the steps of a run, without their attempts.
fn shown(spine: &Spine, run: &str) -> Vec<String> {
    let shown = spine.run(&["runs", "show", run]);
    let text = String::from_utf8(shown.stdout).expect("text");
    let (_, steps) = text.split_once("\n\n").expect("a head and steps");
    let (steps, _) = steps.rsplit_once("\n\n").expect("steps and a reason");
    let lines = steps.lines().filter(|line| !line.starts_with("    #"));
    lines.map(|line| line.trim_end().to_owned()).collect()
}

#[test]
fn c17b_a_brain_plans_anew_behind_the_third_step_and_a_kill_resumes_the_new_plan() {
    let fx = Fx::willing();
    let [plan, answer, printed] = page(&fx);
    let mut spine = Spine::fresh().start();
    // Each is first asked while the server dies.
    fx.behave(move |call, before| match call.path.as_str() {
        "/next" if turn(call) == 2 => Answer::Says(r#"{"done":true}"#.into()),
        "/next" | "/voucher" if before == 0 => Answer::Hangs,
        "/next" => Answer::Says(answer.clone()),
        _ => Answer::Done,
    });
    spine.start_run(&serde_json::from_str(&plan).expect("JSON"));
    for step in ["brain/ask", "voucher"] {
        waits::until("its call", || (!fx.calls_of("brain-2", step).is_empty()).then_some(()));
        spine.kill();
        spine.restart();
    }
    spine.wait_run("brain-2", &["completed"]);
    let lines: Vec<&str> = printed.lines().skip(1).map(|line| &line[4..]).collect();
    assert_eq!(shown(&spine, "brain-2"), lines, "as the page has it");
    let calls: Vec<String> = fx.calls().into_iter().map(|call| call.path).collect();
    let expected = [
        "/lookup", "/rules", "/quote", "/next", "/next", "/voucher", "/voucher", "/letter", "/next",
    ];
    assert_eq!(
        calls, expected,
        "what was answered is not asked again, and what was dropped is not done"
    );
    let events = spine.get("/v1/runs/brain-2/events?limit=1000").json();
    let of = |kind: &str, step: &str| -> Vec<usize> {
        let all = events["events"].as_array().expect("a list of events").iter().enumerate();
        let those = all.filter(|(_, event)| event["kind"] == kind && event["step"] == step);
        those.map(|(at, _)| at).collect()
    };
    let (answered, dropped) = (of("step_completed", "brain/ask#1"), of("step_skipped", "wire#1"));
    let begun = of("step_started", "voucher#1");
    assert_eq!((answered.len(), dropped.len(), begun.len()), (1, 1, 2), "{events}");
    assert!(answered[0] < dropped[0] && dropped[0] < begun[0], "{events}");
    assert_eq!(of("step_started", "wire#1"), [0; 0], "{events}");
    let all = names(&spine, "brain-2");
    spine.kill();
    spine.forget_store();
    spine.restart();
    spine.wait_run("brain-2", &["completed"]);
    assert_eq!((names(&spine, "brain-2"), fx.calls().len()), (all, 9));
    spine.is_fold_of_log();
}
