//! `spine bench`: every job runs, and says what its ratios come from. No figure is judged here.

use serde_json::Value;
use spine_tests::{binary, substrate};
use std::{collections::BTreeSet, process::Command};
use tempfile::TempDir;

/// What every job gives at least one row for.
const JOBS: [&str; 12] = [
    "append", "http", "fold", "store", "lag", "steps", "plan", "poison", "redrive", "recovery",
    "idle", "scale",
];

fn bench(arguments: &[&str]) -> std::process::Output {
    let dir = TempDir::new().expect("a directory");
    let mut command = Command::new(binary::path());
    command.arg("bench").args(arguments).arg("--dir").arg(dir.path());
    let output = command.output().expect("spine bench runs");
    let left: Vec<_> = std::fs::read_dir(dir.path()).expect("the directory").collect();
    assert!(left.is_empty(), "left behind: {left:?}");
    output
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
        let output = bench(&[&[job, "--smoke", "--json"], &on[..]].concat());
        assert!(output.status.success(), "{job}: {}", text(&output.stderr));
        let rows = text(&output.stdout);
        let rows: Vec<Value> = rows
            .lines()
            .map(|line| serde_json::from_str(line).expect("an object a line"))
            .collect();
        assert!(!rows.is_empty(), "{job} gives no row");
        for row in rows {
            check(&row);
            names.insert(row["job"].as_str().expect("a name").to_owned());
        }
    }
    for goal in ["append.http.one.p50", "fold", "store.sqlite", "steps.journal.256", "recovery"] {
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
    for (arguments, says) in [
        (&["nonsense"][..], "there are the jobs append"),
        (&["fold", "--log", "kafka://localhost:1"][..], "--store"),
        (&["fold", "--log", "embedded:x", "--store", "cql://localhost:1"][..], "kafka://HOST:PORT"),
        (&["fold", "--rounds", "0"][..], "--rounds"),
        (&["steps", "--smoke", "--peers", "no-such-folder"][..], "restate"),
    ] {
        let output = bench(arguments);
        assert!(!output.status.success(), "{arguments:?}");
        assert!(text(&output.stderr).contains(says), "{arguments:?}: {}", text(&output.stderr));
    }
}
