//! Avro container files as they come from outside: written by Python's fastavro, sent through HTTP and
//! by `spine events append`, read back as runs.

use crate::formats::has_python;
use serde_json::{Value, json};
use spine_tests::{Reply, Spine};
use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
};

/// What a producer with a schema of its own has to write: no ids, no times, no digests.
const SCRIPT: &str = r#"
import sys, json, fastavro
out, codec, run, steps = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
payload = {"type": "record", "name": "Payload", "fields": [{"name": "bytes", "type": ["null", "bytes"]}]}
record = lambda name, *fields: {"type": "record", "name": name, "fields": [
    {"name": field, "type": kind} for field, kind in fields]}
kinds = ["step_completed", "run_created", "run_completed", "step_started"]
schema = fastavro.parse_schema({"type": "record", "name": "StepEvent", "namespace": "spine.v1", "fields": [
    {"name": "run_id", "type": "string"},
    {"name": "output", "type": ["null", record("Output", ("data", payload))]},
    {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": kinds}},
    {"name": "attempt", "type": ["null", "int"]},
    {"name": "step", "type": ["null", record("Step", ("name", "string"))]},
    {"name": "run", "type": ["null", record("Run", ("workflow", "string"), ("version", "string"), ("input", "Payload"))]},
    {"name": "spec", "type": ["null", record("Spec", ("tool", "string"), ("input", "Payload"))]}]})
data = lambda value: {"bytes": json.dumps(value).encode()}
event = lambda kind, **fields: {"run_id": run, "kind": kind, **fields}
events = [event("run_created", run={"workflow": "it", "version": "1", "input": data({"n": 1})})]
for at in range(steps):
    step = {"step": {"name": f"s{at}"}, "attempt": 1}
    events.append(event("step_started", spec={"tool": "t", "input": data({"at": at})}, **step))
    events.append(event("step_completed", output={"data": data({"at": at})}, **step))
events.append(event("run_completed", output={"data": data({"ok": True})}))
fastavro.writer(open(out, "wb"), schema, events, codec=codec, sync_interval=400)
"#;

fn python(script: &str, args: &[&str]) {
    let out = Command::new("python3").args(["-c", script]).args(args).output();
    let out = out.expect("python3 runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

fn write(dir: &Path, codec: &str, run: &str) -> PathBuf {
    let file = dir.join(format!("{run}.avro"));
    python(SCRIPT, &[&file.display().to_string(), codec, run, "10"]);
    file
}

fn post(server: &Spine, body: &[u8]) -> Reply {
    server.http().ask("POST", "/v1/events", "application/avro", body).expect("an answer")
}

fn append(server: &Spine, file: &Path, more: &[&str]) -> (bool, String) {
    let file = file.display().to_string();
    let out = server.run(&[&["events", "append", &file], more].concat());
    let text = [out.stdout, out.stderr].concat();
    (out.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn is_whole(server: &Spine, run: &str) {
    let run = server.wait_run(run, &["completed"]);
    assert_eq!(run["steps"]["completed"], 10, "{run}");
    assert_eq!((&run["driver"], &run["input"]), (&json!("record"), &json!({"n": 1})), "{run}");
    assert_eq!(run["output"]["data"], json!({"ok": true}), "{run}");
}

#[test]
fn files_of_fastavro_are_appended_and_read_back() {
    if !has_python("fastavro") {
        return;
    }
    let server = Spine::fresh().start();
    for (codec, run) in [("null", "plain"), ("deflate", "deflated")] {
        let file = std::fs::read(write(server.dir(), codec, run)).expect("the file");
        let reply = post(&server, &file);
        assert_eq!(reply.status, 202, "{codec}: {}", reply.json());
        assert_eq!(
            (&reply.json()["appended"], &reply.json()["dedupe"]),
            (&json!(22), &json!(false))
        );
        is_whole(&server, run);
    }
    // What a log is made of is what the door takes: our own schema, written by somebody else.
    let file = write(server.dir(), "deflate", "by-cli");
    for _ in 0..2 {
        let (done, text) = append(&server, &file, &["--idempotency-key", "k"]);
        assert!(done && text.contains("22 events appended"), "{text}");
    }
    is_whole(&server, "by-cli");
    let events = server.events_of_log().into_iter().map(|line| line["event"].clone());
    let ids = events.filter(|event| event["run_id"] == "by-cli");
    let ids: BTreeSet<_> = ids.map(|event| event["event_id"].to_string()).collect();
    assert_eq!(ids.len(), 22, "a repeat has the ids of the first");
}

#[test]
fn files_that_cannot_be_taken_say_why_and_append_nothing() {
    if !has_python("fastavro") {
        return;
    }
    let server = Spine::fresh().start();
    let good = std::fs::read(write(server.dir(), "null", "r")).expect("the file");
    let mut foreign = good.clone();
    let at = foreign.windows(5).position(|window| window == b"\x08null").expect("a codec");
    foreign[at + 1..at + 5].copy_from_slice(b"lzma");
    let grown = server.dir().join("grown.avro");
    let bomb = "import sys,fastavro\n\
        s=fastavro.parse_schema({'type':'record','name':'spine.v1.StepEvent','fields':[\n\
        \x20{'name':'run_id','type':'string'},{'name':'reason','type':'string'},\n\
        \x20{'name':'kind','type':{'type':'enum','name':'Kind','symbols':['run_cancelled']}}]})\n\
        r=[{'run_id':'r','kind':'run_cancelled','reason':'x'*900000}]*60\n\
        fastavro.writer(open(sys.argv[1],'wb'),s,r,codec='deflate',sync_interval=int(sys.argv[2]))";
    for (interval, limit) in [("100000000", 16 << 20), ("1000000", 32 << 20)] {
        python(bomb, &[&grown.display().to_string(), interval]);
        let reply = post(&server, &std::fs::read(&grown).expect("the file"));
        let problem: Value = reply.json();
        assert_eq!(
            (reply.status, problem["limit_bytes"].as_u64()),
            (413, Some(limit)),
            "{problem}"
        );
    }
    for (what, body, words) in [
        ("codec", &foreign[..], "its codec is 'lzma'; write it with deflate or null"),
        ("cut", &good[..good.len() - 3], "the file is cut"),
    ] {
        let file = server.dir().join(format!("{what}.avro"));
        std::fs::write(&file, body).expect("a file");
        let (done, text) = append(&server, &file, &[]);
        assert!(!done && text.contains(words), "{what}: {text}");
        let reply = post(&server, body);
        assert!(reply.json()["detail"].as_str().is_some_and(|it| it.contains(words)), "{what}");
    }
    for size in 1..good.len() {
        // Where a block ends, a file is whole; the sample has more than one.
        if good[..size].ends_with(&good[good.len() - 16..]) {
            continue;
        }
        let reply = post(&server, &good[..size]);
        assert_eq!(
            (reply.status, &reply.json()["name"]),
            (400, &json!("bad_avro")),
            "{size} bytes"
        );
    }
    assert_eq!(server.get("/v1/runs/r").status, 404, "nothing was appended");
    assert_eq!(post(&server, &good).status, 202);
}
