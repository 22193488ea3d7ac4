//! `spine topics show`: who owns each partition, and how far the store follows the log.

use crate::{
    client::{Client, ServerArgs},
    exit::Failure,
    output,
    render::table::{Column, table},
};
use serde::Deserialize;

/// Arguments of `topics show`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Deserialize)]
struct Partitions {
    partitions: Vec<Partition>,
}

#[derive(Deserialize)]
struct Partition {
    partition: u32,
    end: u64,
    lag: u64,
    claim: Option<Claim>,
}

#[derive(Deserialize)]
struct Claim {
    worker: String,
    address: String,
}

/// Shows them.
pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    let answer = Client::new(&args.server).get("/v1/partitions").await?;
    if args.server.json {
        return output::print(&answer.text);
    }
    let shown: Partitions = answer.read()?;
    let columns = [
        Column::Number("PARTITION"),
        Column::Number("END"),
        Column::Number("LAG"),
        Column::Text("OWNER"),
        Column::Text("ADDRESS"),
    ];
    let rows = shown.partitions.into_iter().map(|of| {
        let (worker, address) = match of.claim {
            Some(claim) => (claim.worker, claim.address),
            None => ("none".to_owned(), String::new()),
        };
        vec![of.partition.to_string(), of.end.to_string(), of.lag.to_string(), worker, address]
    });
    output::print(&table(&columns, &rows.collect::<Vec<_>>()))
}
