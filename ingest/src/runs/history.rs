//! `GET /v1/runs/{id}/events`: every event of a run with its bytes, and what the fold made of it.

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
use bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use spine_log::EventLog;
use spine_runs::Reason;
use spine_schemas::{
    RunKey, StepKey,
    codec::{self, SchemaBook},
    json,
};
use spine_store::{EventRow, RunStore, VerdictKind};
use std::collections::VecDeque;

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
    let mut values = Values::of(&app, &run, partition, &rows).await?;
    let (mut events, mut bytes, mut next) = (Vec::with_capacity(rows.len()), 0, None);
    for row in rows {
        let Some(value) = values.at(row.offset).await? else {
            return Ok(Json(EventsPage { events, next: Some(row.offset) }).into_response());
        };
        bytes += value.len();
        next = Some(row.offset + 1);
        let position = app.position(row.partition, row.offset);
        events.push(view(row, position, &value, &app.parts.book));
        if bytes >= limits::PAGE_BYTES {
            return Ok(Json(EventsPage { events, next }).into_response());
        }
    }
    Ok(Json(EventsPage { events, next: next.filter(|_| full) }).into_response())
}

/// The bytes of events: from the store if it keeps them, else from the log.
enum Values<'a, L: EventLog> {
    Store(VecDeque<(u64, Bytes)>),
    Log(LogRecords<'a, L>),
}

impl<'a, L: EventLog> Values<'a, L> {
    async fn of<S: RunStore, V: Verdicts>(
        app: &'a App<L, S, V>,
        run: &RunKey,
        partition: u32,
        rows: &[EventRow],
    ) -> Result<Self, Problem> {
        let Some(first) = rows.first().map(|row| row.offset) else {
            return Ok(Self::Store(VecDeque::new()));
        };
        let kept = app.store().event_values(run, first, rows.len(), limits::PAGE_BYTES).await?;
        Ok(match kept {
            Some(kept) if kept.first().is_some_and(|(at, _)| *at == first) => {
                Self::Store(kept.into())
            }
            Some(_) | None => {
                let of = app.events_of(partition);
                Self::Log(LogRecords::new(app.log(), &app.log_reads, of))
            }
        })
    }

    /// The bytes of the event at an offset; `None` where the store gave no more for this page.
    async fn at(&mut self, offset: u64) -> Result<Option<Bytes>, Problem> {
        match self {
            Self::Store(kept) => {
                while kept.front().is_some_and(|(at, _)| *at < offset) {
                    kept.pop_front();
                }
                Ok(kept.pop_front().filter(|(at, _)| *at == offset).map(|(_, value)| value))
            }
            Self::Log(records) => Ok(Some(records.at(offset).await?.value.unwrap_or_default())),
        }
    }
}

fn view(row: EventRow, position: PositionView, value: &[u8], book: &SchemaBook) -> EventView {
    let (event, unreadable) = match text(value, book) {
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

fn text(value: &[u8], book: &SchemaBook) -> spine_schemas::Result<String> {
    json::to_text(&codec::decode(value, book)?)
}
