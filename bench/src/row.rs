//! A row of the result: what was measured, against what, and whether that is enough.

use crate::{
    goals::{Goal, Met},
    measure::{Measure, median, round},
    settings::Parts,
};
use serde::Serialize;

/// A row. As JSON it holds all from which the ratio can be computed again.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The job's name: `append.http.one.p50`.
    pub job: String,
    /// The parts that Spine ran on.
    pub on: &'static str,
    /// The round whose figure is the median.
    pub measured: Measure,
    /// The same of the other side, measured in turns with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against: Option<Measure>,
    /// `measured.value / against.value`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<f64>,
    /// Which figure the goal is about: `ratio` or `value`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub goal: Option<&'static str>,
    /// `>=` or `<=`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sign: Option<&'static str>,
    /// What the job must reach.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub must: Option<f64>,
    /// What we want it to reach.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub want: Option<f64>,
    /// How far it came.
    pub met: Met,
    /// The figures of all rounds.
    pub rounds: Vec<f64>,
    /// Those of the other side.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rounds_against: Vec<f64>,
}

impl Row {
    /// A row from the rounds of both sides.
    pub(crate) fn of(
        job: impl Into<String>,
        parts: Parts,
        measured: Vec<Measure>,
        against: Vec<Measure>,
    ) -> Self {
        let job = job.into();
        let rounds = values(&measured);
        let rounds_against = values(&against);
        let measured = middle(measured).expect("a job has rounds");
        let against = middle(against);
        let ratio = against.as_ref().map(|against| round(measured.value / against.value));
        let goal = Goal::of(&job);
        Self {
            on: parts.name(),
            goal: goal.map(|goal| if goal.is_about_ratio() { "ratio" } else { "value" }),
            sign: goal.map(Goal::sign),
            must: goal.map(|goal| goal.must),
            want: goal.map(|goal| goal.want),
            met: goal.map_or(Met::NoGoal, |goal| goal.met(measured.value, ratio)),
            job,
            measured,
            against,
            ratio,
            rounds,
            rounds_against,
        }
    }
}

fn values(rounds: &[Measure]) -> Vec<f64> {
    rounds.iter().map(|round| round.value).collect()
}

/// The round with the median figure.
fn middle(rounds: Vec<Measure>) -> Option<Measure> {
    let median = median(values(&rounds))?;
    rounds.into_iter().find(|round| round.value == median)
}
