//! The partitions: who owns each and how far it is, what the fold made of an event at a position, and
//! letting a stopped one go on.

use crate::{App, ClaimHolder, Code, Problem, VerdictError, Verdicts, body, limits};
use axum::{
    Json,
    extract::{Path, Request, State},
};
use serde::Deserialize;
use serde_json::{Value, json};
use spine_log::{Bounds, EventLog};
use spine_runs::Verdict;
use spine_store::{Progress, RunStore};

/// `GET /v1/partitions`: the claim of each as far as it is stored, and how far the store follows.
pub(crate) async fn list<L: EventLog, S: RunStore, V: Verdicts>(
    State(app): State<App<L, S, V>>,
) -> Result<Json<Value>, Problem> {
    let mut partitions = Vec::new();
    for partition in 0..app.partitions().await? {
        let bounds = bounds(&app, partition).await?;
        let progress = app.store().progress(partition).await?;
        let next = progress.as_ref().map_or(0, |progress| progress.offset + 1);
        partitions.push(json!({
            "partition": partition,
            "end": bounds.end,
            "stored": progress.as_ref().map(|progress| progress.offset),
            "lag": bounds.end.saturating_sub(next),
            "claim": progress.as_ref().and_then(claim),
        }));
    }
    Ok(Json(json!({"partitions": partitions})))
}

/// Asked in a place among the few that read the log: on Kafka each question is one to a broker, which
/// holds a thread for as long as the brokers are away.
async fn bounds<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    partition: u32,
) -> Result<Bounds, Problem> {
    let _place = app.log_reads.acquire().await.ok();
    Ok(app.log().bounds(&app.events_of(partition)).await?)
}

/// The claim in a stored state.
fn claim(progress: &Progress) -> Option<Value> {
    let state = progress.partition_state.claim.as_ref()?;
    let claim = &state.claim;
    Some(json!({"claim": state.offset, "worker": claim.worker, "address": claim.address}))
}

/// `GET /v1/partitions/{partition}/verdicts/{offset}`: asked by other processes of the installation.
/// It is answered from here or not at all, so that a question never goes in circles.
pub(crate) async fn verdict<L: EventLog, S: RunStore, V: Verdicts>(
    State(app): State<App<L, S, V>>,
    Path((partition, offset)): Path<(u32, u64)>,
) -> Result<Json<Option<Verdict>>, Problem> {
    check(&app, partition).await?;
    match app.verdicts().wait_here(partition, offset).await {
        Ok(verdict) => Ok(Json(Some(verdict))),
        // The one who asked looks into the store, which has it by now.
        Err(VerdictError::Forgotten) => Ok(Json(None)),
        Err(error) => {
            let problem = problem(&app, partition, error).await;
            Err(problem.with("position", app.position(partition, offset)))
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Resume<'a> {
    reason: Option<String>,
    actor: Option<&'a str>,
}

/// `POST /v1/partitions/{partition}/resume`: lets a partition go on that a flood of bad records
/// stopped.
pub(crate) async fn resume<L: EventLog, S: RunStore, V: Verdicts>(
    State(app): State<App<L, S, V>>,
    Path(partition): Path<u32>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let taken = body::take_json(&app.in_flight, request, limits::REQUEST_BYTES).await?;
    let resume: Resume<'_> = body::read_json(&taken.bytes)?;
    let reason = body::reason(resume.reason.as_deref())?;
    check(&app, partition).await?;
    let actor = resume.actor.unwrap_or(crate::ask::DEFAULT_ACTOR);
    match app.verdicts().resume(partition, actor, &reason) {
        Ok(offset) => Ok(Json(json!({"partition": partition, "resumed_at": offset}))),
        Err(error) => Err(problem(&app, partition, error).await),
    }
}

async fn check<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    partition: u32,
) -> Result<(), Problem> {
    let partitions = app.partitions().await?;
    if partition < partitions {
        return Ok(());
    }
    let detail = format!("partition {partition} of {partitions}");
    Err(Problem::new(Code::PartitionAbsent, detail))
}

/// Whoever asks the wrong process is told the newest claim that this one, or the store, knows.
async fn problem<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    partition: u32,
    error: VerdictError,
) -> Problem {
    match error {
        VerdictError::NotOwner(known) => {
            let stored = app.store().progress(partition).await.ok().flatten();
            let newest = ClaimHolder::newest(stored.as_ref(), known);
            Problem::new(Code::NotOwner, "this process does not own the partition")
                .with("claim", newest)
        }
        VerdictError::NotStopped => Problem::new(Code::NotStopped, error.to_string()),
        VerdictError::Unavailable(_) | VerdictError::Forgotten => {
            Problem::new(Code::VerdictLate, error.to_string())
        }
    }
}
