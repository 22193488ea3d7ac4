//! What grows with the work, and must not: the cost of a step in a long run, the server's memory, what is kept.

use super::{batches, context, growth};
use crate::{
    bench::{Bench, Head, parameters, watched},
    cpu::Watched,
    durable,
    error::{Error, Result},
    events::{self, RUN_EVENTS},
    filled::{self, Order},
    journal::Journal,
    load::{Connection, Request},
    measure::{Measure, Recorder, round},
    memory,
    place::{Opener, Place},
    row::Row,
    server::Server,
    settings::Parts,
};
use serde_json::json;
use tokio::time::Instant;

/// Payload sizes of single events, in bytes.
const PAYLOADS: [usize; 3] = [100, 1_000, 10_000];
/// Events of each size.
const EVENTS: u64 = 2_000;
/// Steps of a short run.
const SHORT: u64 = 10;

pub(super) async fn rows<O: Opener>(bench: &Bench<O>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    if bench.settings.wants("scale.steps") {
        rows.push(steps(bench).await?);
    }
    if bench.settings.wants("scale.memory") {
        rows.push(memory_rows(bench).await?);
    }
    if bench.settings.wants("scale.context") {
        rows.push(context::row(bench).await?);
    }
    if bench.settings.wants_any(["scale.batches", "scale.batches.memory"]) {
        rows.extend(batches::rows(bench).await?);
    }
    if bench.settings.wants_any(PAYLOADS.map(of_payload)) {
        rows.extend(payloads(bench).await?);
    }
    rows.extend(growth::rows(bench).await?);
    Ok(rows)
}

/// A step of a run with many steps, against one of a run with ten.
async fn steps<O: Opener>(bench: &Bench<O>) -> Result<Row> {
    let long = bench.settings.of_size(20, 10_000);
    let place = Place::make(&bench.settings, Parts::Embedded).await?;
    let server = Server::start(&bench.settings, &place, &[]).await?;
    let (mut longs, mut shorts) = (0, 0);
    let (of_long, of_short) = bench
        .in_turns(
            async || {
                longs += 1;
                steps_of(&server, &format!("long{longs}"), 1, long).await
            },
            async || {
                shorts += 1;
                steps_of(&server, &format!("short{shorts}"), long / SHORT, SHORT).await
            },
        )
        .await?;
    server.stop().await?;
    place.remove(&bench.settings).await?;
    Ok(Row::of("scale.steps", Parts::Embedded, of_long, of_short))
}

async fn steps_of(server: &Server, mark: &str, runs: u64, steps: u64) -> Result<Measure> {
    let connection = Connection::open(server.port).await?;
    let mut agent = Journal::new(connection, mark.to_owned(), steps);
    let processes = [Watched::this("client"), server.watched()];
    let running = async {
        for _ in 0..runs {
            agent.run().await?;
        }
        Ok(())
    };
    let ((), took, usage) = watched(&processes, running).await?;
    let head = Head {
        of: "journal step",
        durability: durable::EMBEDDED,
        parameters: parameters([("steps_a_run", json!(steps)), ("runs", json!(runs))]),
    };
    let count = runs * steps;
    let ms = took.as_secs_f64() * 1e3 / count as f64;
    Ok(Measure { seconds: round(took.as_secs_f64()), ..head.value(ms, "ms a step", count, usage) })
}

/// Memory of a server that has folded and stored many runs, against one that has few.
async fn memory_rows<O: Opener>(bench: &Bench<O>) -> Result<Row> {
    let (few, many) = bench.settings.of_size((800, 1_600), (80_000, 800_000));
    let many = vec![most_memory(bench, many).await?];
    Ok(Row::of("scale.memory", Parts::Embedded, many, vec![most_memory(bench, few).await?]))
}

async fn most_memory<O: Opener>(bench: &Bench<O>, total: u64) -> Result<Measure> {
    let place = filled::place(bench, Parts::Embedded, total, Order::Whole).await?;
    let server = Server::start(&bench.settings, &place, &[]).await?;
    let storing = filled::wait_until_stored(bench, &place, total);
    let ((), took, usage) = watched(&[server.watched()], storing).await?;
    let bytes = memory::peak(server.watched().pid)?;
    server.stop().await?;
    place.remove(&bench.settings).await?;
    let head = Head {
        of: "peak memory of a server",
        durability: durable::NONE,
        parameters: parameters([("events", json!(total)), ("runs", json!(total / RUN_EVENTS))]),
    };
    let measure = head.value(bytes as f64 / 1024.0 / 1024.0, "MiB", 1, usage);
    Ok(Measure { seconds: round(took.as_secs_f64()), ..measure })
}

/// The row of payloads of so many bytes.
fn of_payload(bytes: usize) -> String {
    format!("scale.payload.{bytes}")
}

/// One event a request, at several sizes.
async fn payloads<O: Opener>(bench: &Bench<O>) -> Result<Vec<Row>> {
    let place = Place::make(&bench.settings, Parts::Embedded).await?;
    let server = Server::start(&bench.settings, &place, &[]).await?;
    let mut rows = Vec::new();
    for bytes in PAYLOADS {
        let job = of_payload(bytes);
        if !bench.settings.wants(&job) {
            continue;
        }
        let mut round = 0;
        let rounds = bench
            .rounds(async || {
                round += 1;
                of_size(bench, &server, bytes, round).await
            })
            .await?;
        rows.push(Row::of(job, Parts::Embedded, rounds, Vec::new()));
    }
    server.stop().await?;
    place.remove(&bench.settings).await?;
    Ok(rows)
}

async fn of_size<O: Opener>(
    bench: &Bench<O>,
    server: &Server,
    bytes: usize,
    round: u64,
) -> Result<Measure> {
    let count = bench.settings.of_size(20, EVENTS);
    let processes = [Watched::this("client"), server.watched()];
    let appending = append(server.port, bytes, round, count);
    let (times, took, usage) = watched(&processes, appending).await?;
    let head = Head {
        of: "one event a request",
        durability: durable::EMBEDDED,
        parameters: parameters([("payload_bytes", json!(bytes)), ("clients", json!(1))]),
    };
    let spread = times.times("a request");
    let spread = spread.ok_or_else(|| Error::Server("nothing was measured".into()))?;
    let measure = head.value(spread.p50_ms, "ms", count, usage);
    Ok(Measure { times: Some(spread), seconds: took.as_secs_f64(), ..measure })
}

async fn append(port: u16, bytes: usize, turn: u64, count: u64) -> Result<Recorder> {
    let (mut connection, mut times) = (Connection::open(port).await?, Recorder::new());
    for number in 0..count {
        let input = events::text(number, bytes);
        let line = format!(
            r#"{{"kind":"run_created","run_id":"p{bytes}-{turn}-{number}","run":{{"workflow":"w","version":"1","input":{input}}}}}"#
        );
        let request = Request::post(port, "/v1/events", "application/x-ndjson", line.as_bytes());
        let before = Instant::now();
        connection.ask(&request).await?.granted()?;
        times.note(before.elapsed());
    }
    Ok(times)
}
