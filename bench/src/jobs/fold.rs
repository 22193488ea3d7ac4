//! How fast one core decodes events and folds them onto the states of their runs: no log, no store.

use crate::{
    bench::{Bench, Head, parameters, watched_here},
    durable,
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
use std::{collections::HashMap, sync::Arc};
use tokio::time::Instant;

/// Events that are decoded in one pass.
const PASS: u64 = 8_000;

pub(super) async fn rows<O: Opener>(bench: &Bench<O>) -> Result<Vec<Row>> {
    let (values, mut rows) = (events::encoded(PASS), Vec::new());
    for (job, work) in [("fold", Work::Fold), ("fold.decode", Work::Decode)] {
        if bench.settings.wants(job) {
            let rounds = bench.rounds(async || Ok(measure(bench, &values, work))).await?;
            rows.push(Row::of(job, Parts::Embedded, rounds, Vec::new()));
        }
    }
    if bench.settings.wants("fold.encode") {
        let rounds = bench.rounds(async || Ok(encode(bench))).await?;
        rows.push(Row::of("fold.encode", Parts::Embedded, rounds, Vec::new()));
    }
    Ok(rows)
}

/// What is done with the bytes of events.
#[derive(Clone, Copy)]
enum Work {
    Decode,
    /// Decoded first.
    Fold,
}

fn measure<O: Opener>(bench: &Bench<O>, values: &[Bytes], work: Work) -> Measure {
    let book = SchemaBook::compiled_in();
    let bytes: usize = values.iter().map(Bytes::len).sum();
    let decode = || {
        for value in values {
            std::hint::black_box(codec::decode(value, &book).expect("a legal event"));
        }
    };
    match work {
        Work::Fold => passes(bench, "decode and fold", bytes, || one_pass(values, &book)),
        Work::Decode => passes(bench, "decode", bytes, decode),
    }
}

/// Passes over all events, which have so many bytes, for as long as is measured.
fn passes<O: Opener>(
    bench: &Bench<O>,
    of: &'static str,
    bytes: usize,
    mut pass: impl FnMut(),
) -> Measure {
    let ((count, took), usage) = watched_here("one thread", || {
        let (begun, mut count) = (Instant::now(), 0);
        while begun.elapsed() < bench.settings.measured() {
            pass();
            count += PASS;
        }
        (count, begun.elapsed())
    });
    let head = Head {
        of,
        durability: durable::NONE,
        parameters: parameters([
            ("threads", json!(1)),
            ("bytes_an_event", json!(bytes / PASS as usize)),
        ]),
    };
    head.rate(count, took, "events/s", usage)
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
    let bytes: usize = events::encoded(PASS).iter().map(Bytes::len).sum();
    let mut out = Vec::new();
    passes(bench, "encode", bytes, || {
        for event in &events {
            out.clear();
            codec::encode_into(event, &mut out).expect("a legal event");
        }
    })
}
