//! `spine runs show`: the timeline of a run.

use super::RunArgs;
use crate::{
    client::{Answer, Client, segment},
    exit::{Exit, Failure},
    output,
    render::run::{Shown, timeline},
    views::{Payloads, Run, Step, StepsPage, Why},
};
use serde::Serialize;
use serde_json::value::RawValue;
use spine_workers::{Clock, SystemClock};

/// Arguments of `runs show`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    of: RunArgs,
}

/// The JSON form: the server's answers side by side.
#[derive(Serialize)]
struct Whole {
    run: Box<RawValue>,
    steps: Vec<Box<RawValue>>,
    why: Box<RawValue>,
}

/// Shows the run.
pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    let client = Client::new(&args.of.server);
    let run = client.get(&args.of.path("")).await?;
    let pages = step_pages(&client, &args.of).await?;
    let why = client.get(&args.of.path("/why")).await?;
    if args.of.server.json {
        return output::line(&json(&run, &pages, &why)?);
    }
    let mut steps: Vec<Step> = Vec::new();
    for page in &pages {
        steps.extend(page.read::<StepsPage>()?.steps);
    }
    let (run, payloads, why): (Run, Payloads, Why) = (run.read()?, run.read()?, why.read()?);
    let now = SystemClock.now();
    let shown = Shown { run: &run, payloads: &payloads, steps: &steps, why: &why, now };
    output::print(&timeline(&shown))
}

async fn step_pages(client: &Client, of: &RunArgs) -> Result<Vec<Answer>, Failure> {
    let first = of.path("/steps");
    let mut pages = vec![client.get(&first).await?];
    while let Some(last) = pages.last() {
        let Some(next) = last.read::<StepsPage>()?.next else { break };
        pages.push(client.get(&format!("{first}&after={}", segment(&next))).await?);
    }
    Ok(pages)
}

fn json(run: &Answer, pages: &[Answer], why: &Answer) -> Result<String, Failure> {
    #[derive(serde::Deserialize)]
    struct Page {
        steps: Vec<Box<RawValue>>,
    }
    let mut steps = Vec::new();
    for page in pages {
        steps.extend(page.read::<Page>()?.steps);
    }
    let whole = Whole { run: run.read()?, steps, why: why.read()? };
    serde_json::to_string(&whole).map_err(|error| Failure::new(Exit::Failed, error.to_string()))
}
