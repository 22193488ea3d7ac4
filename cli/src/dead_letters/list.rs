//! `spine dead-letters list`: letters, newest first; the open ones unless told otherwise.

use crate::{
    client::{Client, ServerArgs, segment},
    exit::Failure,
    output,
    render::letter,
    views::LettersPage,
};
use spine_workers::{Clock, SystemClock};

/// Arguments of `dead-letters list`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only letters in this status: open, redriven, resolved, discarded
    #[arg(long, default_value = "open", conflicts_with = "all")]
    status: String,
    /// Letters in any status
    #[arg(long)]
    all: bool,
    /// Only letters of this tenant; all tenants without this
    #[arg(long, env = "SPINE_TENANT")]
    tenant: Option<String>,
    /// Rows of a page
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1000))]
    limit: u16,
    /// Goes on where the page before ended
    #[arg(long)]
    cursor: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
}

/// Lists letters.
pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    let mut path = format!("/v1/dead-letters?limit={}", args.limit);
    let status = (!args.all).then_some(&args.status);
    let filters =
        [("status", status), ("tenant", args.tenant.as_ref()), ("cursor", args.cursor.as_ref())];
    for (name, value) in filters {
        if let Some(value) = value {
            path.push_str(&format!("&{name}={}", segment(value)));
        }
    }
    let answer = Client::new(&args.server).get(&path).await?;
    if args.server.json {
        return output::line(&answer.text);
    }
    let page: LettersPage = answer.read()?;
    if page.dead_letters.is_empty() {
        return output::line(if args.all { "no dead letters" } else { "no open dead letters" });
    }
    let mut text = letter::list(&page.dead_letters, SystemClock.now());
    if let Some(next) = &page.next {
        text.push_str(&format!("more: --cursor {next}\n"));
    }
    output::print(&text)
}
