//! `spine steps`: says whether an attempt took effect, holds a step back, lets it go on.

use crate::{
    client::{ServerArgs, segment},
    exit::Failure,
    json_file,
};
use serde::Serialize;
use serde_json::value::RawValue;
use std::path::PathBuf;

/// The verbs of steps.
#[derive(clap::Subcommand)]
pub(crate) enum Verb {
    /// Says whether an attempt with unknown outcome took effect
    Resolve(Resolve),
    /// Holds a step back: no attempt of it starts, and its deadlines stand still
    Pause(Hold),
    /// Lets a paused step go on
    Resume(Hold),
}

/// Arguments of `steps resolve`.
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["happened", "not"])))]
pub(crate) struct Resolve {
    /// The run
    run: String,
    /// The step: name, scope/name or scope/name#occurrence
    step: String,
    /// The effect happened: the step completes, with --output if there is one
    #[arg(long)]
    happened: bool,
    /// The effect did not happen: the step may be tried again
    #[arg(long, conflicts_with = "output")]
    not: bool,
    /// A JSON file with the step's output (- is standard input)
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The attempt in question; the newest without this
    #[arg(long, value_name = "N")]
    attempt: Option<u32>,
    /// How you know; kept in the event
    #[arg(long)]
    reason: String,
    /// Who says so; kept in the event
    #[arg(long, value_name = "NAME", env = "SPINE_ACTOR")]
    actor: Option<String>,
    /// The tenant of the run
    #[arg(long, default_value = "default", env = "SPINE_TENANT")]
    tenant: String,
    #[command(flatten)]
    server: ServerArgs,
}

/// Arguments of `steps pause` and `steps resume`.
#[derive(clap::Args)]
pub(crate) struct Hold {
    /// The run
    run: String,
    /// The step: name, scope/name or scope/name#occurrence
    step: String,
    /// Why; kept in the event
    #[arg(long)]
    reason: Option<String>,
    /// Who; kept in the event
    #[arg(long, value_name = "NAME", env = "SPINE_ACTOR")]
    actor: Option<String>,
    /// The tenant of the run
    #[arg(long, default_value = "default", env = "SPINE_TENANT")]
    tenant: String,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Serialize)]
struct HoldRequest<'a> {
    tenant: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<&'a str>,
}

#[derive(Serialize)]
struct Request<'a> {
    happened: bool,
    tenant: &'a str,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<&'a str>,
}

/// Runs a verb.
///
/// # Errors
/// When the server refuses or cannot be reached.
pub(crate) async fn run(verb: &Verb) -> Result<(), Failure> {
    match verb {
        Verb::Resolve(args) => resolve(args).await,
        Verb::Pause(args) => hold(args, "pause", "is paused: no attempt of it starts").await,
        Verb::Resume(args) => hold(args, "resume", "goes on").await,
    }
}

async fn hold(args: &Hold, verb: &str, done: &str) -> Result<(), Failure> {
    let (reason, actor) = (args.reason.as_deref(), args.actor.as_deref());
    let request = HoldRequest { tenant: &args.tenant, reason, actor };
    let path = format!("/v1/runs/{}/steps/{}/{verb}", segment(&args.run), segment(&args.step));
    let done = format!("step {} of run {} {done}", args.step, args.run);
    args.server.send(&path, &request, &done).await
}

async fn resolve(resolve: &Resolve) -> Result<(), Failure> {
    let request = Request {
        happened: resolve.happened,
        tenant: &resolve.tenant,
        reason: &resolve.reason,
        attempt: resolve.attempt,
        output: resolve.output.as_deref().map(json_file::read_json).transpose()?,
        actor: resolve.actor.as_deref(),
    };
    let (run, step) = (segment(&resolve.run), segment(&resolve.step));
    let path = format!("/v1/runs/{run}/steps/{step}/resolve");
    let what = if resolve.happened { "completed" } else { "may be tried again" };
    let done = format!("step {} of run {}: {what}", resolve.step, resolve.run);
    resolve.server.send(&path, &request, &done).await
}
