//! What healthy runs feel of sick ones: 1 % of all runs failing for ever, or 10,000 dead letters put back to
//! work at once.

use crate::{
    bench::{Bench, Figure, Head, parameters, watched},
    cpu::Watched,
    error::{Error, Result},
    load::{Connection, Load, Request},
    measure::Measure,
    place::{Opener, Place},
    plans,
    row::Row,
    server::Server,
    settings::Parts,
    tool::Tool,
    traffic::{STEPS, Traffic},
};
use serde_json::json;
use spine_schemas::{RunKey, StepKey, keys};
use std::{sync::atomic::Ordering, time::Duration};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep, sleep_until},
};

/// Of so many runs one fails for ever.
const POISON_EACH: u64 = 100;
/// Clients that make dead letters, and put them back.
const CLIENTS: u64 = 4;
/// A letter that is made must be there after this.
const LETTERS: Duration = Duration::from_secs(60);

/// Runs a second that leave the machine room.
fn rate(parts: Parts) -> u64 {
    match parts {
        Parts::Embedded => 200,
        Parts::Cluster => 50,
    }
}

/// Runs that fail for ever beside healthy ones.
pub(super) async fn poison<O: Opener>(bench: &Bench<O>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for parts in bench.settings.parts_for(&["poison.p99"]) {
        let (sick, well) = bench
            .in_turns(
                async || beside(bench, parts, POISON_EACH).await,
                async || beside(bench, parts, 0).await,
            )
            .await?;
        rows.push(Row::of(parts.row("poison.p99"), parts, sick, well));
    }
    Ok(rows)
}

async fn beside<O: Opener>(bench: &Bench<O>, parts: Parts, poison_each: u64) -> Result<Measure> {
    let place = Place::make(&bench.settings, parts).await?;
    let server = Server::start(&bench.settings, &place, &[]).await?;
    let mut tool = Tool::start().await?;
    let traffic = Traffic { poison_each, ..steady(bench, parts, "t") };
    let load = under(bench, &server, &mut tool, &traffic).await?;
    server.stop().await?;
    place.remove(&bench.settings).await?;
    let of =
        if poison_each > 0 { "healthy runs, 1 % failing for ever" } else { "healthy runs alone" };
    Ok(head(bench, parts, of).of_load(&load, Figure::P99))
}

pub(super) fn head<'b, O: Opener>(bench: &'b Bench<O>, parts: Parts, of: &'static str) -> Head<'b> {
    Head {
        of,
        durability: bench.durable.log(parts),
        parameters: parameters([
            ("runs_a_second", json!(rate(parts))),
            ("steps_a_run", json!(STEPS)),
        ]),
    }
}

fn measured<O: Opener>(bench: &Bench<O>) -> Duration {
    bench.settings.of_size(Duration::from_secs(1), Duration::from_secs(30))
}

/// Healthy runs at a rate that leaves the machine room, until their last step.
pub(super) fn steady<O: Opener>(bench: &Bench<O>, parts: Parts, mark: &str) -> Traffic {
    Traffic {
        mark: mark.to_owned(),
        rate: rate(parts),
        poison_each: 0,
        until: STEPS - 1,
        warm_up: bench.settings.warm_up(),
        measured: measured(bench),
    }
}

/// Measures a server under such traffic.
pub(super) async fn under<O: Opener>(
    bench: &Bench<O>,
    server: &Server,
    tool: &mut Tool,
    traffic: &Traffic,
) -> Result<Load> {
    let mut processes = vec![Watched::this("client and tool"), server.watched()];
    processes.extend(bench.settings.servers(server.parts));
    let (times, took, usage) = watched(&processes, traffic.run(server.port, tool)).await?;
    Ok(Load { of: "a run, from when it was due", times, seconds: took.as_secs_f64(), usage })
}

/// Dead letters that are put back to work beside healthy runs: spread over the time that is measured, then
/// as fast as so many clients can.
pub(super) async fn redrive<O: Opener>(bench: &Bench<O>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for parts in bench.settings.parts_for(&["redrive.p99", "redrive.rush.p99", "redrive.rate"]) {
        let mut found = Redrives::default();
        for round in 0..bench.settings.rounds {
            one_redrive(bench, parts, round, &mut found).await?;
        }
        let Redrives { alone, spread, rush, rates } = found;
        rows.push(Row::of(parts.row("redrive.p99"), parts, spread, alone.clone()));
        rows.push(Row::of(parts.row("redrive.rush.p99"), parts, rush, alone));
        rows.push(Row::of(parts.row("redrive.rate"), parts, rates, Vec::new()));
    }
    Ok(rows)
}

/// What the rounds found.
#[derive(Default)]
struct Redrives {
    alone: Vec<Measure>,
    spread: Vec<Measure>,
    rush: Vec<Measure>,
    rates: Vec<Measure>,
}

async fn one_redrive<O: Opener>(
    bench: &Bench<O>,
    parts: Parts,
    round: usize,
    found: &mut Redrives,
) -> Result<()> {
    let letters = bench.settings.of_size(20, 10_000);
    let place = Place::make(&bench.settings, parts).await?;
    let server = Server::start(&bench.settings, &place, &[]).await?;
    let mut tool = Tool::start().await?;
    let made = make_letters(&server, &mut tool, 2 * letters).await?;
    let (first, second) = made.split_at(made.len() / 2);
    let p99 = |of, load: &Load| head(bench, parts, of).of_load(load, Figure::P99);
    let traffic = |kind: &str| steady(bench, parts, &format!("{kind}{round}"));

    let load = under(bench, &server, &mut tool, &traffic("a")).await?;
    found.alone.push(p99("healthy runs alone", &load));
    let pace = pace(bench, letters);
    let redriving = tokio::spawn(redrive_all(server.port, first.to_vec(), Some(pace)));
    let load = under(bench, &server, &mut tool, &traffic("s")).await?;
    let mut during = p99("healthy runs during a redrive", &load);
    let rate = (1.0 / pace.as_secs_f64()).round();
    during.parameters.insert("letters_a_second".into(), json!(rate));
    found.spread.push(during);
    ended(redriving).await?;
    let redriving = tokio::spawn(redrive_all(server.port, second.to_vec(), None));
    let load = under(bench, &server, &mut tool, &traffic("r")).await?;
    found.rush.push(p99("healthy runs, letters put back by four clients in a loop", &load));
    let took = ended(redriving).await?;
    // The processors are those of the whole time, of which the rush is the beginning.
    let rates = head(bench, parts, "letters put back");
    found.rates.push(rates.rate(letters, took, "letters/s", load.usage));
    server.stop().await?;
    place.remove(&bench.settings).await
}

/// From one letter to the next, so that they are spread over the time of the traffic.
fn pace<O: Opener>(bench: &Bench<O>, letters: u64) -> Duration {
    (bench.settings.warm_up() + measured(bench)).div_f64(letters as f64)
}

async fn ended(redriving: JoinHandle<Result<Duration>>) -> Result<Duration> {
    redriving.await.map_err(|error| Error::Server(error.to_string()))?
}

/// Makes so many dead letters and gives their ids.
async fn make_letters(server: &Server, tool: &mut Tool, letters: u64) -> Result<Vec<String>> {
    tool.is_broken.store(true, Ordering::Relaxed);
    let (port, url) = (server.port, tool.url("ok"));
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let url = url.clone();
        clients.spawn(async move {
            let mut connection = Connection::open(port).await?;
            for number in (client..letters).step_by(CLIENTS as usize) {
                let plan = plans::body(&run_id(number), &url, 1, "pure").to_string();
                let request = Request::post(port, "/v1/runs", "application/json", plan.as_bytes());
                connection.ask(&request).await?.granted()?;
            }
            Ok::<_, Error>(())
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended.map_err(|error| Error::Server(error.to_string()))??;
    }
    let ids: Vec<String> = (0..letters).map(letter_id).collect();
    wait_for_letters(port, &ids).await?;
    tool.is_broken.store(false, Ordering::Relaxed);
    while tool.calls.try_recv().is_ok() {}
    Ok(ids)
}

fn run_id(number: u64) -> String {
    format!("dead-{number}")
}

fn letter_id(number: u64) -> String {
    let run = RunKey::new(crate::events::TENANT, &run_id(number));
    keys::step_letter_id(&run, &StepKey::named("s0"), 0).to_string()
}

async fn wait_for_letters(port: u16, ids: &[String]) -> Result<()> {
    let mut connection = Connection::open(port).await?;
    let until = Instant::now() + LETTERS;
    for id in ids {
        let request = Request::get(port, &format!("/v1/dead-letters/{id}"));
        while connection.ask(&request).await?.status != 200 {
            if Instant::now() > until {
                return Err(Error::Server(format!("dead letter {id} is not there")));
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(())
}

/// Puts the letters back by so many clients: each at its time, or as fast as they can.
async fn redrive_all(port: u16, ids: Vec<String>, pace: Option<Duration>) -> Result<Duration> {
    let begun = Instant::now();
    let mut clients = JoinSet::new();
    let due = |number: usize| pace.map(|pace| begun + pace.mul_f64(number as f64));
    for client in 0..CLIENTS as usize {
        let numbered = ids.iter().enumerate().skip(client).step_by(CLIENTS as usize);
        let letters: Vec<_> = numbered.map(|(number, id)| (due(number), id.clone())).collect();
        clients.spawn(async move {
            let mut connection = Connection::open(port).await?;
            for (due, id) in letters {
                if let Some(due) = due {
                    sleep_until(due).await;
                }
                let path = format!("/v1/dead-letters/{id}/redrive");
                let body = br#"{"reason":"the tool is up again"}"#;
                let request = Request::post(port, &path, "application/json", body);
                connection.ask(&request).await?.granted()?;
            }
            Ok::<_, Error>(())
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended.map_err(|error| Error::Server(error.to_string()))??;
    }
    Ok(begun.elapsed())
}
