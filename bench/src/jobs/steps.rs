//! What a durable step of an agent costs. Through the journal: against the floor of one durable HTTP
//! request, and against Restate doing the same runs. On a cluster: against one append to Kafka.

use crate::{
    bench::{Bench, Figure, Head, durable, parameters, times_of},
    ceilings::kafka,
    cpu::Watched,
    error::{Error, Result},
    events,
    floor::Floor,
    journal::{Journal, OUTPUT_BYTES},
    load::{self, Agent, Connection, Load, Request},
    measure::{Measure, round},
    peer::Peer,
    place::{Opener, Place},
    row::Row,
    server::Server,
    settings::Parts,
};
use serde_json::{Value, json};
use std::time::Duration;

const JSON: &str = "application/json";
/// Steps of a run.
const STEPS: u64 = 10;
/// Whose durable steps are measured beside ours.
const PEERS: [&str; 2] = ["restate", "dbos"];
/// Peers are measured no shorter: some of their runs must end.
const PEERS_LEAST: Duration = Duration::from_secs(3);
/// Agents at once.
const AGENTS: [usize; 4] = [1, 16, 64, 256];

pub(super) async fn rows<O: Opener>(bench: &Bench<O>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for parts in bench.settings.parts() {
        rows.extend(match parts {
            Parts::Embedded => embedded(bench).await?,
            Parts::Cluster => on_cluster(bench).await?,
        });
    }
    Ok(rows)
}

async fn embedded<O: Opener>(bench: &Bench<O>) -> Result<Vec<Row>> {
    let place = Place::make(&bench.settings, Parts::Embedded).await?;
    let server = Server::start(&bench.settings, &place, &[]).await?;
    let floor = Floor::start(&bench.settings).await?;
    let mut peers = Vec::new();
    for name in PEERS {
        peers.extend(Peer::start(&bench.settings, name, &[]).await?);
    }
    let names: Vec<String> = peers.iter().map(|peer| peer.name().to_owned()).collect();
    let mut rows = Vec::new();
    for agents in AGENTS {
        if !bench.settings.wants(&format!("steps.journal.{agents}")) {
            continue;
        }
        let (mut ours, mut floors) = (Vec::new(), Vec::new());
        let mut theirs = vec![Vec::new(); peers.len()];
        for round in 0..bench.settings.rounds {
            floors.push(floor_load(bench, &floor, agents).await?);
            ours.push(journal_load(bench, &server, agents, round).await?);
            for (peer, theirs) in peers.iter_mut().zip(&mut theirs) {
                theirs.push(peer.ask(&command(bench, agents)).await?);
            }
        }
        rows.extend(rows_of(agents, &ours, &floors, names.iter().zip(theirs)));
    }
    for peer in peers {
        peer.stop().await?;
    }
    floor.stop().await?;
    server.stop().await?;
    place.remove(&bench.settings).await?;
    Ok(rows)
}

fn command<O: Opener>(bench: &Bench<O>, agents: usize) -> Value {
    json!({
        "agents": agents, "steps": STEPS, "bytes": OUTPUT_BYTES,
        "seconds": bench.settings.measured().max(PEERS_LEAST).as_secs_f64(),
        "warmup_seconds": bench.settings.warm_up().as_secs_f64(),
    })
}

fn rows_of<'a>(
    agents: usize,
    ours: &[Load],
    floors: &[Load],
    peers: impl Iterator<Item = (&'a String, Vec<Measure>)>,
) -> Vec<Row> {
    let job = format!("steps.journal.{agents}");
    let head = || Head {
        of: "journal step",
        durability: durable::EMBEDDED,
        parameters: parameters([
            ("agents", json!(agents)),
            ("steps_a_run", json!(STEPS)),
            ("output_bytes", json!(OUTPUT_BYTES)),
        ]),
    };
    // A lone agent asks how long a step takes; many ask how many there are.
    let of_run = |load: &Load| match agents {
        1 => head().value(
            1e3 / (load.rate() * STEPS as f64),
            "ms a step",
            load.times.count() * STEPS,
            load.usage.clone(),
        ),
        _ => head().of_load(load, Figure::Rate(STEPS as f64, "steps/s")),
    };
    let of_floor = |load: &Load| {
        let head = Head { of: "bare HTTP floor", ..head() };
        match agents {
            1 => Measure {
                unit: "ms",
                times: load.times.times(),
                ..head.value(1e3 / load.rate(), "ms", load.times.count(), load.usage.clone())
            },
            _ => head.of_load(load, Figure::Rate(1.0, "requests/s")),
        }
    };
    let measured: Vec<Measure> = ours.iter().map(of_run).collect();
    let against = floors.iter().map(of_floor).collect();
    let mut rows = vec![Row::of(job.clone(), Parts::Embedded, measured.clone(), against)];
    for (name, theirs) in peers {
        let theirs = theirs.into_iter().map(|peer| match agents {
            1 => Measure { value: round(1e3 / peer.value), unit: "ms a step", ..peer },
            _ => peer,
        });
        let job = format!("{job}.{name}");
        rows.push(Row::of(job, Parts::Embedded, measured.clone(), theirs.collect()));
    }
    rows
}

/// A request of the size of a journal's, to the floor.
struct Bare {
    connection: Connection,
    request: Request,
}

impl Agent for Bare {
    async fn turn(&mut self) -> Result<()> {
        self.connection.ask(&self.request).await?.granted().map(drop)
    }
}

async fn floor_load<O: Opener>(bench: &Bench<O>, floor: &Floor, agents: usize) -> Result<Load> {
    let body = json!({"run": "r", "output": events::text(1, OUTPUT_BYTES)}).to_string();
    let mut all = Vec::new();
    for _ in 0..agents {
        let connection = Connection::open(floor.port).await?;
        all.push(Bare {
            connection,
            request: Request::post(floor.port, "/", JSON, body.as_bytes()),
        });
    }
    let processes = [Watched::this("client"), floor.watched()];
    load::run(bench.shape(agents), all, &processes).await
}

async fn journal_load<O: Opener>(
    bench: &Bench<O>,
    server: &Server,
    agents: usize,
    round: usize,
) -> Result<Load> {
    let mut all = Vec::new();
    for agent in 0..agents {
        let connection = Connection::open(server.port).await?;
        all.push(Journal::new(connection, format!("j{agents}-{round}-{agent}"), STEPS));
    }
    let mut processes = vec![Watched::this("client"), server.watched()];
    processes.extend(bench.settings.servers(server.parts));
    load::run(bench.shape(agents), all, &processes).await
}

async fn on_cluster<O: Opener>(bench: &Bench<O>) -> Result<Vec<Row>> {
    let place = Place::make(&bench.settings, Parts::Cluster).await?;
    let server = Server::start(&bench.settings, &place, &[]).await?;
    let (mut ours, mut appends) = (Vec::new(), Vec::new());
    for round in 0..bench.settings.rounds {
        appends.push(one_append(bench).await?);
        let load = journal_load(bench, &server, 1, round).await?;
        let head = Head {
            of: "journal step",
            durability: durable::KAFKA,
            parameters: parameters([("agents", json!(1)), ("steps_a_run", json!(STEPS))]),
        };
        let ms = 1e3 / (load.rate() * STEPS as f64);
        ours.push(head.value(ms, "ms a step", load.times.count() * STEPS, load.usage));
    }
    server.stop().await?;
    place.remove(&bench.settings).await?;
    Ok(vec![Row::of("steps.journal.cluster", Parts::Cluster, ours, appends)])
}

/// One record at a time through the raw producer.
async fn one_append<O: Opener>(bench: &Bench<O>) -> Result<Measure> {
    let place = Place::make(&bench.settings, Parts::Cluster).await?;
    let raw = kafka::Raw::new(&place.log, &place.steps_topic(), "0")?;
    let value = vec![b'x'; OUTPUT_BYTES].into();
    let record = kafka::Outgoing { partition: 0, key: "default/run".into(), value };
    let measured = bench.settings.measured();
    let took = tokio::task::spawn_blocking(move || raw.send_for(&record, measured)).await;
    let took = took.map_err(|error| Error::Peer(error.to_string()))??;
    place.remove(&bench.settings).await?;
    let times = times_of(&took).times();
    let head = Head {
        of: "one raw append to Kafka",
        durability: durable::KAFKA,
        parameters: parameters([("linger_ms", json!(0)), ("bytes", json!(OUTPUT_BYTES))]),
    };
    let mean = took.iter().sum::<Duration>().as_secs_f64() * 1e3 / took.len() as f64;
    Ok(Measure { times, ..head.value(mean, "ms", took.len() as u64, None) })
}
