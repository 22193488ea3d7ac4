//! How long encoding and decoding take. Nothing is decided by time here; `spine bench` is the benchmark.

use super::*;
use crate::canonical;
use std::{hint::black_box, time::Duration};

const DEFAULTS: json::Defaults<'static> =
    json::Defaults { now: Micros(0), tenant: "default", actor: "bench", event_id: &String::new };

/// A completed step of about 600 bytes.
fn line() -> String {
    let output = output();
    format!(
        r#"{{"kind":"step_completed","event_id":"0f8fad5b-d9cb-469f-a165-70867728950e",
            "run_id":"refund-000017","step":{{"name":"lookup"}},"attempt":1,
            "output":{{"data":{output}}},"attributes":{{"a":"1","b":"2"}},
            "usage":{{"model":"m1","input_uncached":812,"output_text":95,"cost_micros":4100}}}}"#
    )
}

fn output() -> String {
    format!(r#"{{"customer":"c9","n":1.0,"note":"{}"}}"#, "x".repeat(330))
}

/// `cargo test --profile ci -p spine-schemas -- --ignored --nocapture speed`
#[test]
#[ignore = "prints times"]
fn speed() {
    let (line, book) = (line(), SchemaBook::compiled_in());
    let event = json::parse_event(line.as_bytes(), &DEFAULTS).unwrap();
    let (bytes, mut out) = (encode(&event).unwrap(), Vec::new());
    println!("line of {} bytes, event of {} bytes", line.len(), bytes.len());
    best("encode", || {
        out.clear();
        encode_into(&event, &mut out).unwrap();
    });
    best("  of which check", || event.check().unwrap());
    best("decode", || drop(black_box(decode(&bytes, &book).unwrap())));
    best("parse_event", || drop(black_box(json::parse_event(line.as_bytes(), &DEFAULTS).unwrap())));
    let output = output();
    best("  of which digest", || {
        black_box(canonical::digest("output", output.as_bytes()).unwrap());
    });
    best("to_text", || drop(black_box(json::to_text(&event).unwrap())));
}

/// The best of many short runs, since machines are shared.
#[expect(clippy::disallowed_methods, reason = "it measures the code, it does not decide by time")]
fn best(what: &str, mut run: impl FnMut()) {
    let mut best = Duration::MAX;
    for _ in 0..300 {
        let start = std::time::Instant::now();
        for _ in 0..500 {
            run();
        }
        best = best.min(start.elapsed() / 500);
    }
    println!("{what}: {best:?}");
}
