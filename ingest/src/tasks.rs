//! Tasks: questions to a person about a step, listed, shown and answered.

use crate::{
    App, Code, Problem, Verdicts, approval, ask, body,
    letters::{step_of, view::LetterView, whole},
    limits, query,
    runs::answer,
};
use axum::{
    Json,
    extract::{Path, Request, State},
    http::Uri,
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::RawValue};
use spine_log::EventLog;
use spine_runs::Answer;
use spine_schemas::{Body, Digest, Output, Payload, StepEvent, TaskVerdict, check_tenant};
use spine_store::{LetterFilter, LetterKind, LetterRow, LetterStatus, RunStore};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    status: Option<String>,
    tenant: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

#[derive(Serialize)]
struct TasksPage<'a> {
    tasks: Vec<LetterView<'a>>,
    next: Option<String>,
}

const STATUSES: [LetterStatus; 3] =
    [LetterStatus::Open, LetterStatus::Decided, LetterStatus::Resolved];

/// `GET /v1/tasks`: newest first, with stable paging; the open ones unless told otherwise.
pub(crate) async fn list<L: EventLog, S: RunStore, V: Verdicts>(
    State(app): State<App<L, S, V>>,
    uri: Uri,
) -> Result<Response, Problem> {
    let query: ListQuery = query::read(&uri)?;
    let limit = query::page_rows(query.limit)?;
    let status = match query.status.as_deref() {
        None => Some(LetterStatus::Open),
        Some("all") => None,
        Some(name) => Some(status(name)?),
    };
    if let Some(tenant) = &query.tenant {
        check_tenant(tenant)?;
    }
    let filter = LetterFilter { tasks: true, status, tenant: query.tenant };
    let page = app.store().list_letters(&filter, query.cursor.as_deref(), limit).await?;
    let mut approvals = approval::of_tasks(&app, &page.rows).await?;
    let rows = page.rows.iter();
    let tasks =
        rows.map(|row| LetterView::of(&app, row).with(approvals.remove(&row.letter_id))).collect();
    Ok(Json(TasksPage { tasks, next: page.next }).into_response())
}

fn status(name: &str) -> Result<LetterStatus, Problem> {
    let found = STATUSES.into_iter().find(|status| status.as_str() == name);
    found.ok_or_else(|| {
        let detail = format!("status: '{name}' is none of open, decided, resolved, all");
        Problem::new(Code::BadQuery, detail)
    })
}

/// `GET /v1/tasks/{id}`
pub(crate) async fn show<L: EventLog, S: RunStore, V: Verdicts>(
    State(app): State<App<L, S, V>>,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    let row = find(&app, &id).await?;
    let approval =
        approval::of_tasks(&app, std::slice::from_ref(&row)).await?.remove(&row.letter_id);
    whole(&app, &row, approval)
}

async fn find<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    id: &str,
) -> Result<LetterRow, Problem> {
    let absent = || Problem::new(Code::TaskAbsent, format!("there is no task {id}"));
    let id: Digest = id.parse().map_err(|_| absent())?;
    let row = app.store().letter(&id).await?.ok_or_else(absent)?;
    if row.kind == LetterKind::Task { Ok(row) } else { Err(absent()) }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Decide<'a> {
    decision: TaskVerdict,
    #[serde(borrow)]
    output: Option<&'a RawValue>,
    reason: Option<String>,
    actor: Option<String>,
}

/// `POST /v1/tasks/{id}/decide`: the first answer counts. A call that more people have to approve of stays
/// open until the last of them has.
pub(crate) async fn decide<L: EventLog, S: RunStore, V: Verdicts>(
    State(app): State<App<L, S, V>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let taken = body::take_json(&app.in_flight, request, limits::REQUEST_BYTES).await?;
    let decide: Decide<'_> = body::read_json(&taken.bytes)?;
    let reason = body::reason(decide.reason.as_deref())?;
    let has_output = match decide.decision {
        TaskVerdict::Complete | TaskVerdict::Skip => true,
        TaskVerdict::Retry | TaskVerdict::Fail | TaskVerdict::Approve | TaskVerdict::Deny => false,
    };
    if decide.output.is_some() && !has_output {
        let detail = "output: is for complete and skip; a retry makes its own";
        return Err(Problem::new(Code::InvalidField, detail).with("field", "output"));
    }
    let output = decide.output.map(|output| Payload::json("output", output.get().to_owned()));
    let output = output.transpose()?.map(Output::of);
    let row = find(&app, &id).await?;
    let (run, step) = step_of(&row)?;
    if decide.decision == TaskVerdict::Complete {
        answer::check(&app, &run, &step, output.as_ref()).await?;
    }
    let (task_id, verdict) = (row.letter_id, decide.decision);
    let event = StepEvent::TaskDecided { task_id, verdict, output, reason };
    let event = Body::Step(run.run_id.clone(), step, event);
    let event = app.event(&run.tenant, decide.actor.as_deref(), event);
    let asked = ask::ask_one(&app, &run, event).await?;
    let position = app.position(asked.partition, asked.offset);
    let mut reply = json!({
        "id": task_id, "status": LetterStatus::Decided, "decision": decide.decision, "position": position,
    });
    if let Some(Answer::Counted { approvals, needed }) = asked.verdict.answer() {
        reply["status"] = json!(LetterStatus::Open);
        reply["approvals"] = json!(approvals);
        reply["needed"] = json!(needed);
    }
    Ok(Json(reply))
}
