//! `spine dead-letters redrive`: puts a letter back to work.

use super::ClosingArgs;
use crate::{
    exit::{Exit, Failure},
    json_file,
};
use serde::Serialize;
use serde_json::value::RawValue;
use std::path::PathBuf;

/// Arguments of `dead-letters redrive`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    of: ClosingArgs,
    /// Redrives although an effect may happen twice
    #[arg(long)]
    force: bool,
    /// A JSON file with another input for the step, which then gets a new idempotency key (- is
    /// standard input)
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
}

#[derive(Serialize)]
struct Request<'a> {
    reason: &'a str,
    force: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<Box<RawValue>>,
}

/// Redrives the letter.
pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    if args.input.is_some() && !args.of.is_one() {
        return Err(Failure::new(Exit::Usage, "--input goes with the id of one letter")
            .remedy("redrive each letter that needs another input by itself"));
    }
    let request = Request {
        reason: &args.of.asked.reason,
        force: args.force,
        actor: args.of.asked.actor.as_deref(),
        input: args.input.as_deref().map(json_file::read_json).transpose()?,
    };
    args.of.send("redrive", &request, "is back at work").await
}
