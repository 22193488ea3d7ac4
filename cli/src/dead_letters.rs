//! `spine dead-letters`: shows dead letters, puts them back to work, gives them up.

mod discard;
mod list;
mod redrive;
mod show;

use crate::{
    asked::AskedArgs,
    bulk::{self, Bulk, Item},
    client::segment,
    exit::Failure,
};
use serde::Serialize;
use std::path::PathBuf;

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
    /// The letter, or several
    #[arg(value_name = "ID")]
    letters: Vec<String>,
    /// A file with the id of a letter a line, as 'dead-letters list --ids' prints them (- is standard input)
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Says which letters it would be, and asks for nothing
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    asked: AskedArgs,
}

impl ClosingArgs {
    /// Whether one letter is meant, by its name.
    fn is_one(&self) -> bool {
        self.letters.len() == 1 && self.from.is_none()
    }

    /// Sends the request and says what became of each letter.
    async fn send(&self, verb: &str, request: &impl Serialize, done: &str) -> Result<(), Failure> {
        let path = |name: &str| format!("/v1/dead-letters/{}/{verb}", segment(name));
        let names = bulk::chosen(&self.letters, self.from.as_deref())?;
        let items: Vec<Item> =
            names.into_iter().map(|name| Item { path: path(&name), name }).collect();
        let (dry_run, is_file) = (self.dry_run, self.from.is_some());
        let reason = Some(self.asked.reason.as_str());
        let bulk = Bulk { what: "letter", verb, reason, dry_run, is_file, items };
        bulk::send(&self.asked.server, &bulk, request, done).await
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
