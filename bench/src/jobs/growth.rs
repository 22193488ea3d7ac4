//! What more partitions, more tenants and more stored runs cost a step of the journal. Each figure stands
//! against the same load on a hundredth of it.

use crate::{
    bench::{Bench, Figure, Head, durable, parameters},
    cpu::Watched,
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

    fn name(self) -> &'static str {
        match self {
            Self::Partitions => "partitions",
            Self::Tenants => "tenants",
            Self::Stored => "stored",
        }
    }
}

pub(super) async fn rows<O: Opener>(bench: &Bench<O>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for of in Of::ALL {
        let mut least = None;
        for times in TIMES {
            let job = format!("scale.{}.{times}", of.name());
            let is_base = times == 1 && wants_any(bench, of);
            if !is_base && !bench.settings.wants(&job) {
                continue;
            }
            let measures = measure(bench, of, times).await?;
            let against = least.get_or_insert_with(|| measures.clone()).clone();
            rows.push(Row::of(job, Parts::Embedded, measures, against));
        }
    }
    Ok(rows)
}

/// Whether a row is wanted that stands against the first one.
fn wants_any<O: Opener>(bench: &Bench<O>, of: Of) -> bool {
    TIMES.iter().any(|times| bench.settings.wants(&format!("scale.{}.{times}", of.name())))
}

async fn measure<O: Opener>(bench: &Bench<O>, of: Of, times: u64) -> Result<Vec<Measure>> {
    let place = place(bench, of, times).await?;
    let server = Server::start(&bench.settings, &place, &[]).await?;
    if let Of::Stored = of {
        filled::wait_until_stored(bench, &place, events(bench, times)).await?;
    }
    let mut round = 0;
    let measures = bench
        .rounds(async || {
            round += 1;
            load(bench, &server, of, times, round).await
        })
        .await?;
    server.stop().await?;
    place.remove(&bench.settings).await?;
    Ok(measures)
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
    round: u64,
) -> Result<Measure> {
    let agents = bench.settings.of_size(4, AGENTS);
    let tenants = if let Of::Tenants = of { times } else { 1 };
    let mut all = Vec::new();
    for (number, tenant) in (0..agents).zip((0..tenants).cycle()) {
        let connection = Connection::open(server.port).await?;
        let agent = Journal::new(connection, format!("g{round}-{number}"), STEPS);
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
