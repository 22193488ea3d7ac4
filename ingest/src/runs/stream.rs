//! `GET /v1/runs/{id}/stream`: what attempts of a run say while they run, as server-sent events; `POST` there: an
//! attempt says something. Nothing of it goes to the log or the store.

use crate::{
    App, Code, Problem, Verdicts, body, limits, query,
    streams::{Asking, Listening, StreamError},
};
use axum::{
    Json,
    body::Body,
    extract::{Path, Request, State},
    http::{Uri, header},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream::BoxStream};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::RawValue};
use spine_log::EventLog;
use spine_runs::{Part, Said};
use spine_schemas::{RunKey, StepKey};
use spine_store::RunStore;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StreamQuery {
    tenant: Option<String>,
    /// The step that is listened to; all without it.
    step: Option<StepKey>,
    #[serde(default)]
    here: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PartJson<'a> {
    tenant: Option<String>,
    step: StepKey,
    attempt: u32,
    #[serde(borrow)]
    data: &'a RawValue,
}

/// `GET /v1/runs/{id}/stream`
pub(crate) async fn get<L: EventLog, S: RunStore, V: Verdicts>(
    State(app): State<App<L, S, V>>,
    Path(run_id): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    let query: StreamQuery = query::read(&uri)?;
    let run = query::run_key(query.tenant.as_deref(), &run_id)?;
    let asking = asking(&app, &run, &uri, query.here).await?;
    match app.parts.streams.listen(asking).await {
        Ok(Listening::Here(said)) => Ok(events(run, query.step, said).into_response()),
        Ok(Listening::Elsewhere(bytes)) => Ok(pass(bytes)),
        Err(error) => Err(problem(&run, error)),
    }
}

/// `POST /v1/runs/{id}/stream`
pub(crate) async fn post<L: EventLog, S: RunStore, V: Verdicts>(
    State(app): State<App<L, S, V>>,
    Path(run_id): Path<String>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let uri = request.uri().clone();
    let query: StreamQuery = query::read(&uri)?;
    if query.step.is_some() {
        return Err(Problem::new(Code::BadQuery, "step: stands in the body here"));
    }
    let taken = body::take_json(&app.in_flight, request, limits::PART_BYTES).await?;
    let part: PartJson<'_> = body::read_json(&taken.bytes)?;
    let tenant = part.tenant.as_deref().or(query.tenant.as_deref());
    let run = query::run_key(tenant, &run_id)?;
    let asking = asking(&app, &run, &uri, query.here).await?;
    // Copied, since the buffer of a request may be much larger than what is said.
    let data = Bytes::copy_from_slice(part.data.get().as_bytes());
    let part = Part { step: part.step, attempt: part.attempt, data };
    let listeners = app.parts.streams.say(asking, part, taken.bytes.clone()).await;
    let listeners = listeners.map_err(|error| problem(&run, error))?;
    Ok(Json(json!({"listeners": listeners})))
}

async fn asking<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    run: &RunKey,
    uri: &Uri,
    here: bool,
) -> Result<Asking, Problem> {
    let partition = app.partition_of(run).await?;
    let elsewhere = (!here).then(|| {
        let more = uri.query().map(|query| format!("{query}&")).unwrap_or_default();
        format!("{}?{more}here=true", uri.path())
    });
    Ok(Asking { run: run.clone(), partition, elsewhere })
}

fn problem(run: &RunKey, error: StreamError) -> Problem {
    match error {
        StreamError::NoRun => Problem::new(Code::RunAbsent, format!("there is no run {run}")),
        StreamError::Full => Problem::new(Code::Busy, "too many listen at this server"),
        StreamError::NotLive(not_live) => {
            let detail = match not_live.live {
                Some(live) => format!("attempt {live} of the step runs now"),
                None => "no attempt of the step runs now".into(),
            };
            Problem::new(Code::WrongAttempt, detail).with("live", not_live.live)
        }
        StreamError::Unavailable(why) => Problem::new(Code::NotReady, why),
    }
}

fn pass(bytes: BoxStream<'static, std::io::Result<Bytes>>) -> Response {
    let media_type =
        [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
    (media_type, Body::from_stream(bytes)).into_response()
}

type NeverFails = std::convert::Infallible;

/// What is said, as events. Without a comment now and then nobody would notice a listener that is gone.
fn events(
    run: RunKey,
    step: Option<StepKey>,
    said: impl Stream<Item = Said> + Send + 'static,
) -> Sse<impl Stream<Item = Result<Event, NeverFails>>> {
    let wanted = move |said: &Said| match (step_of(said), &step) {
        (Some(of), Some(wanted)) => of == wanted,
        (None, _) | (_, None) => true,
    };
    let events = said
        .filter(move |said| std::future::ready(wanted(said)))
        .map(move |said| Ok(event(&run, &said)));
    Sse::new(events).keep_alive(KeepAlive::new().interval(limits::STREAM_COMMENTS))
}

fn step_of(said: &Said) -> Option<&StepKey> {
    match said {
        Said::Began(step) | Said::Retried(step, _) | Said::AttemptEnded { step, .. } => Some(step),
        Said::Part(part) => Some(&part.step),
        Said::Listening { .. } | Said::RunEnded(_) | Said::Missed(_) => None,
    }
}

/// One attempt that runs.
#[derive(Serialize)]
struct LiveView<'a> {
    step: &'a StepKey,
    attempt: u32,
}

#[derive(Serialize)]
struct PartView<'a> {
    step: &'a StepKey,
    attempt: u32,
    data: &'a RawValue,
}

fn event(run: &RunKey, said: &Said) -> Event {
    let (name, data) = match said {
        Said::Listening { status, live } => {
            let live: Vec<LiveView<'_>> =
                live.iter().map(|(step, attempt)| LiveView { step, attempt: *attempt }).collect();
            let status = status.as_str();
            let data = json!({"tenant": run.tenant, "run_id": run.run_id, "status": status,
                "live": live});
            ("listening", data.to_string())
        }
        Said::Began(step) => ("began", json!({"step": step, "attempt": 1}).to_string()),
        Said::Retried(step, attempt) => {
            ("retry", json!({"step": step, "attempt": attempt}).to_string())
        }
        Said::Part(part) => ("part", part_text(part)),
        Said::AttemptEnded { step, attempt, status } => {
            let status = status.as_str();
            (
                "attempt_ended",
                json!({"step": step, "attempt": attempt, "status": status}).to_string(),
            )
        }
        Said::RunEnded(status) => ("run_ended", json!({"status": status.as_str()}).to_string()),
        Said::Missed(count) => ("missed", json!({"count": count}).to_string()),
    };
    Event::default().event(name).data(data)
}

/// What was said stands in it as it was received, number literals included. Outside of strings, where alone JSON has
/// line breaks, they would end a line of the stream.
fn part_text(part: &Part) -> String {
    let data: &RawValue = serde_json::from_slice(&part.data).expect("it was read as JSON");
    let view = PartView { step: &part.step, attempt: part.attempt, data };
    let text = serde_json::to_string(&view).expect("keys are text");
    text.replace(['\r', '\n'], " ")
}
