//! `spine runs why`: one true sentence.

use super::RunArgs;
use crate::{client::Client, exit::Failure, output, views::Why};

/// Arguments of `runs why`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    of: RunArgs,
}

/// Explains the run.
pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    let answer = Client::new(&args.of.server).get(&args.of.path("/why")).await?;
    if args.of.server.json {
        return output::line(&answer.text);
    }
    output::print(&text(&answer.read()?))
}

fn text(why: &Why) -> String {
    let mut text = format!("{}\n", why.why);
    if let Some(event) = &why.last_event {
        let step = event.step.as_ref().map(|step| format!(" of step {step}")).unwrap_or_default();
        text.push_str(&format!(
            "last event: {}{step} at {} by {}\n",
            event.kind, event.at.0, event.actor
        ));
    }
    if let Some(owner) = &why.owner {
        text.push_str(&format!("owner: {} at {}\n", owner.worker, owner.address));
    }
    text
}
