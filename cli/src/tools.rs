//! `spine tools` and `spine tenants`: what holds steps back whatever their own state, shown and set.

use crate::{
    asked::AskedArgs,
    client::{Client, ServerArgs, segment},
    exit::Failure,
    output,
    render::{
        table::{Column, table},
        when,
    },
};
use serde::{Deserialize, Serialize};
use spine_schemas::time::Micros;
use spine_workers::{Clock, SystemClock};

/// The verbs of tools.
#[derive(clap::Subcommand)]
pub(crate) enum Verb {
    /// Lists the tools that were in trouble or are held back: circuit breakers, limits, pauses
    List(List),
    /// Holds a tool back: no attempt at it starts until it is resumed
    Pause(Of),
    /// Lets a paused tool be called again
    Resume(Of),
    /// Opens or closes a tool's circuit breaker by hand, or leaves it to itself again
    Breaker(Breaker),
}

/// The verbs of tenants.
#[derive(clap::Subcommand)]
pub(crate) enum TenantVerb {
    /// Holds a tenant back: no attempt of its runs starts until it is resumed
    Pause(Tenant),
    /// Lets a paused tenant go on
    Resume(Tenant),
}

/// Arguments of `tools list`.
#[derive(clap::Args)]
pub(crate) struct List {
    #[command(flatten)]
    server: ServerArgs,
}

/// Arguments of `tools pause` and `tools resume`.
#[derive(clap::Args)]
pub(crate) struct Of {
    /// The tool, as steps name it
    tool: String,
    #[command(flatten)]
    asked: AskedArgs,
}

/// Arguments of `tools breaker`.
#[derive(clap::Args)]
pub(crate) struct Breaker {
    /// The tool, as steps name it
    tool: String,
    /// What it is from now on; auto leaves it to itself
    #[arg(value_parser = ["open", "closed", "auto"])]
    state: String,
    #[command(flatten)]
    asked: AskedArgs,
}

/// Arguments of `tenants pause` and `tenants resume`.
#[derive(clap::Args)]
pub(crate) struct Tenant {
    /// The tenant
    tenant: String,
    #[command(flatten)]
    asked: AskedArgs,
}

#[derive(Serialize)]
struct Request<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    tool: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'a str>,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<&'a str>,
}

impl<'a> Request<'a> {
    fn of(asked: &'a AskedArgs, tool: Option<&'a str>, state: Option<&'a str>) -> Self {
        Self { tool, state, reason: &asked.reason, actor: asked.actor.as_deref() }
    }
}

/// Runs a verb of tools.
///
/// # Errors
/// When the server refuses or cannot be reached.
pub(crate) async fn run(verb: &Verb) -> Result<(), Failure> {
    let (of, verb, done) = match verb {
        Verb::List(args) => return list(args).await,
        Verb::Breaker(args) => return breaker(args).await,
        Verb::Pause(of) => (of, "pause", "is paused: no attempt at it starts"),
        Verb::Resume(of) => (of, "resume", "may be called again"),
    };
    let request = Request::of(&of.asked, Some(&of.tool), None);
    let done = format!("{} {done}", of.tool);
    of.asked.server.send(&format!("/v1/tools/{verb}"), &request, &done).await
}

/// Runs a verb of tenants.
///
/// # Errors
/// When the server refuses or cannot be reached.
pub(crate) async fn run_tenants(verb: &TenantVerb) -> Result<(), Failure> {
    let (of, verb, done) = match verb {
        TenantVerb::Pause(of) => (of, "pause", "is paused: no attempt of its runs starts"),
        TenantVerb::Resume(of) => (of, "resume", "goes on"),
    };
    let path = format!("/v1/tenants/{}/{verb}", segment(&of.tenant));
    let done = format!("tenant {} {done}", of.tenant);
    of.asked.server.send(&path, &Request::of(&of.asked, None, None), &done).await
}

async fn breaker(of: &Breaker) -> Result<(), Failure> {
    let done = match of.state.as_str() {
        "open" => "is not called until its breaker is closed or left to itself",
        "closed" => "is called whatever comes back",
        _ => "is left to its breaker again",
    };
    let request = Request::of(&of.asked, Some(&of.tool), Some(&of.state));
    let done = format!("{} {done}", of.tool);
    of.asked.server.send("/v1/tools/breaker", &request, &done).await
}

#[derive(Deserialize)]
struct Shown {
    tools: Vec<Tool>,
    tenants: Vec<PausedTenant>,
}

#[derive(Deserialize)]
struct Tool {
    tool: String,
    breaker: Option<ShownBreaker>,
    limited_until: Option<String>,
    paused: Option<Said>,
}

#[derive(Deserialize)]
struct PausedTenant {
    tenant: String,
    paused: Said,
}

#[derive(Deserialize)]
struct ShownBreaker {
    state: String,
    until: Option<String>,
    #[serde(flatten)]
    said: Said,
}

#[derive(Deserialize)]
struct Said {
    since: String,
    reason: String,
}

async fn list(args: &List) -> Result<(), Failure> {
    let answer = Client::new(&args.server).get("/v1/tools").await?;
    if args.server.json {
        return output::line(&answer.text);
    }
    let shown: Shown = answer.read()?;
    if shown.tools.is_empty() && shown.tenants.is_empty() {
        return output::line("no tool was in trouble, and nothing is held back");
    }
    let now = SystemClock.now();
    let columns = [
        Column::Text("TOOL OR TENANT"),
        Column::Status("STATE"),
        Column::Text("SINCE"),
        Column::Text("UNTIL"),
        Column::Text("REASON"),
    ];
    let mut rows: Vec<Vec<String>> = shown.tools.iter().flat_map(|tool| tool.rows(now)).collect();
    rows.extend(shown.tenants.iter().map(|of| {
        let name = format!("tenant {}", of.tenant);
        row(name, "paused", Some(&of.paused), None, now)
    }));
    output::print(&table(&columns, &rows))
}

impl Tool {
    /// A line for each thing that is known of it.
    fn rows(&self, now: Micros) -> Vec<Vec<String>> {
        let name = || self.tool.clone();
        let paused = self.paused.as_ref().map(|said| row(name(), "paused", Some(said), None, now));
        let limit = self.limited_until.as_ref();
        let limited = limit.map(|until| row(name(), "limited", None, Some(until), now));
        let breaker = self.breaker.as_ref().map(|breaker| {
            row(name(), &breaker.state, Some(&breaker.said), breaker.until.as_ref(), now)
        });
        [paused, limited, breaker].into_iter().flatten().collect()
    }
}

fn row(
    name: String,
    state: &str,
    said: Option<&Said>,
    until: Option<&String>,
    now: Micros,
) -> Vec<String> {
    let relative = |text: &String| match Micros::parse(text) {
        Some(at) => when::relative(at, now),
        None => text.clone(),
    };
    vec![
        name,
        state.to_owned(),
        said.map(|said| relative(&said.since)).unwrap_or_default(),
        until.map(relative).unwrap_or_default(),
        said.map_or("the tool asked for a pause", |said| &said.reason).to_owned(),
    ]
}
