//! What a server costs that has nothing to do: without runs, and with very many open ones that wait for a time.

use crate::{
    bench::{Bench, Head, parameters},
    cpu::Watch,
    durable,
    error::{Error, Result},
    filled,
    load::{Connection, Request},
    measure::Measure,
    place::{Opener, Place},
    row::Row,
    server::Server,
    settings::Parts,
};
use serde_json::json;
use std::time::Duration;
use tokio::{task::JoinSet, time::sleep};

/// Clients that start the runs that wait.
const CLIENTS: u64 = 16;
/// What each of them waits for, in milliseconds: longer than anything here takes.
const NAP_MS: u64 = 24 * 3600 * 1000;

pub(super) async fn rows<O: Opener>(bench: &Bench<O>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let waiting = bench.settings.of_size(50, 100_000);
    for (job, runs) in [("idle", 0), ("idle.waiting", waiting)] {
        for parts in bench.settings.parts_for(&[job]) {
            rows.push(Row::of(parts.row(job), parts, idle(bench, parts, runs).await?, Vec::new()));
        }
    }
    Ok(rows)
}

async fn idle<O: Opener>(bench: &Bench<O>, parts: Parts, runs: u64) -> Result<Vec<Measure>> {
    let place = Place::make(&bench.settings, parts).await?;
    let server = Server::start(&bench.settings, &place, &[]).await?;
    if runs > 0 {
        start_naps(server.port, runs).await?;
        filled::wait_until_calm(bench, &place, 0).await?;
    }
    // What starting leaves behind settles first.
    sleep(bench.settings.warm_up()).await;
    let rounds = bench.rounds(async || measure(bench, &place, &server, runs).await).await?;
    server.stop().await?;
    place.remove(&bench.settings).await?;
    Ok(rounds)
}

/// Runs that wait for a time that does not come.
async fn start_naps(port: u16, runs: u64) -> Result<()> {
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        clients.spawn(async move {
            let mut connection = Connection::open(port).await?;
            for number in (client..runs).step_by(CLIENTS as usize) {
                let plan = json!({"run_id": format!("nap-{number}"), "workflow": "bench",
                    "version": "1", "steps": [{"name": "nap", "tool": format!("sleep:{NAP_MS}")}]});
                let body = plan.to_string();
                let request = Request::post(port, "/v1/runs", "application/json", body.as_bytes());
                connection.ask(&request).await?.granted()?;
            }
            Ok::<_, Error>(())
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended.map_err(|error| Error::Server(error.to_string()))??;
    }
    Ok(())
}

async fn measure<O: Opener>(
    bench: &Bench<O>,
    place: &Place,
    server: &Server,
    runs: u64,
) -> Result<Measure> {
    let measured = bench.settings.of_size(Duration::from_millis(200), Duration::from_secs(60));
    let watch = Watch::begin(&[server.watched()]);
    sleep(measured).await;
    let unread = || Error::Server("the server's processor time cannot be read".into());
    let usage = watch.end().ok_or_else(unread)?;
    let head = Head {
        of: "an idle server",
        durability: durable::NONE,
        parameters: parameters([
            ("partitions", json!(place.partitions())),
            ("open_runs_that_wait", json!(runs)),
        ]),
    };
    let cores = usage.cpu.values().sum();
    Ok(Measure { seconds: measured.as_secs_f64(), ..head.value(cores, "cores", 1, Some(usage)) })
}
