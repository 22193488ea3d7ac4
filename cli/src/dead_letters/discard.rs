//! `spine dead-letters discard`: gives a letter up.

use super::ClosingArgs;
use crate::exit::Failure;
use serde::Serialize;

/// Arguments of `dead-letters discard`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    of: ClosingArgs,
    /// What follows for the run of a step: it fails, or it goes on without the step. Letters of
    /// records need none
    #[arg(long, value_name = "WHAT")]
    then: Option<Then>,
}

#[derive(Clone, Copy, Debug, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
enum Then {
    /// The run fails.
    Fail,
    /// The step is skipped, and the run ends degraded.
    Skip,
}

#[derive(Serialize)]
struct Request<'a> {
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    then: Option<Then>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<&'a str>,
}

/// Discards the letter.
pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    let (reason, actor) = (args.of.asked.reason.as_str(), args.of.asked.actor.as_deref());
    args.of.send("discard", &Request { reason, then: args.then, actor }, "is given up").await
}
