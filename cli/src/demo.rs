//! `spine demo`: one agent run with everything that can go wrong, told as a story and checked as a test.

mod child;
mod expect;
mod faults;
mod narrator;
mod plan;
mod story;
mod tool_server;
mod tool_state;

use crate::exit::{Exit, Failure};
use child::Child;
use expect::Expectations;
use faults::MOST;
use narrator::Narrator;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use tool_server::ToolServer;

/// Arguments of `spine demo`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Faults that hit the run on its way: errors, timeouts, replies lost after the effect
    #[arg(
        long, value_name = "N", default_value_t = 3,
        value_parser = clap::value_parser!(u8).range(0..=MOST as i64)
    )]
    simulate_failures: u8,
    /// Keeps log, store and server log in this directory, which must be new or empty
    #[arg(long, value_name = "DIR")]
    keep: Option<PathBuf>,
    /// Prints only what was expected and found, as JSON
    #[arg(long)]
    json: bool,
}

/// Where the demo's log and stores are.
enum Place {
    Kept(PathBuf),
    Passing(TempDir),
}

impl Place {
    fn path(&self) -> &Path {
        match self {
            Self::Kept(path) => path,
            Self::Passing(dir) => dir.path(),
        }
    }
}

/// All that the story works with.
struct Stage {
    narrator: Narrator,
    expect: Expectations,
    tools: ToolServer,
    server: Child,
    faults: faults::Faults,
}

/// Tells the story.
///
/// # Errors
/// When an expectation was not met.
pub(crate) async fn run(args: &Args) -> Result<(), Failure> {
    let place = place(args)?;
    let faults = faults::Faults::new(usize::from(args.simulate_failures));
    let tools = ToolServer::start(&faults).await?;
    let mut stage = Stage {
        narrator: Narrator::new(args.json),
        expect: Expectations::default(),
        tools,
        server: Child::new(place.path())?,
        faults,
    };
    let told = story::tell(&mut stage).await;
    let Stage { narrator, expect, server, .. } = stage;
    if let Err(failure) = told {
        return Err(broke_off(&failure, &server));
    }
    narrator.end(&expect, place.path(), args.keep.is_some())?;
    match expect.unmet() {
        0 => Ok(()),
        unmet => Err(Failure::new(Exit::Failed, format!("{unmet} expectations were not met"))
            .remedy("run it again with --keep DIR and look at DIR/server.log")),
    }
}

/// The story could not be told to its end: the server's last words may say why.
fn broke_off(failure: &Failure, server: &Child) -> Failure {
    let message = format!("the demo broke off\n{}{}", failure.text(), server.last_words());
    Failure::new(Exit::Failed, message.trim_end())
}

fn place(args: &Args) -> Result<Place, Failure> {
    let Some(keep) = &args.keep else {
        let dir = TempDir::with_prefix("spine-demo-").map_err(|error| {
            Failure::new(Exit::Failed, format!("could not make a directory: {error}"))
        })?;
        return Ok(Place::Passing(dir));
    };
    let failed = |error| Failure::new(Exit::Failed, format!("{}: {error}", keep.display()));
    std::fs::create_dir_all(keep).map_err(failed)?;
    let is_empty = std::fs::read_dir(keep).map_err(failed)?.next().is_none();
    if !is_empty {
        let message = format!("{} is not empty", keep.display());
        return Err(Failure::new(Exit::Usage, message).remedy("name a new directory"));
    }
    Ok(Place::Kept(keep.clone()))
}
