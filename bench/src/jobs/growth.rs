//! What more partitions, more tenants and more stored runs cost a step of the journal. Each figure stands
//! against the same load on a hundredth of it.

use crate::{
    bench::{Bench, Figure, Head, parameters},
    cpu::Watched,
    durable,
    error::Result,
    events::RUN_EVENTS,
    filled::{self, Order},
    journal::Journal,
    load::{self, Connection},
    measure::Measure,
    place::{Opener, Place},
    row::Row,
    server::Server,
    settings::Parts,
};
use serde_json::json;

/// Agents at once: one for each tenant.
const AGENTS: usize = 100;
/// Steps of a run.
const STEPS: u64 = 10;
/// How much more there is of something.
const TIMES: [u64; 3] = [1, 10, 100];
/// Runs that are stored before anything is measured, at the least.
const STORED: u64 = 1_000;

/// What there is more of.
#[derive(Clone, Copy)]
enum Of {
    Partitions,
    Tenants,
    Stored,
}

impl Of {
    const ALL: [Self; 3] = [Self::Partitions, Self::Tenants, Self::Stored];

    /// The row of so many times the least.
    fn row(self, times: u64) -> String {
        let name = match self {
            Self::Partitions => "partitions",
            Self::Tenants => "tenants",
            Self::Stored => "stored",
        };
        format!("scale.{name}.{times}")
    }
}

/// A server with so many times the least, and what was found of it.
struct Side {
    times: u64,
    place: Place,
    server: Server,
    found: Vec<Measure>,
}

pub(super) async fn rows<O: Opener>(bench: &Bench<O>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for of in Of::ALL {
        if bench.settings.wants_any(TIMES.map(|times| of.row(times))) {
            rows.extend(rows_of(bench, of).await?);
        }
    }
    Ok(rows)
}

/// All servers run at once, and one after the other has its turn under load.
async fn rows_of<O: Opener>(bench: &Bench<O>, of: Of) -> Result<Vec<Row>> {
    let mut sides = Vec::new();
    for times in TIMES {
        if times == 1 || bench.settings.wants(&of.row(times)) {
            sides.push(Side::start(bench, of, times).await?);
        }
    }
    for turn in 0..bench.settings.rounds {
        for side in &mut sides {
            side.found.push(load(bench, &side.server, of, side.times, turn).await?);
        }
    }
    let least = sides[0].found.clone();
    let mut rows = Vec::new();
    for side in sides {
        rows.push(Row::of(of.row(side.times), Parts::Embedded, side.found, least.clone()));
        side.server.stop().await?;
        side.place.remove(&bench.settings).await?;
    }
    Ok(rows)
}

impl Side {
    async fn start<O: Opener>(bench: &Bench<O>, of: Of, times: u64) -> Result<Self> {
        let place = place(bench, of, times).await?;
        let server = Server::start(&bench.settings, &place, &[]).await?;
        if let Of::Stored = of {
            filled::wait_until_stored(bench, &place, events(bench, times)).await?;
        }
        Ok(Self { times, place, server, found: Vec::new() })
    }
}

async fn place<O: Opener>(bench: &Bench<O>, of: Of, times: u64) -> Result<Place> {
    match of {
        Of::Partitions => {
            let count = u32::try_from(times).unwrap_or(u32::MAX);
            Place::with_partitions(&bench.settings, Parts::Embedded, count).await
        }
        Of::Tenants => Place::make(&bench.settings, Parts::Embedded).await,
        Of::Stored => {
            let total = events(bench, times);
            filled::place(bench, Parts::Embedded, total, Order::Whole).await
        }
    }
}

/// Events of so many times the least runs.
fn events<O: Opener>(bench: &Bench<O>, times: u64) -> u64 {
    bench.settings.of_size(10, STORED) * times * RUN_EVENTS
}

async fn load<O: Opener>(
    bench: &Bench<O>,
    server: &Server,
    of: Of,
    times: u64,
    turn: usize,
) -> Result<Measure> {
    let agents = bench.settings.of_size(4, AGENTS);
    let tenants = if let Of::Tenants = of { times } else { 1 };
    let mut all = Vec::new();
    for (number, tenant) in (0..agents).zip((0..tenants).cycle()) {
        let connection = Connection::open(server.port).await?;
        let agent = Journal::new(connection, format!("g{turn}-{number}"), STEPS);
        all.push(agent.of_tenant(format!("t{tenant}")));
    }
    let processes = [Watched::this("client"), server.watched()];
    let load = load::run(bench.shape(agents), all, &processes).await?;
    let head = Head {
        of: "journal step",
        durability: durable::EMBEDDED,
        parameters: parameters([
            ("agents", json!(agents)),
            ("partitions", json!(if let Of::Partitions = of { times } else { 1 })),
            ("tenants", json!(tenants)),
            (
                "runs_stored",
                json!(if let Of::Stored = of { events(bench, times) / RUN_EVENTS } else { 0 }),
            ),
        ]),
    };
    Ok(head.of_load(&load, Figure::Rate(STEPS as f64, "steps/s")))
}
