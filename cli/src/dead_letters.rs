//! `spine dead-letters`: shows dead letters, puts them back to work, gives them up.

mod discard;
mod list;
mod redrive;
mod show;

use crate::{asked::AskedArgs, client::segment, exit::Failure};
use serde::Serialize;

/// The verbs of dead letters.
#[derive(clap::Subcommand)]
pub(crate) enum Verb {
    /// Lists dead letters, newest first
    List(list::Args),
    /// Shows a dead letter with every attempt
    Show(show::Args),
    /// Puts a dead letter back to work, under the same idempotency key unless its input is edited
    Redrive(redrive::Args),
    /// Gives a dead letter up, and says what follows for its run
    Discard(discard::Args),
}

/// What both ways of closing a letter are told.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ClosingArgs {
    /// The letter
    #[arg(value_name = "ID")]
    letter: String,
    #[command(flatten)]
    asked: AskedArgs,
}

impl ClosingArgs {
    /// Sends the request and says what became of the letter.
    async fn send(&self, verb: &str, request: &impl Serialize, done: &str) -> Result<(), Failure> {
        let path = format!("/v1/dead-letters/{}/{verb}", segment(&self.letter));
        self.asked.server.send(&path, request, &format!("letter {} {done}", self.letter)).await
    }
}

/// Runs a verb.
///
/// # Errors
/// When the server refuses or cannot be reached.
pub(crate) async fn run(verb: &Verb) -> Result<(), Failure> {
    match verb {
        Verb::List(args) => list::run(args).await,
        Verb::Show(args) => show::run(args).await,
        Verb::Redrive(args) => redrive::run(args).await,
        Verb::Discard(args) => discard::run(args).await,
    }
}
