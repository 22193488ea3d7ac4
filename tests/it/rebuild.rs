//! The store is a fold of the log: thrown away it comes back equal, and a replay calls nobody.

use serde_json::json;
use spine_tests::{Answer, Fx, Spine, lines, spine, substrate, waits};
use std::{path::PathBuf, process::Stdio};

/// A server with runs of every kind behind it, stopped.
fn lived(fx: &Fx) -> Spine {
    let mut spine = Spine::fresh().with(&["--breaker-failures", "0"]).start();
    for run in 0..8 {
        let step = |at: usize| {
            let effect = ["pure", "idempotent", "at_most_once"][at % 3];
            lines::step(&format!("s{at}"), &fx.tool(&format!("t{at}")), effect)
        };
        let plan = lines::plan(&format!("p{run}"), &lines::quick(2), (0..4).map(step).collect());
        spine.start_run(&plan);
        let body = lines::ndjson(&lines::record_run(&format!("e{run}"), 3));
        let reply = spine.http().ask("POST", "/v1/events", "application/x-ndjson", &body);
        assert_eq!(reply.expect("an answer").status, 202);
    }
    let journal = json!({"run_id": "j", "workflow": "w", "version": "1", "driver": "journal"});
    spine.start_run(&journal);
    let op = json!({"session": "S", "ops": [{"op": "begin", "op_id": 1, "step": {"name": "a"},
        "tool": "t", "input": {}, "lease_ms": 3_600_000}]});
    assert_eq!(spine.http().post("/v1/runs/j/journal", &op).expect("an answer").status, 200);
    for run in 0..8 {
        spine.wait_run(&format!("p{run}"), &["completed", "waiting"]);
        spine.wait_run(&format!("e{run}"), &["completed"]);
    }
    assert!(spine.stop().success(), "{}", spine.words());
    spine
}

fn fx() -> Fx {
    Fx::start(|call, before| match (call.path.as_str(), call.run.as_str()) {
        ("/t1", "p1" | "p2") => Answer::Refuses(500),
        ("/t1", _) if before == 0 => Answer::Refuses(503),
        ("/t2", "p3") => Answer::DoneThen(502),
        _ => Answer::Done,
    })
}

#[test]
fn f4_s2_c14_a_removed_store_is_rebuilt_equal_byte_for_byte() {
    let fx = fx();
    let mut spine = lived(&fx);
    let calls = fx.calls().len();
    let (code, before) = spine.replay("replayed", &["--compare", &spine.store_url()]);
    assert_eq!((code, &before["compared"]["equal"]), (Some(0), &json!(true)), "{before}");
    let tables = before["compared"]["tables"].as_array().expect("tables");
    let rows = |name: &str| {
        let table = tables.iter().find(|table| table["table"] == name).expect(name);
        table["rows"][0].as_u64().unwrap_or(0)
    };
    for (table, least) in [("runs", 17), ("steps", 45), ("events", 100), ("dead_letters", 2)] {
        assert!(rows(table) >= least, "{table}: {} rows", rows(table));
    }
    spine.forget_store();
    spine.restart();
    spine.wait_run("e3", &["completed"]);
    assert!(spine.stop().success(), "{}", spine.words());
    let (code, after) = spine.replay("again", &["--compare", &spine.store_url()]);
    assert_eq!((code, &after["compared"]["equal"]), (Some(0), &json!(true)), "{after}");
    assert_eq!(fx.calls().len(), calls, "a rebuild or a replay called a tool");
}

#[test]
fn f4_c14_a_replay_ends_where_it_is_told_and_a_changed_store_is_named() {
    let fx = fx();
    let spine = lived(&fx);
    let (code, short) = spine.replay("short", &["--until", "10"]);
    assert_eq!((code, &short["records"]), (Some(0), &json!(11)), "{short}");
    if substrate::is_without_files("a row is changed by sqlite3") {
        return;
    }
    let store = spine.store().display().to_string();
    let change = "UPDATE runs SET status = 'failed' WHERE rowid = (SELECT min(rowid) FROM runs)";
    let changed = std::process::Command::new("sqlite3").args([&store, change]).status();
    if !changed.is_ok_and(|status| status.success()) {
        println!("skipped: no sqlite3 that can change a row");
        return;
    }
    let (code, compared) = spine.replay("fresh", &["--compare", &store]);
    assert_eq!(code, Some(7), "{compared}");
    let difference = &compared["compared"]["differences"][0];
    assert_eq!((&difference["table"], &difference["column"]), (&json!("runs"), &json!("status")));
}

/// A stopped server whose log takes a while to replay.
fn filled() -> Spine {
    let mut spine = Spine::fresh().with(&["--breaker-failures", "0"]).start();
    for batch in 0..6 {
        let runs = (0..200).flat_map(|run| lines::record_run(&format!("e{batch}-{run}"), 10));
        let body = lines::ndjson(&runs.collect::<Vec<_>>());
        let sent = || spine.http().ask("POST", "/v1/events", "application/x-ndjson", &body);
        waits::until("a batch to be taken", || {
            (sent().expect("an answer").status == 202).then_some(())
        });
    }
    spine.wait_run("e5-199", &["completed"]);
    assert!(spine.stop().success(), "{}", spine.words());
    spine
}

#[test]
fn f4_a_replay_that_is_killed_leaves_nothing_that_passes_for_a_store() {
    if substrate::is_without_files("a file has its name when it is whole") {
        return;
    }
    let server = filled();
    let (to, log) = (server.beside("killed"), server.log_url());
    let file = PathBuf::from(to.strip_prefix("sqlite:").expect("a file"));
    let part = file.with_extension("db.filling");
    let mut replay = spine(&["replay", "--log", &log, "--to", &to]);
    let mut replay = replay.stdout(Stdio::null()).spawn().expect("the binary runs");
    waits::until("the replay to begin", || part.exists().then_some(()));
    replay.kill().expect("it can be killed");
    assert!(!replay.wait().expect("it ends").success(), "it was done before it was killed");
    assert!(part.exists() && !file.exists(), "half a store has the name of a whole one");
    let opened = spine(&["replay", "--log", &log, "--to", &server.beside("other"), "--compare"])
        .arg(&part)
        .output()
        .expect("the binary runs");
    let said = String::from_utf8_lossy(&opened.stderr).into_owned();
    assert!(!opened.status.success() && said.contains("remove"), "{said}");
    let (code, again) = server.replay("killed", &["--compare", &server.store_url()]);
    assert_eq!((code, &again["compared"]["equal"]), (Some(0), &json!(true)), "{again}");
    assert!(file.exists() && !part.exists());
}
