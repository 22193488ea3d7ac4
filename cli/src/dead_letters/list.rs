//! `spine dead-letters list`: letters, newest first; the open ones unless told otherwise.

use crate::{
    client::{Client, ServerArgs, query},
    exit::Failure,
    output,
    render::letter,
    views::{Letter, LettersPage},
};
use spine_workers::{Clock, SystemClock};

/// Rows of a page where all are wanted.
const PAGE: u16 = 1000;

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
    /// Only letters with this error code
    #[arg(long, requires = "ids")]
    code: Option<String>,
    /// Only letters of steps that call this tool
    #[arg(long, requires = "ids")]
    tool: Option<String>,
    /// Prints the ids of all that fit, from every page, one a line: a selection for --from
    #[arg(long, conflicts_with_all = ["json", "limit", "cursor"])]
    ids: bool,
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
    if args.ids {
        return ids(args).await;
    }
    let (client, cursor) = (Client::new(&args.server), args.cursor.as_deref());
    let path = |cursor: Option<&str>| path(args, args.limit, cursor);
    if args.server.json {
        return output::line(&client.get(&path(cursor)).await?.text);
    }
    let is_empty = |page: &LettersPage| page.dead_letters.is_empty();
    let behind = |page: &LettersPage| page.next.as_ref().filter(|_| is_empty(page)).cloned();
    let page = client.page(path, cursor, behind).await?;
    if page.dead_letters.is_empty() {
        return output::line(if args.all { "no dead letters" } else { "no open dead letters" });
    }
    let mut text = letter::list(&page.dead_letters, SystemClock.now());
    if let Some(next) = &page.next {
        text.push_str(&format!("more: --cursor {next}\n"));
    }
    output::print(&text)
}

fn path(args: &Args, limit: u16, cursor: Option<&str>) -> String {
    let parameters = [
        ("limit", Some(&*limit.to_string())),
        ("status", (!args.all).then_some(args.status.as_str())),
        ("tenant", args.tenant.as_deref()),
        ("cursor", cursor),
    ];
    query("/v1/dead-letters", &parameters)
}

/// Prints the id of each letter, from every page.
async fn ids(args: &Args) -> Result<(), Failure> {
    let is_wanted = |letter: &&Letter| {
        let code = args.code.as_ref().is_none_or(|code| *code == letter.code);
        code && args.tool.as_ref().is_none_or(|tool| Some(tool) == letter.tool.as_ref())
    };
    let print = |page: LettersPage| {
        for letter in page.dead_letters.iter().filter(is_wanted) {
            output::line(&letter.id)?;
        }
        Ok(page.next)
    };
    Client::new(&args.server).pages(|cursor| path(args, PAGE, cursor), print).await
}
