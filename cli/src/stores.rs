//! `spine stores`: which keyspace is the live one. A changed fold is a replay into a fresh keyspace and a
//! switch, never a migration in place.

use crate::{
    adapters::{self, SettingsFile, StoreUrl},
    exit::{Exit, Failure},
    output,
};
use serde_json::json;

/// The verbs of stores.
#[derive(clap::Subcommand)]
pub(crate) enum Verb {
    /// Makes another keyspace the live one; servers take it up when they are started again
    Switch(Args),
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
    let Verb::Switch(args) = verb;
    let StoreUrl::Cql(cluster) = &args.store else {
        return Err(Failure::new(Exit::Usage, format!("{} has no keyspaces", args.store))
            .remedy("name a file with --store instead: SQLite needs no switch"));
    };
    let client = args.store_config.clone().unwrap_or_default();
    let from = adapters::switch_store(cluster, &client, &args.to, &args.reason).await?;
    if args.json {
        return output::print(&format!("{}\n", json!({"from": from, "to": args.to})));
    }
    output::print(&format!(
        "{} is now {}, it was {from}\nTry next: restart the servers one by one\n",
        args.store, args.to
    ))
}
