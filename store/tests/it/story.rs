//! A small log's worth of batches, so that a store can be built up to any point and built again.

use spine_runs::{RunState, RunStatus, StepStatus};
use spine_schemas::{Decision, StepKey};
use spine_store::{
    DecisionRow, EventRow, LetterClosing, LetterStatus, RunStore, StoreBatch, VerdictKind,
    contract::samples::{self, Tape, at},
};
use std::path::{Path, PathBuf};

/// Events of one batch.
pub(crate) const BATCH: u64 = 5;

/// Batches in which runs begin, move, wait, die and end; the same for the same number.
pub(crate) fn batches(count: u64) -> Vec<StoreBatch> {
    let mut tape = Tape::new(0);
    (0..count).map(|number| batch(&mut tape, number)).collect()
}

/// Applies all batches.
pub(crate) async fn apply_all(store: &impl RunStore, batches: &[StoreBatch]) {
    for batch in batches {
        store.apply(batch.clone()).await.unwrap();
    }
}

fn batch(tape: &mut Tape, number: u64) -> StoreBatch {
    let mut batch = tape.next(BATCH);
    let first = number * BATCH;
    let run = run(number, first);
    for offset in first..first + BATCH {
        batch.events.push(event(&run, offset));
    }
    batch.runs.push(samples::created(&run));
    if number > 0 {
        let (before, moved) = moved(number - 1, first);
        let mut change = samples::changed(&moved);
        change.steps.retain(|step| !before.steps.contains_key(step) || step.occurrence == 3);
        batch.runs.push(change);
        let closing = samples::letter(number - 1, 0, first - BATCH);
        batch.closings.push(LetterClosing {
            letter_id: closing.letter_id,
            status: LetterStatus::Redriven,
            offset: first,
            at: at(first),
            by: "ops".into(),
            reason: "again".into(),
        });
    }
    batch.letters.push(samples::letter(number, 0, first));
    batch.decisions.push(decision(&run, first + 1));
    batch
}

fn event(run: &RunState, offset: u64) -> EventRow {
    EventRow {
        key: run.key.clone(),
        partition: 0,
        offset,
        at: at(offset),
        kind: "step_started".into(),
        step: Some(StepKey::named("a")),
        attempt: Some(1),
        actor: "agent".into(),
        verdict: VerdictKind::Applied,
        reason: None,
    }
}

fn decision(run: &RunState, offset: u64) -> DecisionRow {
    let decision = Decision {
        decision: "refund".into(),
        request: "please".into(),
        agent: "billing-1".into(),
        reasoning: "it broke".into(),
        action: "pay.refund".into(),
        params: Some(samples::odd_payload()),
        result: None,
        error: None,
        confidence: Some(0.9),
        step: None,
    };
    let key = run.key.clone();
    DecisionRow { key, partition: 0, offset, at: at(offset), decision, actor: "agent".into() }
}

fn run(number: u64, offset: u64) -> RunState {
    samples::full_run("default", &format!("r{}", number.wrapping_mul(7919) % 1000), offset)
}

/// A run as its first batch left it, and as the next batch leaves it.
fn moved(number: u64, offset: u64) -> (RunState, RunState) {
    let before = run(number, number * BATCH);
    let mut after = before.clone();
    let mut step = samples::waiting_step("late", offset, at(offset + 100));
    if number.is_multiple_of(4) {
        step.status = StepStatus::DeadLettered;
    }
    after = samples::with_step(after, step);
    after.last_offset = offset;
    if number.is_multiple_of(3) {
        after = samples::ended(after, RunStatus::Completed, offset);
    }
    (before, after)
}

/// A copy of a store's files as another process sees them now, as after a loss of this one.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::copy(from, to).unwrap();
    std::fs::copy(wal(from), wal(to)).unwrap();
}

/// The write-ahead log of a store.
pub(crate) fn wal(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}
