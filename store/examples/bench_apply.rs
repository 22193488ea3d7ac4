//! Measures how many events per second a SQLite store takes. States are made beforehand, so this is
//! the cost of the store alone.
//!
//! `cargo run --profile ci -p spine-store --example bench_apply -- [EVENTS] [OUTPUT_BYTES] [DIR]`

use bytes::Bytes;
use spine_runs::{AttemptEnd, AttemptState, RunState, RunStatus, StepState, StepStatus};
use spine_schemas::{Digest, Driver, Output, Payload, StepKey, StepSpec};
use spine_store::{
    EventRow, RunChange, RunStore, StoreBatch, VerdictKind,
    contract::samples::{self, Tape, at},
    sqlite::{Options, SqliteStore},
};
use std::{path::Path, sync::Arc};
use tokio::time::Instant;

/// Events of one run: its creation, three steps of two events each, its end.
const RUN_EVENTS: u64 = 8;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let events: u64 = arguments.next().map_or(400_000, |text| text.parse().expect("EVENTS"));
    let output: usize = arguments.next().map_or(300, |text| text.parse().expect("OUTPUT_BYTES"));
    let dir = arguments.next().map_or_else(tempfile::tempdir, tempfile::tempdir_in).expect("dir");
    println!("{events} events, inputs of 120 bytes, outputs of {output} bytes, synchronous=NORMAL");
    for (name, whole) in [("runs end inside a batch", true), ("runs span 4 batches", false)] {
        for size in [1000, 5000] {
            let path = dir.path().join(format!("{whole}-{size}.sqlite"));
            measure(name, &path, events, size, whole, output).await;
        }
    }
}

async fn measure(name: &str, path: &Path, events: u64, size: u64, whole: bool, output: usize) {
    let store = SqliteStore::open(&Options::file(path)).expect("open");
    let mut tape = Tape::new(0);
    let mut busy = std::time::Duration::ZERO;
    let cpu_before = writer_cpu_micros();
    let mut rows = 0;
    for number in 0..events / size {
        let batch = batch(&mut tape, number, size, whole, output);
        rows += batch.runs.iter().map(|run| run.steps.len() + 1).sum::<usize>()
            + batch.events.len()
            + batch.runs.iter().filter(|run| run.created).count();
        let started = Instant::now();
        store.apply(batch).await.expect("apply");
        busy += started.elapsed();
    }
    let seconds = busy.as_secs_f64();
    let cpu = writer_cpu_micros() - cpu_before;
    let bytes = std::fs::metadata(path).map_or(0, |file| file.len());
    println!(
        "{name}, {size} events a batch: {:.0} events/s, {:.0} rows/s, {:.2} us/event \
         ({:.2} on the CPU), {} bytes/event",
        events as f64 / seconds,
        rows as f64 / seconds,
        seconds * 1e6 / events as f64,
        cpu / events as f64,
        bytes / events,
    );
}

/// CPU time of the writer threads that live, from Linux's `/proc`; 0 elsewhere. Unlike elapsed time
/// it hardly depends on what else the machine does.
fn writer_cpu_micros() -> f64 {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    tasks
        .filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok())
        .filter_map(|stat| {
            let (name, fields) = stat.split_once(") ")?;
            let mut ticks = fields.split(' ').skip(11).take(2).map(str::parse::<f64>);
            let sum = ticks.next()?.ok()? + ticks.next()?.ok()?;
            name.ends_with("(store-writer").then_some(sum * 10_000.0)
        })
        .sum()
}

/// Runs whose ids are spread over the key space, as random ids are.
fn batch(tape: &mut Tape, number: u64, size: u64, whole: bool, output: usize) -> StoreBatch {
    let mut batch = tape.next(size);
    let first = number * size;
    let stages: &[u64] = if whole { &[RUN_EVENTS] } else { &[2, 4, 6, 8] };
    let per_batch = size / RUN_EVENTS;
    for stage in stages {
        // A run that began `age` batches ago has as many events as its stage says.
        let age = if whole { 0 } else { stage / 2 - 1 };
        let Some(begun) = number.checked_sub(age) else { continue };
        for index in 0..per_batch {
            let from = if whole { 0 } else { stage - 2 };
            let run = run(begun * per_batch + index, *stage, first, output);
            push_events(&mut batch, &run, from, *stage, first);
            let mut steps: Vec<StepKey> =
                (from..*stage).filter_map(|event| step_of(event).map(StepKey::named)).collect();
            steps.dedup();
            batch.runs.push(RunChange {
                offset: run.last_offset,
                run: Arc::new(run),
                steps,
                created: from == 0,
            });
        }
    }
    batch
}

fn step_of(event: u64) -> Option<&'static str> {
    match event {
        1 | 2 => Some("lookup"),
        3 | 4 => Some("charge"),
        5 | 6 => Some("notify-customer"),
        _ => None,
    }
}

fn push_events(batch: &mut StoreBatch, run: &RunState, from: u64, to: u64, first: u64) {
    for event in from..to {
        let step = step_of(event).map(StepKey::named);
        let kinds = ["step_completed", "step_started"];
        let kind = match event {
            0 => "run_created",
            7 => "run_completed",
            _ => kinds[(event % 2) as usize],
        };
        let offset = first + batch.events.len() as u64;
        batch.events.push(EventRow {
            key: run.key.clone(),
            partition: 0,
            offset,
            at: at(offset),
            kind: kind.into(),
            attempt: step.is_some().then_some(1),
            step,
            actor: "pipeline".into(),
            verdict: VerdictKind::Applied,
            reason: None,
        });
    }
}

fn run(number: u64, events: u64, offset: u64, output: usize) -> RunState {
    let id = Digest::of_bytes(&number.to_be_bytes()).to_string();
    let mut run = samples::run("default", &id[..32], offset);
    let mut created = (*run.created).clone();
    created.driver = Driver::Record;
    created.input = payload(120);
    run.created = Arc::new(created);
    run.last_offset = offset + events;
    for event in 0..events {
        let Some(name) = step_of(event) else { continue };
        run = samples::with_step(run, step(name, offset, (event % 2 == 0).then_some(output)));
    }
    if events == RUN_EVENTS {
        run.output = Some(Output::of(payload(60)));
        run = samples::ended(run, RunStatus::Completed, offset + events);
    }
    run
}

fn step(name: &str, offset: u64, output: Option<usize>) -> StepState {
    let done = output.is_some();
    let mut step = samples::step(name, offset);
    let mut spec = StepSpec::clone(&step.spec);
    spec.input = payload(120);
    step.spec = Arc::new(spec);
    step.attempt = 1;
    step.status = if done { StepStatus::Completed } else { StepStatus::Running };
    step.output = output.map(|bytes| Output::of(payload(bytes)));
    step.ended_at = done.then(|| at(offset + 1));
    step.attempts.push(AttemptState {
        attempt: 1,
        lease: offset,
        started_at: at(offset),
        ended_at: step.ended_at,
        end: if done { AttemptEnd::Completed } else { AttemptEnd::Running },
        charged: done,
        edit: 0,
        accepted: false,
        injected: None,
        cost_micros: None,
    });
    step
}

fn payload(bytes: usize) -> Payload {
    Payload { data: Bytes::from(vec![b'x'; bytes]), size_bytes: bytes as u64, ..Payload::null() }
}
