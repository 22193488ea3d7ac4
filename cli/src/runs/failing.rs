//! `spine runs failing`: what fails or is retried now, why, and since when.

use crate::{
    client::{Client, ServerArgs, query},
    exit::{Exit, Failure},
    output,
    render::{
        cell::short,
        table::{Column, table},
        when::relative,
    },
    views::{Failing, FailingGroup},
};
use spine_schemas::time::Micros;
use spine_workers::{Clock, SystemClock};

/// Characters of what a tool said.
const EXCERPT: usize = 200;

/// Arguments of `runs failing`.
#[derive(clap::Args)]
#[command(
    after_help = "Looks at the steps of all open runs that failed and have not ended. Runs that have ended are in \
    'runs list --status failed', letters in 'dead-letters list', tools in trouble in 'tools list'."
)]
pub(crate) struct Args {
    /// Only runs of this tenant; all tenants without this
    #[arg(long, env = "SPINE_TENANT")]
    tenant: Option<String>,
    /// Only runs of this workflow
    #[arg(long)]
    workflow: Option<String>,
    #[command(flatten)]
    server: ServerArgs,
}

/// Asks until all open runs were looked at.
pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    let path = |cursor: Option<&str>| {
        let (tenant, workflow) = (args.tenant.as_deref(), args.workflow.as_deref());
        query("/v1/failing", &[("tenant", tenant), ("workflow", workflow), ("cursor", cursor)])
    };
    let mut found = Failing::default();
    let take = |page: Failing| {
        found.looked_at += page.looked_at;
        page.groups.into_iter().for_each(|group| found.add(group));
        Ok(page.next)
    };
    Client::new(&args.server).pages(path, take).await?;
    if args.server.json {
        let text = serde_json::to_string(&found)
            .map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
        return output::line(&text);
    }
    output::print(&text(&found, SystemClock.now()))
}

impl Failing {
    /// Adds what a further page has of a kind of trouble.
    fn add(&mut self, more: FailingGroup) {
        let kind = |of: &FailingGroup| {
            (of.status.clone(), of.tool.clone(), of.class.clone(), of.code.clone())
        };
        let Some(group) = self.groups.iter_mut().find(|of| kind(of) == kind(&more)) else {
            self.groups.push(more);
            return;
        };
        group.steps += more.steps;
        group.runs += more.runs;
        group.since.0 = group.since.0.min(more.since.0);
        if more.last.0 > group.last.0 {
            (group.last, group.message) = (more.last, more.message);
        }
        let due = group.next_try.iter().chain(&more.next_try).map(|at| at.0).min();
        group.next_try = due.map(crate::views::Time);
        group.workflows.extend(more.workflows);
    }
}

fn text(found: &Failing, now: Micros) -> String {
    if found.groups.is_empty() {
        return format!("nothing fails or is retried in {} open runs\n", found.looked_at);
    }
    let columns = [
        Column::Number("STEPS"),
        Column::Number("RUNS"),
        Column::Status("STATUS"),
        Column::Text("ERROR"),
        Column::Text("TOOL"),
        Column::Text("SINCE"),
        Column::Text("NEXT TRY"),
        Column::Text("FOR EXAMPLE"),
    ];
    let mut groups: Vec<&FailingGroup> = found.groups.iter().collect();
    groups.sort_by_key(|group| std::cmp::Reverse(group.steps));
    let rows: Vec<Vec<String>> = groups.iter().map(|group| row(group, now)).collect();
    let mut text = table(&columns, &rows);
    text.push('\n');
    for group in groups {
        let FailingGroup { status, code, tool, message, .. } = group;
        text.push_str(&format!("{status} {code} {tool}: {}\n", short(message, EXCERPT)));
    }
    text
}

fn row(group: &FailingGroup, now: Micros) -> Vec<String> {
    let example = group.examples.first().map(|of| match of.tenant.as_str() {
        "default" => format!("{} {}", of.run_id, of.step),
        tenant => format!("{tenant}/{} {}", of.run_id, of.step),
    });
    vec![
        group.steps.to_string(),
        group.runs.to_string(),
        group.status.clone(),
        format!("{} {}", group.class, group.code),
        group.tool.clone(),
        relative(group.since.0, now),
        group.next_try.as_ref().map_or_else(|| "-".into(), |at| relative(at.0, now)),
        example.unwrap_or_default(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(code: &str, steps: usize, last: i64, next_try: Option<i64>) -> FailingGroup {
        let time = |at| crate::views::Time(Micros(at));
        FailingGroup {
            status: "retry_waiting".into(),
            tool: "t".into(),
            class: "transient".into(),
            code: code.into(),
            message: format!("at {last}\u{1b}[2J"),
            steps,
            runs: steps,
            workflows: [format!("w{last}")].into(),
            since: time(last - 1),
            last: time(last),
            next_try: next_try.map(time),
            examples: Vec::new(),
        }
    }

    #[test]
    fn pages_are_summed_by_kind_and_no_message_moves_the_cursor() {
        let mut found = Failing::default();
        for group in [group("a", 3, 20, None), group("b", 1, 5, None), group("a", 2, 30, Some(90))]
        {
            found.add(group);
        }
        let [a, b] = found.groups.as_slice() else { panic!("{found:?}") };
        assert_eq!((a.steps, a.runs, b.steps), (5, 5, 1));
        assert_eq!((a.since.0, a.last.0), (Micros(19), Micros(30)));
        assert_eq!((a.message.as_str(), a.workflows.len()), ("at 30\u{1b}[2J", 2));
        assert_eq!(a.next_try.map(|at| at.0), Some(Micros(90)));
        assert!(!text(&found, Micros(100)).contains("\u{1b}[2J"));
    }
}
