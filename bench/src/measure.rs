//! One measurement: a figure, the spread of single times behind it, and what the processors did meanwhile.

use crate::cpu::Usage;
use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::{Map, Value};
use std::time::Duration;

/// Longest time that is told apart from a longer one.
const LONGEST: Duration = Duration::from_secs(600);
/// Significant digits of a recorded time.
const DIGITS: u8 = 3;

/// A figure and what is needed to believe it.
#[derive(Clone, Debug, Serialize)]
pub struct Measure {
    /// What was measured, for people: "raw producer", "journal step".
    pub of: String,
    /// The figure.
    pub value: f64,
    /// Its unit: `events/s`, `ms`, `s`.
    pub unit: &'static str,
    /// How long single operations took, where there are such.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub times: Option<Times>,
    /// Operations that were measured.
    pub count: u64,
    /// How long the measuring took.
    pub seconds: f64,
    /// Cores that each process used, and which of them was nearest to its limit.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// What is durable when the operation counts as done.
    pub durability: String,
    /// Everything else that the figure depends on.
    pub parameters: Map<String, Value>,
}

/// Spread of single times, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Times {
    /// What took each of them: "a request", "a run divided by its steps".
    pub times_of: &'static str,
    /// Half of them were shorter.
    pub p50_ms: f64,
    /// 99 of 100 were shorter.
    pub p99_ms: f64,
    /// The longest.
    pub max_ms: f64,
}

impl Times {
    /// The same of an equal part of each thing.
    pub(crate) fn of_part(self, parts: u64, times_of: &'static str) -> Self {
        let part = |ms: f64| round(ms / parts as f64);
        let (p50_ms, p99_ms) = (part(self.p50_ms), part(self.p99_ms));
        Self { times_of, p50_ms, p99_ms, max_ms: part(self.max_ms) }
    }
}

/// Records single times.
#[derive(Clone, Debug)]
pub struct Recorder(Histogram<u64>);

impl Recorder {
    pub(crate) fn new() -> Self {
        let longest = LONGEST.as_nanos() as u64;
        Self(Histogram::new_with_max(longest, DIGITS).expect("constant bounds that are allowed"))
    }

    pub(crate) fn note(&mut self, took: Duration) {
        self.0.saturating_record(took.as_nanos() as u64);
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("histograms with equal bounds");
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// The spread of the times of such a thing; `None` where nothing was recorded.
    pub(crate) fn times(&self, times_of: &'static str) -> Option<Times> {
        let ms = |nanos: u64| round(nanos as f64 / 1e6);
        (!self.0.is_empty()).then(|| Times {
            times_of,
            p50_ms: ms(self.0.value_at_quantile(0.5)),
            p99_ms: ms(self.0.value_at_quantile(0.99)),
            max_ms: ms(self.0.max()),
        })
    }
}

/// Four significant digits: more would be noise.
pub(crate) fn round(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let scale = 10f64.powi(3 - value.abs().log10().floor() as i32);
    (value * scale).round() / scale
}

/// The middle of some figures; of an even number the lower of the two in the middle.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len().checked_sub(1)? / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_keep_four_digits() {
        for (value, rounded) in [(0.0, 0.0), (123_456.0, 123_500.0), (0.123_449, 0.1234)] {
            assert_eq!(round(value), rounded);
        }
    }

    #[test]
    fn the_middle_is_one_of_the_figures() {
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0]), Some(1.0));
        assert_eq!(median([]), None);
    }

    #[test]
    fn a_spread_is_in_milliseconds() {
        let mut recorder = Recorder::new();
        assert_eq!(recorder.times("a call"), None);
        for ms in 1..=100 {
            recorder.note(Duration::from_millis(ms));
        }
        let times = recorder.times("a call").unwrap();
        assert!(
            (times.p50_ms - 50.0).abs() < 0.1 && (times.p99_ms - 99.0).abs() < 0.1,
            "{times:?}"
        );
        assert!((times.max_ms - 100.0).abs() < 0.2, "{times:?}");
        let part = times.of_part(10, "a tenth of a call");
        assert!((part.p99_ms - 9.9).abs() < 0.01, "{part:?}");
        assert_eq!(part.times_of, "a tenth of a call");
    }
}
