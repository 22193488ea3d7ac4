//! The events of one run, page by page from the server.

use super::tail::Args;
use crate::{
    client::{Client, segment},
    exit::{Exit, Failure},
    output,
    render::{cell::step, color, when},
    views::{Event, EventsPage},
};
use std::time::Duration;

/// Between two questions for further events.
const PAUSE: Duration = Duration::from_millis(250);
/// Events of one page.
const PAGE: u64 = 200;

/// Prints the events of a run until there are no more, or for ever when following.
pub(super) async fn tail(args: &Args, run_id: &str) -> Result<(), Failure> {
    let client = Client::new(&args.server);
    let (mut from, mut left) = (args.from.unwrap_or(0), args.limit.unwrap_or(u64::MAX));
    while left > 0 {
        let path = format!(
            "/v1/runs/{}/events?tenant={}&from={from}&limit={}",
            segment(run_id),
            segment(&args.tenant),
            left.min(PAGE)
        );
        let page: EventsPage = client.get(&path).await?.read()?;
        left = left.saturating_sub(page.events.len() as u64);
        for raw in &page.events {
            let event: Event = serde_json::from_str(raw.get()).map_err(|error| {
                Failure::new(Exit::Failed, format!("could not read an event: {error}"))
            })?;
            from = event.position.offset + 1;
            output::line(&if args.server.json { one_line(raw.get()) } else { text(&event) })?;
        }
        match (page.next, args.follow) {
            (Some(next), _) => from = next,
            (None, true) => tokio::time::sleep(PAUSE).await,
            (None, false) => break,
        }
    }
    Ok(())
}

/// Payloads stand in the answer as they were sent; line breaks in JSON are only between values.
fn one_line(json: &str) -> String {
    json.replace(['\n', '\r'], " ")
}

fn text(event: &Event) -> String {
    let what: String = match (&event.step, event.attempt) {
        (Some(of), Some(attempt)) => format!("{} attempt {attempt}", step(of)),
        (Some(of), None) => step(of).to_owned(),
        (None, _) => String::new(),
    };
    let verdict = match (event.verdict.as_str(), &event.reason) {
        ("applied", _) => String::new(),
        (verdict, Some(reason)) => format!("  {verdict} ({reason})"),
        (verdict, None) => format!("  {verdict}"),
    };
    let place = format!("{}:{}", event.position.partition, event.position.offset);
    format!(
        "{place:<8}  {}  {:<20}  {what:<24}  {}{verdict}",
        color::faint(&when::clock(event.at.0)),
        event.kind,
        color::faint(&event.actor)
    )
}
