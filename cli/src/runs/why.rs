//! `spine runs why`: one true sentence.

use super::RunArgs;
use crate::{client::Client, exit::Failure, output, views::Why};

/// Arguments of `runs why`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    of: RunArgs,
}

/// Explains the run.
pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    let answer = Client::new(&args.of.server).get(&args.of.path("/why")).await?;
    if args.of.server.json {
        return output::line(&answer.text);
    }
    output::line(&answer.read::<Why>()?.why)
}
