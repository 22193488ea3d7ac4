//! `spine runs list`: runs, newest first.

use crate::{
    client::{Client, ServerArgs, query},
    exit::Failure,
    output,
    render::{
        cell::money,
        table::{Column, table},
        when::{lasting, relative},
    },
    views::{RunRow, RunsPage},
};
use spine_schemas::time::Micros;
use spine_workers::{Clock, SystemClock};

/// Rows of a page where all are wanted.
const PAGE: u16 = 1000;

/// Arguments of `runs list`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only runs in this status: running, waiting, completed, degraded, failed, cancelled
    #[arg(long)]
    status: Option<String>,
    /// Only runs of this workflow
    #[arg(long)]
    workflow: Option<String>,
    /// Only runs of this tenant; all tenants without this
    #[arg(long, env = "SPINE_TENANT")]
    tenant: Option<String>,
    /// Prints TENANT/RUN of all that fit, from every page, one a line: a selection for --from
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

/// Lists runs.
pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    if args.ids {
        return ids(args).await;
    }
    let (client, cursor) = (Client::new(&args.server), args.cursor.as_deref());
    let path = |cursor: Option<&str>| path(args, args.limit, cursor);
    if args.server.json {
        return output::line(&client.get(&path(cursor)).await?.text);
    }
    let behind = |page: &RunsPage| page.next.as_ref().filter(|_| page.runs.is_empty()).cloned();
    let page = client.page(path, cursor, behind).await?;
    if page.runs.is_empty() {
        return output::line("no runs");
    }
    output::print(&text(&page, SystemClock.now()))
}

fn path(args: &Args, limit: u16, cursor: Option<&str>) -> String {
    let parameters = [
        ("limit", Some(&*limit.to_string())),
        ("status", args.status.as_deref()),
        ("workflow", args.workflow.as_deref()),
        ("tenant", args.tenant.as_deref()),
        ("cursor", cursor),
    ];
    query("/v1/runs", &parameters)
}

/// Prints what names each run, from every page.
async fn ids(args: &Args) -> Result<(), Failure> {
    let print = |page: RunsPage| {
        for run in &page.runs {
            output::line(&format!("{}/{}", run.tenant, run.run_id))?;
        }
        Ok(page.next)
    };
    Client::new(&args.server).pages(|cursor| path(args, PAGE, cursor), print).await
}

fn text(page: &RunsPage, now: Micros) -> String {
    let columns = [
        Column::Text("RUN"),
        Column::Text("WORKFLOW"),
        Column::Status("STATUS"),
        Column::Number("STEPS"),
        Column::Number("ATTEMPTS"),
        Column::Number("COST"),
        Column::Text("STARTED"),
        Column::Text("TOOK"),
    ];
    let rows: Vec<Vec<String>> = page.runs.iter().map(|run| row(run, now)).collect();
    let mut text = table(&columns, &rows);
    if let Some(next) = &page.next {
        text.push_str(&format!("more: --cursor {next}\n"));
    }
    text
}

/// A stalled run is one to look at, whatever its status.
fn status(run: &RunRow) -> String {
    match run.stalled_since {
        Some(_) => "stalled".into(),
        None => run.status.clone(),
    }
}

fn row(run: &RunRow, now: Micros) -> Vec<String> {
    let run_id = match run.tenant.as_str() {
        "default" => run.run_id.clone(),
        tenant => format!("{tenant}/{}", run.run_id),
    };
    let cost = if run.cost_micros == 0 { "-".into() } else { money(run.cost_micros) };
    let took = run.ended_at.map(|ended| lasting(ended.0.ms_since(run.started_at.0)));
    vec![
        run_id,
        format!("{} v{}", run.workflow, run.version),
        status(run),
        format!("{}/{}", run.steps.completed, run.steps.total),
        run.attempts.to_string(),
        cost,
        relative(run.started_at.0, now),
        took.unwrap_or_else(|| "-".into()),
    ]
}
