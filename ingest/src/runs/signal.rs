//! `POST /v1/runs/{id}/signals/{name}`: something happened outside that a run waits for, or will.

use crate::{
    App, Problem, Verdicts, ask, body, events,
    journal::values::payload_or_null,
    limits,
    query::{self, RunQuery},
};
use axum::{
    Json,
    extract::{Path, Request, State},
};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};
use spine_log::EventLog;
use spine_schemas::{Body, Digest, RunEvent};
use spine_store::RunStore;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Signal<'a> {
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    actor: Option<String>,
    tenant: Option<String>,
}

/// Sends a signal. With an `Idempotency-Key` one that is sent again counts once.
pub(crate) async fn post<L: EventLog, S: RunStore, V: Verdicts>(
    State(app): State<App<L, S, V>>,
    Path((run_id, name)): Path<(String, String)>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let query: RunQuery = query::read(request.uri())?;
    let once = events::idempotency_key(request.headers())?;
    let taken = body::take_json(&app.in_flight, request, limits::REQUEST_BYTES).await?;
    let signal: Signal<'_> = body::read_json(&taken.bytes)?;
    let tenant = signal.tenant.as_deref().or(query.tenant.as_deref());
    let run = query::run_key(tenant, &run_id)?;
    let data = payload_or_null("data", signal.data)?;
    let event = RunEvent::SignalReceived { name: name.clone(), data };
    let event = Body::Run(run.run_id.clone(), event);
    let id = once.as_ref().map_or_else(
        || app.fresh_id(),
        |key| {
            let parts = [key.as_bytes(), run.run_id.as_bytes(), name.as_bytes()];
            Digest::of_parts(&parts).to_string()
        },
    );
    let event = app.event_of_id(id, run.tenant.clone(), signal.actor.as_deref(), event);
    event.check()?;
    let asked = ask::ask_one(&app, &run, event).await?;
    let position = app.position(asked.partition, asked.offset);
    Ok(Json(
        json!({"signal": name, "status": "received", "dedupe": once.is_some(), "position": position}),
    ))
}
