//! `spine topics create`: the topics of a log on Kafka, and the identity that they keep.

use crate::{
    adapters::{self, LogUrl, NewTopics, SettingsFile},
    exit::{Exit, Failure},
    output,
    serve::fresh_id,
};
use serde_json::json;

/// Arguments of `topics create`.
#[derive(clap::Args)]
#[command(
    after_help = "Run it again at any time: it makes what is missing and changes nothing that \
    is there.\nThe number of partitions is fixed for the life of the log, since runs are placed by it."
)]
pub(crate) struct Args {
    /// The log: kafka://HOST:PORT/PREFIX
    #[arg(long, value_name = "URL", env = "SPINE_LOG")]
    log: LogUrl,
    /// Further settings of the Kafka client, name=value a line
    #[arg(long, value_name = "FILE", env = "SPINE_LOG_CONFIG")]
    log_config: Option<SettingsFile>,
    /// Partitions of the topics of events and of dead letters
    #[arg(
        long, value_name = "N", default_value_t = 48,
        value_parser = clap::value_parser!(u32).range(1..=1024)
    )]
    partitions: u32,
    /// Copies of each record
    #[arg(
        long, value_name = "N", default_value_t = 3,
        value_parser = clap::value_parser!(u16).range(1..=15)
    )]
    replication: u16,
    /// Copies that must have a record before it is acknowledged; default: all copies but one
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=15))]
    min_insync: Option<u16>,
    /// Prints JSON
    #[arg(long)]
    json: bool,
}

/// Makes them.
pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    let LogUrl::Kafka(cluster) = &args.log else {
        return Err(Failure::new(Exit::Usage, format!("{} has no topics to make", args.log))
            .remedy("name a log on Kafka: --log kafka://HOST:PORT/PREFIX"));
    };
    let min_insync = args.min_insync.unwrap_or((args.replication - 1).max(1));
    if min_insync > args.replication {
        let message =
            format!("--min-insync {min_insync} is more than --replication {}", args.replication);
        return Err(Failure::new(Exit::Usage, message));
    }
    let new = NewTopics {
        partitions: args.partitions,
        replication: args.replication,
        min_insync,
        log_id: fresh_id()?,
        installation_id: fresh_id()?,
    };
    let client = args.log_config.clone().unwrap_or_default();
    let made = adapters::create_topics(cluster, &client, new).await?;
    let identity = &made.identity;
    if args.json {
        let whole = json!({
            "made": made.made, "log_id": identity.log_id,
            "installation_id": identity.installation_id, "partitions": identity.partitions,
        });
        return output::print(&format!("{whole}\n"));
    }
    let mut text = match made.made.is_empty() {
        true => "all topics are there\n".to_owned(),
        false => format!("made {}\n", made.made.join(", ")),
    };
    text.push_str(&format!(
        "log {} with {} partitions\nTry next: spine serve --log {} --store cql://HOST:PORT/KEYSPACE\n",
        identity.log_id, identity.partitions, args.log
    ));
    output::print(&text)
}
