//! What holds steps back whatever their own state: circuit breakers, pauses of tools and tenants. Shown, and
//! set by operators. Processes hear of it through the topic of control.

use crate::{App, Code, Problem, Verdicts, body, limits};
use axum::{
    Json,
    extract::{Path, Request, State},
};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};
use spine_log::{EventLog, NewRecord, TopicPartition, Urgency};
use spine_runs::{Controls, ToolControl};
use spine_schemas::{
    control::{Change, ControlRecord, Forced},
    time::Micros,
};
use spine_store::RunStore;
use std::{collections::BTreeSet, sync::Arc};

/// The pause that stands for a tenant and a tool, in this order.
pub type PauseOf = dyn Fn(&str, &str) -> Option<ControlRecord> + Send + Sync;

/// What this process knows of it, and how it is told what it appended itself.
#[derive(Clone)]
pub struct Steering {
    /// What stands now.
    pub now: Arc<dyn Fn() -> Controls + Send + Sync>,
    /// What pauses calls of a tool for a tenant now.
    pub pause_of: Arc<PauseOf>,
    /// Takes a record that is durable, before it is read back.
    pub hear: Arc<dyn Fn(ControlRecord) + Send + Sync>,
}

impl Steering {
    /// That of a process that knows of nothing.
    pub fn none() -> Self {
        Self {
            now: Arc::new(Controls::default),
            pause_of: Arc::new(|_, _| None),
            hear: Arc::new(|_| ()),
        }
    }
}

/// `GET /v1/tools`: every tool that was in trouble or is held back, and tenants that are.
pub(crate) async fn list<L: EventLog, S: RunStore, V: Verdicts>(
    State(app): State<App<L, S, V>>,
) -> Json<Value> {
    let controls = (app.parts.steering.now)();
    let now = app.now();
    let held = controls.paused_tools.keys().chain(controls.forced_tools.keys());
    let names: BTreeSet<&String> = controls.tools.keys().chain(held).collect();
    let tools: Vec<Value> = names
        .into_iter()
        .map(|name| {
            json!({
                "tool": name,
                "breaker": breaker(&controls, name),
                "limited_until": controls.tools.get(name).and_then(|tool| limited(tool, now)),
                "paused": controls.paused_tools.get(name).map(said),
            })
        })
        .collect();
    let paused = controls.paused_tenants.iter();
    let tenants: Vec<Value> =
        paused.map(|(tenant, record)| json!({"tenant": tenant, "paused": said(record)})).collect();
    Json(json!({"tools": tools, "tenants": tenants}))
}

/// The breaker as an operator has set it, else as it was found last.
fn breaker(controls: &Controls, tool: &str) -> Option<Value> {
    let found = || controls.tools.get(tool)?.breaker.as_ref();
    let record = controls.forced_tools.get(tool).or_else(found)?;
    let (state, until) = match &record.change {
        Change::BreakerForced { state: Forced::Open, .. } => ("forced_open", None),
        Change::BreakerForced { .. } => ("forced_closed", None),
        Change::BreakerChanged { state, until, .. } => (state.as_str(), *until),
        _ => return None,
    };
    let mut shown = said(record);
    shown["state"] = json!(state);
    shown["until"] = json!(until.map(|until| until.to_string()));
    Some(shown)
}

fn limited(tool: &ToolControl, now: Micros) -> Option<String> {
    tool.limited_until(now).map(|until| until.to_string())
}

/// Who said it, when, and why.
pub(crate) fn said(record: &ControlRecord) -> Value {
    json!({"since": record.at.to_string(), "by": record.by, "reason": record.reason})
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfTool {
    tool: String,
    state: Option<Forced>,
    reason: Option<String>,
    actor: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OfTenant {
    reason: Option<String>,
    actor: Option<String>,
}

/// `POST /v1/tools/{verb}`: `pause`, `resume`, or `breaker` with a state. The tool is named in the body.
pub(crate) async fn tool<L: EventLog, S: RunStore, V: Verdicts>(
    State(app): State<App<L, S, V>>,
    Path(verb): Path<String>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let taken = body::take_json(&app.in_flight, request, limits::REQUEST_BYTES).await?;
    let asked: OfTool = body::read_json(&taken.bytes)?;
    let tool = asked.tool;
    let field = |detail: &str| Err(Problem::new(Code::InvalidField, detail).with("field", "state"));
    let change = match (verb.as_str(), asked.state) {
        ("pause", None) => Change::ToolPaused { tool },
        ("resume", None) => Change::ToolResumed { tool },
        ("breaker", Some(state)) => Change::BreakerForced { tool, state },
        ("breaker", None) => return field("state: one of open, closed, auto"),
        ("pause" | "resume", Some(_)) => return field("state: is for breaker"),
        (verb, _) => {
            let detail = format!("there is no '{verb}' of a tool: pause, resume or breaker");
            return Err(Problem::new(Code::RouteUnknown, detail));
        }
    };
    steer(&app, change, asked.reason.as_deref(), asked.actor.as_deref()).await
}

/// `POST /v1/tenants/{tenant}/{verb}`: `pause` or `resume`.
pub(crate) async fn tenant<L: EventLog, S: RunStore, V: Verdicts>(
    State(app): State<App<L, S, V>>,
    Path((tenant, verb)): Path<(String, String)>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let taken = body::take_json(&app.in_flight, request, limits::REQUEST_BYTES).await?;
    let asked: OfTenant = body::read_json(&taken.bytes)?;
    let tenant: Arc<str> = tenant.into();
    let change = match verb.as_str() {
        "pause" => Change::TenantPaused { tenant },
        "resume" => Change::TenantResumed { tenant },
        verb => {
            let detail = format!("there is no '{verb}' of a tenant: pause or resume");
            return Err(Problem::new(Code::RouteUnknown, detail));
        }
    };
    steer(&app, change, asked.reason.as_deref(), asked.actor.as_deref()).await
}

/// Appends a change. When it is answered it is durable, and this process keeps to it.
async fn steer<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    change: Change,
    reason: Option<&str>,
    actor: Option<&str>,
) -> Result<Json<Value>, Problem> {
    let reason = body::reason(reason)?;
    let by = actor.unwrap_or("operator").to_owned();
    let record = ControlRecord { at: app.now(), by, reason, change };
    record.check()?;
    let to = TopicPartition::new(app.settings().control_topic.clone(), 0);
    let new = NewRecord::plain(Some(Bytes::from(record.change.key())), record.to_json());
    let appended = app.log().append(&to, vec![new], Urgency::Normal).await?;
    (app.parts.steering.hear)(record.clone());
    let mut shown = said(&record);
    shown["change"] = json!(record.change);
    shown["position"] = json!({
        "topic": to.topic, "partition": 0, "offset": appended.first_offset,
    });
    Ok(Json(shown))
}
