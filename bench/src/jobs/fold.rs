//! How fast one core decodes events and folds them onto the states of their runs: no log, no store.

use crate::{
    bench::{Bench, Head, durable, parameters},
    error::Result,
    events::{self, RUN_EVENTS},
    measure::Measure,
    place::Opener,
    row::Row,
    settings::Parts,
};
use bytes::Bytes;
use serde_json::json;
use spine_runs::{PartitionState, Place, RunState, fold};
use spine_schemas::{RunKey, codec, codec::SchemaBook, time::Micros};
use std::{collections::HashMap, sync::Arc, time::Duration};
use tokio::time::Instant;

/// Events that are decoded in one pass.
const PASS: u64 = 8_000;

pub(super) async fn rows<O: Opener>(bench: &Bench<O>) -> Result<Vec<Row>> {
    let values = values();
    let both = bench.rounds(async || Ok(measure(bench, &values, true))).await?;
    let decode = bench.rounds(async || Ok(measure(bench, &values, false))).await?;
    let encode = bench.rounds(async || Ok(encode(bench))).await?;
    let row = |job: &str, rounds| Row::of(job, Parts::Embedded, rounds, Vec::new());
    Ok(vec![row("fold", both), row("fold.decode", decode), row("fold.encode", encode)])
}

fn values() -> Vec<Bytes> {
    let places = (0..PASS).map(|at| (at / RUN_EVENTS, at % RUN_EVENTS));
    let events = places.map(|(run, index)| events::event("fold", run, index));
    events.map(|event| codec::encode(&event).expect("a legal event")).collect()
}

fn measure<O>(bench: &Bench<O>, values: &[Bytes], folds: bool) -> Measure
where
    O: Opener,
{
    let book = SchemaBook::compiled_in();
    let (begun, mut count) = (Instant::now(), 0);
    while begun.elapsed() < bench.settings.measured() {
        match folds {
            true => one_pass(values, &book),
            false => values.iter().for_each(|value| {
                std::hint::black_box(codec::decode(value, &book).expect("a legal event"));
            }),
        }
        count += PASS;
    }
    let of = if folds { "decode and fold" } else { "decode" };
    rate(of, count, begun.elapsed(), values.iter().map(Bytes::len).sum())
}

/// Runs that have ended are let go, as an owner does.
fn one_pass(values: &[Bytes], book: &SchemaBook) {
    let mut partition = PartitionState::default();
    let mut runs: HashMap<RunKey, Option<Arc<RunState>>> = HashMap::new();
    for (offset, value) in (0..).zip(values) {
        let event = codec::decode(value, book).expect("a legal event");
        let place = Place { partition: 0, offset, at: Micros(offset as i64) };
        let key = event.run_key().expect("an event of a run");
        let run = runs.entry(key).or_default();
        std::hint::black_box(fold(&mut partition, run, &event, place));
    }
    let ended = runs.values().flatten().filter(|run| !run.is_open()).count() as u64;
    assert_eq!(ended, PASS / RUN_EVENTS, "every run was folded to its end");
}

fn encode<O: Opener>(bench: &Bench<O>) -> Measure {
    let places = (0..PASS).map(|at| (at / RUN_EVENTS, at % RUN_EVENTS));
    let events: Vec<_> = places.map(|(run, index)| events::event("fold", run, index)).collect();
    let (begun, mut count, mut out) = (Instant::now(), 0, Vec::new());
    while begun.elapsed() < bench.settings.measured() {
        for event in &events {
            out.clear();
            codec::encode_into(event, &mut out).expect("a legal event");
        }
        count += PASS;
    }
    rate("encode", count, begun.elapsed(), out.len() * PASS as usize)
}

fn rate(of: &'static str, count: u64, took: Duration, bytes: usize) -> Measure {
    let head = Head {
        of,
        durability: durable::NONE,
        parameters: parameters([
            ("threads", json!(1)),
            ("bytes_an_event", json!(bytes / PASS as usize)),
        ]),
    };
    head.rate(count, took, "events/s", None)
}
