//! What a durable step of an agent costs. Through the journal: against the floor of one durable HTTP
//! request, and against Restate doing the same runs. On a cluster: against one append to Kafka.

use super::append_log;
use crate::{
    bench::{Bench, Figure, Head, parameters},
    cpu::Watched,
    durable,
    error::Result,
    events,
    floor::Floor,
    journal::{Journal, OUTPUT_BYTES},
    load::{self, Agent, Connection, Load, Request},
    measure::{Measure, Times, round},
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

/// What a time of a run is of, on each side whose unit is a step.
const PART_OF_RUN: &str = "a run divided by its steps";

pub(super) async fn rows<O: Opener>(bench: &Bench<O>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    if bench.settings.wants_any(AGENTS.into_iter().flat_map(names)) {
        rows.extend(embedded(bench).await?);
    }
    if bench.settings.cluster.is_some() && bench.settings.wants("steps.journal.cluster") {
        rows.push(on_cluster(bench).await?);
    }
    Ok(rows)
}

/// The row of so many agents against the floor.
fn name(agents: usize) -> String {
    format!("steps.journal.{agents}")
}

/// The same against a peer.
fn name_beside(agents: usize, peer: &str) -> String {
    format!("{}.{peer}", name(agents))
}

/// The rows of so many agents.
fn names(agents: usize) -> Vec<String> {
    let beside = PEERS.into_iter().map(|peer| name_beside(agents, peer));
    std::iter::once(name(agents)).chain(beside).collect()
}

async fn embedded<O: Opener>(bench: &Bench<O>) -> Result<Vec<Row>> {
    let place = Place::make(&bench.settings, Parts::Embedded).await?;
    let server = Server::start(&bench.settings, &place, &[]).await?;
    let floor = Floor::start(&bench.settings).await?;
    let mut peers = Vec::new();
    for name in PEERS {
        if bench.settings.wants_any(AGENTS.map(|agents| name_beside(agents, name))) {
            peers.extend(Peer::start(&bench.settings, name, &[]).await?);
        }
    }
    let names_of_peers: Vec<String> = peers.iter().map(|peer| peer.name().to_owned()).collect();
    let mut rows = Vec::new();
    for agents in AGENTS {
        if !bench.settings.wants_any(names(agents)) {
            continue;
        }
        let (mut ours, mut floors) = (Vec::new(), Vec::new());
        let mut theirs = vec![Vec::new(); peers.len()];
        for round in 0..bench.settings.rounds {
            floors.push(floor_load(bench, &floor, agents).await?);
            ours.push(journal_load(bench, &server, agents, round).await?);
            for (peer, theirs) in peers.iter_mut().zip(&mut theirs) {
                if bench.settings.wants(&name_beside(agents, peer.name())) {
                    theirs.push(peer.ask(&command(bench, agents)).await?);
                }
            }
        }
        rows.extend(rows_of(agents, &ours, &floors, names_of_peers.iter().zip(theirs)));
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
    let head = |of| Head {
        of,
        durability: durable::EMBEDDED,
        parameters: parameters([
            ("agents", json!(agents)),
            ("steps_a_run", json!(STEPS)),
            ("output_bytes", json!(OUTPUT_BYTES)),
        ]),
    };
    // A lone agent asks how long a step takes; many ask how many there are.
    let (of_step, of_request) = match agents {
        1 => (Figure::Each(STEPS as f64, "ms a step"), Figure::Each(1.0, "ms")),
        _ => (Figure::Rate(STEPS as f64, "steps/s"), Figure::Rate(1.0, "requests/s")),
    };
    let of_run = |load: &Load| by_step(head("journal step").of_load(load, of_step));
    let measured: Vec<Measure> = ours.iter().map(of_run).collect();
    let of_floor = |load: &Load| head("bare HTTP floor").of_load(load, of_request);
    let against = floors.iter().map(of_floor).collect();
    let mut rows = vec![Row::of(name(agents), Parts::Embedded, measured.clone(), against)];
    for (peer, theirs) in peers.filter(|(_, theirs)| !theirs.is_empty()) {
        let theirs = theirs.into_iter().map(|peer| match agents {
            1 => Measure { value: round(1e3 / peer.value), unit: "ms a step", ..peer },
            _ => peer,
        });
        let job = name_beside(agents, peer);
        rows.push(Row::of(job, Parts::Embedded, measured.clone(), theirs.collect()));
    }
    rows
}

/// The measure of a load of runs with count and times of their steps.
fn by_step(of_runs: Measure) -> Measure {
    let part = |times: Times| times.of_part(STEPS, PART_OF_RUN);
    Measure { count: of_runs.count * STEPS, times: of_runs.times.map(part), ..of_runs }
}

/// A request of the size of a journal's, to the floor.
struct Bare {
    connection: Connection,
    request: Request,
}

impl Agent for Bare {
    const TURN: &'static str = "a request";

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

async fn on_cluster<O: Opener>(bench: &Bench<O>) -> Result<Row> {
    let place = Place::make(&bench.settings, Parts::Cluster).await?;
    let server = Server::start(&bench.settings, &place, &[]).await?;
    let (mut ours, mut appends) = (Vec::new(), Vec::new());
    for round in 0..bench.settings.rounds {
        appends.push(one_append(bench).await?);
        let load = journal_load(bench, &server, 1, round).await?;
        let head = Head {
            of: "journal step",
            durability: bench.durable.log(Parts::Cluster),
            parameters: parameters([("agents", json!(1)), ("steps_a_run", json!(STEPS))]),
        };
        ours.push(by_step(head.of_load(&load, Figure::Each(STEPS as f64, "ms a step"))));
    }
    server.stop().await?;
    place.remove(&bench.settings).await?;
    Ok(Row::of("steps.journal.cluster", Parts::Cluster, ours, appends))
}

/// One record at a time through the raw producer.
async fn one_append<O: Opener>(bench: &Bench<O>) -> Result<Measure> {
    let values = (0..STEPS).map(|seed| events::text(seed, OUTPUT_BYTES).into()).collect();
    let (took, usage) = append_log::one_in_flight(bench, values).await?;
    let head = Head {
        of: "one raw append to Kafka",
        durability: bench.durable.log(Parts::Cluster),
        parameters: parameters([("linger_ms", json!(0)), ("bytes", json!(OUTPUT_BYTES))]),
    };
    Ok(head.mean(&took, "an append", "ms", usage))
}
