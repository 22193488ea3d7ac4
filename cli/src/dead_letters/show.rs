//! `spine dead-letters show`: one letter with every attempt.

use crate::{
    client::{Client, ServerArgs, segment},
    exit::Failure,
    output,
    render::letter,
    views::Letter,
};
use spine_workers::{Clock, SystemClock};

/// Arguments of `dead-letters show`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The letter
    #[arg(value_name = "ID")]
    letter: String,
    #[command(flatten)]
    server: ServerArgs,
}

/// Shows the letter.
pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    let path = format!("/v1/dead-letters/{}", segment(&args.letter));
    let answer = Client::new(&args.server).get(&path).await?;
    if args.server.json {
        return output::line(&answer.text);
    }
    output::print(&letter::whole(&answer.read::<Letter>()?, SystemClock.now()))
}
