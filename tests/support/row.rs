//! The long form, and the line that each of its rows prints.

use crate::substrate::{self, On};
use serde_json::{Value, json};
use std::{process::Command, time::Instant};

/// Whether the long form is asked for.
pub fn is_soak() -> bool {
    std::env::var_os("SPINE_SOAK").is_some_and(|value| !value.is_empty())
}

/// A size: short in CI, long in a soak.
pub fn size(short: usize, long: usize) -> usize {
    if is_soak() { long } else { short }
}

/// A size: short on files, shorter still on servers, where a start and a store cost seconds; long in a
/// soak.
pub fn size_on(files: usize, servers: usize, long: usize) -> usize {
    size(if substrate::chosen() == On::Embedded { files } else { servers }, long)
}

/// Whether a test runs on the embedded log, and on servers in the long form alone: says so.
#[must_use]
pub fn is_left_to_soak(why: &str) -> bool {
    let is_left = substrate::chosen() != On::Embedded && !is_soak();
    if is_left {
        println!("not here, but in `make soak`: {why}");
    }
    is_left
}

/// Prints one JSON line: what was done, from which commit, with what, and what came out.
pub fn print(row: &str, started: Instant, parameters: Value, result: Value) {
    let commit = Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
    let commit = commit.map(|out| String::from_utf8_lossy(&out.stdout).trim().to_owned());
    let line = json!({
        "row": row,
        "commit": commit.unwrap_or_default(),
        "on": substrate::chosen().name(),
        "soak": is_soak(),
        "parameters": parameters,
        "result": result,
        "took_ms": started.elapsed().as_millis() as u64,
    });
    println!("{line}");
}
