//! A place whose log holds events that nobody has folded yet.

use crate::{
    bench::Bench,
    error::{Error, Result},
    events::{self, RUN_EVENTS},
    place::{Opener, Place},
    server::Server,
    settings::Parts,
};
use spine_log::{EventLog, TopicPartition, Urgency};
use spine_schemas::keys;
use spine_store::RunStore;
use std::{sync::Arc, time::Duration};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

/// How often the store's progress is looked at while it fills.
const LOOK: Duration = Duration::from_millis(100);
/// Filling takes no longer.
const FILLED: Duration = Duration::from_secs(1200);
/// Over so long a store is looked at to see how fast it moves.
const CALM: Duration = Duration::from_secs(1);
/// Records of one append.
const APPEND: usize = 1000;

/// In which order the events of runs lie in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// One run after the other, so that a batch of the store holds whole runs.
    Whole,
    /// So many runs take turns, so that every event comes alone.
    Interleaved(u64),
    /// One event of each run, which stays open.
    Single,
}

impl Order {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole runs",
            Self::Interleaved(_) => "interleaved",
            Self::Single => "one event a run",
        }
    }

    /// Run and index of the event at a place in this order.
    fn event_at(self, at: u64) -> (u64, u64) {
        match self {
            Self::Single => (at, 0),
            Self::Whole => (at / RUN_EVENTS, at % RUN_EVENTS),
            Self::Interleaved(runs) => {
                let (group, rest) = (at / (runs * RUN_EVENTS), at % (runs * RUN_EVENTS));
                (group * runs + rest % runs, rest / runs)
            }
        }
    }
}

/// Makes a place with so many events in its log.
pub(crate) async fn place<O: Opener>(
    bench: &Bench<O>,
    parts: Parts,
    total: u64,
    order: Order,
) -> Result<Place> {
    let place = Place::make(&bench.settings, parts).await?;
    if parts == Parts::Embedded {
        // A log with records and without an installation's identity would be refused.
        Server::start(&bench.settings, &place, &[]).await?.stop().await?;
    }
    let (log, topic) = bench.opener.log(&place.log).await?;
    fill(&log, &topic, total, order).await?;
    bench.opener.close(log).await;
    Ok(place)
}

async fn fill<L: EventLog>(log: &L, topic: &Arc<str>, total: u64, order: Order) -> Result<()> {
    let partitions = log.partitions(topic).await?;
    let mut lanes = JoinSet::new();
    for partition in 0..partitions {
        let (log, to) = (log.clone(), TopicPartition::new(Arc::clone(topic), partition));
        lanes.spawn(async move {
            let mut records = Vec::with_capacity(APPEND);
            for at in 0..total {
                let (run, index) = order.event_at(at);
                let key = format!("{}/{}", events::TENANT, events::run_id("fill", run));
                if keys::partition_of(key.as_bytes(), partitions) != partition {
                    continue;
                }
                records.push(events::record(&events::event("fill", run, index)));
                if records.len() == APPEND {
                    log.append(&to, std::mem::take(&mut records), Urgency::Normal).await?;
                }
            }
            if !records.is_empty() {
                log.append(&to, records, Urgency::Normal).await?;
            }
            Ok::<_, Error>(())
        });
    }
    while let Some(ended) = lanes.join_next().await {
        ended.map_err(|error| Error::Server(error.to_string()))??;
    }
    Ok(())
}

/// Waits until a server has stored so many events of an embedded log.
pub(crate) async fn wait_until_stored<O: Opener>(
    bench: &Bench<O>,
    place: &Place,
    events: u64,
) -> Result<()> {
    let store = bench.opener.store(place.store()).await?;
    let until = Instant::now() + FILLED;
    while store.progress(0).await?.is_none_or(|progress| progress.offset < events) {
        if Instant::now() > until {
            return Err(Error::Server("the store does not follow".into()));
        }
        sleep(LOOK).await;
    }
    Ok(())
}

/// How far a store is, over all partitions.
pub(crate) async fn stored<S: RunStore>(store: &S, partitions: u32) -> Result<u64> {
    let mut sum = 0;
    for partition in 0..partitions {
        sum += store.progress(partition).await?.map_or(0, |progress| progress.offset + 1);
    }
    Ok(sum)
}

/// Waits until the store moves by no more than so many events a second.
pub(crate) async fn wait_until_calm<O: Opener>(
    bench: &Bench<O>,
    place: &Place,
    most: u64,
) -> Result<()> {
    let store = bench.opener.store(place.store()).await?;
    let until = Instant::now() + FILLED;
    let mut before = stored(&store, place.partitions()).await?;
    loop {
        sleep(CALM).await;
        let now = stored(&store, place.partitions()).await?;
        if now <= before + most {
            return Ok(());
        }
        if Instant::now() > until {
            return Err(Error::Server("the store does not come to rest".into()));
        }
        before = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_order_holds_every_event_once_and_each_run_in_order() {
        for order in [Order::Whole, Order::Interleaved(5)] {
            let mut seen: Vec<(u64, u64)> = (0..80).map(|at| order.event_at(at)).collect();
            for run in 0..10 {
                let of_run: Vec<u64> =
                    seen.iter().filter(|(of, _)| *of == run).map(|(_, index)| *index).collect();
                assert_eq!(of_run, (0..RUN_EVENTS).collect::<Vec<_>>(), "{order:?}");
            }
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), 80);
        }
    }
}
