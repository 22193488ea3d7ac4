//! `spine runs start`: sends a plan, or a run without steps, as it stands in a file.

use crate::{
    client::{Client, Content, ServerArgs, segment},
    exit::Failure,
    json_file, output,
    views::Position,
};
use serde::Deserialize;
use std::path::PathBuf;

/// Arguments of `runs start`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A JSON file: a body with "steps" or a "brain" is a plan; otherwise "driver" is required (- is standard input)
    file: PathBuf,
    #[command(flatten)]
    server: ServerArgs,
}

#[derive(Deserialize)]
struct Created {
    tenant: String,
    run_id: String,
    created: bool,
    position: Position,
}

/// Starts the run.
pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    // The text is sent as it is, so that its digest is the same wherever the file is sent from.
    let plan = json_file::read_json(&args.file)?;
    let client = Client::new(&args.server);
    let answer = client.post("/v1/runs", Content::json(plan.get().to_owned())).await?;
    let Created { tenant, run_id, created, position } = answer.read()?;
    wait_stored(&client, &tenant, &run_id, &position).await;
    if args.server.json {
        return output::line(&answer.text);
    }
    let what = if created { "started" } else { "was there already" };
    let tenant = if tenant == "default" { String::new() } else { format!(" --tenant {tenant}") };
    output::line(&format!("run {run_id} {what}\n  spine runs show {run_id}{tenant}"))
}

/// The run is durable already; whoever asks for it next should also find it. A store that lags is no
/// failure of the start.
async fn wait_stored(client: &Client, tenant: &str, run_id: &str, at: &Position) {
    let (tenant, run_id) = (segment(tenant), segment(run_id));
    let at_least = format!("{}:{}", at.partition, at.offset);
    let path = format!("/v1/runs/{run_id}?tenant={tenant}&at_least={at_least}");
    let _found_or_late = client.get(&path).await;
}
