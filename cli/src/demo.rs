//! `spine demo`: one agent run with everything that can go wrong, told as a story and checked as a test.

mod child;
mod expect;
mod faults;
mod narrator;
mod place;
mod plan;
mod story;
mod tool_server;
mod tool_state;

use crate::{
    adapters::{LogUrl, StoreUrl},
    exit::{Exit, Failure},
    serve::fresh_id,
};
use child::Child;
use expect::Expectations;
use faults::MOST;
use narrator::Narrator;
use place::Place;
use std::path::PathBuf;
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
    /// Runs on Kafka instead of a directory, under a new prefix: kafka://HOST:PORT
    #[arg(long, value_name = "URL")]
    log: Option<LogUrl>,
    /// Runs on ScyllaDB or Cassandra instead of a file, in new keyspaces: cql://HOST:PORT/KEYSPACE
    #[arg(long, value_name = "URL")]
    store: Option<StoreUrl>,
    /// Prints only what was expected and found, as JSON
    #[arg(long)]
    json: bool,
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
    let mark: String = fresh_id()?.chars().take(8).collect();
    let place = Place::new(args.keep.as_deref(), args.log.as_ref(), args.store.as_ref(), &mark)?;
    let faults = faults::Faults::new(usize::from(args.simulate_failures));
    let tools = ToolServer::start(&faults).await?;
    let mut stage = Stage {
        narrator: Narrator::new(args.json),
        expect: Expectations::default(),
        tools,
        server: Child::new(place)?,
        faults,
    };
    let told = story::tell(&mut stage).await;
    let Stage { narrator, expect, server, .. } = stage;
    if let Err(failure) = told {
        return Err(broke_off(&failure, &server));
    }
    narrator.end(&expect, server.place().directory(), args.keep.is_some())?;
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
