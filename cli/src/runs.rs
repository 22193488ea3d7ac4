//! `spine runs`: starts, lists, shows, explains, forks, compares and steers runs.

mod diff;
mod failing;
mod fork;
mod list;
mod show;
mod start;
mod steer;
mod stream;
mod why;

use crate::{
    bulk::{self, Bulk, Item},
    client::{ServerArgs, segment},
    exit::{Exit, Failure},
};
use std::path::PathBuf;

/// The verbs of runs.
#[derive(clap::Subcommand)]
pub(crate) enum Verb {
    /// Starts a run from a plan, or one that an agent or an outside system drives
    Start(start::Args),
    /// Lists runs, newest first
    List(list::Args),
    /// Says what fails or is retried now, why, and since when
    Failing(failing::Args),
    /// Shows a run as a timeline: steps, attempts, waits, errors, cost
    Show(show::Args),
    /// Says in one sentence why a run is not finished and what happens next
    Why(why::Args),
    /// Prints what the attempts of a run say while they run
    Stream(stream::Args),
    /// Makes a new run that takes over the finished steps of one and goes its own way from there
    Fork(fork::Args),
    /// Compares two runs: what they were given, and what became of each step
    Diff(diff::Args),
    /// Ends a run when nothing of it runs any more, undone first if asked
    Cancel(steer::CancelArgs),
    /// Ends a run at once; an attempt that runs may still take effect
    Kill(steer::Args),
    /// Holds a run back: nothing new starts, and its deadlines stand still
    Pause(steer::Args),
    /// Lets a paused run go on
    Resume(steer::Args),
    /// Sends a signal that a run waits for, or will wait for
    Signal(steer::SignalArgs),
}

/// Which run is meant.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// The run
    #[arg(value_name = "RUN")]
    pub(crate) run_id: String,
    /// The tenant of the run
    #[arg(long, default_value = "default", env = "SPINE_TENANT")]
    pub(crate) tenant: String,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

impl RunArgs {
    /// The path of something about the run; `rest` begins with a slash or is empty.
    pub(crate) fn path(&self, rest: &str) -> String {
        format!("/v1/runs/{}{rest}?tenant={}", segment(&self.run_id), segment(&self.tenant))
    }
}

/// Which runs are meant, where there may be many.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct RunsArgs {
    /// The run, or several
    #[arg(value_name = "RUN")]
    runs: Vec<String>,
    /// A file with a run a line, TENANT/RUN, as 'runs list --ids' prints them (- is standard input)
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Says which runs it would be, and asks for nothing
    #[arg(long)]
    dry_run: bool,
    /// The tenant of runs that are named on the command line
    #[arg(long, default_value = "default", env = "SPINE_TENANT")]
    tenant: String,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

impl RunsArgs {
    /// The runs, and what is asked of each; `verb` is the end of its path.
    fn bulk<'a>(&self, verb: &'a str, reason: Option<&'a str>) -> Result<Bulk<'a>, Failure> {
        let items = self.items(verb)?;
        let (what, dry_run, is_file) = ("run", self.dry_run, self.from.is_some());
        Ok(Bulk { what, verb, reason, dry_run, is_file, items })
    }

    fn items(&self, verb: &str) -> Result<Vec<Item>, Failure> {
        let path = |tenant: &str, run: &str| {
            format!("/v1/runs/{}/{verb}?tenant={}", segment(run), segment(tenant))
        };
        let item = |name: String| match (&self.from, name.split_once('/')) {
            (None, _) => Ok(Item { path: path(&self.tenant, &name), name }),
            (Some(_), Some((tenant, run))) => Ok(Item { path: path(tenant, run), name }),
            (Some(file), None) => {
                let message = format!("{}: '{name}' is not TENANT/RUN", file.display());
                Err(Failure::new(Exit::Usage, message))
            }
        };
        bulk::chosen(&self.runs, self.from.as_deref())?.into_iter().map(item).collect()
    }
}

/// Runs a verb.
///
/// # Errors
/// When the server refuses or cannot be reached.
pub(crate) async fn run(verb: &Verb) -> Result<(), Failure> {
    match verb {
        Verb::Start(args) => start::run(args).await,
        Verb::List(args) => list::run(args).await,
        Verb::Failing(args) => failing::run(args).await,
        Verb::Show(args) => show::run(args).await,
        Verb::Why(args) => why::run(args).await,
        Verb::Stream(args) => stream::run(args).await,
        Verb::Fork(args) => fork::run(args).await,
        Verb::Diff(args) => diff::run(args).await,
        Verb::Cancel(args) => steer::cancel(args).await,
        Verb::Kill(args) => steer::kill(args).await,
        Verb::Pause(args) => steer::pause(args).await,
        Verb::Resume(args) => steer::resume(args).await,
        Verb::Signal(args) => steer::signal(args).await,
    }
}
