//! `spine topics`: makes the topics of a Kafka log, shows the partitions, lets a stopped one go on.

mod create;
mod resume;
mod show;

use crate::exit::Failure;

/// The verbs of topics.
#[derive(clap::Subcommand)]
pub(crate) enum Verb {
    /// Makes the topics and the identity of a Kafka log, or finds them made
    Create(create::Args),
    /// Shows who owns each partition and how far the store follows
    Show(show::Args),
    /// Lets a partition go on that was stopped by a flood of bad records
    Resume(resume::Args),
}

/// Runs a verb.
///
/// # Errors
/// When the cluster or the server refuses or cannot be reached.
pub(crate) async fn run(verb: &Verb) -> Result<(), Failure> {
    match verb {
        Verb::Create(args) => create::run(args).await,
        Verb::Show(args) => show::run(args).await,
        Verb::Resume(args) => resume::run(args).await,
    }
}
