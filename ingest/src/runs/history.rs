//! `GET /v1/runs/{id}/events`: every event of a run with its bytes from the log, and what the fold made
//! of it.

use crate::{
    App, Problem, Verdicts, limits,
    log_records::LogRecords,
    query::{self, PageQuery},
    views::{PositionView, Time},
};
use axum::{
    Json,
    extract::{Path, State},
    http::Uri,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::value::RawValue;
use spine_log::{EventLog, Record};
use spine_runs::Reason;
use spine_schemas::{
    StepKey,
    codec::{self, SchemaBook},
    json,
};
use spine_store::{EventRow, RunStore, VerdictKind};

#[derive(Serialize)]
struct EventsPage {
    events: Vec<EventView>,
    next: Option<u64>,
}

/// An event where it lies.
#[derive(Serialize)]
struct EventView {
    position: PositionView,
    at: Time,
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<StepKey>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    actor: String,
    verdict: VerdictKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Reason>,
    /// The JSON form of the event; `None` when its bytes cannot be read as one.
    event: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<String>,
}

/// Lists the events of a run in the order of the log.
pub(crate) async fn list<L: EventLog, S: RunStore, V: Verdicts>(
    State(app): State<App<L, S, V>>,
    Path(run_id): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let query: PageQuery = query::read(&uri)?;
    let limit = query::page_rows(query.limit)?;
    let run = query::run_key(query.tenant.as_deref(), &run_id)?;
    let (partition, _) = app.load_run(&run, query.at_least).await?;
    let rows = app.store().run_events(&run, query.from.unwrap_or(0), limit).await?;
    let full = rows.len() == limit;
    let mut records = LogRecords::new(app.log(), &app.log_reads, app.events_of(partition));
    let (mut events, mut bytes, mut next) = (Vec::with_capacity(rows.len()), 0, None);
    for row in rows {
        let record = records.at(row.offset).await?;
        bytes += record.value.as_ref().map_or(0, bytes::Bytes::len);
        next = Some(row.offset + 1);
        let position = app.position(row.partition, row.offset);
        events.push(view(row, position, &record, &app.parts.book));
        if bytes >= limits::PAGE_BYTES {
            return Ok(Json(EventsPage { events, next }).into_response());
        }
    }
    Ok(Json(EventsPage { events, next: next.filter(|_| full) }).into_response())
}

fn view(row: EventRow, position: PositionView, record: &Record, book: &SchemaBook) -> EventView {
    let (event, unreadable) = match text(record, book) {
        Ok(text) => (RawValue::from_string(text).ok(), None),
        Err(error) => (None, Some(error.to_string())),
    };
    EventView {
        position,
        at: Time(row.at),
        kind: row.kind,
        step: row.step,
        attempt: row.attempt,
        actor: row.actor,
        verdict: row.verdict,
        reason: row.reason,
        event,
        unreadable,
    }
}

fn text(record: &Record, book: &SchemaBook) -> spine_schemas::Result<String> {
    let value = record.value.as_deref().unwrap_or_default();
    json::to_text(&codec::decode(value, book)?)
}
