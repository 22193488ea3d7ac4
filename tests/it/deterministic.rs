//! Errors that another attempt cannot mend: whatever the policy allows, there is one attempt at most, a class that says
//! so, and a letter.

use serde_json::{Value, json};
use spine_tests::{Answer, Fx, Spine, Worker, lines, waits};

/// Attempts that the policy would allow.
const ALLOWED: u32 = 5;
/// A kept output of which two are more than an input may be.
const LARGE: usize = 200 * 1024;
/// An output that is not kept.
const TOO_LARGE: usize = 300 * 1024;

/// A tool whose path says what it does.
fn tools() -> Fx {
    Fx::start(|call, _| match call.path.trim_start_matches('/') {
        "large" => Answer::Says(format!("\"{}\"", "x".repeat(LARGE))),
        "too-large" => Answer::Says(format!("\"{}\"", "x".repeat(TOO_LARGE))),
        "no-json" => Answer::Says("{not: json".to_owned()),
        status => status.parse().map_or(Answer::Done, Answer::Refuses),
    })
}

/// Two steps, of which the second rests on the first.
fn plan(fx: &Fx, run: &str, first: &str, second: &str, input: Value) -> Value {
    let mut next = lines::step("next", &fx.tool(second), "idempotent");
    next["input"] = input;
    let steps = vec![lines::step("first", &fx.tool(first), "idempotent"), next];
    lines::plan(run, &lines::quick(ALLOWED), steps)
}

/// The step ends so, with a letter, and was begun so often.
fn is_dead(spine: &Spine, run: &str, step: &str, attempts: u32, class: &str, code: &str) {
    let look = || spine.get(&format!("/v1/runs/{run}/steps/{step}")).json();
    let dead = waits::maybe(|| Some(look()).filter(|step| step["status"] == "dead_lettered"));
    let step = dead.unwrap_or_else(|| panic!("{run}: no letter: {}", look()));
    let error = (&step["error"]["class"], &step["error"]["code"]);
    assert_eq!(error, (&json!(class), &json!(code)), "{run}: {step}");
    assert_eq!(step["attempt"], json!(attempts), "{run}: {step}");
    let letter = step["letter"].as_str().expect("a letter");
    let letter = spine.get(&format!("/v1/dead-letters/{letter}")).json();
    assert!(letter.to_string().contains(code), "{run}: {letter}");
}

#[test]
fn l26_what_a_tool_refuses_for_good_is_asked_once() {
    let (fx, spine) = (tools(), Spine::fresh().start());
    // Too large, not to be read, and a target that has vanished.
    for status in ["413", "415", "422", "404", "410"] {
        let run = format!("r{status}");
        spine.start_run(&plan(&fx, &run, "ok", status, json!({})));
        is_dead(&spine, &run, "next", 1, "terminal", &format!("http_{status}"));
        assert_eq!(fx.calls_of(&run, "next").len(), 1, "{status}");
        assert_eq!(fx.calls_of(&run, "first").len(), 1, "{status}");
    }
    spine.is_fold_of_log();
}

#[test]
fn l26_an_input_that_cannot_be_made_is_not_tried_and_what_gave_it_is_not_called_again() {
    let (fx, spine) = (tools(), Spine::fresh().start());
    let first = json!({"$ref": "first#"});
    for (run, tool, input, class, code) in [
        ("oversize", "large", json!([first, first]), "too_large", "input_too_large"),
        ("left-out", "too-large", first.clone(), "too_large", "source_omitted"),
        ("no-json", "no-json", json!({"all": first}), "contract", "reference"),
    ] {
        spine.start_run(&plan(&fx, run, tool, "ok", input));
        is_dead(&spine, run, "next", 0, class, code);
        assert!(fx.calls_of(run, "next").is_empty(), "{run}");
        assert_eq!(fx.calls_of(run, "first").len(), 1, "{run}: its effect has taken place");
        let step = spine.get(&format!("/v1/runs/{run}/steps/first")).json();
        assert_eq!(step["status"], "completed", "{run}: {step}");
    }
    spine.is_fold_of_log();
}

#[test]
fn l26_a_target_that_may_not_be_called_any_more_is_not_called() {
    let (fx, mut spine) = (tools(), Spine::fresh().start());
    let wait = json!({"name": "first", "tool": "signal:go"});
    let steps = vec![wait, lines::step("next", &fx.tool("ok"), "idempotent")];
    spine.start_run(&lines::plan("r", &lines::quick(ALLOWED), steps));
    spine.wait_run("r", &["waiting"]);
    assert!(spine.stop().success(), "{}", spine.words());
    spine = spine.with(&["--allow-tool-host", "example.com"]);
    spine.restart();
    let reply = spine.http().post("/v1/runs/r/signals/go", &json!({"data": 1})).expect("an answer");
    assert!(reply.status < 300, "{}", reply.json());
    is_dead(&spine, "r", "next", 1, "policy", "tool_host_not_allowed");
    assert!(fx.calls().is_empty());
    spine.is_fold_of_log();
}

#[test]
fn l26_what_an_agent_or_a_worker_calls_hopeless_is_not_tried_again() {
    let spine = Spine::fresh().start();
    let hopeless =
        [("terminal", "gone"), ("contract", "unserialisable"), ("too_large", "oversize")];
    let mut worker = Worker::new("w", &spine);
    for (class, code) in hopeless {
        let error = json!({"class": class, "code": code, "message": "it will be the same again"});
        let (agent, queued) = (format!("agent-{code}"), format!("queue-{code}"));
        spine.start_run(
            &json!({"run_id": agent, "workflow": "it", "version": "1", "driver": "journal"}),
        );
        let says = |op: Value| {
            let body = json!({"session": "S", "ops": [op]});
            let reply = spine.http().post(&format!("/v1/runs/{agent}/journal"), &body);
            reply.expect("an answer").json()["results"][0].clone()
        };
        let begin = |op_id: u64| {
            says(json!({"op": "begin", "op_id": op_id, "step": {"name": "a"}, "tool": "t",
                "effect": "idempotent", "input": {}, "retry": lines::quick(ALLOWED)}))
        };
        let begun = begin(1);
        let failed = says(json!({"op": "fail", "op_id": 2, "step": {"name": "a"}, "attempt": 1,
            "lease": begun["lease"], "error": error}));
        assert_eq!(failed["status"], "ok", "{failed}");
        is_dead(&spine, &agent, "a", 1, class, code);
        assert_eq!(begin(3)["status"], "dead_lettered", "{class}");
        let step = lines::patient_step("a", "queue:q", "idempotent");
        spine.start_run(&lines::plan(&queued, &lines::quick(ALLOWED), vec![step]));
        let lease = worker.one("q", 30_000);
        let (status, said) = worker.say("q", "fail", &lease, json!({"error": error}));
        assert_eq!(status, 200, "{said}");
        is_dead(&spine, &queued, "a", 1, class, code);
    }
    spine.is_fold_of_log();
}
