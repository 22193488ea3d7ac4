//! What a step of a plan costs, where the server calls the tool: intent synced, call, outcome synced. One
//! run at a time, steps that must not happen twice. Against one synced write.

use crate::{
    bench::{Bench, Head, parameters, watched, watched_here},
    ceilings::file,
    cpu::Watched,
    durable,
    error::{Error, Result},
    events,
    load::{Connection, Request},
    measure::Measure,
    place::{Opener, Place},
    plans,
    row::Row,
    server::Server,
    tool::Tool,
};
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Steps of a run.
const STEPS: u64 = 10;
/// A run that takes longer is stuck.
const STUCK: Duration = Duration::from_secs(30);

pub(super) async fn rows<O: Opener>(bench: &Bench<O>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for parts in bench.settings.parts_for(&["steps.plan.1"]) {
        let place = Place::make(&bench.settings, parts).await?;
        let server = Server::start(&bench.settings, &place, &[]).await?;
        let mut tool = Tool::start().await?;
        let mut round = 0;
        let (ours, floors) = bench
            .in_turns(
                async || {
                    round += 1;
                    steps(bench, &server, &mut tool, round).await
                },
                async || floor(bench),
            )
            .await?;
        server.stop().await?;
        place.remove(&bench.settings).await?;
        rows.push(Row::of(parts.row("steps.plan.1"), parts, ours, floors));
    }
    Ok(rows)
}

fn floor<O: Opener>(bench: &Bench<O>) -> Result<Measure> {
    let path = bench.settings.dir.join(format!("spine-bench-sync-{}", std::process::id()));
    let bytes = events::encoded(1).concat();
    let (took, usage) =
        watched_here("writer", || file::write_and_sync(&path, &bytes, bench.settings.measured()));
    let head = Head {
        of: "one write + fdatasync",
        durability: durable::FILE,
        parameters: parameters([("bytes", json!(bytes.len()))]),
    };
    Ok(head.mean(&took?, "a write with its sync", "ms", usage))
}

async fn steps<O: Opener>(
    bench: &Bench<O>,
    server: &Server,
    tool: &mut Tool,
    round: u64,
) -> Result<Measure> {
    let mut connection = Connection::open(server.port).await?;
    let warm = bench.settings.of_size(1, 200);
    for run in 0..warm {
        one_run(&mut connection, tool, &format!("w{round}"), run).await?;
    }
    let mut processes = vec![Watched::this("client and tool"), server.watched()];
    processes.extend(bench.settings.servers(server.parts));
    let (begun, measured) = (Instant::now(), bench.settings.measured());
    let running = async {
        let mut took = Vec::new();
        for run in 0.. {
            if begun.elapsed() >= measured {
                break;
            }
            took.extend(one_run(&mut connection, tool, &format!("p{round}"), run).await?);
        }
        Ok(took)
    };
    let (took, _, usage) = watched(&processes, running).await?;
    let head = Head {
        of: "plan step over an HTTP tool",
        durability: bench.durable.log(server.parts),
        parameters: parameters([
            ("effect", json!("at_most_once")),
            ("steps_a_run", json!(STEPS)),
            ("runs_at_once", json!(1)),
        ]),
    };
    Ok(head.mean(&took, "from one call to the next", "ms a step", usage))
}

/// Runs one plan to its last call. Gives the times from each call to the next.
async fn one_run(
    connection: &mut Connection,
    tool: &mut Tool,
    mark: &str,
    run: u64,
) -> Result<Vec<Duration>> {
    let run_id = events::run_id(mark, run);
    let body = plans::body(&run_id, &tool.url("ok"), STEPS, "at_most_once").to_string();
    let request = Request::post(connection.port, "/v1/runs", "application/json", body.as_bytes());
    connection.ask(&request).await?.granted()?;
    let (mut before, mut took) = (None::<Instant>, Vec::new());
    while took.len() + 1 < STEPS as usize {
        let call = timeout(STUCK, tool.calls.recv()).await.ok().flatten();
        let call = call.ok_or_else(|| Error::Server(format!("run {run_id} is stuck")))?;
        if plans::of_call(&call.path).is_some_and(|(of, _)| of == run_id) {
            took.extend(before.map(|before| call.at - before));
            before = Some(call.at);
        }
    }
    Ok(took)
}
