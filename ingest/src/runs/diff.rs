//! `GET /v1/runs/{id}/diff/{other}`: how two runs differ.

use crate::{
    App, Problem, Verdicts, limits,
    query::{self, RunQuery},
    views::{OutputView, PayloadView},
};
use axum::{
    Json,
    extract::{Path, State},
    http::Uri,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use spine_log::EventLog;
use spine_runs::{RunDiff, RunState, StepDiff, StepState, diff};
use spine_schemas::{Digest, Effect, Output, Payload, StepKey};
use spine_store::RunStore;

#[derive(Serialize)]
struct DiffView<'a> {
    runs: [RunView<'a>; 2],
    differs: Vec<&'static str>,
    steps: Vec<StepDiffView<'a>>,
    #[serde(skip_serializing_if = "is_zero")]
    more_steps: usize,
    equal_steps: usize,
}

#[derive(Serialize)]
struct RunView<'a> {
    run_id: &'a str,
    workflow: &'a str,
    version: &'a str,
    status: &'static str,
    attempts: u64,
    input: BriefView<'a>,
    output: Option<BriefView<'a>>,
    error: Option<&'a str>,
}

#[derive(Serialize)]
struct StepDiffView<'a> {
    step: &'a StepKey,
    differs: Vec<&'static str>,
    /// As it is in each of the runs; null where that has no such step.
    runs: [Option<StepView<'a>>; 2],
}

#[derive(Serialize)]
struct StepView<'a> {
    status: &'static str,
    attempts: u32,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    reused: bool,
    tool: &'a str,
    effect: Effect,
    input: BriefView<'a>,
    output: Option<BriefView<'a>>,
    error: Option<&'a str>,
}

/// A payload, as long as it is short; else what tells it from others.
#[derive(Serialize)]
#[serde(untagged)]
enum BriefView<'a> {
    Whole(PayloadView<'a>),
    Degraded(OutputView<'a>),
    Long { digest: Digest, size_bytes: u64 },
}

impl<'a> BriefView<'a> {
    fn of(payload: &'a Payload) -> Self {
        if payload.omitted || payload.data.len() > limits::BRIEF_BYTES {
            return Self::Long { digest: payload.digest, size_bytes: payload.size_bytes };
        }
        Self::Whole(PayloadView(payload))
    }

    fn of_output(output: &'a Output) -> Self {
        match Self::of(&output.payload) {
            Self::Whole(_) if output.degraded => Self::Degraded(OutputView::of(output)),
            brief @ (Self::Whole(_) | Self::Degraded(_) | Self::Long { .. }) => brief,
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// Compares two runs of a tenant.
pub(crate) async fn get<L: EventLog, S: RunStore, V: Verdicts>(
    State(app): State<App<L, S, V>>,
    Path((run_id, other)): Path<(String, String)>,
    uri: Uri,
) -> Result<Response, Problem> {
    let query: RunQuery = query::read(&uri)?;
    let first = query::run_key(query.tenant.as_deref(), &run_id)?;
    let second = query::run_key(query.tenant.as_deref(), &other)?;
    let (_, first) = app.load_run(&first, query.at_least).await?;
    let (_, second) = app.load_run(&second, None).await?;
    let found = diff(&first, &second);
    Ok(Json(view(&first, &second, &found)).into_response())
}

fn view<'a>(first: &'a RunState, second: &'a RunState, diff: &'a RunDiff<'a>) -> DiffView<'a> {
    DiffView {
        runs: [run_view(first), run_view(second)],
        differs: diff.differs.iter().map(|what| what.as_str()).collect(),
        steps: diff.steps.iter().take(limits::DIFF_STEPS).map(step_diff_view).collect(),
        more_steps: diff.steps.len().saturating_sub(limits::DIFF_STEPS),
        equal_steps: diff.equal_steps,
    }
}

fn run_view(run: &RunState) -> RunView<'_> {
    RunView {
        run_id: &run.key.run_id,
        workflow: &run.created.workflow,
        version: &run.created.version,
        status: run.public_status(),
        attempts: run.totals.attempts,
        input: BriefView::of(&run.created.input),
        output: run.output.as_ref().map(BriefView::of_output),
        error: run.error.as_ref().map(|error| error.code.as_str()),
    }
}

fn step_diff_view<'a>(diff: &'a StepDiff<'a>) -> StepDiffView<'a> {
    StepDiffView {
        step: diff.key,
        differs: diff.differs.iter().map(|what| what.as_str()).collect(),
        runs: [diff.first.map(step_view), diff.second.map(step_view)],
    }
}

fn step_view(step: &StepState) -> StepView<'_> {
    StepView {
        status: step.status.as_str(),
        attempts: step.attempt,
        reused: step.reused,
        tool: &step.spec.tool,
        effect: step.spec.effect,
        input: BriefView::of(&step.spec.input),
        output: step.output.as_ref().map(BriefView::of_output),
        error: step.error.as_ref().map(|error| error.code.as_str()),
    }
}
