//! How long after kill -9 the first step runs again, with many runs stored.

use crate::{
    bench::{Bench, Head, durable, parameters},
    error::{Error, Result},
    filled::{self, Order},
    load::{Connection, Request},
    measure::Measure,
    place::{Opener, Place},
    plans,
    row::Row,
    server::Server,
    settings::Parts,
    tool::Tool,
};
use serde_json::json;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// The first step comes within this.
const STUCK: Duration = Duration::from_secs(120);
/// Between two attempts of the step that is waited for.
const RETRY_MS: u64 = 20;

pub(super) async fn rows<O: Opener>(bench: &Bench<O>) -> Result<Vec<Row>> {
    let (few, many) = bench.settings.of_size((20, 200), (10_000, 1_000_000));
    let (mut small, mut large) = (Vec::new(), Vec::new());
    for (runs, found) in [(few, &mut small), (many, &mut large)] {
        let place = filled::place(bench, Parts::Embedded, runs, Order::Single).await?;
        let mut tool = Tool::start().await?;
        let mut server = Server::start(&bench.settings, &place, &[]).await?;
        filled::wait_until_stored(bench, &place, runs).await?;
        start_poisoned(&server, &tool).await?;
        for _ in 0..bench.settings.rounds {
            let (again, measure) = kill(bench, &place, server, &mut tool, runs).await?;
            (server, _) = (again, found.push(measure));
        }
        server.stop().await?;
        place.remove(&bench.settings).await?;
    }
    Ok(vec![
        Row::of("recovery", Parts::Embedded, large.clone(), Vec::new()),
        Row::of("scale.restart", Parts::Embedded, large, small),
    ])
}

/// A run whose step fails over and over, so that there is always a next attempt.
async fn start_poisoned(server: &Server, tool: &Tool) -> Result<()> {
    let mut plan = plans::body("poisoned", &tool.url("poison"), 1, "pure");
    plan["retry"] = json!({"max_attempts": 1000, "initial_ms": RETRY_MS, "multiplier": 1.0,
        "max_ms": RETRY_MS, "jitter": 0.0});
    let body = plan.to_string();
    let request = Request::post(server.port, "/v1/runs", "application/json", body.as_bytes());
    Connection::open(server.port).await?.ask(&request).await?.granted().map(drop)
}

/// Kills the server, starts it again, and waits for the first call of the tool.
async fn kill<O: Opener>(
    bench: &Bench<O>,
    place: &Place,
    server: Server,
    tool: &mut Tool,
    runs: u64,
) -> Result<(Server, Measure)> {
    next_call(tool).await?;
    let begun = Instant::now();
    server.kill().await?;
    while tool.calls.try_recv().is_ok() {}
    let mut server = Server::spawn(&bench.settings, place, &[])?;
    next_call(tool).await?;
    let took = begun.elapsed().as_secs_f64();
    server.ready().await?;
    let head = Head {
        of: "from kill -9 to the first step",
        durability: durable::EMBEDDED,
        parameters: parameters([("runs_stored", json!(runs)), ("retry_ms", json!(RETRY_MS))]),
    };
    Ok((server, Measure { seconds: took, ..head.value(took, "s", 1, None) }))
}

async fn next_call(tool: &mut Tool) -> Result<()> {
    match timeout(STUCK, tool.calls.recv()).await {
        Ok(Some(_)) => Ok(()),
        Ok(None) | Err(_) => Err(Error::Server("no step was run".into())),
    }
}
