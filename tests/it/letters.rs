//! Steps that use up their retries: one letter, its whole history, put back once, or given up.

use serde_json::{Value, json};
use spine_tests::{Answer, Fx, On, Spine, lines, substrate, waits};
use std::{
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

const OF_FILES: &str = "import sys,fastavro\n\
    for name in sys.argv[1:]:\n\
    \x20 for r in fastavro.reader(open(name,'rb')): print(r['body']['letter_id'].hex())";
const OF_KAFKA: &str = "import sys,confluent_kafka as k\n\
    c=k.Consumer({'bootstrap.servers':sys.argv[1],'group.id':'it','enable.auto.commit':False})\n\
    p=k.TopicPartition(sys.argv[2],0,0)\n\
    end=c.get_watermark_offsets(p,timeout=20)[1]\n\
    c.assign([p]); seen=0\n\
    while seen<end:\n\
    \x20 m=c.poll(20); assert m and not m.error(), m and m.error()\n\
    \x20 seen=m.offset()+1; print(dict(m.headers())['spine.dlq.id'].decode())\n\
    c.close()";

/// A tool server whose tool `pay` refuses until it is mended.
fn broken() -> (Fx, Arc<AtomicBool>) {
    let mended = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&mended);
    let fx = Fx::start(move |call, _| {
        let refuses = call.path == "/pay" && !flag.load(Ordering::SeqCst);
        if refuses { Answer::Refuses(503) } else { Answer::Done }
    });
    (fx, mended)
}

fn plan(run: &str, fx: &Fx) -> Value {
    let step = |name: &str, effect| lines::step(name, &fx.tool(name), effect);
    let steps = vec![step("a", "pure"), step("pay", "idempotent"), step("c", "pure")];
    lines::plan(run, &lines::quick(3), steps)
}

/// The run whose step `pay` is dead; gives the id of its letter.
fn dead(spine: &Spine, fx: &Fx, run: &str) -> String {
    spine.start_run(&plan(run, fx));
    let seen = spine.wait_run(run, &["waiting"]);
    assert_eq!(seen["steps"]["dead_lettered"], 1, "{seen}");
    let letter = seen["waiting_for"][0]["letter"].as_str();
    letter.expect("the wait names the letter").to_owned()
}

fn close(spine: &Spine, id: &str, how: &str, body: &Value) -> (u16, Value) {
    let reply = spine.http().post(&format!("/v1/dead-letters/{id}/{how}"), body);
    let reply = reply.expect("an answer");
    (reply.status, reply.json())
}

/// The letter is closed; where its run has ended too, the refusal may say that instead.
fn is_closed(problem: &Value) -> bool {
    problem["name"] == "letter_closed" || problem["name"] == "run_ended"
}

/// The ids in the dead-letter topic, in its order, as tools find them that know nothing of Spine: in the
/// records of the segments, or in the headers that Kafka shows.
fn ids_in_topic(spine: &Spine) -> Option<Vec<String>> {
    let (package, script, words) = match substrate::chosen() {
        On::Embedded => {
            let segments = spine.segments("spine.steps.dlq").into_iter();
            let segments = segments.map(|path| path.display().to_string()).collect();
            ("fastavro", OF_FILES, segments)
        }
        On::KafkaSqlite | On::KafkaCql => {
            let url = spine.log_url();
            let place = url.trim_start_matches("kafka://").split('?').next().unwrap_or_default();
            let (brokers, prefix) = place.split_once('/').expect("brokers/prefix");
            let topic = format!("{prefix}.steps.dlq");
            ("confluent_kafka", OF_KAFKA, vec![brokers.to_owned(), topic])
        }
    };
    if !crate::formats::has_python(package) {
        return None;
    }
    let out = Command::new("python3").args(["-c", script]).args(words).output();
    let out = out.expect("python3 runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    Some(String::from_utf8_lossy(&out.stdout).lines().map(str::to_owned).collect())
}

#[test]
fn c10_an_exhausted_step_leaves_one_letter_with_its_whole_history() {
    let (fx, _) = broken();
    let mut spine = Spine::fresh().start();
    let id = dead(&spine, &fx, "r");
    let list = spine.get("/v1/dead-letters").json();
    assert_eq!(list["dead_letters"].as_array().map(Vec::len), Some(1), "{list}");
    let letter = spine.get(&format!("/v1/dead-letters/{id}")).json();
    let attempts = letter["attempts"].as_array().expect("attempts");
    assert_eq!(attempts.len(), 3, "{letter}");
    for attempt in attempts {
        assert!(attempt["started_at"].is_string(), "{attempt}");
        assert!(attempt.to_string().contains("http_503"), "{attempt}");
    }
    // A restart may publish it again, with the same id.
    spine.kill();
    spine.restart();
    let again = dead(&spine, &fx, "r2");
    if let Some(mut ids) = ids_in_topic(&spine) {
        ids.dedup();
        assert_eq!(ids, [id, again]);
    }
}

#[test]
fn c10_a_redrive_runs_the_step_again_under_its_key_and_only_once() {
    let (fx, mended) = broken();
    let mut spine = Spine::fresh().start();
    let id = dead(&spine, &fx, "r");
    spine.kill();
    spine.restart();
    assert_eq!(close(&spine, &id, "redrive", &json!({})).1["name"], "reason_missing");
    mended.store(true, Ordering::SeqCst);
    let redrive = ["dead-letters", "redrive", &id, "--reason", "mended", "--json"];
    let out = spine.run(&redrive);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    spine.wait_run("r", &["completed"]);
    assert!(!spine.run(&redrive).status.success(), "a second redrive was taken");
    let (status, problem) = close(&spine, &id, "redrive", &json!({"reason": "again"}));
    assert!(status == 409 && is_closed(&problem), "{problem}");
    let calls = fx.calls_of("r", "pay");
    assert_eq!(calls.len(), 4);
    assert!(calls.iter().all(|call| call.key == calls[0].key), "the key changed");
    assert_eq!(fx.calls_of("r", "a").len(), 1);
    let letter = spine.get(&format!("/v1/dead-letters/{id}")).json();
    assert_eq!(letter["attempts"].as_array().map(Vec::len), Some(3), "the letter was changed");
}

/// A run keeps its id for good. Whoever wants the id of a stuck one is shown what it is doing; the slot at its
/// tool is another's.
#[test]
fn l34_a_stuck_run_shows_itself_to_who_wants_its_id_and_holds_no_slot() {
    let (fx, mended) = broken();
    let spine = Spine::fresh().with(&["--attempts-per-tool", "1"]).start();
    dead(&spine, &fx, "r");
    let post = |path: &str, body: &Value| {
        let reply = spine.http().post(path, body).expect("an answer");
        (reply.status, reply.json())
    };
    let (status, same) = post("/v1/runs", &plan("r", &fx));
    assert_eq!((status, &same["created"]), (200, &json!(false)), "{same}");
    let mut other = plan("r", &fx);
    other["input"] = json!({"other": true});
    let refused = || {
        let (status, problem) = post("/v1/runs", &other);
        assert_eq!((status, &problem["name"]), (409, &json!("run_exists")), "{problem}");
        problem["run_status"].clone()
    };
    assert_eq!(refused(), "waiting");
    mended.store(true, Ordering::SeqCst);
    spine.start_run(&plan("q", &fx));
    spine.wait_run("q", &["completed"]);
    assert_eq!(post("/v1/runs/r/kill", &json!({"reason": "given up"})).0, 200);
    spine.wait_run("r", &["cancelled"]);
    assert_eq!(refused(), "cancelled");
}

#[test]
fn c10_an_edit_is_recorded_with_before_and_after_and_gets_a_new_key() {
    let mended = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&mended);
    let fx = Fx::start(move |call, _| {
        let refuses = call.path == "/pay" && !flag.load(Ordering::SeqCst);
        if refuses { Answer::Refuses(422) } else { Answer::Done }
    });
    let spine = Spine::fresh().start();
    let id = dead(&spine, &fx, "r");
    mended.store(true, Ordering::SeqCst);
    let body = json!({"reason": "wrong amount", "actor": "ann", "input": {"cents": 7}});
    let (status, answer) = close(&spine, &id, "redrive", &body);
    assert_eq!(status, 200, "{answer}");
    spine.wait_run("r", &["completed"]);
    let calls = fx.calls_of("r", "pay");
    assert_eq!(calls.len(), 2);
    assert_ne!(calls[0].key, calls[1].key, "an edited input kept its key");
    assert_eq!(calls[1].body, "{\"cents\":7}");
    let events = spine.get("/v1/runs/r/events?limit=100").json();
    let events = events["events"].as_array().expect("events");
    let redriven = events.iter().find(|event| event["kind"] == "step_redriven");
    let redriven = redriven.expect("step_redriven").to_string();
    for part in ["ann", "wrong amount", "cents", "before"] {
        assert!(redriven.contains(part), "no {part} in {redriven}");
    }
}

#[test]
fn c10_a_discard_says_what_follows() {
    let (fx, _) = broken();
    let spine = Spine::fresh().with(&["--breaker-failures", "0"]).start();
    for (run, then, status) in [("f", "fail", "failed"), ("s", "skip", "degraded")] {
        let id = dead(&spine, &fx, run);
        let (code, problem) = close(&spine, &id, "discard", &json!({"reason": "no use"}));
        assert_eq!(code, 422, "{problem}");
        let (code, answer) =
            close(&spine, &id, "discard", &json!({"reason": "no use", "then": then}));
        assert_eq!(code, 200, "{answer}");
        spine.wait_run(run, &[status]);
        let (code, problem) = close(&spine, &id, "redrive", &json!({"reason": "too late"}));
        assert!(code == 409 && is_closed(&problem), "{problem}");
    }
    waits::until("the skipped run's last step", || {
        (fx.calls_of("s", "c").len() == 1).then_some(())
    });
    assert!(fx.calls_of("f", "c").is_empty());
}
