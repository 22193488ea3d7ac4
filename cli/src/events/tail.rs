//! `spine events tail`: the events of one run, from the server, or those of a whole log.

use super::{of_log, of_run};
use crate::{
    adapters::{LogUrl, SettingsFile},
    client::ServerArgs,
    exit::{Exit, Failure},
};

/// Arguments of `events tail`.
#[derive(clap::Args)]
#[command(after_help = "Either --run, which asks the server, or --log, which reads the log \
    itself, also while a server writes it.")]
pub(crate) struct Args {
    /// The events of this run, asked from the server
    #[arg(long, value_name = "RUN", conflicts_with = "log")]
    pub(super) run: Option<String>,
    /// The tenant of the run
    #[arg(long, default_value = "default", env = "SPINE_TENANT")]
    pub(super) tenant: String,
    /// The events of this log itself: embedded:DIR or kafka://HOST:PORT/PREFIX
    #[arg(long, value_name = "URL")]
    pub(super) log: Option<LogUrl>,
    /// Further settings of the Kafka client, name=value a line
    #[arg(long, value_name = "FILE", env = "SPINE_LOG_CONFIG")]
    pub(super) log_config: Option<SettingsFile>,
    /// The partition of the log
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "run")]
    pub(super) partition: u32,
    /// The offset to begin at; without this, and without --run, the newest events
    #[arg(long, value_name = "OFFSET")]
    pub(super) from: Option<u64>,
    /// Ends after this many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) limit: Option<u64>,
    /// Waits for further events
    #[arg(long, short)]
    pub(super) follow: bool,
    #[command(flatten)]
    pub(super) server: ServerArgs,
}

/// Shows the events.
pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    match (&args.run, &args.log) {
        (Some(run_id), None) => of_run::tail(args, run_id).await,
        (None, Some(log)) => of_log::tail(args, log).await,
        (None, None) => Err(Failure::new(Exit::Usage, "which events?")
            .remedy("name a run with --run RUN, or a log with --log embedded:DIR")),
        (Some(_), Some(_)) => Err(Failure::new(Exit::Usage, "--run and --log exclude each other")),
    }
}
