//! `spine runs cancel|kill|pause|resume|signal`: what is asked of a run as a whole.

use super::{RunArgs, RunsArgs};
use crate::{bulk, client::segment, exit::Failure, json_file};
use serde::Serialize;
use serde_json::value::RawValue;
use std::path::PathBuf;

/// Who asks, and why.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    of: RunsArgs,
    /// Why; kept in the event
    #[arg(long)]
    reason: Option<String>,
    /// Who; kept in the event
    #[arg(long, value_name = "NAME", env = "SPINE_ACTOR")]
    actor: Option<String>,
}

/// Arguments of `runs cancel`.
#[derive(clap::Args)]
pub(crate) struct CancelArgs {
    #[command(flatten)]
    args: Args,
    /// Undoes first what the run has done, the newest first; only in runs with a plan
    #[arg(long)]
    compensate: bool,
}

#[derive(Serialize)]
struct Request<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    compensate: Option<bool>,
}

/// Asks that the run end when nothing runs any more.
pub(super) async fn cancel(of: &CancelArgs) -> Result<(), Failure> {
    let done = match of.compensate {
        true => "is undone, then cancelled",
        false => "is cancelled when nothing runs any more",
    };
    send(&of.args, "cancel", Some(of.compensate), done).await
}

/// Ends the run.
pub(super) async fn kill(args: &Args) -> Result<(), Failure> {
    send(args, "kill", None, "is cancelled; what ran may still take effect").await
}

/// Holds the run back.
pub(super) async fn pause(args: &Args) -> Result<(), Failure> {
    send(args, "pause", None, "is paused: what runs ends as it ends, and nothing new starts").await
}

/// Lets the run go on.
pub(super) async fn resume(args: &Args) -> Result<(), Failure> {
    send(args, "resume", None, "goes on").await
}

async fn send(
    args: &Args,
    verb: &str,
    compensate: Option<bool>,
    done: &str,
) -> Result<(), Failure> {
    let (reason, actor) = (args.reason.as_deref(), args.actor.as_deref());
    let request = Request { reason, actor, compensate };
    bulk::send(&args.of.server, &args.of.bulk(verb, reason)?, &request, done).await
}

/// Arguments of `runs signal`.
#[derive(clap::Args)]
pub(crate) struct SignalArgs {
    #[command(flatten)]
    of: RunArgs,
    /// Name of the signal
    name: String,
    /// A JSON file with what it says (- is standard input); null without this
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Who sends it; kept in the event
    #[arg(long, value_name = "NAME", env = "SPINE_ACTOR")]
    actor: Option<String>,
}

#[derive(Serialize)]
struct SignalRequest<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<&'a str>,
}

/// Sends a signal.
pub(super) async fn signal(args: &SignalArgs) -> Result<(), Failure> {
    let data = args.data.as_deref().map(json_file::read_json).transpose()?;
    let request = SignalRequest { data, actor: args.actor.as_deref() };
    let path = args.of.path(&format!("/signals/{}", segment(&args.name)));
    let done = format!("run {} has the signal {}", args.of.run_id, args.name);
    args.of.server.send(&path, &request, &done).await
}
