//! The binary `spine`: a noun, then a verb. Each noun has its file; what a server does is not here.

mod adapters;
mod asked;
mod bench;
mod bulk;
mod claims;
mod client;
mod dead_letters;
mod demo;
mod events;
mod exit;
mod json_file;
mod leases;
mod output;
mod render;
mod replay;
mod runs;
mod serve;
mod steps;
mod stores;
mod streams;
mod tasks;
mod tools;
mod topics;
mod verdicts;
mod views;

use clap::{Parser, Subcommand};
use exit::{Exit, Failure};
use std::{future::Future, process::ExitCode};

/// Many threads that pass buffers to each other: the system's allocator keeps a third more of them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// An event store for the steps of AI agents: durable, retried, replayable.
#[derive(Parser)]
#[command(name = "spine", version, propagate_version = true, after_help = AFTER_HELP)]
struct Spine {
    #[command(subcommand)]
    noun: Noun,
}

const AFTER_HELP: &str = "Start with:\n  spine demo                 the whole story in half a minute\n  \
     spine serve                a server on 127.0.0.1:7700\n  spine runs list            what runs there\n  \
     spine help exit-codes      what a script can tell from the exit code";

#[derive(Subcommand)]
enum Noun {
    /// Runs the server: the log, the store, the owners of its partitions and the HTTP surface
    Serve(Box<serve::Args>),
    /// Shows a run with faults, a dead letter, a kill and a replay, and checks what it shows
    Demo(demo::Args),
    /// Appends events, or shows those that are there
    #[command(subcommand)]
    Events(events::Verb),
    /// Starts, explains and steers runs
    #[command(subcommand)]
    Runs(runs::Verb),
    /// Resolves steps whose outcome nobody knows, holds steps back
    #[command(subcommand)]
    Steps(steps::Verb),
    /// Shows dead letters, puts them back to work, gives them up
    #[command(subcommand)]
    DeadLetters(dead_letters::Verb),
    /// Shows what somebody is asked about steps, and answers it
    #[command(subcommand)]
    Tasks(tasks::Verb),
    /// Shows the circuit breakers, limits and pauses of tools, and sets them
    #[command(subcommand)]
    Tools(tools::Verb),
    /// Holds tenants back, and lets them go on
    #[command(subcommand)]
    Tenants(tools::TenantVerb),
    /// Reads the log again into a fresh store, and compares it with another
    Replay(replay::Args),
    /// Makes the topics of a Kafka log, shows who owns them, lets a stopped partition go on
    #[command(subcommand)]
    Topics(topics::Verb),
    /// Changes which keyspace is the live one, removes keyspaces
    #[command(subcommand)]
    Stores(stores::Verb),
    /// Measures this binary on this machine, beside what the machine gives
    Bench(bench::Args),
    /// Lists the exit codes
    #[command(long_about = exit::table())]
    ExitCodes,
}

fn main() -> ExitCode {
    // A contradiction in the arguments ends the process here, with exit code 2.
    let spine = Spine::parse();
    match run(spine.noun) {
        Ok(()) => Exit::Ok.into(),
        Err(failure) => failure.report(),
    }
}

fn run(noun: Noun) -> Result<(), Failure> {
    match noun {
        Noun::Serve(args) => serve::run(&args),
        Noun::Demo(args) => on_one_thread(demo::run(&args)),
        Noun::Events(verb) => on_one_thread(events::run(&verb)),
        Noun::Runs(verb) => on_one_thread(runs::run(&verb)),
        Noun::Steps(verb) => on_one_thread(steps::run(&verb)),
        Noun::DeadLetters(verb) => on_one_thread(dead_letters::run(&verb)),
        Noun::Tasks(verb) => on_one_thread(tasks::run(&verb)),
        Noun::Tools(verb) => on_one_thread(tools::run(&verb)),
        Noun::Tenants(verb) => on_one_thread(tools::run_tenants(&verb)),
        Noun::Replay(args) => on_all_cores(replay::run(&args)),
        Noun::Topics(verb) => on_one_thread(topics::run(&verb)),
        Noun::Stores(verb) => on_one_thread(stores::run(&verb)),
        Noun::Bench(args) => match bench::floor(&args) {
            Some(served) => served,
            None => on_one_thread(bench::run(&args)),
        },
        Noun::ExitCodes => output::print(&exit::table()),
    }
}

/// Runs a client's work: it waits more than it computes.
fn on_one_thread(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    run_on(tokio::runtime::Builder::new_current_thread(), work)
}

/// Runs work that keeps several threads busy.
fn on_all_cores(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    run_on(tokio::runtime::Builder::new_multi_thread(), work)
}

fn run_on(
    mut builder: tokio::runtime::Builder,
    work: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let runtime = builder.enable_all().build();
    let runtime = runtime.map_err(|error| {
        Failure::new(Exit::Failed, format!("could not start a runtime: {error}"))
    })?;
    let ended = runtime.block_on(work);
    // A file or a pipe that somebody still reads must not hold the process.
    runtime.shutdown_background();
    ended
}

#[cfg(test)]
mod tests;
