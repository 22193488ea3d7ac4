//! A partition that stands still although something is owed there makes noise: on a metric, in the log of the server,
//! on `/readyz`, and at a webhook.

use crate::formats::has_python;
use serde_json::{Value, json};
use spine_tests::{Fx, On, Spine, lines, row, substrate, waits};
use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Instant,
};

const SERIES: &str = "spine_partition_unattended{partition=\"0\"}";

/// Holds SQLite's lock, as a program does that somebody forgot in a terminal: the store can be read and not written.
struct Locked(Child);

impl Locked {
    fn store(path: &Path) -> Self {
        let script = "import sqlite3, sys\nstore = sqlite3.connect(sys.argv[1], isolation_level=None)\n\
            store.execute('BEGIN IMMEDIATE')\nprint('locked', flush=True)\nsys.stdin.read()";
        let mut command = Command::new("python3");
        command.args(["-c", script]).arg(path).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut python = command.spawn().expect("python3 runs");
        let mut said = String::new();
        let out = python.stdout.take().expect("a pipe");
        BufReader::new(out).read_line(&mut said).expect("it says something");
        assert_eq!(said, "locked\n");
        Self(python)
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // One that has ended holds nothing.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn append(spine: &Spine, run: &str) {
    let body = lines::ndjson(&lines::record_run(run, 1));
    let reply = spine.http().ask("POST", "/v1/events", "application/x-ndjson", &body);
    assert_eq!(reply.expect("an answer").status, 202);
}

/// What `/readyz` names, whatever else it says.
fn named(spine: &Spine) -> Vec<Value> {
    spine.get("/readyz").json()["unattended"].as_array().cloned().unwrap_or_default()
}

#[test]
fn f32_a_store_that_does_not_follow_is_an_alarm_until_it_does() {
    if substrate::chosen() == On::KafkaCql {
        println!("not here: the store is no file that another program could lock");
        return;
    }
    if !has_python("sqlite3") {
        return;
    }
    let hook = Fx::willing();
    let flags = ["--stall-after", "2", "--webhook", &hook.tool("hook")];
    let kinds = ["--webhook-kinds", "partition_unattended"];
    let mut spine = Spine::fresh().with(&[&flags[..], &kinds].concat()).start();
    append(&spine, "before");
    spine.wait_run("before", &["completed"]);
    waits::until("the first look", || (spine.metric(SERIES)? == 0.0).then_some(()));
    let locked = Locked::store(&spine.store());
    let began = Instant::now();
    append(&spine, "behind");
    let alarm = waits::until("the alarm", || named(&spine).pop());
    let alarmed_ms = began.elapsed().as_millis() as u64;
    row::print(
        "unattended",
        began,
        json!({"stall_after_s": 2}),
        json!({"alarmed_after_ms": alarmed_ms}),
    );
    // It looks once a second, and has seen it stand still at the second look at the earliest.
    let most_ms = if row::is_soak() { 5000 } else { 10_000 };
    assert!((2000..most_ms).contains(&alarmed_ms), "after {alarmed_ms} ms");
    let reason = alarm["reason"].as_str().expect("a reason");
    assert!(alarm["partition"] == 0 && reason.contains("are not stored"), "{alarm}");
    waits::until("the metric", || (spine.metric(SERIES)? == 1.0).then_some(()));
    let call = waits::until("the webhook", || hook.calls().pop());
    let told: Value = serde_json::from_str(&call.body).expect("JSON");
    assert_eq!(
        (&told["kind"], &told["reason"]),
        (&json!("partition_unattended"), &alarm["reason"])
    );
    assert_eq!(told["event_id"], call.key.as_str());
    assert!(spine.words().contains("a partition is unattended"), "{}", spine.words());
    drop(locked);
    spine.wait_run("behind", &["completed"]);
    waits::until("the end of the alarm", || named(&spine).is_empty().then_some(()));
    waits::until("the metric", || (spine.metric(SERIES)? == 0.0).then_some(()));
    assert!(spine.words().contains("attended to again"), "{}", spine.words());
    assert_eq!(hook.calls().len(), 1, "once");
    assert_eq!(spine.stop().code(), Some(0));
    spine.is_fold_of_log();
}
