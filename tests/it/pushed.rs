//! What is pushed: runs that stand still are found, transitions are told on a topic and posted to webhooks,
//! and nothing of it is lost over kills and outages of the receiver.

use serde_json::{Value, json};
use spine_tests::{Answer, Call, Fx, Spine, lines, row, waits};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

/// A receiver of webhooks: what was posted, by event, and how long each was on its way.
struct Received {
    fx: Fx,
    up: Arc<AtomicBool>,
}

impl Received {
    fn start() -> Self {
        let up = Arc::new(AtomicBool::new(true));
        let is_up = up.clone();
        let fx = Fx::start(move |_, _| match is_up.load(Ordering::SeqCst) {
            true => Answer::Done,
            false => Answer::Refuses(503),
        });
        Self { fx, up }
    }

    fn url(&self) -> String {
        self.fx.tool("hook")
    }

    /// What was taken, in order, repeats included.
    fn taken(&self) -> Vec<(Call, Value)> {
        let taken = self.fx.calls().into_iter().filter(|call| call.effect);
        taken.map(|call| (call.clone(), serde_json::from_str(&call.body).expect("JSON"))).collect()
    }

    /// Records of a kind, each event once.
    fn of(&self, kind: &str) -> Vec<Value> {
        let mut seen = BTreeSet::new();
        let records = self.taken().into_iter().filter(|(call, _)| seen.insert(call.key.clone()));
        records.map(|(_, record)| record).filter(|record| record["kind"] == kind).collect()
    }

    /// How long a record was on its way, from the log's time of its event to its arrival.
    fn way_ms(&self, record: &Value) -> i64 {
        let mut calls = self.taken().into_iter().map(|(call, _)| call);
        let call = calls.find(|call| record["event_id"] == call.key.as_str()).expect("it arrived");
        let arrived_us = now_us() - call.at.elapsed().as_micros() as i64;
        (arrived_us - micros(&record["at"])) / 1000
    }

    fn wait(&self, kind: &str, run: &str) -> Value {
        waits::until(&format!("{kind} of {run}"), || {
            self.of(kind).into_iter().find(|record| record["run_id"] == run)
        })
    }
}

fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time");
    since.as_micros() as i64
}

fn ok(spine: &Spine, words: &[&str]) -> String {
    let out = spine.run(words);
    assert!(out.status.success(), "{words:?}: {out:?}");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

fn micros(text: &Value) -> i64 {
    spine_schemas::time::Micros::parse(text.as_str().expect("a time")).expect("a time").0
}

fn metric(spine: &Spine, name: &str) -> f64 {
    let body = spine.get("/metrics").body;
    let text = String::from_utf8_lossy(&body);
    let lines = text.lines().filter(|line| line.starts_with(name));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

#[test]
fn f19_a_blocked_step_alerts_within_the_threshold_and_why_names_all() {
    let hook = Received::start();
    let fx = Fx::start(|call, _| match call.path.ends_with("pay") {
        true => Answer::DoneThenDrops,
        false => Answer::Done,
    });
    let flags = ["--stall-after", "2", "--webhook", &hook.url(), "--webhook-kinds", "run_stalled"];
    let mut spine = Spine::fresh().with(&flags).start();
    let steps = vec![
        lines::step("note", &fx.tool("note"), "pure"),
        lines::step("pay", &fx.tool("pay"), "at_most_once"),
    ];
    spine.start_run(&lines::plan("r", &lines::quick(3), steps));
    let silent = lines::ndjson(&lines::record_run("outside", 1)[..2]);
    let reply = spine.http().ask("POST", "/v1/events", "application/x-ndjson", &silent);
    assert_eq!(reply.expect("an answer").status, 202);
    let agent = json!({"run_id": "agent", "workflow": "it", "version": "1", "driver": "journal"});
    spine.start_run(&agent);
    let alert = hook.wait("run_stalled", "r");
    // The store is some moments behind what is told.
    let why = waits::until("the stored stall", || {
        let why = spine.get("/v1/runs/r/why").json();
        why["stalled"].is_object().then_some(why)
    });
    let late_us = micros(&alert["at"]) - micros(&why["last_event"]["at"]);
    row::print(
        "stall_alert",
        Instant::now(),
        json!({"stall_after_s": 2}),
        json!({"alerted_after_ms": late_us / 1000}),
    );
    // Its owner looks at it when the threshold is over; among other tests that may come a little later.
    let most_us = if row::is_soak() { 3_000_000 } else { 6_000_000 };
    assert!((2_000_000..most_us).contains(&late_us), "{late_us}");
    assert_eq!((&alert["step"], &alert["status"]), (&json!("pay#1"), &json!("waiting")));
    let reason = alert["reason"].as_str().expect("a reason");
    assert!(reason.contains("pay#1") && reason.contains("spine steps resolve"), "{reason}");
    // Step, owner, last event, next action.
    let said = ok(&spine, &["runs", "why", "r"]);
    for word in
        ["stalled", "pay#1", "last event: step_failed", "owner: ", "spine steps resolve r pay#1"]
    {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert!(why["stalled"]["stalled_since"].is_string(), "{why}");
    let listed = spine.get("/v1/runs").json();
    let rows = listed["runs"].as_array().expect("runs");
    let of_run = rows.iter().find(|row| row["run_id"] == "r").expect("it is listed");
    assert!(of_run["stalled_since"].is_string(), "{of_run}");
    assert!(ok(&spine, &["runs", "list"]).contains("stalled"));
    assert!(ok(&spine, &["runs", "show", "r"]).contains("stalled  since"));
    // Silent outsiders are found, too; the lease of a step that was reported counts first, 30 s.
    let silent = hook.wait("run_stalled", "agent");
    assert!(silent["reason"].as_str().expect("a reason").contains("agent"), "{silent}");
    let once = hook.wait("run_stalled", "outside");
    assert_eq!(once["step"], "s0#1");
    spine.kill();
    spine.restart();
    waits::pass(Duration::from_secs(4));
    assert_eq!(hook.of("run_stalled").len(), 3, "one for each stall, also over a restart");
    ok(&spine, &["steps", "resolve", "r", "pay", "--happened", "--reason", "looked"]);
    let done = spine.wait_run("r", &["completed"]);
    assert_eq!(done["stalled_since"], Value::Null);
    assert!(metric(&spine, "spine_workers_webhook_posts_total") >= 0.0);
    assert_eq!(spine.stop().code(), Some(0));
    spine.is_fold_of_log();
}

#[test]
fn l35_a_step_is_told_as_unknown_when_another_session_replaces_the_one_that_did_it() {
    let hook = Received::start();
    let spine = Spine::fresh().with(&["--webhook", &hook.url()]).start();
    spine.start_run(&json!({"run_id": "r", "workflow": "it", "version": "1", "driver": "journal"}));
    let begins = |session: &str, replaces: Option<&str>, step: &str| {
        let op = json!({"op": "begin", "op_id": 1, "step": {"name": step}, "tool": "by hand",
            "effect": "at_most_once", "input": {}});
        let body = json!({"session": session, "replaces": replaces, "ops": [op]});
        let reply = spine.http().post("/v1/runs/r/journal", &body).expect("an answer");
        reply.json()["results"][0]["status"].clone()
    };
    assert_eq!(begins("first", None, "pay"), "execute");
    // Whatever becomes of what the other session asks for.
    assert_eq!(begins("second", Some("first"), "pay"), "unknown");
    let told = hook.wait("step_unknown", "r");
    assert_eq!((&told["step"], &told["event"]), (&json!("pay#1"), &json!("step_started")));
    assert!(told["event_id"].as_str().is_some_and(|id| id.ends_with("/pay#1")), "{told}");
    assert_eq!(begins("third", Some("second"), "mail"), "execute");
    assert_eq!(begins("fourth", Some("third"), "note"), "execute");
    let told = waits::until("the other one", || hook.of("step_unknown").into_iter().nth(1));
    assert_eq!(told["step"], "mail#1", "also where what it asks for is granted");
    spine.is_fold_of_log();
}

/// A second by itself; among other tests, which share two cores with it, longer.
#[test]
fn l35_a_dead_letter_is_told_and_posted_in_the_soak_within_a_second() {
    let most_ms = if row::is_soak() { 1_000 } else { 10_000 };
    let hook = Received::start();
    let fx = Fx::start(|_, _| Answer::Refuses(503));
    let spine = Spine::fresh().with(&["--webhook", &hook.url(), "--breaker-failures", "0"]).start();
    let plan = |run: &str| {
        let steps = vec![lines::step("pay", &fx.tool("pay"), "idempotent")];
        lines::plan(run, &lines::quick(2), steps)
    };
    // From here on its group has the topic's partition.
    spine.start_run(&plan("first"));
    hook.wait("run_created", "first");
    let mut took_ms: Vec<i64> = Vec::new();
    for number in 0..row::size(3, 50) {
        let run = &format!("d{number}");
        spine.start_run(&plan(run));
        let seen = spine.wait_run(run, &["waiting"]);
        let told = hook.wait("step_dead_lettered", run);
        took_ms.push(hook.way_ms(&told));
        assert_eq!(told["letter_id"], seen["waiting_for"][0]["letter"], "{told}");
        assert_eq!((&told["error_code"], &told["step"]), (&json!("http_503"), &json!("pay#1")));
        let (at, of_run) = (&told["position"], &seen["applied"]);
        assert_eq!((&at["topic"], &at["partition"]), (&of_run["topic"], &of_run["partition"]));
    }
    let (call, _) = hook.taken().remove(0);
    assert_eq!(call.path, "/hook");
    assert!(!call.key.is_empty() && call.body.contains(&call.key), "the key is the event's id");
    row::print(
        "dead_letter_webhook",
        Instant::now(),
        json!({"letters": took_ms.len(), "most_ms": most_ms}),
        json!({"on_its_way_ms": took_ms}),
    );
    assert!(took_ms.iter().all(|ms| *ms < most_ms), "{took_ms:?}");
    let letter = hook.wait("step_dead_lettered", "d1")["letter_id"].clone();
    let letter = letter.as_str().expect("an id");
    ok(&spine, &["dead-letters", "discard", letter, "--then", "skip", "--reason", "no use"]);
    let closed = hook.wait("letter_discarded", "d1");
    assert_eq!(
        (&closed["letter_id"], &closed["event"]),
        (&json!(letter), &json!("step_discarded"))
    );
    hook.wait("run_degraded", "d1");
}

/// Runs over kills and outages of the receiver, then: every transition of the log was taken, once per id.
#[test]
fn l41_kills_and_a_dead_receiver_lose_nothing() {
    let hook = Received::start();
    let fx = Fx::willing();
    let mut spine = Spine::fresh().with(&["--webhook", &hook.url()]).start();
    let runs = row::size_on(40, 12, 400);
    let began = Instant::now();
    for number in 0..runs {
        let steps = vec![lines::step("a", &fx.tool("a"), "pure")];
        spine.start_run(&lines::plan(&format!("r{number}"), &lines::quick(3), steps));
        if number % 10 == 5 {
            hook.up.store(number % 20 == 5, Ordering::SeqCst);
            spine.kill();
            spine.restart();
        }
    }
    // Nobody waits for a receiver that is dead.
    hook.up.store(false, Ordering::SeqCst);
    for number in 0..runs {
        spine.wait_run(&format!("r{number}"), &["completed"]);
    }
    hook.up.store(true, Ordering::SeqCst);
    for number in 0..runs {
        hook.wait("run_created", &format!("r{number}"));
        hook.wait("run_completed", &format!("r{number}"));
    }
    let mut by_id: BTreeMap<String, String> = BTreeMap::new();
    let taken = hook.taken();
    for (call, record) in &taken {
        assert_eq!(record["event_id"], call.key.as_str());
        let before = by_id.insert(call.key.clone(), call.body.clone());
        assert!(before.is_none_or(|before| before == call.body), "two forms of {}", call.key);
    }
    assert_eq!(by_id.len(), 2 * runs, "each transition once per id");
    let first_seen: Vec<i64> = {
        let mut seen = BTreeSet::new();
        let firsts = taken.iter().filter(|(call, _)| seen.insert(call.key.clone()));
        firsts.filter_map(|(_, record)| record["position"]["offset"].as_i64()).collect()
    };
    assert!(first_seen.is_sorted(), "in the order of the log: {first_seen:?}");
    row::print(
        "webhook_over_kills",
        began,
        json!({"runs": runs}),
        json!({"posts": taken.len(), "ids": by_id.len()}),
    );
    spine.stop();
    spine.is_fold_of_log();
}

#[test]
fn one_record_that_is_never_taken_does_not_keep_the_others_away_and_a_new_webhook_hears_what_is_new()
 {
    let fx = Fx::willing();
    let plan = |run: &str| {
        lines::plan(run, &lines::quick(3), vec![lines::step("a", &fx.tool("a"), "pure")])
    };
    let picky = Fx::start(|call, _| match call.body.contains("\"poison\"") {
        true => Answer::Refuses(400),
        false => Answer::Done,
    });
    let hook = Received { fx: picky, up: Arc::default() };
    let mut spine = Spine::fresh().with(&["--lifecycle"]).start();
    spine.start_run(&plan("before"));
    spine.wait_run("before", &["completed"]);
    assert_eq!(spine.stop().code(), Some(0));
    spine = spine.with(&["--webhook", &hook.url()]);
    spine.restart();
    spine.start_run(&plan("poison"));
    spine.start_run(&plan("after"));
    hook.wait("run_completed", "after");
    assert!(hook.taken().iter().all(|(_, record)| record["run_id"] == "after"), "only what is new");
    assert!(metric(&spine, "spine_workers_webhook_posts_total") >= 4.0);
    let refused = hook.fx.calls().into_iter().filter(|call| !call.effect).count();
    assert_eq!(refused, 2, "each is posted once");
    let out = spine_tests::spine(&["serve", "--webhook", "http://example.com/"]).output();
    let out = out.expect("the binary runs");
    assert!(String::from_utf8_lossy(&out.stderr).contains("--allow-tool-host"), "{out:?}");
}
