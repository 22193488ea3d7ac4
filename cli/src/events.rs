//! `spine events`: appends events of outside systems, and shows events that are there.

mod append;
mod of_log;
mod of_run;
mod tail;

use crate::exit::Failure;

/// The verbs of events.
#[derive(clap::Subcommand)]
pub(crate) enum Verb {
    /// Appends facts about record runs: all of them or, if one is wrong, none
    Append(append::Args),
    /// Shows events in the order of the log
    Tail(tail::Args),
}

/// Runs a verb.
///
/// # Errors
/// When the server refuses or cannot be reached, or the log cannot be read.
pub(crate) async fn run(verb: &Verb) -> Result<(), Failure> {
    match verb {
        Verb::Append(args) => append::run(args).await,
        Verb::Tail(args) => tail::run(args).await,
    }
}
