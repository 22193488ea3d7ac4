//! Many runs at a time: what fails now and why, in one question; and one verb for many, each told by itself.

use serde_json::{Value, json};
use spine_tests::{Answer, Fx, Spine, Worker, lines, row, waits};
use std::{collections::BTreeSet, path::PathBuf, time::Instant};

/// A plan of one step, whose retries wait for an hour.
fn patient(run: &str, tool: &str, effect: &str) -> Value {
    let retry =
        json!({"max_attempts": 5, "initial_ms": 3_600_000, "max_ms": 3_600_000, "jitter": 0.0});
    lines::plan(run, &retry, vec![lines::patient_step("pay", tool, effect)])
}

/// Runs that have ended, so many.
fn append_ended(spine: &Spine, runs: usize) {
    let mut http = spine.http();
    for batch in 0..runs.div_ceil(1000) {
        let of_batch = batch * 1000..runs.min((batch + 1) * 1000);
        let events: Vec<Value> =
            of_batch.flat_map(|run| lines::record_run(&format!("ended-{run}"), 1)).collect();
        let body = lines::ndjson(&events);
        waits::until("a batch to be taken", || {
            let reply = http.ask("POST", "/v1/events", "application/x-ndjson", &body);
            let reply = reply.expect("an answer");
            assert!(reply.status == 202 || reply.status == 429, "{}", reply.json());
            (reply.status == 202).then_some(())
        });
    }
}

fn group<'a>(failing: &'a Value, status: &str, code: &str) -> &'a Value {
    let groups = failing["groups"].as_array().expect("groups");
    let found = groups.iter().find(|of| of["status"] == status && of["code"] == code);
    found.unwrap_or_else(|| panic!("no group {status} {code}: {failing}"))
}

/// How many answers it takes if each looks at so many runs at most, and the steps in trouble of all of them.
fn steps_of_pages(spine: &Spine, limit: usize) -> (usize, u64) {
    let (mut answers, mut steps, mut cursor) = (0, 0, String::new());
    loop {
        let page = spine.get(&format!("/v1/failing?limit={limit}{cursor}")).json();
        assert!(page["looked_at"].as_u64() <= Some(limit as u64), "{page}");
        let groups = page["groups"].as_array().expect("groups");
        steps += groups.iter().filter_map(|of| of["steps"].as_u64()).sum::<u64>();
        answers += 1;
        let Some(next) = page["next"].as_str() else { return (answers, steps) };
        cursor = format!("&cursor={next}");
    }
}

#[test]
fn l38_what_fails_now_why_and_since_when_is_one_question_however_many_runs_have_ended() {
    let spine = Spine::fresh().with(&["--breaker-failures", "0"]).start();
    let fx = Fx::start(|call, _| match call.path.as_str() {
        "/down" => Answer::Refuses(503),
        "/wrong" => Answer::Refuses(422),
        _ => Answer::Done,
    });
    let ended = row::size(20_000, 1_000_000);
    append_ended(&spine, ended);
    for number in 0..60 {
        spine.start_run(&patient(&format!("down-{number}"), &fx.tool("down"), "pure"));
    }
    for number in 0..40 {
        let mut plan = patient(&format!("wrong-{number}"), &fx.tool("wrong"), "pure");
        plan["workflow"] = json!("other");
        spine.start_run(&plan);
    }
    spine.start_run(&patient("fine", &fx.tool("fine"), "pure"));
    let asked = |more: &str| spine.get(&format!("/v1/failing{more}")).json();
    let failing = waits::until("100 failing runs", || {
        let failing = asked("");
        let steps: u64 =
            failing["groups"].as_array()?.iter().filter_map(|of| of["steps"].as_u64()).sum();
        (steps == 100).then_some(failing)
    });
    assert_eq!(failing["groups"].as_array().map(Vec::len), Some(2), "{failing}");
    let down = group(&failing, "retry_waiting", "http_503");
    assert_eq!(
        (&down["steps"], &down["runs"], &down["class"]),
        (&json!(60), &json!(60), &json!("transient"))
    );
    assert_eq!((&down["tool"], &down["workflows"]), (&json!(fx.tool("down")), &json!(["it"])));
    assert!(
        down["since"].as_str() <= down["last"].as_str() && down["next_try"].is_string(),
        "{down}"
    );
    assert_eq!(down["examples"].as_array().map(Vec::len), Some(5), "{down}");
    let wrong = group(&failing, "dead_lettered", "http_422");
    assert_eq!((&wrong["steps"], &wrong["next_try"]), (&json!(40), &Value::Null), "{wrong}");
    // What has ended costs nothing.
    assert!(failing["looked_at"].as_u64() < Some(200), "{failing}");
    assert_eq!(steps_of_pages(&spine, 30), (4, 100));
    assert_eq!(asked("?limit=0")["name"], "bad_query");
    let began = Instant::now();
    let all = asked("");
    let took_ms = began.elapsed().as_millis() as u64;
    let found = json!({"groups": all["groups"].as_array().map(Vec::len), "took_ms": took_ms});
    row::print("failing", began, json!({"ended": ended, "failing": 100}), found);
    assert!(!row::is_soak() || took_ms < 1000, "{took_ms} ms");
    let other = asked("?workflow=other");
    assert_eq!(other["groups"].as_array().map(Vec::len), Some(1), "{other}");
    assert_eq!(asked("?tenant=nobody")["groups"], json!([]));
    assert_eq!(spine.get("/v1/failing?cursor=x").status, 400);
    assert_eq!(spine.get("/v1/failing?tenant=Nobody").code(), 1106);

    let out = spine.run(&["runs", "failing"]);
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(text.contains("60    60  retry_waiting  transient http_503"), "{text}");
    let out = spine.run(&["runs", "failing", "--tenant", "nobody"]);
    assert!(String::from_utf8_lossy(&out.stdout).starts_with("nothing fails"), "{out:?}");
}

/// A file in the server's directory.
fn file(spine: &Spine, name: &str, text: &str) -> PathBuf {
    let path = spine.dir().join(name);
    std::fs::create_dir_all(spine.dir()).expect("a directory");
    std::fs::write(&path, text).expect("a file");
    path
}

/// Starts runs of which nothing has begun: nobody asks for their steps.
fn start_waiting(spine: &Spine, runs: std::ops::Range<usize>) {
    for number in runs {
        let queue = if ENDING.contains(&number) { "queue:soon" } else { "queue:later" };
        spine.start_run(&patient(&format!("r{number:03}"), queue, "idempotent"));
    }
}

/// Runs that end behind the back of whoever has chosen them.
const ENDING: [usize; 7] = [0, 14, 28, 42, 56, 70, 84];

#[test]
fn l39_of_a_hundred_chosen_runs_seven_cannot_be_cancelled_and_are_named_with_the_reason() {
    let spine = Spine::fresh().start();
    start_waiting(&spine, 0..100);
    waits::until("a hundred runs", || {
        let page = spine.get("/v1/runs?limit=1000&workflow=it").json();
        (page["runs"].as_array()?.len() == 100).then_some(())
    });
    let out = spine.run(&["runs", "list", "--workflow", "it", "--status", "running", "--ids"]);
    let chosen = String::from_utf8_lossy(&out.stdout).into_owned();
    assert_eq!(chosen.lines().count(), 100, "{chosen}");
    // Meanwhile seven end, and others begin.
    let mut worker = Worker::new("w", &spine);
    let mut left = ENDING.len();
    waits::until("seven to end", || {
        for lease in worker.lease("soon", json!({"max": left, "wait_ms": 2000, "lease_ms": 60_000}))
        {
            worker.complete("soon", &lease);
            left -= 1;
        }
        (left == 0).then_some(())
    });
    let ended: BTreeSet<String> = ENDING.iter().map(|run| format!("default/r{run:03}")).collect();
    start_waiting(&spine, 100..110);
    let file = file(&spine, "chosen", &chosen);
    let cancel =
        ["runs", "cancel", "--reason", "wrong price", "--from", file.to_str().expect("text")];
    let out = spine.run(&cancel);
    let (said, words) =
        (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert_eq!(out.status.code(), Some(1), "{words}");
    assert!(words.contains("93 of 100 done, 7 refused"), "{words}");
    let (refused, done): (Vec<&str>, Vec<&str>) =
        said.lines().partition(|line| line.contains("  refused: "));
    let names: BTreeSet<String> =
        refused.iter().filter_map(|line| Some(line.split_once(' ')?.0.to_owned())).collect();
    assert_eq!((done.len(), names), (93, ended));
    assert!(refused.iter().all(|line| line.contains("1205 run_ended")), "{refused:?}");
    for number in (0..100).filter(|number| !ENDING.contains(number)) {
        let seen = spine.wait_run(&format!("r{number:03}"), &["cancelled"]);
        assert_eq!(seen["attempts"], 0, "nothing of it had begun: {seen}");
    }
    for number in 100..110 {
        assert_eq!(spine.get(&format!("/v1/runs/r{number}")).json()["status"], "running");
    }
    // The same again changes nothing, and says the same of each.
    let mut again = cancel.to_vec();
    again.push("--json");
    let out = spine.run(&again);
    let lines: Vec<Value> = String::from_utf8_lossy(&out.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let refused = |line: &&Value| line["outcome"] == "refused" && line["answer"]["code"] == 1205;
    assert_eq!((lines.len(), lines.iter().filter(refused).count()), (100, 7), "{lines:?}");
}

#[test]
fn letters_are_chosen_by_their_error_and_redriven_together() {
    let spine = Spine::fresh().start();
    let fx = Fx::start(|call, before| match (call.path.as_str(), before) {
        ("/wrong", 0) => Answer::Refuses(422),
        ("/gone", 0) => Answer::Refuses(410),
        _ => Answer::Done,
    });
    for number in 0..6 {
        let tool = if number < 4 { "wrong" } else { "gone" };
        spine.start_run(&patient(&format!("r{number}"), &fx.tool(tool), "idempotent"));
    }
    let count = |more: &[&str]| {
        let words: Vec<&str> =
            ["dead-letters", "list", "--ids"].iter().chain(more).copied().collect();
        String::from_utf8_lossy(&spine.run(&words).stdout)
            .lines()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    waits::until("six letters", || (count(&[]).len() == 6).then_some(()));
    let chosen = count(&["--code", "http_422"]);
    assert_eq!((chosen.len(), count(&["--tool", &fx.tool("gone")]).len()), (4, 2));
    let words: Vec<&str> = ["dead-letters", "redrive", "--reason", "mended"]
        .into_iter()
        .chain(chosen.iter().map(String::as_str))
        .collect();
    let out = spine.run(&words);
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success() && said.ends_with("4 of 4 done\n"), "{said}");
    for number in 0..4 {
        spine.wait_run(&format!("r{number}"), &["completed"]);
    }
    assert_eq!(count(&[]).len(), 2, "those that were not chosen stay");
}

#[test]
fn a_selection_that_cannot_be_read_asks_for_nothing() {
    let spine = Spine::fresh().start();
    start_waiting(&spine, 0..2);
    let wrong = file(&spine, "wrong", "default/r000\nr001\n");
    for (words, expected) in [
        (vec!["runs", "cancel"], "name one or more"),
        (vec!["runs", "cancel", "r000", "--from", "x"], "exclude each other"),
        (vec!["runs", "cancel", "--from", "/no/such/file"], "could not read"),
        (vec!["runs", "cancel", "--from", wrong.to_str().expect("text")], "is not TENANT/RUN"),
        (vec!["runs", "kill", "r000", "r001"], "needs a reason"),
        (
            vec!["dead-letters", "redrive", "a", "b", "--reason", "x", "--input", "-"],
            "--input goes with the id of one letter",
        ),
    ] {
        let out = spine.run(&words);
        let text = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.code() == Some(2) && text.contains(expected), "{words:?}: {text}");
    }
    let out = spine.run(&["runs", "kill", "r000", "r001", "--reason", "x", "--dry-run"]);
    let said = String::from_utf8_lossy(&out.stdout);
    assert!(out.status.success() && said == "r000\nr001\n", "{said}");
    assert_eq!(spine.wait_run("r000", &["running"])["status"], "running");
}
