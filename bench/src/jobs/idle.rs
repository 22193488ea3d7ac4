//! What a server costs that has nothing to do.

use crate::{
    bench::{Bench, Head, durable, parameters},
    cpu::Watch,
    error::{Error, Result},
    measure::Measure,
    place::{Opener, Place},
    row::Row,
    server::Server,
    settings::Parts,
};
use serde_json::json;
use std::time::Duration;
use tokio::time::sleep;

pub(super) async fn rows<O: Opener>(bench: &Bench<O>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for parts in bench.settings.parts() {
        let place = Place::make(&bench.settings, parts).await?;
        let server = Server::start(&bench.settings, &place, &[]).await?;
        // What starting leaves behind settles first.
        sleep(bench.settings.warm_up()).await;
        let rounds = bench.rounds(async || measure(bench, &place, &server).await).await?;
        server.stop().await?;
        place.remove(&bench.settings).await?;
        let job = match parts {
            Parts::Embedded => "idle",
            Parts::Cluster => "idle.cluster",
        };
        rows.push(Row::of(job, parts, rounds, Vec::new()));
    }
    Ok(rows)
}

async fn measure<O: Opener>(bench: &Bench<O>, place: &Place, server: &Server) -> Result<Measure> {
    let measured = bench.settings.of_size(Duration::from_millis(200), Duration::from_secs(20));
    let watch = Watch::begin(&[server.watched()]);
    sleep(measured).await;
    let usage = watch.end();
    // Where nothing was used at all, no thread was the busiest.
    let cores = usage.as_ref().map_or(0.0, |usage| usage.cpu.values().sum());
    if !cores.is_finite() {
        return Err(Error::Server("the server's processor time cannot be read".into()));
    }
    let head = Head {
        of: "an idle server",
        durability: durable::NONE,
        parameters: parameters([("partitions", json!(place.partitions()))]),
    };
    Ok(Measure { seconds: measured.as_secs_f64(), ..head.value(cores, "cores", 1, usage) })
}
