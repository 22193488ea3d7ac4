//! `spine topics resume`: an operator has looked at the letters of a flood, and lets the partition go on.

use crate::{
    client::{Client, Content, ServerArgs, failure_of},
    exit::{Exit, Failure},
    output,
};
use hyper::Method;
use serde::Deserialize;
use serde_json::json;

/// Arguments of `topics resume`.
#[derive(clap::Args)]
#[command(
    after_help = "Any server of the installation may be asked: the one that owns the partition \
    is asked next. The reason stands in the log, with the next record that is set aside."
)]
pub(crate) struct Args {
    /// The partition
    #[arg(long, value_name = "N")]
    partition: u32,
    /// Why it may go on
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Who says so
    #[arg(long, value_name = "NAME", env = "SPINE_ACTOR", default_value = "cli")]
    actor: String,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Deserialize)]
struct Resumed {
    resumed_at: u64,
}

#[derive(Deserialize)]
struct NotOwner {
    claim: Option<Claim>,
}

#[derive(Deserialize)]
struct Claim {
    address: String,
}

/// Resumes it.
pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    let path = format!("/v1/partitions/{}/resume", args.partition);
    let body = || Content::json(json!({"reason": args.reason, "actor": args.actor}).to_string());
    let mut client = Client::new(&args.server);
    let mut answer = client.ask(Method::POST, &path, Some(body()), &[]).await?;
    if answer.status == 421 {
        let owner: NotOwner = answer.read()?;
        let Some(owner) = owner.claim else {
            return Err(Failure::new(Exit::Failed, "the partition has no owner now")
                .remedy("start a worker, or wait until the group has assigned it"));
        };
        let url = format!("http://{}", owner.address).parse();
        client = Client::of(url.map_err(|error: String| Failure::new(Exit::Failed, error))?);
        answer = client.ask(Method::POST, &path, Some(body()), &[]).await?;
    }
    if !(200..300).contains(&answer.status) {
        return Err(failure_of(&answer, args.server.json));
    }
    if args.server.json {
        return output::print(&answer.text);
    }
    let resumed: Resumed = answer.read()?;
    output::print(&format!(
        "partition {} goes on from offset {}\n",
        args.partition, resumed.resumed_at
    ))
}
