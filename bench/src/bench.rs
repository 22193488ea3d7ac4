//! What every job has at hand: the settings, the opener, rounds in turns, and measures with their head.

use crate::{
    cpu::{Usage, Watch, Watched},
    durable::Durable,
    error::Result,
    load::{Load, Shape},
    measure::{Measure, Recorder, Times, round},
    place::Opener,
    settings::Settings,
};
use serde_json::{Map, Value};
use std::time::Duration;

/// The settings, how logs and stores are opened, and what is durable on them.
pub(crate) struct Bench<O> {
    pub(crate) settings: Settings,
    pub(crate) opener: O,
    pub(crate) durable: Durable,
}

impl<O: Opener> Bench<O> {
    pub(crate) async fn new(settings: &Settings, opener: &O) -> Result<Self> {
        let durable = Durable::of(settings).await?;
        Ok(Self { settings: settings.clone(), opener: opener.clone(), durable })
    }

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

/// The parameters of a measure, by name.
pub(crate) fn parameters<const N: usize>(pairs: [(&str, Value); N]) -> Map<String, Value> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A measure in the making: what it is of, what is durable, what it depends on.
pub(crate) struct Head<'d> {
    pub(crate) of: &'static str,
    pub(crate) durability: &'d str,
    pub(crate) parameters: Map<String, Value>,
}

impl Head<'_> {
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
        let times = load.spread();
        let of_times = |pick: fn(&Times) -> f64| times.as_ref().map_or(f64::NAN, pick);
        let (value, unit) = match figure {
            Figure::Rate(per_turn, unit) => (load.rate() * per_turn, unit),
            Figure::P50 => (of_times(|times| times.p50_ms), "ms"),
            Figure::P99 => (of_times(|times| times.p99_ms), "ms"),
            Figure::Each(per_turn, unit) => (1e3 / (load.rate() * per_turn), unit),
        };
        let measure = self.value(value, unit, load.times.count(), load.usage.clone());
        Measure { times, seconds: round(load.seconds), ..measure }
    }

    /// The mean of single times of such a thing, one after the other, with their spread.
    pub(crate) fn mean(
        self,
        took: &[Duration],
        of: &'static str,
        unit: &'static str,
        usage: Option<Usage>,
    ) -> Measure {
        let seconds = took.iter().sum::<Duration>().as_secs_f64();
        let mean_ms = seconds * 1e3 / took.len().max(1) as f64;
        let measure = self.value(mean_ms, unit, took.len() as u64, usage);
        Measure { times: spread(took, of), seconds: round(seconds), ..measure }
    }
}

/// Which figure of a load counts.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Figure {
    /// Things per second, of which each turn does so many.
    Rate(f64, &'static str),
    P50,
    P99,
    /// Milliseconds a thing, of which each turn does so many.
    Each(f64, &'static str),
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

/// Watches this process while it does something that nothing else is awaited for.
pub(crate) fn watched_here<T>(name: &str, work: impl FnOnce() -> T) -> (T, Option<Usage>) {
    let watch = Watch::begin(&[Watched::this(name)]);
    (work(), watch.end())
}

/// The spread of some times of such a thing.
pub(crate) fn spread(took: &[Duration], of: &'static str) -> Option<Times> {
    let mut times = Recorder::new();
    took.iter().for_each(|took| times.note(*took));
    times.times(of)
}
