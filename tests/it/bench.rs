//! `spine bench`: every job runs, and says what its ratios come from. No figure is judged here.

use serde_json::Value;
use spine_tests::{binary, substrate, substrate::On};
use std::{
    collections::BTreeSet,
    io::Write,
    process::{Command, Stdio},
};
use tempfile::TempDir;

/// What every job gives at least one row for.
const JOBS: [&str; 14] = [
    "append", "http", "fold", "store", "lag", "steps", "gates", "plan", "poison", "redrive",
    "backlog", "recovery", "idle", "scale",
];

/// A row of each job that gives several, or stands for what such a job is about.
const ALONE: [&str; 10] = [
    "append.embedded.one",
    "append.http.one.p99",
    "fold.encode",
    "store.sqlite.interleaved",
    "lag.alone.p99",
    "steps.journal.16",
    "redrive.rate",
    "recovery",
    "idle",
    "scale.context",
];

/// What a peer says when this machine lacks something, or has no Python.
const MISSING: [Option<i32>; 2] = [Some(3), Some(127)];

fn bench(arguments: &[&str]) -> std::process::Output {
    let dir = TempDir::new().expect("a directory");
    let mut command = Command::new(binary::path());
    command.arg("bench").args(arguments).arg("--dir").arg(dir.path());
    let output = command.output().expect("spine bench runs");
    let left: Vec<_> = std::fs::read_dir(dir.path()).expect("the directory").collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    output
}

/// The rows that a benchmark prints as JSON.
fn rows(arguments: &[&str]) -> Vec<Value> {
    let output = bench(&[arguments, &["--smoke", "--json"]].concat());
    assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
    let rows = text(&output.stdout);
    rows.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn every_job_runs_and_says_what_its_ratios_come_from() {
    let Some(on) = substrate::bench_arguments() else { return };
    let on: Vec<&str> = on.iter().map(String::as_str).collect();
    let mut names = BTreeSet::new();
    for job in JOBS {
        let rows = rows(&[&[job], &on[..]].concat());
        assert!(!rows.is_empty(), "{job} gives no row");
        for row in rows {
            check(&row);
            names.insert(row["job"].as_str().expect("a name").to_owned());
        }
    }
    for goal in [
        "append.http.one.p50",
        "fold",
        "store.sqlite",
        "steps.journal.256",
        "recovery",
        "gates.p99",
        "backlog.p99",
        "idle.waiting",
        "scale.list.p99",
        "scale.context",
        "scale.batches",
    ] {
        assert!(names.contains(goal), "{goal} is missing in {names:?}");
    }
}

/// Whoever doubts a row can compute it again.
fn check(row: &Value) {
    let side = |side: &Value| {
        let value = side["value"].as_f64().unwrap_or_else(|| panic!("no figure in {row}"));
        for field in ["of", "unit", "durability"] {
            assert!(side[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {row}");
        }
        assert!(side["parameters"].is_object(), "{row}");
        // A limit that was not measured has no count.
        if side["count"] != 0 && cfg!(target_os = "linux") {
            assert!(side["cpu"].as_object().is_some_and(|cpu| !cpu.is_empty()), "{row}");
            assert!(side["bottleneck"].is_string(), "{row}");
        }
        let says_of_what = side["times_of"].as_str().is_some_and(|text| !text.is_empty());
        assert_eq!(side["p50_ms"].is_number(), says_of_what, "{row}");
        value
    };
    let measured = side(&row["measured"]);
    if row["against"].is_object() {
        let ratio = measured / side(&row["against"]);
        let said = row["ratio"].as_f64().unwrap_or(f64::NAN);
        assert!((ratio - said).abs() <= ratio.abs() * 0.001, "{ratio} is not the ratio of {row}");
    }
    let met = row["met"].as_str().expect("met");
    assert_eq!(row["must"].is_number(), met != "no_goal", "{row}");
    assert!(row["rounds"].as_array().is_some_and(|rounds| rounds.len() == 1), "{row}");
}

#[test]
fn people_get_a_table_and_wrong_arguments_a_way_out() {
    if substrate::is_without_files("the arguments are the same") {
        return;
    }
    let output = bench(&["fold", "--smoke"]);
    let table = text(&output.stdout);
    let last: Vec<&str> = table.lines().rev().take(5).collect();
    let head = last.iter().find(|line| line.starts_with("job ")).expect("a table at the end");
    for column in ["measured", "against", "ratio", "must", "want", "met"] {
        assert!(head.contains(column), "{head}");
    }
    assert!(!table.contains("not measured"), "{table}");
    for (arguments, says) in [
        (&["nonsense"][..], "there are the jobs append"),
        (&["fold", "--log", "kafka://localhost:1"][..], "--store"),
        (&["fold", "--log", "embedded:x", "--store", "cql://localhost:1"][..], "kafka://HOST:PORT"),
        (&["fold", "--rounds", "0"][..], "--rounds"),
        (&["fold", "--only", "idle"][..], "fold.decode"),
        (&["--only", "nonsense"][..], "scale.batches.memory"),
        (&["steps", "--smoke", "--peers", "no-such-folder"][..], "restate"),
    ] {
        let output = bench(arguments);
        assert!(!output.status.success(), "{arguments:?}");
        assert!(text(&output.stderr).contains(says), "{arguments:?}: {}", text(&output.stderr));
    }
}

#[test]
fn each_job_gives_the_rows_that_are_wanted_and_no_other() {
    if substrate::is_without_files("rows are chosen the same way") {
        return;
    }
    let only: Vec<&str> = ALONE.iter().flat_map(|row| ["--only", row]).collect();
    let found = rows(&only);
    let found: BTreeSet<&str> = found.iter().filter_map(|row| row["job"].as_str()).collect();
    assert_eq!(found, BTreeSet::from(ALONE));
    let found = rows(&["--only", "fold."]);
    let found: Vec<&str> = found.iter().filter_map(|row| row["job"].as_str()).collect();
    assert_eq!(found, ["fold.decode", "fold.encode"]);
}

#[test]
fn a_goal_that_was_not_measured_is_named_at_the_end_with_the_reason() {
    if substrate::is_without_files("on servers more is measured") {
        return;
    }
    let only = ["steps.journal.1", "steps.journal.1.restate", "steps.journal.cluster"];
    let only: Vec<&str> = only.iter().flat_map(|row| ["--only", row]).collect();
    let output = bench(&[&["steps", "--smoke"], &only[..]].concat());
    assert!(output.status.success(), "{}", text(&output.stderr));
    let said = text(&output.stdout);
    let last: Vec<&str> = said.lines().rev().take(2).collect();
    assert!(last[0].starts_with("not measured: steps.journal.cluster,"), "{said}");
    assert!(last[0].contains("make servers-up"), "{said}");
    assert!(last[1].starts_with("not measured: steps.journal.1.restate,"), "{said}");
    assert!(last[1].contains("PEERS=bench/peers"), "{said}");
}

/// Starts a peer that installs nothing and gives it a command; `None` where it is not installed.
fn peer(name: &str, arguments: &[&str], command: &str) -> Option<Vec<Value>> {
    let script = binary::root().join("bench/peers").join(name).join("run");
    let mut peer = Command::new(script)
        .arg("--offline")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the peer's program");
    let mut commands = peer.stdin.take().expect("a pipe");
    // One that ended at once reads no command, and says why.
    let _ = commands.write_all(command.as_bytes());
    drop(commands);
    let output = peer.wait_with_output().expect("the peer ends");
    let words = text(&output.stderr);
    if MISSING.contains(&output.status.code()) {
        println!("skipped: the peer {name}: {words}");
        return None;
    }
    assert!(output.status.success(), "{name}: {words}");
    let said = text(&output.stdout);
    Some(said.lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect())
}

#[test]
fn the_peers_that_are_installed_do_the_work() {
    if substrate::is_without_files("they have servers of their own") {
        return;
    }
    let command =
        r#"{"agents":2,"seconds":1,"steps":2,"bytes":100,"warmup_seconds":0.2}"#.to_owned() + "\n";
    for name in ["restate", "dbos"] {
        let Some(said) = peer(name, &[], &command) else { continue };
        let [ready, answer] = &said[..] else { panic!("{name}: {said:?}") };
        assert_eq!((&ready["ready"], &ready["peer"]), (&true.into(), &name.into()));
        for field in ["version", "durability"] {
            assert!(ready[field].is_string(), "{ready}");
        }
        assert!(answer["value"].as_f64().is_some_and(|rate| rate > 0.0), "{answer}");
        for field in ["p50_ms", "p99_ms", "max_ms", "count", "seconds"] {
            assert!(answer[field].is_number(), "{field}: {answer}");
        }
        assert!(answer["cpu"].as_object().is_some_and(|cpu| !cpu.is_empty()), "{answer}");
    }
}

#[test]
fn the_hand_written_sink_is_measured_with_the_servers_that_it_uses() {
    if substrate::chosen() != On::KafkaCql {
        println!("not here: the sink moves what is on Kafka to Cassandra");
        return;
    }
    let Some(servers) = substrate::Servers::named() else { return };
    let addresses = ["--kafka", &servers.kafka, "--cql", &servers.cql];
    if peer("java-sink", &addresses, "").is_none() {
        return;
    }
    let peers = binary::root().join("bench/peers").display().to_string();
    let on = substrate::bench_arguments().expect("servers");
    let mut arguments = vec!["store", "--only", "store.cql.java", "--peers", &peers];
    arguments.extend(on.iter().map(String::as_str));
    let found = rows(&arguments);
    let [row] = &found[..] else { panic!("{found:?}") };
    check(row);
    for server in ["kafka1", "cassandra1"] {
        assert!(row["against"]["cpu"][server].is_number(), "{row}");
    }
}
