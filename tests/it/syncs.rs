//! A positive reply comes only after its own fdatasync: seen from outside, in the system calls.

use spine_tests::{Spine, lines, substrate, waits};
use std::{collections::BTreeSet, process::Command};

const REQUESTS: usize = 100;

/// The calls of a trace in their order: `s` a sync of the log that ended well, `r` a reply 202.
fn story(trace: &str) -> String {
    let mut syncing = BTreeSet::new();
    let mut told = String::new();
    for line in trace.lines() {
        let thread = line.split_whitespace().next().unwrap_or_default();
        let of_log = line.contains("fdatasync(") && line.contains(".avro");
        if of_log && line.contains("unfinished") {
            syncing.insert(thread);
        }
        let resumed = line.contains("fdatasync resumed") && syncing.remove(thread);
        if (of_log || resumed) && line.trim_end().ends_with("= 0") {
            told.push('s');
        }
        if line.contains("HTTP/1.1 202") {
            told.push('r');
        }
    }
    told
}

#[test]
fn g1_p1_each_reply_is_preceded_by_its_own_fdatasync() {
    if substrate::is_without_files("it is about the embedded log's system calls") {
        return;
    }
    if Command::new("strace").arg("-V").output().is_err() {
        println!("skipped: strace is not here");
        return;
    }
    let dir = tempfile::tempdir().expect("a scratch directory");
    let trace = dir.path().join("trace");
    let trace_name = trace.display().to_string();
    let calls = "trace=fdatasync,write,sendto,sendmsg,writev";
    // With -D the tracer is the child, so that the server is ours to stop.
    let words = ["strace", "-D", "-f", "-y", "-s", "24", "-e", calls, "-o", &trace_name];
    let mut spine = Spine::fresh().under(&words).start();
    let mut http = spine.http();
    for at in 0..REQUESTS {
        let run = &lines::record_run(&format!("e{at}"), 0)[..1];
        let reply = http.ask("POST", "/v1/events", "application/x-ndjson", &lines::ndjson(run));
        assert_eq!(reply.expect("an answer").status, 202);
    }
    let told = waits::until("the trace to be written", || {
        let told = story(&std::fs::read_to_string(&trace).unwrap_or_default());
        (told.matches('r').count() >= REQUESTS).then_some(told)
    });
    spine.stop();
    assert_eq!(told.matches('r').count(), REQUESTS);
    for (at, before) in told.split('r').take(REQUESTS).enumerate() {
        assert!(before.contains('s'), "reply {at} came without a sync of its own: {told}");
    }
}
