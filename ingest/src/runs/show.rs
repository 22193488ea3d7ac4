//! `GET /v1/runs/{id}`: where a run is.

use super::list::CountsView;
use crate::{
    App, Problem, Verdicts,
    query::{self, RunQuery},
    views::{self, OutputView, PauseView, PayloadView, PositionView, Time, WaitView},
};
use axum::{
    Json,
    extract::{Path, State},
    http::Uri,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use spine_log::EventLog;
use spine_runs::{
    CancelRequest, RunState, Totals,
    brain::{Turn, turn_of},
};
use spine_schemas::{Digest, Driver, Fork, StepError, StepKey};
use spine_store::RunStore;
use std::collections::BTreeMap;

/// A run.
#[derive(Serialize)]
struct RunView<'a> {
    tenant: &'a str,
    run_id: &'a str,
    workflow: &'a str,
    version: &'a str,
    driver: Driver,
    status: &'static str,
    waiting_for: Option<Vec<WaitView>>,
    #[serde(skip_serializing_if = "is_zero")]
    waiting_for_more: usize,
    steps: CountsView,
    attempts: u64,
    cost_micros: u64,
    tokens: TokensView,
    decisions: u32,
    started_at: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline_at: Option<Time>,
    ended_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stalled_since: Option<Time>,
    applied: PositionView,
    input: PayloadView<'a>,
    output: Option<OutputView<'a>>,
    error: Option<&'a StepError>,
    failed_step: Option<&'a StepKey>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cancelling: Option<CancelView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compensating: Option<&'a StepError>,
    #[serde(skip_serializing_if = "Option::is_none")]
    paused: Option<PauseView<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tags: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<&'a str>,
    /// The step of the parent that it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    caller: Option<CallerView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    brain: Option<BrainView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fork: Option<&'a Fork>,
    digest: Digest,
}

/// The attempt of a step that a run is.
#[derive(Serialize)]
struct CallerView<'a> {
    step: &'a StepKey,
    attempt: u32,
}

/// Who is asked for the next steps, and how far that has come.
#[derive(Serialize)]
struct BrainView<'a> {
    tool: &'a str,
    turn: u32,
    max_turns: u32,
}

impl<'a> BrainView<'a> {
    fn of(turn: Turn<'a>) -> Self {
        let Turn { tool, turn, max_turns } = turn;
        Self { tool, turn, max_turns }
    }
}

/// A request that the run end.
#[derive(Serialize)]
struct CancelView<'a> {
    reason: &'a str,
    compensate: bool,
    at: Time,
}

impl<'a> CancelView<'a> {
    fn of(cancel: &'a CancelRequest) -> Self {
        Self { reason: &cancel.reason, compensate: cancel.compensate, at: Time(cancel.at) }
    }
}

/// Tokens of all attempts, in the provider's classes.
#[derive(Serialize)]
struct TokensView {
    input_uncached: u64,
    cache_read: u64,
    cache_write: u64,
    output_text: u64,
    output_reasoning: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// Shows a run.
pub(crate) async fn get<L: EventLog, S: RunStore, V: Verdicts>(
    State(app): State<App<L, S, V>>,
    Path(run_id): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let query: RunQuery = query::read(&uri)?;
    let run = query::run_key(query.tenant.as_deref(), &run_id)?;
    let (partition, state) = app.load_run(&run, query.at_least).await?;
    let applied = app.position(partition, state.last_offset);
    Ok(Json(view(&state, applied)).into_response())
}

fn view(run: &RunState, applied: PositionView) -> RunView<'_> {
    let (waiting_for, waiting_for_more) = views::waits(run);
    let counts = run.step_counts();
    RunView {
        tenant: &run.key.tenant,
        run_id: &run.key.run_id,
        workflow: &run.created.workflow,
        version: &run.created.version,
        driver: run.created.driver,
        status: run.public_status(),
        waiting_for,
        waiting_for_more,
        steps: CountsView {
            total: counts.total,
            completed: counts.completed,
            failed: counts.failed,
            dead_lettered: counts.dead_lettered,
        },
        attempts: run.totals.attempts,
        cost_micros: run.totals.cost_micros,
        tokens: tokens(&run.totals),
        decisions: run.decisions,
        started_at: Time(run.created_at),
        deadline_at: Time::of(run.deadline()),
        ended_at: Time::of(run.ended_at),
        stalled_since: run.stalled.as_ref().map(|stall| Time(stall.since)),
        applied,
        input: PayloadView(&run.created.input),
        output: run.output.as_ref().map(OutputView::of),
        error: run.error.as_ref(),
        failed_step: run.failed_step.as_ref(),
        cancelling: run.cancel.as_deref().filter(|_| run.is_open()).map(CancelView::of),
        compensating: run.undo.as_ref().filter(|_| run.is_open()).map(|undo| &undo.error),
        paused: run.paused.as_deref().map(PauseView::of),
        tags: &run.created.tags,
        parent: run.created.parent.as_deref(),
        caller: run.created.caller.as_deref().map(|caller| {
            let (step, attempt) = (&caller.step, caller.attempt);
            CallerView { step, attempt }
        }),
        brain: turn_of(run).map(BrainView::of),
        fork: run.created.fork.as_deref(),
        digest: run.created_digest,
    }
}

fn tokens(totals: &Totals) -> TokensView {
    TokensView {
        input_uncached: totals.input_uncached,
        cache_read: totals.cache_read,
        cache_write: totals.cache_write,
        output_text: totals.output_text,
        output_reasoning: totals.output_reasoning,
    }
}
