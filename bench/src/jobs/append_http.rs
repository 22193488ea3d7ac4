//! How fast a server takes events over HTTP: one at a time by so many clients, against the floor; and in
//! batches, where server and client share the processors.

use crate::{
    bench::{Bench, Figure, Head, parameters, watched},
    container,
    cpu::Watched,
    durable,
    error::Result,
    events::{self, RUN_EVENTS},
    floor::Floor,
    load::{self, Agent, Connection, Request},
    measure::Measure,
    place::{Opener, Place},
    row::Row,
    server::Server,
    settings::Parts,
};
use serde_json::json;
use spine_schemas::{Event, json as text};
use tokio::task::JoinSet;

const EVENTS: &str = "/v1/events";
const NDJSON: &str = "application/x-ndjson";
const AVRO: &str = "application/avro";
/// Clients at once, where each sends one event at a time.
const CLIENTS: [usize; 3] = [1, 16, 64];
/// Events of a body, and clients at once, where many are sent.
const BATCH: usize = 1000;
const SENDERS: usize = 4;

pub(super) async fn rows<O: Opener>(bench: &Bench<O>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let single: Vec<String> = CLIENTS.into_iter().flat_map(names).collect();
    let single: Vec<&str> = single.iter().map(String::as_str).collect();
    for parts in bench.settings.parts_for(&single) {
        rows.extend(one_a_request(bench, parts).await?);
    }
    for form in [Form::Avro, Form::Lines] {
        let job = format!("append.http.{}", form.name());
        for parts in bench.settings.parts_for(&[&job]) {
            let measured = bench.rounds(async || batches(bench, parts, form).await).await?;
            rows.push(Row::of(parts.row(&job), parts, measured, Vec::new()));
        }
    }
    Ok(rows)
}

/// The rows in which so many clients send one event at a time.
fn names(clients: usize) -> Vec<String> {
    match clients {
        1 => vec!["append.http.one.p50".into(), "append.http.one.p99".into()],
        clients => vec![format!("append.http.{clients}")],
    }
}

async fn one_a_request<O: Opener>(bench: &Bench<O>, parts: Parts) -> Result<Vec<Row>> {
    let place = Place::make(&bench.settings, parts).await?;
    let server = Server::start(&bench.settings, &place, &[]).await?;
    let floor = Floor::start(&bench.settings).await?;
    let mut rows = Vec::new();
    for clients in CLIENTS {
        if bench.settings.wants_any(names(clients).iter().map(|name| parts.row(name))) {
            rows.extend(one_by_one(bench, &server, &floor, clients).await?);
        }
    }
    floor.stop().await?;
    server.stop().await?;
    place.remove(&bench.settings).await?;
    Ok(rows)
}

/// Sends the events of its own runs, one a request.
struct Sender {
    connection: Connection,
    mark: String,
    number: u64,
    request: Request,
}

impl Agent for Sender {
    const TURN: &'static str = "a request";

    async fn turn(&mut self) -> Result<()> {
        let event = events::event(&self.mark, self.number / RUN_EVENTS, self.number % RUN_EVENTS);
        self.number += 1;
        let line = text::to_line(&event).expect("a legal event");
        self.request.set(self.connection.port, EVENTS, NDJSON, line.as_bytes());
        self.connection.ask(&self.request).await?.granted().map(drop)
    }
}

async fn senders(port: u16, clients: usize, round: &str) -> Result<Vec<Sender>> {
    let mut all = Vec::new();
    for client in 0..clients {
        let connection = Connection::open(port).await?;
        let request = Request::post(port, EVENTS, NDJSON, b"");
        all.push(Sender { connection, mark: format!("{round}-{client}"), number: 0, request });
    }
    Ok(all)
}

/// Rows for so many clients: rate, and for one client the two times.
async fn one_by_one<O: Opener>(
    bench: &Bench<O>,
    server: &Server,
    floor: &Floor,
    clients: usize,
) -> Result<Vec<Row>> {
    let parts = server.parts;
    let (mut ours, mut floors) = (Vec::new(), Vec::new());
    for round in 0..bench.settings.rounds {
        let mark = format!("{}-{clients}-{round}", parts.name());
        let agents = senders(floor.port, clients, &mark).await?;
        let processes = [Watched::this("client"), floor.watched()];
        floors.push(load::run(bench.shape(clients), agents, &processes).await?);
        let agents = senders(server.port, clients, &mark).await?;
        let mut processes = vec![Watched::this("client"), server.watched()];
        processes.extend(bench.settings.servers(parts));
        ours.push(load::run(bench.shape(clients), agents, &processes).await?);
    }
    let row = |job: String, figure: Figure| {
        let side = |of: &'static str, durability: &str, loads: &[load::Load]| {
            let head = || Head {
                of,
                durability,
                parameters: parameters([
                    ("clients", json!(clients)),
                    ("events_a_request", json!(1)),
                ]),
            };
            loads.iter().map(|load| head().of_load(load, figure)).collect::<Vec<Measure>>()
        };
        let against = side("bare HTTP floor", durable::EMBEDDED, &floors);
        let measured = side("one event a request", bench.durable.log(parts), &ours);
        Row::of(parts.row(&job), parts, measured, against)
    };
    let figures = match clients {
        1 => vec![Figure::P50, Figure::P99],
        _ => vec![Figure::Rate(1.0, "events/s")],
    };
    Ok(names(clients).into_iter().zip(figures).map(|(job, figure)| row(job, figure)).collect())
}

/// What the bodies are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Lines,
    Avro,
}

impl Form {
    fn name(self) -> &'static str {
        match self {
            Self::Lines => "ndjson",
            Self::Avro => "avro",
        }
    }

    fn request(self, port: u16, events: &[Event]) -> Request {
        match self {
            Self::Lines => {
                let lines =
                    events.iter().map(|it| text::to_line(it).expect("a legal event") + "\n");
                Request::post(port, EVENTS, NDJSON, lines.collect::<String>().as_bytes())
            }
            Self::Avro => Request::post(port, EVENTS, AVRO, &container::of(events.iter())),
        }
    }
}

/// The requests of one sender, made beforehand.
fn requests(port: u16, form: Form, sender: usize, count: usize) -> Vec<Request> {
    let runs = BATCH as u64 / RUN_EVENTS;
    let mark = format!("batch-{sender}");
    let batch = |number: u64| {
        let runs = number * runs..(number + 1) * runs;
        let events = runs.flat_map(|run| (0..RUN_EVENTS).map(move |index| (run, index)));
        events.map(|(run, index)| events::event(&mark, run, index)).collect::<Vec<_>>()
    };
    (0..count as u64).map(|number| form.request(port, &batch(number))).collect()
}

async fn batches<O: Opener>(bench: &Bench<O>, parts: Parts, form: Form) -> Result<Measure> {
    let each = bench.settings.of_size(2, 150);
    let place = Place::make(&bench.settings, parts).await?;
    let server = Server::start(&bench.settings, &place, &[]).await?;
    let bodies: Vec<Vec<Request>> =
        (0..SENDERS).map(|sender| requests(server.port, form, sender, each)).collect();
    let bytes: usize = bodies.iter().flatten().map(Request::bytes).sum();
    let mut processes = vec![Watched::this("client"), server.watched()];
    processes.extend(bench.settings.servers(parts));
    let sending = async {
        let mut senders = JoinSet::new();
        for bodies in bodies {
            let mut connection = Connection::open(server.port).await?;
            senders.spawn(async move {
                for body in &bodies {
                    connection.ask(body).await?.granted()?;
                }
                Ok(())
            });
        }
        senders.join_all().await.into_iter().collect::<Result<()>>()
    };
    let ((), took, usage) = watched(&processes, sending).await?;
    server.stop().await?;
    place.remove(&bench.settings).await?;
    let count = (SENDERS * each) as u64 * (BATCH as u64 / RUN_EVENTS * RUN_EVENTS);
    let head = Head {
        of: "batches over HTTP",
        durability: bench.durable.log(parts),
        parameters: parameters([
            ("clients", json!(SENDERS)),
            ("events_a_request", json!(BATCH / RUN_EVENTS as usize * RUN_EVENTS as usize)),
            ("bytes_an_event", json!(bytes as u64 / count)),
            ("form", json!(form.name())),
        ]),
    };
    Ok(head.rate(count, took, "events/s", usage))
}
