//! `GET /v1/runs/{id}/why`: one true sentence, what can happen next, what moved the run last, and who owns it.

use crate::{
    App, Problem, Verdicts,
    query::{self, RunQuery},
    views::{PositionView, Time},
};
use axum::{
    Json,
    extract::{Path, State},
    http::Uri,
};
use serde::Serialize;
use spine_log::EventLog;
use spine_runs::Why;
use spine_schemas::StepKey;
use spine_store::RunStore;

/// Why a run is not finished.
#[derive(Serialize)]
pub(crate) struct WhyView {
    status: &'static str,
    why: String,
    next: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stalled: Option<StallView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_event: Option<LastEvent>,
    #[serde(skip_serializing_if = "Option::is_none")]
    owner: Option<OwnerView>,
}

/// That no event has moved it for too long.
#[derive(Serialize)]
struct StallView {
    stalled_since: Time,
    at: Time,
    step: Option<StepKey>,
    reason: String,
}

/// The newest event that moved it.
#[derive(Serialize)]
struct LastEvent {
    kind: String,
    step: Option<StepKey>,
    actor: String,
    at: Time,
    position: PositionView,
}

/// Who decides for it: the newest claim that the store knows.
#[derive(Serialize)]
struct OwnerView {
    worker: String,
    address: String,
    claimed_at: Time,
}

/// Explains a run.
pub(crate) async fn get<L: EventLog, S: RunStore, V: Verdicts>(
    State(app): State<App<L, S, V>>,
    Path(run_id): Path<String>,
    uri: Uri,
) -> Result<Json<WhyView>, Problem> {
    let query: RunQuery = query::read(&uri)?;
    let run = query::run_key(query.tenant.as_deref(), &run_id)?;
    let (partition, state) = app.load_run(&run, query.at_least).await?;
    let Why { sentence, next } = spine_runs::why(&state);
    let moved = state.stalled.as_ref().map_or(state.last_offset, |stall| stall.moved);
    let newest = app.store().run_events(&run, moved, 1).await?.into_iter().next();
    let last_event = newest.filter(|event| event.offset == moved).map(|event| LastEvent {
        kind: event.kind,
        step: event.step,
        actor: event.actor,
        at: Time(event.at),
        position: app.position(partition, event.offset),
    });
    let progress = app.store().progress(partition).await?;
    let claim = progress.and_then(|progress| progress.partition_state.claim);
    Ok(Json(WhyView {
        status: state.public_status(),
        why: sentence,
        next,
        stalled: state.stalled.as_deref().map(|stall| StallView {
            stalled_since: Time(stall.since),
            at: Time(stall.at),
            step: stall.step.clone(),
            reason: stall.reason.clone(),
        }),
        last_event,
        owner: claim.map(|claim| OwnerView {
            worker: claim.claim.worker,
            address: claim.claim.address,
            claimed_at: Time(claim.at),
        }),
    }))
}
