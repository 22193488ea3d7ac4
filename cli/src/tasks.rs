//! `spine tasks`: shows what somebody is asked, and answers it.

use crate::{
    asked::AskedArgs,
    client::{Client, Content, ServerArgs, query, segment},
    exit::{Exit, Failure},
    json_file, output,
    render::letter,
    views::{Answered, Letter, TasksPage},
};
use serde::Serialize;
use serde_json::value::RawValue;
use spine_workers::{Clock, SystemClock};
use std::path::PathBuf;

/// The verbs of tasks.
#[derive(clap::Subcommand)]
pub(crate) enum Verb {
    /// Lists tasks, newest first
    List(List),
    /// Shows a task with every attempt of its step
    Show(Show),
    /// Answers a task; the first answer counts
    Decide(Decide),
}

/// Arguments of `tasks list`.
#[derive(clap::Args)]
pub(crate) struct List {
    /// Only tasks in this status: open, decided, resolved
    #[arg(long, default_value = "open", conflicts_with = "all")]
    status: String,
    /// Tasks in any status
    #[arg(long)]
    all: bool,
    /// Only tasks of this tenant; all tenants without this
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

/// Arguments of `tasks show`.
#[derive(clap::Args)]
pub(crate) struct Show {
    /// The task
    #[arg(value_name = "ID")]
    task: String,
    #[command(flatten)]
    server: ServerArgs,
}

/// Arguments of `tasks decide`.
#[derive(clap::Args)]
#[command(group(clap::ArgGroup::new("what").required(true).args(["retry", "complete", "skip", "fail", "approve", "deny"])))]
pub(crate) struct Decide {
    /// The task
    #[arg(value_name = "ID")]
    task: String,
    /// The step is tried again, with its full budget
    #[arg(long, conflicts_with = "output")]
    retry: bool,
    /// The step was done by other means, with --output if there is one
    #[arg(long)]
    complete: bool,
    /// The step is left out, with --output in place of its own; the run ends degraded
    #[arg(long)]
    skip: bool,
    /// The run fails
    #[arg(long, conflicts_with = "output")]
    fail: bool,
    /// The call may be made, exactly as it is
    #[arg(long, conflicts_with = "output")]
    approve: bool,
    /// The call must not be made: the step ends by its policy
    #[arg(long, conflicts_with = "output")]
    deny: bool,
    /// A JSON file with the step's output (- is standard input)
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    asked: AskedArgs,
}

#[derive(Serialize)]
struct Request<'a> {
    decision: &'static str,
    reason: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<&'a str>,
}

/// Runs a verb.
///
/// # Errors
/// When the server refuses or cannot be reached.
pub(crate) async fn run(verb: &Verb) -> Result<(), Failure> {
    match verb {
        Verb::List(args) => list(args).await,
        Verb::Show(args) => show(args).await,
        Verb::Decide(args) => decide(args).await,
    }
}

async fn list(args: &List) -> Result<(), Failure> {
    let path = |cursor: Option<&str>| {
        let parameters = [
            ("limit", Some(&*args.limit.to_string())),
            ("status", Some(if args.all { "all" } else { args.status.as_str() })),
            ("tenant", args.tenant.as_deref()),
            ("cursor", cursor),
        ];
        query("/v1/tasks", &parameters)
    };
    let (client, cursor) = (Client::new(&args.server), args.cursor.as_deref());
    if args.server.json {
        return output::line(&client.get(&path(cursor)).await?.text);
    }
    let behind = |page: &TasksPage| page.next.as_ref().filter(|_| page.tasks.is_empty()).cloned();
    let page = client.page(path, cursor, behind).await?;
    if page.tasks.is_empty() {
        return output::line(if args.all { "no tasks" } else { "no open tasks" });
    }
    let mut text = letter::list(&page.tasks, SystemClock.now());
    if let Some(next) = &page.next {
        text.push_str(&format!("more: --cursor {next}\n"));
    }
    output::print(&text)
}

async fn show(args: &Show) -> Result<(), Failure> {
    let path = format!("/v1/tasks/{}", segment(&args.task));
    let answer = Client::new(&args.server).get(&path).await?;
    if args.server.json {
        return output::line(&answer.text);
    }
    output::print(&letter::whole(&answer.read::<Letter>()?, SystemClock.now()))
}

impl Decide {
    fn decision(&self) -> (&'static str, &'static str) {
        let all = [
            (self.retry, "retry", "its step is tried again"),
            (self.complete, "complete", "its step is completed"),
            (self.skip, "skip", "its step is left out"),
            (self.fail, "fail", "its run fails"),
            (self.approve, "approve", "the call is made"),
        ];
        let chosen = all.into_iter().find(|(chosen, ..)| *chosen);
        chosen.map_or(("deny", "the call is not made"), |(_, decision, done)| (decision, done))
    }
}

async fn decide(args: &Decide) -> Result<(), Failure> {
    let (decision, done) = args.decision();
    let output = args.output.as_deref().map(json_file::read_json).transpose()?;
    let request = Request {
        decision,
        reason: &args.asked.reason,
        output,
        actor: args.asked.actor.as_deref(),
    };
    let path = format!("/v1/tasks/{}/decide", segment(&args.task));
    let body = serde_json::to_vec(&request)
        .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    let server = &args.asked.server;
    let answer = Client::new(server).post(&path, Content::json(body)).await?;
    if server.json {
        return output::line(&answer.text);
    }
    let Answered { status, approvals, needed } = answer.read()?;
    let done = match status.as_str() {
        "open" => format!("approved by {approvals} of {needed}; others have to approve, too"),
        _ => done.to_owned(),
    };
    output::line(&format!("task {}: {done}", args.task))
}
