//! `POST /v1/queues/{name}/lease` and what a worker says of a step that it was granted: `heartbeat`,
//! `complete`, `fail`, `release`.

mod lease_text;

use crate::{
    App, Code, Leased, Poll, Problem, Verdicts, ask, body,
    journal::values::{self, ErrorJson, StepJson, UsageJson},
    limits,
    query::{self, DEFAULT_TENANT},
    views::{PayloadView, Time},
};
use axum::{
    Json,
    extract::{Path, Request, State},
};
use lease_text::Held;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json, value::RawValue};
use spine_log::{EventLog, Urgency};
use spine_runs::GrantedStep;
use spine_schemas::{
    Body, Digest, Effect, RunKey, StepEvent, StepKey, check_id, check_tenant,
    limits::{TIMEOUT_MS, WORKER_LEASE_MS},
    spec,
};
use spine_store::RunStore;
use std::{collections::BTreeSet, time::Duration};

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct LeaseQuery {
    #[serde(default)]
    here: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LeaseJson {
    worker: String,
    max: Option<usize>,
    wait_ms: Option<u64>,
    lease_ms: Option<u64>,
    tenants: Option<BTreeSet<String>>,
}

impl LeaseJson {
    fn poll(self, queue: String, here: bool) -> Result<Poll, Problem> {
        check_id("queue", &queue)?;
        check_id("worker", &self.worker)?;
        let (most, wait) = (limits::POLL_STEPS as u64, limits::POLL_WAIT_MS);
        let max = self.max.unwrap_or(1);
        within("max", max as u64, 1, most)?;
        let wait_ms = self.wait_ms.unwrap_or(limits::POLL_USUAL_WAIT_MS);
        within("wait_ms", wait_ms, 0, wait)?;
        let lease_ms = self.lease_ms.unwrap_or(spec::LEASE_MS);
        within("lease_ms", lease_ms, WORKER_LEASE_MS, TIMEOUT_MS)?;
        let tenants = self.tenants.as_ref();
        within("tenants", tenants.map_or(1, |of| of.len() as u64), 1, limits::POLL_TENANTS as u64)?;
        tenants.into_iter().flatten().try_for_each(|tenant| check_tenant(tenant))?;
        let (worker, tenants) = (self.worker, self.tenants);
        let wait = Duration::from_millis(wait_ms);
        Ok(Poll { queue, worker, max, lease_ms, tenants, wait, here })
    }
}

fn within(field: &'static str, value: u64, least: u64, most: u64) -> Result<(), Problem> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    let detail = format!("{field}: {value} is not between {least} and {most}");
    Err(Problem::new(Code::InvalidField, detail).with("field", field))
}

/// The identity of a step, as a worker gives it back.
#[derive(Serialize)]
struct StepView<'a> {
    scope: &'a str,
    name: &'a str,
    occurrence: u32,
}

#[derive(Serialize)]
struct LeaseView<'a> {
    tenant: &'a str,
    run_id: &'a str,
    step: StepView<'a>,
    attempt: u32,
    lease: String,
    lease_until: Time,
    idempotency_key: Digest,
    input: PayloadView<'a>,
    effect: Effect,
    timeout_ms: u64,
    traceparent: &'a str,
}

/// `POST /v1/queues/{name}/lease`
pub(crate) async fn lease<L: EventLog, S: RunStore, V: Verdicts>(
    State(app): State<App<L, S, V>>,
    Path(queue): Path<String>,
    request: Request,
) -> Result<Json<Answer>, Problem> {
    let query: LeaseQuery = query::read(request.uri())?;
    let taken = body::take_json(&app.in_flight, request, limits::REQUEST_BYTES).await?;
    let asked: LeaseJson = body::read_json(&taken.bytes)?;
    let poll = asked.poll(queue, query.here)?;
    let _place = app.in_flight.take_poll()?;
    drop(taken);
    let queue = poll.queue.clone();
    let leased = app.parts.leases.lease(poll).await;
    let mut leases = Vec::with_capacity(leased.len());
    for leased in &leased {
        leases.push(match leased {
            Leased::Here(granted) => shown(&queue, granted, &app.settings().installation_id)?,
            Leased::Elsewhere(raw) => raw.clone(),
        });
    }
    Ok(Json(Answer { leases }))
}

/// What is answered: inputs stand in it as they were received, number literals included.
#[derive(Serialize)]
pub(crate) struct Answer {
    leases: Vec<Box<RawValue>>,
}

fn shown(queue: &str, granted: &GrantedStep, installation: &str) -> Result<Box<RawValue>, Problem> {
    let (run, step, attempt) = (&granted.run, &granted.step, granted.attempt);
    let held = Held { installation, queue, run, step, attempt };
    let view = LeaseView {
        tenant: &run.tenant,
        run_id: &run.run_id,
        step: StepView { scope: &step.scope, name: &step.name, occurrence: step.occurrence },
        attempt,
        lease: held.text(granted.partition, granted.offset),
        lease_until: Time(granted.until),
        idempotency_key: granted.idempotency_key,
        input: PayloadView(&granted.input),
        effect: granted.effect,
        timeout_ms: granted.timeout_ms,
        traceparent: &granted.traceparent,
    };
    serde_json::value::to_raw_value(&view)
        .map_err(|error| Problem::new(Code::Internal, error.to_string()))
}

/// What a worker says of an attempt.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verb {
    /// It is still at it.
    Heartbeat,
    /// It is done.
    Complete,
    /// It failed.
    Fail,
    /// It never began.
    Release,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OutcomeJson<'a> {
    worker: String,
    tenant: Option<String>,
    run_id: String,
    step: StepJson,
    attempt: u32,
    lease: String,
    #[serde(borrow)]
    output: Option<&'a RawValue>,
    #[serde(default)]
    degraded: bool,
    error: Option<ErrorJson>,
    usage: Option<UsageJson>,
}

impl OutcomeJson<'_> {
    /// The event that the verb stands for. Fields that do not go with it are refused.
    fn event(self, verb: Verb, offset: u64) -> Result<StepEvent, Problem> {
        let (attempt, lease) = (self.attempt, Some(offset));
        let ends = matches!(verb, Verb::Complete | Verb::Fail);
        not_with("output", self.output.is_some() && !matches!(verb, Verb::Complete))?;
        not_with("degraded", self.degraded && !matches!(verb, Verb::Complete))?;
        not_with("error", self.error.is_some() && !matches!(verb, Verb::Fail))?;
        not_with("usage", self.usage.is_some() && !ends)?;
        let usage = self.usage.map(Into::into);
        Ok(match verb {
            Verb::Heartbeat => StepEvent::Heartbeat { attempt, lease },
            Verb::Release => StepEvent::Released { attempt, lease: offset, error: None },
            Verb::Complete => {
                let output = values::output(self.output, self.degraded)?;
                StepEvent::Completed { attempt, lease, output, usage }
            }
            Verb::Fail => {
                let missing =
                    || Problem::new(Code::InvalidField, "error: is missing").with("field", "error");
                let error = self.error.ok_or_else(missing)?.into();
                StepEvent::Failed { attempt, lease, error, usage }
            }
        })
    }
}

fn not_with(field: &'static str, given: bool) -> Result<(), Problem> {
    if !given {
        return Ok(());
    }
    let detail = format!("{field}: does not go with this verb");
    Err(Problem::new(Code::InvalidField, detail).with("field", field))
}

/// `POST /v1/queues/{name}/heartbeat|complete|fail|release`
pub(crate) async fn outcome<L: EventLog, S: RunStore, V: Verdicts>(
    State(app): State<App<L, S, V>>,
    Path((queue, verb)): Path<(String, String)>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let verb = serde_json::from_value(Value::String(verb))
        .map_err(|_| Problem::new(Code::RouteUnknown, "no route has this path"))?;
    let taken = body::take_json(&app.in_flight, request, limits::REQUEST_BYTES).await?;
    let said: OutcomeJson<'_> = body::read_json(&taken.bytes)?;
    check_id("worker", &said.worker)?;
    let tenant = said.tenant.as_deref().unwrap_or(DEFAULT_TENANT);
    let run: RunKey = query::run_key(Some(tenant), &said.run_id)?;
    let step: StepKey = said.step.key()?;
    let partition = app.partition_of(&run).await?;
    let (installation, attempt) = (&*app.settings().installation_id, said.attempt);
    let held = Held { installation, queue: &queue, run: &run, step: &step, attempt };
    let offset = held.read(&said.lease, partition)?;
    let actor = format!("worker:{}", said.worker);
    let event = said.event(verb, offset)?;
    let body = Body::Step(run.run_id.clone(), step, event);
    let event = app.event(&run.tenant, Some(&actor), body);
    event.check()?;
    let asked = ask::ask(&app, &run, &[event], Urgency::Outcome).await?;
    ask::granted(&app, asked)?;
    Ok(Json(json!({"status": "ok"})))
}
