//! What attempts say while they run, on the real binary: heard by those who listen, marked when it is void, kept nowhere.

use serde_json::{Value, json};
use spine_tests::{Listener, Spine, waits};
use std::time::{Duration, Instant};

/// A journal run and the agent that drives it.
struct Agent<'a> {
    spine: &'a Spine,
    run: &'a str,
    op_id: u64,
}

impl<'a> Agent<'a> {
    fn starts(spine: &'a Spine, run: &'a str) -> Self {
        let started =
            json!({"run_id": run, "workflow": "chat", "version": "1", "driver": "journal"});
        spine.start_run(&started);
        Self { spine, run, op_id: 0 }
    }

    fn does(&mut self, mut op: Value) -> Value {
        self.op_id += 1;
        op["op_id"] = json!(self.op_id);
        let request = json!({"session": "s", "ops": [op]});
        let path = format!("/v1/runs/{}/journal", self.run);
        let reply = self.spine.http().post(&path, &request).expect("an answer");
        assert_eq!(reply.status, 200, "{}", reply.json());
        let answer = reply.json()["results"][0].clone();
        assert_eq!(answer["code"], Value::Null, "{answer}");
        answer
    }

    /// Begins the step `draft`; gives attempt and lease.
    fn begins(&mut self) -> (Value, Value) {
        let begin = json!({"op": "begin", "step": {"name": "draft"}, "tool": "model",
            "effect": "pure", "retry": {"max_attempts": 3, "initial_ms": 1, "max_ms": 1},
            "lease_ms": 60_000});
        let mut answer = self.does(begin.clone());
        while answer["status"] == "wait" {
            answer = self.does(begin.clone());
        }
        assert_eq!(answer["status"], "execute", "{answer}");
        (answer["attempt"].clone(), answer["lease"].clone())
    }

    fn fails(&mut self, (attempt, lease): (Value, Value)) {
        self.does(json!({"op": "fail", "step": {"name": "draft"}, "attempt": attempt,
            "lease": lease, "error": {"class": "transient", "code": "cut", "message": "cut off"}}));
    }

    fn completes(&mut self, (attempt, lease): (Value, Value), text: &str) {
        self.does(json!({"op": "complete", "step": {"name": "draft"}, "attempt": attempt,
            "lease": lease, "output": {"text": text}}));
    }

    fn says(&self, attempt: u64, data: &Value) -> (u16, Value) {
        let said = json!({"step": "draft", "attempt": attempt, "data": data});
        let path = format!("/v1/runs/{}/stream", self.run);
        let reply = self.spine.http().post(&path, &said).expect("an answer");
        (reply.status, reply.json())
    }
}

fn listens(spine: &Spine, run: &str) -> Listener {
    Listener::open(spine.port(), &format!("/v1/runs/{run}/stream")).expect("it may listen")
}

fn end_of_log(spine: &Spine) -> u64 {
    let partitions = spine.get("/v1/partitions").json();
    let ends = partitions["partitions"].as_array().expect("partitions").iter();
    ends.map(|one| one["end"].as_u64().expect("an offset")).sum()
}

#[test]
fn j7_a_stream_that_is_cut_is_marked_void_and_the_log_holds_one_message() {
    let spine = Spine::fresh().start();
    let mut agent = Agent::starts(&spine, "r");
    let mut listener = listens(&spine, "r");
    let first = agent.begins();
    assert_eq!(agent.says(1, &json!("Dear")), (200, json!({"listeners": 1})));
    agent.says(1, &json!(" Mr"));
    agent.fails(first);
    let second = agent.begins();
    let late = agent.says(1, &json!(" Smith"));
    assert_eq!(
        (late.0, &late.1["name"], &late.1["live"]),
        (409, &json!("wrong_attempt"), &json!(2))
    );
    agent.says(2, &json!("Dear Ms"));
    agent.completes(second, "Dear Ms Smith");
    agent.does(json!({"op": "end", "status": "completed", "output": {"ok": true}}));

    let heard = listener.to_end();
    let of = |attempt: u64| json!({"step": "draft#1", "attempt": attempt});
    let part =
        |attempt: u64, words: &str| json!({"step": "draft#1", "attempt": attempt, "data": words});
    let ended = |attempt: u64, status: &str| json!({"step": "draft#1", "attempt": attempt, "status": status});
    let names: Vec<&str> = heard.iter().map(|(name, _)| name.as_str()).collect();
    let expected = [
        ("began", of(1)),
        ("part", part(1, "Dear")),
        ("part", part(1, " Mr")),
        ("attempt_ended", ended(1, "failed")),
        ("retry", of(2)),
        ("part", part(2, "Dear Ms")),
        ("attempt_ended", ended(2, "completed")),
        ("run_ended", json!({"status": "completed"})),
    ];
    assert_eq!(names[0], "listening", "{heard:?}");
    let expected: Vec<(String, Value)> =
        expected.into_iter().map(|(name, data)| (name.to_owned(), data)).collect();
    assert_eq!(heard[1..], expected);
    // What was cut off is nowhere; the message is there once.
    spine.wait_run("r", &["completed"]);
    let events = spine.get("/v1/runs/r/events?limit=1000").json().to_string();
    assert_eq!(events.matches("Dear Ms Smith").count(), 1, "{events}");
    assert!(!events.contains("Dear\"") && !events.contains(" Mr\""), "{events}");
    spine.is_fold_of_log();
}

#[test]
fn l31_a_hundred_thousand_parts_leave_log_store_and_memory_as_they_were() {
    let spine = Spine::fresh().start();
    let mut agent = Agent::starts(&spine, "r");
    let held = agent.begins();
    let mut listener = listens(&spine, "r");
    let reading = std::thread::spawn(move || {
        let mut parts = 0_u64;
        for (name, data) in listener.by_ref() {
            match name.as_str() {
                "part" => parts += 1,
                "missed" => parts += data["count"].as_u64().unwrap_or(0),
                "run_ended" => break,
                _ => {}
            }
        }
        parts
    });
    // One who never reads, too.
    let _deaf = listens(&spine, "r");
    let mut http = spine.http();
    let mut say = |from: u64, to: u64| {
        for at in from..to {
            let words = format!("{at} {}", "word ".repeat(20));
            let said = json!({"step": "draft", "attempt": 1, "data": words});
            let reply = http.post("/v1/runs/r/stream", &said).expect("an answer");
            assert_eq!((reply.status, reply.json()), (200, json!({"listeners": 2})));
        }
    };
    let end = end_of_log(&spine);
    say(0, 10_000);
    let before = spine.rss_kib();
    say(10_000, 100_000);
    let after = spine.rss_kib();
    assert!(after < before + 4096, "{before} KiB after 10,000 parts, {after} KiB after 100,000");
    assert_eq!(end_of_log(&spine), end, "nothing of it is in the log");
    let events = spine.get("/v1/runs/r/events?limit=1000").json();
    assert_eq!(events["events"].as_array().map(Vec::len), Some(2), "{events}");
    agent.completes(held, "the end");
    agent.does(json!({"op": "end", "status": "completed"}));
    assert_eq!(
        reading.join().expect("it reads"),
        100_000,
        "each part was heard, or told as missed"
    );
}

#[test]
fn who_listens_too_early_too_late_or_to_nothing_is_told_so() {
    let spine = Spine::fresh().start();
    let refused = spine.get("/v1/runs/none/stream");
    assert_eq!((refused.status, &refused.json()["name"]), (404, &json!("run_absent")));
    let mut agent = Agent::starts(&spine, "r");
    assert_eq!(agent.says(1, &json!("nobody hears")), (200, json!({"listeners": 0})));
    let held = agent.begins();
    // Whoever comes in the middle is told which attempt runs.
    let mut middle = listens(&spine, "r");
    let (name, data) = middle.next().expect("a greeting");
    assert_eq!(
        (name.as_str(), &data["live"]),
        ("listening", &json!([{"step": "draft#1", "attempt": 1}]))
    );
    agent.completes(held, "done");
    assert_eq!(agent.says(1, &json!("after the end")).0, 409);
    agent.does(json!({"op": "end", "status": "completed"}));
    assert_eq!(middle.to_end().last().map(|(name, _)| name.clone()), Some("run_ended".into()));
    let after: Vec<String> =
        listens(&spine, "r").to_end().into_iter().map(|(name, _)| name).collect();
    assert_eq!(after, ["listening", "run_ended"]);
}

#[test]
fn a_tool_speaks_for_its_attempt_of_a_plan() {
    let spine = Spine::fresh().start();
    let plan = json!({"run_id": "p", "workflow": "w", "version": "1", "steps": [
        {"name": "render", "tool": "queue:render", "effect": "idempotent", "input": {}}]});
    spine.start_run(&plan);
    let mut listener = listens(&spine, "p");
    let lease = |spine: &Spine| {
        let asked = json!({"worker": "w", "wait_ms": 10_000, "lease_ms": 60_000});
        spine.http().post("/v1/queues/render/lease", &asked).expect("an answer").json()["leases"][0]
            .clone()
    };
    let held = lease(&spine);
    let said = json!({"step": "render#1", "attempt": held["attempt"], "data": {"percent": 50}});
    let heard = spine.http().post("/v1/runs/p/stream", &said).expect("an answer");
    assert_eq!((heard.status, heard.json()), (200, json!({"listeners": 1})));
    let mut done = json!({"worker": "w", "output": {"pages": 3}});
    for field in ["run_id", "step", "attempt", "lease"] {
        done[field] = held[field].clone();
    }
    spine.http().post("/v1/queues/render/complete", &done).expect("an answer");
    let names: Vec<String> = listener.to_end().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["listening", "began", "part", "attempt_ended", "run_ended"]);
}

#[test]
fn a_server_that_stops_sends_listeners_away_at_once_and_they_may_come_back() {
    let mut spine = Spine::fresh().start();
    let mut agent = Agent::starts(&spine, "r");
    agent.begins();
    let mut listener = listens(&spine, "r");
    assert_eq!(listener.next().expect("a greeting").0, "listening");
    let asked = Instant::now();
    assert!(spine.stop().success());
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    assert_eq!(listener.next(), None);
    spine.restart();
    let (_, data) = listens(&spine, "r").next().expect("a greeting");
    assert_eq!(data["live"], json!([{"step": "draft#1", "attempt": 1}]), "the agent still has it");
}

#[test]
fn the_command_prints_words_as_they_come() {
    let spine = Spine::fresh().start();
    let mut agent = Agent::starts(&spine, "r");
    let held = agent.begins();
    std::thread::scope(|scope| {
        let printing = scope.spawn(|| spine.run(&["runs", "stream", "r"]));
        let said = json!({"step": "draft", "attempt": 1, "data": "Dear "});
        let mut http = spine.http();
        waits::until("the command listens", || {
            let reply = http.post("/v1/runs/r/stream", &said).expect("an answer");
            (reply.json()["listeners"] == 1).then_some(())
        });
        agent.says(1, &json!("Ms"));
        agent.completes(held, "Dear Ms");
        agent.does(json!({"op": "end", "status": "completed"}));
        let out = printing.join().expect("it ends");
        let text = String::from_utf8_lossy(&out.stdout);
        let expected =
            "-- draft#1, attempt 1\nDear Ms\n-- draft#1 is completed\n-- the run is completed\n";
        assert_eq!((out.status.code(), &*text), (Some(0), expected));
    });
    let out = spine.run(&["runs", "stream", "none"]);
    let words = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success() && words.contains("there is no run default/none"), "{words}");
}
