//! What every job has at hand: the settings, the opener, rounds in turns, and measures with their head.

use crate::{
    cpu::{Usage, Watch, Watched},
    error::Result,
    load::{Load, Shape},
    measure::{Measure, Recorder, round},
    place::Opener,
    settings::Settings,
};
use serde_json::{Map, Value};
use std::time::Duration;

/// The settings, and how logs and stores are opened.
pub(crate) struct Bench<O> {
    pub(crate) settings: Settings,
    pub(crate) opener: O,
}

impl<O: Opener> Bench<O> {
    /// How a steady load of so many agents is shaped.
    pub(crate) fn shape(&self, agents: usize) -> Shape {
        Shape { agents, warm_up: self.settings.warm_up(), measured: self.settings.measured() }
    }

    /// Measures two sides in turns, so that what the machine does meanwhile meets both.
    pub(crate) async fn in_turns(
        &self,
        mut ours: impl AsyncFnMut() -> Result<Measure>,
        mut against: impl AsyncFnMut() -> Result<Measure>,
    ) -> Result<(Vec<Measure>, Vec<Measure>)> {
        let (mut left, mut right) = (Vec::new(), Vec::new());
        for _ in 0..self.settings.rounds {
            right.push(against().await?);
            left.push(ours().await?);
        }
        Ok((left, right))
    }

    /// Measures one side several times.
    pub(crate) async fn rounds(
        &self,
        mut ours: impl AsyncFnMut() -> Result<Measure>,
    ) -> Result<Vec<Measure>> {
        let mut rounds = Vec::new();
        for _ in 0..self.settings.rounds {
            rounds.push(ours().await?);
        }
        Ok(rounds)
    }
}

/// What is durable in each of the parts when an append is acknowledged.
pub(crate) mod durable {
    pub(crate) const EMBEDDED: &str = "fdatasync before the answer, one for all that wait";
    pub(crate) const FILE: &str = "fdatasync after each write";
    pub(crate) const KAFKA: &str = "acks=all, one broker, which syncs later";
    pub(crate) const SQLITE: &str = "WAL with synchronous=NORMAL behind a synced log";
    pub(crate) const CQL: &str = "LOCAL_QUORUM of one node, commit log synced periodically";
    pub(crate) const NONE: &str = "nothing: in memory";
}

/// The parameters of a measure, by name.
pub(crate) fn parameters<const N: usize>(pairs: [(&str, Value); N]) -> Map<String, Value> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A measure in the making: what it is of, what is durable, what it depends on.
pub(crate) struct Head {
    pub(crate) of: &'static str,
    pub(crate) durability: &'static str,
    pub(crate) parameters: Map<String, Value>,
}

impl Head {
    /// So many things in a time.
    pub(crate) fn rate(
        self,
        count: u64,
        took: Duration,
        unit: &'static str,
        usage: Option<Usage>,
    ) -> Measure {
        let seconds = took.as_secs_f64();
        Measure { seconds, ..self.value(count as f64 / seconds, unit, count, usage) }
    }

    /// A figure as it is.
    pub(crate) fn value(
        self,
        value: f64,
        unit: &'static str,
        count: u64,
        usage: Option<Usage>,
    ) -> Measure {
        Measure {
            of: self.of.to_owned(),
            value: round(value),
            unit,
            times: None,
            count,
            seconds: 0.0,
            usage,
            durability: self.durability.to_owned(),
            parameters: self.parameters,
        }
    }

    /// One figure of a load, with the times of all its operations.
    pub(crate) fn of_load(self, load: &Load, figure: Figure) -> Measure {
        let times = load.times.times();
        let of_times =
            |pick: fn(&crate::measure::Times) -> f64| times.as_ref().map_or(f64::NAN, pick);
        let (value, unit) = match figure {
            Figure::Rate(per_turn, unit) => (load.rate() * per_turn, unit),
            Figure::P50 => (of_times(|times| times.p50_ms), "ms"),
            Figure::P99 => (of_times(|times| times.p99_ms), "ms"),
        };
        let measure = self.value(value, unit, load.times.count(), load.usage.clone());
        Measure { times, seconds: round(load.seconds), ..measure }
    }
}

/// Which figure of a load counts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Figure {
    /// Things per second, of which each turn does so many.
    Rate(f64, &'static str),
    P50,
    P99,
}

/// Watches processes while something is done.
pub(crate) async fn watched<T>(
    processes: &[Watched],
    work: impl Future<Output = Result<T>>,
) -> Result<(T, Duration, Option<Usage>)> {
    let (watch, begun) = (Watch::begin(processes), tokio::time::Instant::now());
    let done = work.await?;
    Ok((done, begun.elapsed(), watch.end()))
}

/// The spread of some times.
pub(crate) fn times_of(took: &[Duration]) -> Recorder {
    let mut times = Recorder::new();
    took.iter().for_each(|took| times.note(*took));
    times
}
