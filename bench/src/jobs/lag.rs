//! How long after its acknowledgement an event is in the store, where queries find it.

use crate::{
    bench::{Bench, Figure, Head, parameters},
    cpu::Watched,
    error::{Error, Result},
    events::{self, RUN_EVENTS},
    load::Load,
    load::{Connection, Request},
    measure::{Measure, Recorder},
    place::{Opener, Place},
    row::Row,
    server::Server,
    settings::Parts,
};
use serde::Deserialize;
use serde_json::json;
use spine_schemas::json as text;
use std::time::Duration;
use tokio::{
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, sleep},
};

/// Events a second that others append meanwhile, in requests of ten.
const OTHERS: u64 = 5_000;
const OTHERS_A_REQUEST: u64 = 10;
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(2);

pub(super) async fn rows<O: Opener>(bench: &Bench<O>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let all = ["lag.alone.p50", "lag.alone.p99", "lag.loaded.p50", "lag.loaded.p99"];
    for parts in bench.settings.parts_for(&all) {
        let place = Place::make(&bench.settings, parts).await?;
        let server = Server::start(&bench.settings, &place, &[]).await?;
        for (under, others) in [("alone", 0), ("loaded", OTHERS)] {
            let figures = [("p50", Figure::P50), ("p99", Figure::P99)];
            let figures =
                figures.map(|(name, figure)| (parts.row(&format!("lag.{under}.{name}")), figure));
            if !bench.settings.wants_any(figures.iter().map(|(job, _)| job)) {
                continue;
            }
            let mut loads = Vec::new();
            for round in 0..bench.settings.rounds {
                loads.push(looked_at(bench, &server, others, round).await?);
            }
            for (job, figure) in figures {
                let of = |load| head(bench, parts, others).of_load(load, figure);
                let measures: Vec<Measure> = loads.iter().map(of).collect();
                rows.push(Row::of(job, parts, measures, Vec::new()));
            }
        }
        server.stop().await?;
        place.remove(&bench.settings).await?;
    }
    Ok(rows)
}

fn head<O: Opener>(bench: &Bench<O>, parts: Parts, others: u64) -> Head<'_> {
    Head {
        of: "from the acknowledgement to the store",
        durability: bench.durable.log(parts),
        parameters: parameters([("other_events_a_second", json!(others))]),
    }
}

#[derive(Deserialize)]
struct Appended {
    positions: Vec<Position>,
}

#[derive(Deserialize)]
struct Position {
    partition: u32,
    last_offset: u64,
}

async fn looked_at<O: Opener>(
    bench: &Bench<O>,
    server: &Server,
    others: u64,
    round: usize,
) -> Result<Load> {
    let background =
        (others > 0).then(|| append_steadily(server.port, others, format!("others-{round}")));
    sleep(bench.settings.warm_up()).await;
    let mut processes = vec![Watched::this("client"), server.watched()];
    processes.extend(bench.settings.servers(server.parts));
    let mark = format!("lag{others}-{round}");
    let looking = look(bench, server.port, &mark);
    let (times, took, usage) = crate::bench::watched(&processes, looking).await?;
    if let Some(background) = background {
        background.abort();
    }
    Ok(Load { of: "an event, from its acknowledgement", times, seconds: took.as_secs_f64(), usage })
}

async fn look<O: Opener>(bench: &Bench<O>, port: u16, mark: &str) -> Result<Recorder> {
    let mut connection = Connection::open(port).await?;
    let (begun, mut times) = (Instant::now(), Recorder::new());
    for number in 0.. {
        if begun.elapsed() >= bench.settings.measured() {
            break;
        }
        let run = number / RUN_EVENTS;
        let line = text::to_line(&events::event(mark, run, number % RUN_EVENTS)).expect("legal");
        let request = Request::post(port, "/v1/events", "application/x-ndjson", line.as_bytes());
        let body = connection.ask(&request).await?.granted()?;
        let acknowledged = Instant::now();
        let Appended { positions } = serde_json::from_slice(body)
            .map_err(|error| Error::Server(format!("POST /v1/events: {error}")))?;
        let Some(Position { partition, last_offset }) = positions.first() else {
            return Err(Error::Server("POST /v1/events tells no position".into()));
        };
        let run_id = events::run_id(mark, run);
        let path = format!("/v1/runs/{run_id}?at_least={partition}:{last_offset}");
        connection.ask(&Request::get(port, &path)).await?.granted()?;
        times.note(acknowledged.elapsed());
        sleep(PAUSE).await;
    }
    Ok(times)
}

/// Appends the events of runs that `mark` names at a steady rate, until it is aborted.
pub(super) fn append_steadily(port: u16, rate: u64, mark: String) -> JoinHandle<Result<()>> {
    tokio::spawn(async move {
        let mut connection = Connection::open(port).await?;
        let mut ticks = interval(Duration::from_secs(1) * OTHERS_A_REQUEST as u32 / rate as u32);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for request in 0.. {
            ticks.tick().await;
            let first = request * OTHERS_A_REQUEST;
            let lines: String = (first..first + OTHERS_A_REQUEST)
                .map(|at| events::event(&mark, at / RUN_EVENTS, at % RUN_EVENTS))
                .map(|event| text::to_line(&event).expect("a legal event") + "\n")
                .collect();
            let body = lines.as_bytes();
            let request = Request::post(port, "/v1/events", "application/x-ndjson", body);
            connection.ask(&request).await?.granted()?;
        }
        Ok(())
    })
}
