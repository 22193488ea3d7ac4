//! What a tenant feels of another one's backlog: how long its runs take until their first call, while the other
//! has very many steps queued behind a slow tool, and one that hangs.

use super::healthy;
use crate::{
    bench::{Bench, Figure},
    error::Result,
    filled,
    load::{Connection, Request},
    measure::Measure,
    place::{Opener, Place},
    row::Row,
    server::Server,
    settings::Parts,
    tool::Tool,
    traffic::Traffic,
};
use serde_json::{Value, json};

/// Runs of the backlog, and steps of each that may all start at once.
const RUNS: u64 = 1_000;
const STEPS: u64 = 100;
/// The tenant that has it.
const HOARDER: &str = "hoarder";
/// Its steps may take longer than is measured.
const TIMEOUT_MS: u64 = 600_000;
/// A backlog is queued once the store moves by no more events a second: its calls alone make fewer.
const QUEUED: u64 = 1_000;

pub(super) async fn rows<O: Opener>(bench: &Bench<O>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for parts in bench.settings.parts_for(&["backlog.p99"]) {
        let (behind, alone) = bench
            .in_turns(
                async || starts(bench, parts, true).await,
                async || starts(bench, parts, false).await,
            )
            .await?;
        rows.push(Row::of(parts.row("backlog.p99"), parts, behind, alone));
    }
    Ok(rows)
}

async fn starts<O: Opener>(bench: &Bench<O>, parts: Parts, with_backlog: bool) -> Result<Measure> {
    let place = Place::make(&bench.settings, parts).await?;
    let mut server = Server::start(&bench.settings, &place, &[]).await?;
    let mut tool = Tool::start().await?;
    let (runs, steps) = bench.settings.of_size((2, 20), (RUNS, STEPS));
    if with_backlog {
        hoard(server.port, &tool, parts, runs, steps).await?;
        filled::wait_until_calm(bench, &place, QUEUED).await?;
    }
    let traffic = Traffic { until: 0, ..healthy::steady(bench, parts, "b") };
    let load = healthy::under(bench, &server, &mut tool, &traffic).await?;
    // Whoever stops in order waits for the call that hangs.
    server.kill().await?;
    place.remove(&bench.settings).await?;
    let of = match with_backlog {
        true => "first call of a run, beside another tenant's backlog",
        false => "first call of a run",
    };
    let mut measure = healthy::head(bench, parts, of).of_load(&load, Figure::P99);
    let queued = if with_backlog { runs * steps } else { 0 };
    measure.parameters.insert("steps_queued_by_another".into(), json!(queued));
    Ok(measure)
}

/// Starts the runs of the backlog: all steps of one tool, but for one that hangs.
async fn hoard(port: u16, tool: &Tool, parts: Parts, runs: u64, steps: u64) -> Result<()> {
    let slow = tool.url(&format!("slow/{}/{HOARDER}", slow_ms(parts)));
    let hang = tool.url(&format!("hang/{HOARDER}"));
    let mut connection = Connection::open(port).await?;
    for run in 0..runs {
        let step = |at: u64| {
            let tool = if run == 0 && at == 0 { &hang } else { &slow };
            json!({"name": format!("s{at}"), "tool": tool, "effect": "pure", "after": [],
                "timeout_ms": TIMEOUT_MS, "input": {"step": at}})
        };
        let steps: Vec<Value> = (0..steps).map(step).collect();
        let plan = json!({"tenant": HOARDER, "run_id": format!("{HOARDER}-{run}"),
            "workflow": "bench", "version": "1", "steps": steps});
        let body = plan.to_string();
        let request = Request::post(port, "/v1/runs", "application/json", body.as_bytes());
        connection.ask(&request).await?.granted()?;
    }
    Ok(())
}

/// How long each of its calls takes: so long that they are as many a second on one partition as on several.
fn slow_ms(parts: Parts) -> u64 {
    match parts {
        Parts::Embedded => 1_000,
        Parts::Cluster => 12_000,
    }
}
