//! A positive reply comes only after its own fdatasync: seen from outside, in the system calls.

use spine_tests::{Spine, lines, waits};
use std::process::Command;

const REQUESTS: usize = 100;

/// The calls of a trace in their order: `s` a sync that ended well, `r` a reply that says 202.
fn story(trace: &str) -> String {
    let of = |line: &str| {
        let synced = line.contains("fdatasync") && line.trim_end().ends_with("= 0");
        let replied = line.contains("HTTP/1.1 202");
        if synced {
            Some('s')
        } else if replied {
            Some('r')
        } else {
            None
        }
    };
    trace.lines().filter_map(of).collect()
}

#[test]
fn g1_p1_each_reply_is_preceded_by_its_own_fdatasync() {
    if Command::new("strace").arg("-V").output().is_err() {
        println!("skipped: strace is not here");
        return;
    }
    let dir = tempfile::tempdir().expect("a scratch directory");
    let trace = dir.path().join("trace");
    let trace_name = trace.display().to_string();
    let calls = "trace=fdatasync,write,sendto,sendmsg,writev";
    let words = ["strace", "-f", "-s", "24", "-e", calls, "-o", &trace_name];
    let spine = Spine::fresh().under(&words).start();
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
    assert_eq!(told.matches('r').count(), REQUESTS);
    for (at, before) in told.split('r').take(REQUESTS).enumerate() {
        assert!(before.contains('s'), "reply {at} came without a sync of its own: {told}");
    }
}
