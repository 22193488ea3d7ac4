//! `POST /v1/events`: facts about record runs, appended together and answered once they are durable.

mod append;
mod container;
mod door;
mod lines;

use crate::{
    App, Code, Problem, Verdicts, body,
    limits::{IDEMPOTENCY_KEY_BYTES, WAITED_EVENTS},
    metrics, query,
};
use axum::{
    Json,
    extract::{Request, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use lines::{Author, Form, Parsed};
use serde::Deserialize;
use serde_json::json;
use spine_log::EventLog;
use spine_schemas::limits;
use spine_store::RunStore;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PostQuery {
    wait: Option<Wait>,
}

/// What an answer waits for beyond durability.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Wait {
    Verdict,
}

/// Appends a batch of facts: all of it, or none if a line is wrong.
pub(crate) async fn post<L: EventLog, S: RunStore, V: Verdicts>(
    State(app): State<App<L, S, V>>,
    request: Request,
) -> Result<Response, Problem> {
    let query: PostQuery = query::read(request.uri())?;
    let form = form_of(request.headers())?;
    let author = Author::new(&app, idempotency_key(request.headers())?);
    let partitions = app.partitions().await?;
    let taken = body::take(&app.in_flight, request, limits::BODY_BYTES).await?;
    let size = taken.bytes.len();
    // A file may grow when it is read: that is never done between answers.
    let work = if form == Form::Container { usize::MAX } else { size };
    let (text, mut place, held) = (taken.bytes, taken.place, app.clone());
    let parse = move || {
        let mut hold = |bytes| {
            place.merge(held.in_flight.take_body_bytes(bytes)?);
            Ok(())
        };
        let parsed = lines::parse(form, &text, &author, partitions, &mut hold);
        parsed.map(|parsed| (parsed, place))
    };
    // The place of the bytes is given back when the answer is there: the events are held till then.
    let (parsed, _place): (Parsed, _) = app.in_flight.parse(work, parse).await??;
    let (events, dedupe, places) = (parsed.places.len(), parsed.dedupe, parsed.places);
    if query.wait.is_some() && events > WAITED_EVENTS {
        let detail = format!("wait=verdict takes at most {WAITED_EVENTS} events");
        return Err(Problem::new(Code::TooManyEvents, detail));
    }
    let positions = append::append(&app, parsed.batches).await?;
    metrics::observe_events(events);
    metrics::observe_event_bytes(size);
    if let Some(Wait::Verdict) = query.wait {
        append::check_verdicts(&app, &places, &positions).await?;
    }
    let answer = json!({"appended": events, "dedupe": dedupe, "positions": positions});
    Ok((StatusCode::ACCEPTED, Json(answer)).into_response())
}

fn form_of(headers: &HeaderMap) -> Result<Form, Problem> {
    let refuse = |detail: String| Err(Problem::new(Code::MediaType, detail));
    match body::media_type(headers).as_str() {
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(Form::Lines),
        "application/json" => Ok(Form::Array),
        // The first is the documented one; the others are what some tools say.
        "application/avro" | "avro/binary" | "application/vnd.apache.avro" => Ok(Form::Container),
        other => refuse(format!(
            "'{other}' is none of application/x-ndjson, application/json and application/avro"
        )),
    }
}

pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let text = value.to_str().ok().filter(|text| !text.is_empty());
    match text.filter(|text| text.len() <= IDEMPOTENCY_KEY_BYTES) {
        Some(text) => Ok(Some(text.to_owned())),
        None => {
            let detail = format!(
                "Idempotency-Key must have 1 to {IDEMPOTENCY_KEY_BYTES} visible characters"
            );
            Err(Problem::new(Code::BadRequest, detail))
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
