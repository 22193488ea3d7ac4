//! `POST /v1/runs`: a plan, or a run that an agent or an outside system drives. Answered from the
//! fold's verdict, so that a repeat is told from a conflict.

use super::plan;
use crate::{
    App, Code, Problem, Verdicts,
    ask::{self, Asked},
    body, events,
    journal::values::payload_or_null,
    limits,
    query::{self, DEFAULT_TENANT},
};
use axum::{
    Json,
    extract::{Request, State},
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use spine_log::EventLog;
use spine_runs::{Reason, Verdict};
use spine_schemas::{Body, Digest, Driver, RunCreated, RunEvent, RunKey};
use spine_store::RunStore;
use std::collections::BTreeMap;

/// The body, as it is received.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewRun<'a> {
    run_id: Option<String>,
    tenant: Option<String>,
    actor: Option<String>,
    workflow: String,
    #[serde(default = "first_version")]
    version: String,
    pub(super) driver: Option<Driver>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    parent: Option<String>,
    #[serde(borrow)]
    pub(super) retry: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) steps: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) brain: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) faults: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) deadline_ms: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) on_deadline: Option<&'a RawValue>,
}

impl<'a> NewRun<'a> {
    /// The parts of the body that make the plan, by name.
    pub(super) fn plan_parts(&self) -> [(&'static str, Option<&'a RawValue>); 6] {
        [
            ("retry", self.retry),
            ("brain", self.brain),
            ("steps", self.steps),
            ("faults", self.faults),
            ("deadline_ms", self.deadline_ms),
            ("on_deadline", self.on_deadline),
        ]
    }
}

/// The version of a workflow that names none.
pub(crate) fn first_version() -> String {
    "1".to_owned()
}

/// Makes a run: 201 when it is new, 200 when the same was made before, 409 when another was. Without an id the run has
/// one that follows from the request's key, if it has one: then another request under that key is 422.
pub(crate) async fn post<L: EventLog, S: RunStore, V: Verdicts>(
    State(app): State<App<L, S, V>>,
    request: Request,
) -> Result<Response, Problem> {
    let once = events::idempotency_key(request.headers())?;
    let taken = body::take_json(&app.in_flight, request, limits::REQUEST_BYTES).await?;
    let new: NewRun<'_> = body::read_json(&taken.bytes)?;
    let once = once.filter(|_| new.run_id.is_none());
    let tenant = new.tenant.as_deref().unwrap_or(DEFAULT_TENANT).to_owned();
    let run_id = new.run_id.clone().unwrap_or_else(|| match &once {
        // Of each tenant, since ids are.
        Some(key) => Digest::of_parts(&[b"run", key.as_bytes()]).to_string(),
        None => app.fresh_id(),
    });
    let run = query::run_key(Some(&tenant), &run_id)?;
    let actor = new.actor.clone();
    let created = created(&app, &run, new)?;
    let driver = created.driver;
    let body = Body::Run(run.run_id.clone(), RunEvent::Created(Box::new(created)));
    let event = app.event(&run.tenant, actor.as_deref(), body);
    event.check()?;
    let asked = ask::ask(&app, &run, &[event], spine_log::Urgency::Normal).await?;
    match granted(&app, &run, asked).await {
        Err(problem) if once.is_some() && problem.code() == Code::RunExists => {
            let detail = format!("under this key run {run_id} was made of another request");
            Err(Problem::new(Code::KeyReused, detail).with("run_id", run_id))
        }
        granted => Ok(answer(&app, &run, driver, &granted?)),
    }
}

/// A creation that was granted. Where another run has the id, the problem says what that is doing.
pub(crate) async fn granted<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    run: &RunKey,
    asked: Vec<Asked>,
) -> Result<Asked, Problem> {
    match ask::granted(app, asked) {
        Err(problem) if problem.code() == Code::RunExists => {
            Err(with_holder(app, run, problem).await)
        }
        granted => granted,
    }
}

/// Whether a creation that was granted made the run, or found the same one.
pub(crate) fn is_new(asked: &Asked) -> bool {
    !matches!(asked.verdict, Verdict::Stale(Reason::Duplicate, _))
}

fn created<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    run: &RunKey,
    new: NewRun<'_>,
) -> Result<RunCreated, Problem> {
    let plan = plan::read(app, run, &new)?;
    let driver = match (&plan, new.driver) {
        (Some(_), None | Some(Driver::Plan)) => Driver::Plan,
        (None, Some(driver @ (Driver::Journal | Driver::Record))) => driver,
        (Some(_), Some(Driver::Journal | Driver::Record)) => {
            let detail = "driver: a run with steps is a plan, and nothing else drives it";
            return Err(Problem::new(Code::InvalidField, detail).with("field", "driver"));
        }
        (None, None | Some(Driver::Plan)) => {
            let detail = "there are neither steps nor a driver (journal or record)";
            return Err(Problem::new(Code::DriverMissing, detail).with("field", "driver"));
        }
    };
    let input = payload_or_null("input", new.input)?;
    Ok(RunCreated {
        workflow: new.workflow,
        version: new.version,
        driver,
        input,
        tags: new.tags,
        parent: new.parent,
        plan,
        fork: None,
        caller: None,
    })
}

fn answer<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    run: &RunKey,
    driver: Driver,
    asked: &Asked,
) -> Response {
    let new = is_new(asked);
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    let answer = json!({
        "tenant": run.tenant,
        "run_id": run.run_id,
        "driver": driver,
        "created": new,
        "position": app.position(asked.partition, asked.offset),
    });
    // An id may hold any character; a program that needs the address escapes it itself.
    let plain =
        |id: &str| id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte));
    let mut response = (status, Json(answer)).into_response();
    if plain(&run.run_id) && *run.tenant == *DEFAULT_TENANT {
        let location = format!("/v1/runs/{}", run.run_id);
        if let Ok(location) = location.parse() {
            response.headers_mut().insert(header::LOCATION, location);
        }
    }
    response
}

/// What the run that has the id is doing, as far as it is stored: a stuck one keeps its id, and is to be found.
/// A conflict of a record run comes without an answer, since nobody asked: its digest is looked up, too.
async fn with_holder<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    run: &RunKey,
    problem: Problem,
) -> Problem {
    let Ok((_, holder)) = app.load_run(run, None).await else { return problem };
    let problem = problem.with("run_status", holder.public_status());
    match problem.to_json().get("stored") {
        Some(_) => problem,
        None => problem.with("stored", holder.created_digest),
    }
}
