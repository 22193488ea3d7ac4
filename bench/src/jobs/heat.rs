//! Heats the servers before anything is measured on them: a cold JVM is several times slower. Raw inserts and
//! a store that follows take turns, so that neither side of a comparison finds its path colder than the other.

use super::store;
use crate::{
    bench::Bench,
    error::Result,
    filled::{self, Order},
    place::Opener,
    settings::Parts,
};
use std::time::Duration;
use tokio::time::Instant;

/// Turns begin as long as so much time is not over.
const HEATED: Duration = Duration::from_secs(60);
/// Events that the store follows in one turn.
const EVENTS: u64 = 300_000;

pub(super) async fn heat<O: Opener>(bench: &Bench<O>) -> Result<()> {
    let begun = Instant::now();
    let heated = bench.settings.of_size(Duration::ZERO, HEATED);
    while begun.elapsed() < heated {
        store::raw_inserts(bench).await?;
        let place = filled::place(bench, Parts::Cluster, EVENTS, Order::Whole).await?;
        store::follow(bench, &place, EVENTS, Order::Whole).await?;
        place.remove(&bench.settings).await?;
    }
    Ok(())
}
