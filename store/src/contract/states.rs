//! States: what is loaded equals what was stored, whatever it holds.

use super::samples::{self, Tape};
use crate::{LetterFilter, RunChange, RunFilter, RunStore};
use spine_runs::{RunState, RunStatus};
use spine_schemas::{Payload, RunKey, StepKey};
use std::{collections::BTreeSet, sync::Arc};

async fn load(store: &impl RunStore, key: &RunKey) -> RunState {
    let mut loaded = store.load_runs(0, std::slice::from_ref(key)).await.expect("load");
    loaded.pop().flatten().expect("the run is stored")
}

/// Plain and fully filled states come back equal.
pub(super) async fn loads_what_was_stored(store: &impl RunStore) {
    let mut tape = Tape::new(0);
    let runs = [
        samples::run("default", "plain", 0),
        samples::full_run("default", "full", 1),
        samples::with_step(samples::run("t-1", "step", 2), samples::step("a", 2)),
        samples::ended(samples::full_run("default", "ended", 3), RunStatus::Degraded, 9),
    ];
    let batch = tape.with(runs.iter().map(samples::created));
    store.apply(batch).await.expect("apply");
    for run in &runs {
        assert_eq!(load(store, &run.key).await, *run);
    }
}

/// Each asked key gets its answer in its place; runs of another partition are not there.
pub(super) async fn loads_in_the_order_asked(store: &impl RunStore) {
    let mut tape = Tape::new(0);
    let (a, b) = (samples::run("default", "a", 0), samples::run("default", "b", 1));
    let batch = tape.with([samples::created(&a), samples::created(&b)]);
    store.apply(batch).await.expect("apply");
    let absent = RunKey::new("default", "c");
    let keys = [b.key.clone(), absent, a.key.clone(), b.key.clone()];
    let loaded = store.load_runs(0, &keys).await.expect("load");
    assert_eq!(loaded, [Some(b.clone()), None, Some(a), Some(b)]);
    assert_eq!(store.load_runs(0, &[]).await.expect("load"), []);
    assert_eq!(store.load_runs(1, &keys[..1]).await.expect("load"), [None]);
}

/// The steps that a change does not name stay as they are stored.
pub(super) async fn writes_changed_steps_only(store: &impl RunStore) {
    let mut tape = Tape::new(0);
    let run = samples::with_step(samples::run("default", "r", 0), samples::step("a", 0));
    let mut run = samples::with_step(run, samples::step("b", 1));
    store.apply(tape.with([samples::created(&run)])).await.expect("apply");
    let mut waiting = samples::waiting_step("b", 1, samples::at(7));
    waiting.last_offset = 2;
    run = samples::with_step(run, waiting);
    let added = samples::full_step("c", 2);
    run.last_offset = added.last_offset;
    run = samples::with_step(run, added);
    let steps = run.steps.keys().filter(|key| **key != StepKey::named("a")).cloned().collect();
    let change = RunChange { steps, ..samples::changed(&run) };
    store.apply(tape.with([change])).await.expect("apply");
    assert_eq!(load(store, &run.key).await, run);
}

/// Rows that are written a second time are equal to the first.
pub(super) async fn same_rows_again_change_nothing(store: &impl RunStore) {
    let mut tape = Tape::new(0);
    let run = samples::full_run("default", "r", 0);
    let filter = RunFilter::default();
    let mut before = None;
    for _ in 0..3 {
        let mut batch = tape.with([samples::created(&run)]);
        batch.letters.push(samples::letter(1, 0, 0));
        store.apply(batch).await.expect("apply");
        let seen = (
            load(store, &run.key).await,
            store.list_runs(&filter, None, 10).await.expect("list"),
            store.list_letters(&LetterFilter::default(), None, 10).await.expect("letters"),
            store.open_runs(0, None, 10).await.expect("open").rows,
            store.due_runs(0, samples::at(1_000_000_000), 10).await.expect("due"),
        );
        assert_eq!(*before.get_or_insert_with(|| seen.clone()), seen);
    }
}

/// The largest payloads, the longest ids, empty texts and all of Unicode.
pub(super) async fn keeps_large_and_odd_values(store: &impl RunStore) {
    let mut tape = Tape::new(0);
    let long = "x".repeat(spine_schemas::limits::ID_BYTES);
    let ids = [long.as_str(), "日本語/%_'\"\\", "\u{1F980}", " ", "a#b/c", "null", "NULL"];
    let large = vec![0xa5; spine_schemas::limits::PAYLOAD_BYTES];
    let mut runs = Vec::new();
    for (id, offset) in ids.into_iter().zip(0..) {
        let mut step = samples::full_step("größe", offset);
        let mut spec = (*step.spec).clone();
        spec.tool = String::new();
        spec.input = Payload::opaque("", large.clone());
        step.spec = Arc::new(spec);
        step.error = Some(spine_schemas::StepError::new(spine_schemas::ErrorClass::Lost, "", ""));
        let mut run = samples::with_step(samples::run("default", id, offset), step);
        run.seen = (0..10_000_u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)).collect();
        runs.push(run);
    }
    let batch = tape.with(runs.iter().map(samples::created));
    store.apply(batch).await.expect("apply");
    for run in &runs {
        assert_eq!(load(store, &run.key).await, *run);
    }
    let open: BTreeSet<RunKey> =
        store.open_runs(0, None, 100).await.expect("open").rows.into_iter().collect();
    assert_eq!(open, runs.iter().map(|run| run.key.clone()).collect());
}

/// A value that became absent is gone, not left from the row before.
pub(super) async fn clears_what_became_absent(store: &impl RunStore) {
    let mut tape = Tape::new(0);
    let full = samples::full_run("default", "r", 0);
    store.apply(tape.with([samples::created(&full)])).await.expect("apply");
    let mut bare = samples::at_version(samples::run("default", "r", 0), 40);
    bare.created = Arc::clone(&full.created);
    bare.created_digest = full.created_digest;
    for key in full.steps.keys() {
        let mut step = samples::step("x", 0);
        step.key = key.clone();
        step.last_offset = 40;
        bare = samples::with_step(bare, step);
    }
    store.apply(tape.with([samples::changed(&bare)])).await.expect("apply");
    assert_eq!(load(store, &bare.key).await, bare);
}
