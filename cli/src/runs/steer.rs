//! `spine runs cancel|kill|pause|resume|signal`: what is asked of a run as a whole.

use super::RunArgs;
use crate::{
    client::{Client, Content, segment},
    exit::{Exit, Failure},
    json_file, output,
};
use serde::Serialize;
use serde_json::value::RawValue;
use std::path::PathBuf;

/// Who asks, and why.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    of: RunArgs,
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
    send(&of.args, "/cancel", Some(of.compensate), done).await
}

/// Ends the run.
pub(super) async fn kill(args: &Args) -> Result<(), Failure> {
    send(args, "/kill", None, "is cancelled; what ran may still take effect").await
}

/// Holds the run back.
pub(super) async fn pause(args: &Args) -> Result<(), Failure> {
    send(args, "/pause", None, "is paused: what runs ends as it ends, and nothing new starts").await
}

/// Lets the run go on.
pub(super) async fn resume(args: &Args) -> Result<(), Failure> {
    send(args, "/resume", None, "goes on").await
}

async fn send(
    args: &Args,
    verb: &str,
    compensate: Option<bool>,
    done: &str,
) -> Result<(), Failure> {
    let (reason, actor) = (args.reason.as_deref(), args.actor.as_deref());
    let body = serde_json::to_vec(&Request { reason, actor, compensate })
        .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    let path = args.of.path(verb);
    let answer = Client::new(&args.of.server).post(&path, Content::json(body)).await?;
    if args.of.server.json {
        return output::line(&answer.text);
    }
    output::line(&format!("run {} {done}", args.of.run_id))
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
    let body = serde_json::to_vec(&SignalRequest { data, actor: args.actor.as_deref() })
        .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    let path = args.of.path(&format!("/signals/{}", segment(&args.name)));
    let answer = Client::new(&args.of.server).post(&path, Content::json(body)).await?;
    if args.of.server.json {
        return output::line(&answer.text);
    }
    output::line(&format!("run {} has the signal {}", args.of.run_id, args.name))
}
