//! How often the hot paths ask for memory, for each event. Counts do not depend on the machine, so they are
//! asserted where times never are: whoever needs more memory than today says so here.

use crate::events::{self, RUN_EVENTS};
use bytes::Bytes;
use spine_runs::{PartitionState, Place, RunState, fold};
use spine_schemas::{Event, codec, codec::SchemaBook, time::Micros};
use std::sync::Arc;

/// Runs over which the counts are spread.
const RUNS: u64 = 100;

fn events() -> Vec<Event> {
    let places = (0..RUNS * RUN_EVENTS).map(|at| (at / RUN_EVENTS, at % RUN_EVENTS));
    places.map(|(run, index)| events::event("count", run, index)).collect()
}

fn values() -> Vec<Bytes> {
    events().iter().map(|event| codec::encode(event).expect("a legal event")).collect()
}

/// Allocations for each event of some work on all of them.
fn each(work: impl FnOnce()) -> f64 {
    allocation_counter::measure(work).count_total as f64 / (RUNS * RUN_EVENTS) as f64
}

/// Fails when a path needs more memory than it did, and when it needs so much less that the bound has become
/// a lie.
fn assert_about(name: &str, found: f64, bound: f64) {
    assert!(found <= bound, "{name}: {found} allocations an event, over {bound}");
    assert!(
        found > bound - 1.0,
        "{name}: {found} allocations an event: lower the bound of {bound}"
    );
}

#[test]
fn encoding_into_memory_that_is_there_asks_for_what_is_boxed() {
    let (events, mut out) = (events(), Vec::with_capacity(64 * 1024));
    // The first time compiles the schema.
    codec::encode_into(&events[0], &mut out).expect("a legal event");
    let found = each(|| {
        for event in &events {
            out.clear();
            codec::encode_into(event, &mut out).expect("a legal event");
        }
    });
    assert_about("encode", found, 0.5);
}

#[test]
fn decoding_asks_for_what_the_event_owns() {
    let (values, book) = (values(), SchemaBook::compiled_in());
    let _ = codec::decode(&values[0], &book);
    let found = each(|| {
        for value in &values {
            std::hint::black_box(codec::decode(value, &book).expect("a legal event"));
        }
    });
    assert_about("decode", found, 9.5);
}

#[test]
fn folding_asks_for_what_the_state_keeps() {
    let book = SchemaBook::compiled_in();
    let decode = |value: &Bytes| codec::decode(value, &book).expect("a legal event");
    let events: Vec<Event> = values().iter().map(decode).collect();
    let mut partition = PartitionState::default();
    let mut runs: Vec<Option<Arc<RunState>>> = vec![None; RUNS as usize];
    let found = each(|| {
        for (offset, event) in (0..).zip(&events) {
            let place = Place { partition: 0, offset, at: Micros(0) };
            let run = &mut runs[(offset / RUN_EVENTS) as usize];
            fold(&mut partition, run, event, place);
        }
    });
    assert!(runs.iter().flatten().all(|run| !run.is_open()), "every run was folded to its end");
    assert_about("fold", found, 3.75);
}
