//! Foreign tools read what we write, and count what we count.

use serde_json::Value;
use spine_tests::{Answer, Fx, Spine, lines, substrate};
use std::process::Command;

/// Whether Python has a package; where all must run, it must.
pub(crate) fn has_python(package: &str) -> bool {
    let out = Command::new("python3").args(["-c", &format!("import {package}")]).output();
    let found = out.is_ok_and(|out| out.status.success());
    let is_required = std::env::var("SPINE_LIVE").is_ok_and(|live| live == "required");
    assert!(found || !is_required, "SPINE_LIVE=required, but python3 has no {package}");
    if !found {
        println!("skipped: python3 with {package} is not here");
    }
    found
}

/// Records and kinds of all segments of a topic, by fastavro.
fn read_avro(spine: &Spine, topic: &str) -> Value {
    let script = "import sys,json,fastavro,collections\n\
        n=0; kinds=collections.Counter(); offsets=[]\n\
        for f in sys.argv[1:]:\n\
        \x20 for r in fastavro.reader(open(f,'rb')):\n\
        \x20  n+=1; offsets.append(r['offset']); b=r['body']\n\
        \x20  kinds[b.get('kind','letter') if isinstance(b,dict) else 'bytes']+=1\n\
        assert offsets==list(range(n)), 'offsets have gaps'\n\
        print(json.dumps({'records':n,'kinds':kinds}))";
    let out = Command::new("python3").args(["-c", script]).args(spine.segments(topic)).output();
    let out = out.expect("python3 runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).expect("JSON")
}

fn sqlite(spine: &Spine, query: &str) -> String {
    let out = Command::new("sqlite3").args(["-readonly"]).arg(spine.store()).arg(query).output();
    let out = out.expect("sqlite3 runs");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

#[test]
fn f4_fastavro_and_sqlite3_agree_with_the_api() {
    if substrate::is_without_files("it is about files of the log and of SQLite") {
        return;
    }
    let fx = Fx::start(|call, _| match call.run.as_str() {
        "p1" => Answer::Refuses(500),
        _ => Answer::Done,
    });
    let mut spine = Spine::fresh().start();
    for run in ["p0", "p1", "p2"] {
        let steps = (0..3).map(|at| lines::step(&format!("s{at}"), &fx.tool("t"), "idempotent"));
        spine.start_run(&lines::plan(run, &lines::quick(2), steps.collect()));
    }
    let body = lines::ndjson(&lines::record_run("e", 5));
    spine.http().ask("POST", "/v1/events", "application/x-ndjson", &body).expect("an answer");
    let mut events = 0;
    for run in ["p0", "p1", "p2", "e"] {
        spine.wait_run(run, &["completed", "waiting"]);
        let seen = spine.get(&format!("/v1/runs/{run}/events?limit=1000")).json();
        events += seen["events"].as_array().map_or(0, Vec::len);
    }
    let completed = spine.get("/v1/runs?status=completed").json();
    let completed = completed["runs"].as_array().map_or(0, Vec::len);
    let letters = spine.get("/v1/dead-letters").json();
    let letters = letters["dead_letters"].as_array().map_or(0, Vec::len);
    assert_eq!((completed, letters), (3, 1));
    assert!(spine.stop().success(), "{}", spine.words());
    if has_python("fastavro") {
        let steps = read_avro(&spine, "spine.steps");
        let claims = steps["kinds"]["owner_claimed"].as_u64().unwrap_or(0) as usize;
        assert_eq!(steps["records"].as_u64(), Some((events + claims) as u64), "{steps}");
        assert_eq!(steps["kinds"]["run_created"], 4, "{steps}");
        assert_eq!(read_avro(&spine, "spine.steps.dlq")["records"], 1);
    }
    if Command::new("sqlite3").arg("--version").output().is_err() {
        println!("skipped: sqlite3 is not here");
        return;
    }
    assert_eq!(sqlite(&spine, "SELECT count(*) FROM runs WHERE status='completed'"), "3");
    assert_eq!(sqlite(&spine, "SELECT count(*) FROM dead_letters"), "1");
    let stored = sqlite(&spine, "SELECT count(*) FROM events");
    assert_eq!(stored, events.to_string(), "events in the store");
}
