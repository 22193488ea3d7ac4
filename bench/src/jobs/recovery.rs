//! How long after kill -9 the first step runs again, with many runs stored and with few; and how long a page of
//! the list of those runs takes.

use super::list;
use crate::{
    bench::{Bench, Head, parameters},
    cpu::Watch,
    durable,
    error::{Error, Result},
    filled::{self, Order},
    load::{Connection, Request},
    measure::{Measure, round},
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
/// That step fails over and over, and is to be called all the same.
const WITHOUT_BREAKERS: [&str; 2] = ["--breaker-failures", "0"];

/// A server with so many runs stored, and what was found of it.
struct Side {
    runs: u64,
    place: Place,
    server: Server,
    tool: Tool,
    restarts: Vec<Measure>,
    pages: Vec<Measure>,
}

pub(super) async fn rows<O: Opener>(bench: &Bench<O>) -> Result<Vec<Row>> {
    let (few, many) = bench.settings.of_size((20, 200), (10_000, 1_000_000));
    let kills = bench.settings.wants_any(["recovery", "scale.restart"]);
    let lists = bench.settings.wants("scale.list.p99");
    let mut large = Side::start(bench, many).await?;
    let mut small = match bench.settings.wants_any(["scale.restart", "scale.list.p99"]) {
        true => Some(Side::start(bench, few).await?),
        false => None,
    };
    for turn in 0..bench.settings.rounds {
        for side in small.iter_mut().chain([&mut large]) {
            if kills {
                let restart = side.kill(bench, turn).await?;
                side.restarts.push(restart);
            }
        }
        for side in small.iter_mut().chain([&mut large]) {
            if lists {
                side.pages.push(list::measure(bench, &side.server, side.runs, turn).await?);
            }
        }
    }
    let of_large = large.stop(bench).await?;
    let of_small = match small {
        Some(small) => small.stop(bench).await?,
        None => Found::default(),
    };
    Ok(rows_of(of_large, of_small))
}

/// What there is to say of a side, once it has gone.
#[derive(Default)]
struct Found {
    restarts: Vec<Measure>,
    pages: Vec<Measure>,
}

fn rows_of(large: Found, small: Found) -> Vec<Row> {
    let row = |job: &str, ours: &[Measure], against: Vec<Measure>| {
        (!ours.is_empty()).then(|| Row::of(job, Parts::Embedded, ours.to_vec(), against))
    };
    let rows = [
        row("recovery", &large.restarts, Vec::new()),
        row("scale.restart", &large.restarts, small.restarts),
        row("scale.list.p99", &large.pages, small.pages),
    ];
    rows.into_iter().flatten().collect()
}

impl Side {
    async fn start<O: Opener>(bench: &Bench<O>, runs: u64) -> Result<Self> {
        let place = filled::place(bench, Parts::Embedded, runs, Order::Single).await?;
        let tool = Tool::start().await?;
        let server = Server::start(&bench.settings, &place, &WITHOUT_BREAKERS).await?;
        filled::wait_until_stored(bench, &place, runs).await?;
        Ok(Self { runs, place, server, tool, restarts: Vec::new(), pages: Vec::new() })
    }

    /// Kills the server, starts it again, and waits for the first call of the tool.
    async fn kill<O: Opener>(&mut self, bench: &Bench<O>, turn: usize) -> Result<Measure> {
        while self.tool.calls.try_recv().is_ok() {}
        start_poisoned(&self.server, &self.tool, turn).await?;
        next_call(&mut self.tool).await?;
        let begun = Instant::now();
        self.server.kill().await?;
        while self.tool.calls.try_recv().is_ok() {}
        self.server = Server::spawn(&bench.settings, &self.place, &WITHOUT_BREAKERS)?;
        let watch = Watch::begin(&[self.server.watched()]);
        next_call(&mut self.tool).await?;
        let (took, usage) = (begun.elapsed().as_secs_f64(), watch.end());
        self.server.ready().await?;
        let head = Head {
            of: "from kill -9 to the first step",
            durability: durable::EMBEDDED,
            parameters: parameters([
                ("runs_stored", json!(self.runs)),
                ("retry_ms", json!(RETRY_MS)),
            ]),
        };
        Ok(Measure { seconds: round(took), ..head.value(took, "s", 1, usage) })
    }

    async fn stop<O: Opener>(self, bench: &Bench<O>) -> Result<Found> {
        self.server.stop().await?;
        self.place.remove(&bench.settings).await?;
        Ok(Found { restarts: self.restarts, pages: self.pages })
    }
}

/// A run whose step fails over and over, so that there is a next attempt.
async fn start_poisoned(server: &Server, tool: &Tool, turn: usize) -> Result<()> {
    let mut plan = plans::body(&format!("poisoned-{turn}"), &tool.url("poison"), 1, "pure");
    plan["retry"] = json!({"max_attempts": 200, "initial_ms": RETRY_MS, "multiplier": 1.0,
        "max_ms": RETRY_MS, "jitter": 0.0});
    let body = plan.to_string();
    let request = Request::post(server.port, "/v1/runs", "application/json", body.as_bytes());
    Connection::open(server.port).await?.ask(&request).await?.granted().map(drop)
}

async fn next_call(tool: &mut Tool) -> Result<()> {
    match timeout(STUCK, tool.calls.recv()).await {
        Ok(Some(_)) => Ok(()),
        Ok(None) | Err(_) => Err(Error::Server("no step was run".into())),
    }
}
