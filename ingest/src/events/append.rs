//! Appends a batch, partition by partition, and says exactly what became durable.

use crate::{App, Code, Problem, Verdicts, ask};
use futures::future::join_all;
use serde::Serialize;
use serde_json::{Value, json};
use spine_log::{
    EventLog, NewRecord, Urgency,
    limits::{BATCH_RECORDS, GROUP_BYTES, RECORD_OVERHEAD_BYTES},
};
use spine_schemas::fault_points;
use spine_store::RunStore;
use std::{collections::BTreeMap, sync::Arc};

/// Events that lie side by side.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Span {
    topic: Arc<str>,
    partition: u32,
    first_offset: u64,
    last_offset: u64,
}

/// Appends every partition's records in order; the partitions go side by side.
pub(super) async fn append<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    batches: BTreeMap<u32, Vec<NewRecord>>,
) -> Result<Vec<Span>, Problem> {
    let appends = batches.into_iter().map(|(partition, records)| to_one(app, partition, records));
    let (mut done, mut failed) = (Vec::new(), Vec::new());
    for (partition, spans, error) in join_all(appends).await {
        done.extend(spans);
        failed.extend(error.map(|error| (partition, error)));
    }
    match failed.first() {
        None => Ok(done),
        Some((_, error)) if done.is_empty() => Err(error.clone().into()),
        Some((partition, error)) => {
            let detail = format!("partition {partition}: {error}");
            let partitions: Vec<u32> = failed.iter().map(|(partition, _)| *partition).collect();
            Err(Problem::new(Code::PartlyAppended, detail)
                .with("positions", done)
                .with("failed_partitions", partitions))
        }
    }
}

async fn to_one<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    partition: u32,
    records: Vec<NewRecord>,
) -> (u32, Vec<Span>, Option<spine_log::Error>) {
    let to = app.events_of(partition);
    let mut spans = Vec::new();
    for batch in within_limits(records) {
        fault_points::reach("asked");
        match app.log().append(&to, batch, Urgency::Normal).await {
            Ok(appended) => {
                fault_points::reach("taken");
                spans.extend(appended.spans().into_iter().map(|(first_offset, last_offset)| {
                    Span { topic: to.topic.clone(), partition, first_offset, last_offset }
                }));
            }
            // What comes later must not lie before what failed.
            Err(error) => return (partition, spans, Some(error)),
        }
    }
    (partition, spans, None)
}

/// Cuts records into batches that the log takes at once; nearly always there is one. A large request is not to keep
/// others waiting for one long sync.
fn within_limits(records: Vec<NewRecord>) -> Vec<Vec<NewRecord>> {
    let mut batches = vec![Vec::new()];
    let mut bytes = 0;
    for record in records {
        let size = size_of(&record);
        let newest = batches.last_mut().expect("there is always one");
        if !newest.is_empty() && (bytes + size > GROUP_BYTES || newest.len() >= BATCH_RECORDS) {
            batches.push(vec![record]);
            bytes = size;
        } else {
            newest.push(record);
            bytes += size;
        }
    }
    batches
}

fn size_of(record: &NewRecord) -> usize {
    let length = |bytes: &Option<bytes::Bytes>| bytes.as_ref().map_or(0, bytes::Bytes::len);
    length(&record.key) + length(&record.value) + RECORD_OVERHEAD_BYTES
}

/// Waits for the verdicts on a batch; the events that were set aside are a problem.
pub(super) async fn check_verdicts<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    places: &[(usize, u32)],
    positions: &[Span],
) -> Result<(), Problem> {
    let mut offsets: BTreeMap<u32, _> = BTreeMap::new();
    for span in positions {
        let of: &mut Vec<u64> = offsets.entry(span.partition).or_default();
        of.extend((span.first_offset..=span.last_offset).rev());
    }
    for of in offsets.values_mut() {
        of.sort_unstable_by(|a, b| b.cmp(a));
    }
    let mut illegal = Vec::new();
    for (line, partition) in places {
        let Some(offset) = offsets.get_mut(partition).and_then(Vec::pop) else { continue };
        let asked = ask::verdict(app, *partition, offset).await?;
        illegal.extend(illegal_line(*line, &asked.verdict));
    }
    if illegal.is_empty() {
        return Ok(());
    }
    let detail = format!("{} of {} events are illegal", illegal.len(), places.len());
    Err(Problem::new(Code::IllegalEvents, detail)
        .with("errors", illegal)
        .with("positions", positions))
}

fn illegal_line(line: usize, verdict: &spine_runs::Verdict) -> Option<Value> {
    let spine_runs::Verdict::Illegal(reason) = verdict else { return None };
    let row = Code::from(*reason).row();
    Some(json!({"line": line, "code": row.number, "name": row.name, "message": row.title}))
}
