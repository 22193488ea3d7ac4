//! The long form, and the line that each of its rows prints.

use serde_json::{Value, json};
use std::{process::Command, time::Instant};

/// Whether the long form is asked for.
pub(crate) fn is_soak() -> bool {
    std::env::var_os("SPINE_SOAK").is_some()
}

/// A size: short in CI, long in a soak.
pub(crate) fn size(short: usize, long: usize) -> usize {
    if is_soak() { long } else { short }
}

/// Prints one JSON line: what was done, from which commit, with what, and what came out.
pub(crate) fn print(row: &str, started: Instant, parameters: Value, result: Value) {
    let commit = Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
    let commit = commit.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned());
    let line = json!({
        "row": row,
        "commit": commit.unwrap_or_default(),
        "soak": is_soak(),
        "parameters": parameters,
        "result": result,
        "took_ms": started.elapsed().as_millis() as u64,
    });
    println!("{line}");
}
