//! What a run keeps of a context that grows with every step: bytes of its log and its store, of a long run
//! against one of half the length. Kept anew with each step, it would be four times as much.

use crate::{
    bench::{Bench, Head, parameters, watched},
    cpu::Watched,
    durable,
    error::Result,
    journal::{Journal, OUTPUT_BYTES},
    load::Connection,
    measure::Measure,
    place::{Opener, Place},
    row::Row,
    server::Server,
    settings::Parts,
};
use serde_json::json;

pub(super) async fn row<O: Opener>(bench: &Bench<O>) -> Result<Row> {
    let (half, whole) = bench.settings.of_size((25, 50), (500, 1_000));
    let (ours, against) =
        bench.in_turns(async || kept(bench, whole).await, async || kept(bench, half).await).await?;
    Ok(Row::of("scale.context", Parts::Embedded, ours, against))
}

/// Bytes that one run of so many steps adds, each of which gives as much as the one before.
async fn kept<O: Opener>(bench: &Bench<O>, steps: u64) -> Result<Measure> {
    let place = Place::make(&bench.settings, Parts::Embedded).await?;
    Server::start(&bench.settings, &place, &[]).await?.stop().await?;
    let empty = place.stored_bytes()?;
    let server = Server::start(&bench.settings, &place, &[]).await?;
    let mut agent = Journal::new(Connection::open(server.port).await?, "context".into(), steps);
    let processes = [Watched::this("client"), server.watched()];
    let ((), took, usage) = watched(&processes, agent.run()).await?;
    server.stop().await?;
    let bytes = place.stored_bytes()?.saturating_sub(empty);
    place.remove(&bench.settings).await?;
    let head = Head {
        of: "log and store of a run",
        durability: durable::EMBEDDED,
        parameters: parameters([("steps", json!(steps)), ("output_bytes", json!(OUTPUT_BYTES))]),
    };
    let measure = head.value(bytes as f64 / 1024.0, "KiB", 1, usage);
    Ok(Measure { seconds: took.as_secs_f64(), ..measure })
}
