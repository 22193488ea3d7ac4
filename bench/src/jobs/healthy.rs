//! What healthy runs feel of sick ones: 1 % of all runs failing for ever, or 10,000 dead letters put back to
//! work at once.

use crate::{
    bench::{Bench, Figure, Head, durable, parameters, watched},
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
    traffic::Traffic,
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

fn suffix(parts: Parts) -> &'static str {
    match parts {
        Parts::Embedded => "",
        Parts::Cluster => ".cluster",
    }
}

/// Runs that fail for ever beside healthy ones.
pub(super) async fn poison<O: Opener>(bench: &Bench<O>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for parts in bench.settings.parts() {
        let (sick, well) = bench
            .in_turns(
                async || beside(bench, parts, POISON_EACH).await,
                async || beside(bench, parts, 0).await,
            )
            .await?;
        rows.push(Row::of(format!("poison.p99{}", suffix(parts)), parts, sick, well));
    }
    Ok(rows)
}

async fn beside<O: Opener>(bench: &Bench<O>, parts: Parts, poison_each: u64) -> Result<Measure> {
    let place = Place::make(&bench.settings, parts).await?;
    let server = Server::start(&bench.settings, &place, &[]).await?;
    let mut tool = Tool::start().await?;
    let load = traffic(bench, &server, &mut tool, "t", poison_each).await?;
    server.stop().await?;
    place.remove(&bench.settings).await?;
    let of =
        if poison_each > 0 { "healthy runs, 1 % failing for ever" } else { "healthy runs alone" };
    Ok(head(parts, of).of_load(&load, Figure::P99))
}

fn head(parts: Parts, of: &'static str) -> Head {
    Head {
        of,
        durability: match parts {
            Parts::Embedded => durable::EMBEDDED,
            Parts::Cluster => durable::KAFKA,
        },
        parameters: parameters([
            ("runs_a_second", json!(rate(parts))),
            ("steps_a_run", json!(crate::traffic::STEPS)),
        ]),
    }
}

fn measured<O: Opener>(bench: &Bench<O>) -> Duration {
    bench.settings.of_size(Duration::from_secs(1), Duration::from_secs(30))
}

async fn traffic<O: Opener>(
    bench: &Bench<O>,
    server: &Server,
    tool: &mut Tool,
    mark: &str,
    poison_each: u64,
) -> Result<Load> {
    let traffic = Traffic {
        mark: mark.to_owned(),
        rate: rate(server.parts),
        poison_each,
        warm_up: bench.settings.warm_up(),
        measured: measured(bench),
    };
    let mut processes = vec![Watched::this("client and tool"), server.watched()];
    processes.extend(bench.settings.servers(server.parts));
    let (times, took, usage) = watched(&processes, traffic.run(server.port, tool)).await?;
    Ok(Load { times, seconds: took.as_secs_f64(), usage })
}

/// Dead letters that are put back to work beside healthy runs: spread over the time that is measured, then
/// as fast as so many clients can.
pub(super) async fn redrive<O: Opener>(bench: &Bench<O>) -> Result<Vec<Row>> {
    let letters = bench.settings.of_size(20, 10_000);
    let mut rows = Vec::new();
    for parts in bench.settings.parts() {
        let (mut alone, mut spread, mut rush) = (Vec::new(), Vec::new(), Vec::new());
        let mut rates = Vec::new();
        for round in 0..bench.settings.rounds {
            let place = Place::make(&bench.settings, parts).await?;
            let server = Server::start(&bench.settings, &place, &[]).await?;
            let mut tool = Tool::start().await?;
            let made = make_letters(&server, &mut tool, 2 * letters).await?;
            let (first, second) = made.split_at(made.len() / 2);
            let p99 = |of, load: &Load| head(parts, of).of_load(load, Figure::P99);

            let load = traffic(bench, &server, &mut tool, &format!("a{round}"), 0).await?;
            alone.push(p99("healthy runs alone", &load));
            let pace = pace(bench, letters);
            let redriving = tokio::spawn(redrive_all(server.port, first.to_vec(), Some(pace)));
            let load = traffic(bench, &server, &mut tool, &format!("s{round}"), 0).await?;
            let mut during = p99("healthy runs during a redrive", &load);
            let rate = (1.0 / pace.as_secs_f64()).round();
            during.parameters.insert("letters_a_second".into(), json!(rate));
            spread.push(during);
            ended(redriving).await?;
            let redriving = tokio::spawn(redrive_all(server.port, second.to_vec(), None));
            let load = traffic(bench, &server, &mut tool, &format!("r{round}"), 0).await?;
            rush.push(p99("healthy runs, letters put back by four clients in a loop", &load));
            let took = ended(redriving).await?;
            rates.push(head(parts, "letters put back").rate(letters, took, "letters/s", None));
            server.stop().await?;
            place.remove(&bench.settings).await?;
        }
        let suffix = suffix(parts);
        rows.push(Row::of(format!("redrive.p99{suffix}"), parts, spread, alone.clone()));
        rows.push(Row::of(format!("redrive.rush.p99{suffix}"), parts, rush, alone));
        rows.push(Row::of(format!("redrive.rate{suffix}"), parts, rates, Vec::new()));
    }
    Ok(rows)
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
