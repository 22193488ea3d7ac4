//! `spine stores`: changes which keyspace is the live one, and removes keyspaces. A changed fold is a replay into a fresh keyspace and a
//! switch, never a migration in place.

use crate::{
    adapters::{self, Cluster, SettingsFile, StoreUrl},
    exit::{Exit, Failure},
    output,
};
use serde_json::json;

/// The verbs of stores.
#[derive(clap::Subcommand)]
pub(crate) enum Verb {
    /// Makes another keyspace the live one; servers take it up when they are started again
    Switch(Args),
    /// Removes a keyspace and all that is in it; the log has it all
    Remove(RemoveArgs),
}

/// Arguments of `stores remove`.
#[derive(clap::Args)]
pub(crate) struct RemoveArgs {
    /// The store: cql://HOST:PORT/KEYSPACE
    #[arg(long, value_name = "URL")]
    store: StoreUrl,
    /// Further settings of the CQL client, name=value a line
    #[arg(long, value_name = "FILE", env = "SPINE_STORE_CONFIG")]
    store_config: Option<SettingsFile>,
    /// Says that it is meant
    #[arg(long)]
    yes: bool,
}

/// Arguments of `stores switch`.
#[derive(clap::Args)]
#[command(
    after_help = "First replay the log into the fresh keyspace, with --compare. Then switch, and \
    restart the servers one by one: each goes on from what its store has, whichever it is.\n\
    The old keyspace stays as it is, and can be switched back to."
)]
pub(crate) struct Args {
    /// The store that servers name: cql://HOST:PORT/KEYSPACE
    #[arg(long, value_name = "URL", env = "SPINE_STORE")]
    store: StoreUrl,
    /// The keyspace that is to be the live one
    #[arg(long, value_name = "KEYSPACE")]
    to: String,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Further settings of the CQL client, name=value a line
    #[arg(long, value_name = "FILE", env = "SPINE_STORE_CONFIG")]
    store_config: Option<SettingsFile>,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

/// Runs a verb.
///
/// # Errors
/// When the cluster refuses or cannot be reached, or the target is no store of the same log.
pub(crate) async fn run(verb: &Verb) -> Result<(), Failure> {
    match verb {
        Verb::Switch(args) => switch(args).await,
        Verb::Remove(args) => remove(args).await,
    }
}

fn cluster_of(store: &StoreUrl) -> Result<&Cluster, Failure> {
    match store {
        StoreUrl::Cql(cluster) => Ok(cluster),
        StoreUrl::Sqlite(_) => Err(Failure::new(Exit::Usage, format!("{store} has no keyspace"))
            .remedy("a store of SQLite is a file: name another one, or remove it")),
    }
}

async fn remove(args: &RemoveArgs) -> Result<(), Failure> {
    let cluster = cluster_of(&args.store)?;
    if !args.yes {
        return Err(Failure::new(Exit::Usage, format!("{} would be removed", args.store))
            .remedy("say --yes; the log has all that is in it, and a server makes it again"));
    }
    let client = args.store_config.clone().unwrap_or_default();
    adapters::remove_store(cluster, &client).await?;
    output::print(&format!("{} is removed\n", args.store))
}

async fn switch(args: &Args) -> Result<(), Failure> {
    let cluster = cluster_of(&args.store)?;
    let client = args.store_config.clone().unwrap_or_default();
    let from = adapters::switch_store(cluster, &client, &args.to, &args.reason).await?;
    if args.json {
        return output::print(&format!("{}\n", json!({"from": from, "to": args.to})));
    }
    output::print(&format!(
        "{} is now {}, it was {from}\nTry next: start the servers again\n",
        args.store, args.to
    ))
}
