//! What each job is to reach, in one table: what it must, and what we want.

use serde::Serialize;

/// Which figure of a row a goal is about, and in which direction it is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sense {
    /// The ratio, or more.
    RatioAtLeast,
    /// The ratio, or less.
    RatioAtMost,
    /// The figure itself, or more.
    ValueAtLeast,
    /// The figure itself, or less.
    ValueAtMost,
}

/// A goal of a job.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Goal {
    job: &'static str,
    sense: Sense,
    pub(crate) must: f64,
    pub(crate) want: f64,
}

/// How far a job came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Met {
    /// Everything that we want.
    Want,
    /// What it must.
    Must,
    /// Less.
    No,
    /// There is no goal.
    NoGoal,
}

impl Met {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Want => "want",
            Self::Must => "must",
            Self::No => "NO",
            Self::NoGoal => "-",
        }
    }
}

const fn goal(job: &'static str, sense: Sense, must: f64, want: f64) -> Goal {
    Goal { job, sense, must, want }
}

const GOALS: [Goal; 38] = {
    use Sense::{RatioAtLeast, RatioAtMost, ValueAtLeast, ValueAtMost};
    [
        goal("append.kafka", RatioAtLeast, 0.85, 0.95),
        goal("append.http.avro", ValueAtLeast, 200_000.0, 350_000.0),
        goal("append.http.ndjson", ValueAtLeast, 100_000.0, 200_000.0),
        goal("append.http.one.p50", RatioAtMost, 1.5, 1.15),
        goal("append.http.one.p99", RatioAtMost, 2.0, 2.0),
        goal("fold", ValueAtLeast, 700_000.0, 1_000_000.0),
        goal("store.sqlite", ValueAtLeast, 80_000.0, 150_000.0),
        goal("store.cql.whole", RatioAtLeast, 0.6, 1.2),
        goal("store.cql.interleaved", RatioAtLeast, 0.2, 0.35),
        goal("store.cql.java", RatioAtLeast, 1.5, 3.0),
        goal("replay.sqlite", RatioAtLeast, 1.5, 3.0),
        goal("replay.cql", RatioAtLeast, 1.5, 3.0),
        goal("steps.journal.1", RatioAtMost, 1.6, 1.25),
        goal("steps.journal.1.restate", RatioAtMost, 0.6, 0.4),
        goal("steps.journal.256", RatioAtLeast, 0.4, 0.6),
        goal("steps.journal.256.restate", RatioAtLeast, 5.0, 8.0),
        goal("steps.plan.1", RatioAtMost, 3.0, 2.0),
        goal("steps.journal.cluster", RatioAtMost, 8.0, 4.0),
        goal("gates.p99", RatioAtMost, 1.25, 1.1),
        goal("gates.p99.cluster", RatioAtMost, 1.25, 1.1),
        goal("poison.p99", RatioAtMost, 1.1, 1.05),
        goal("poison.p99.cluster", RatioAtMost, 1.1, 1.05),
        goal("redrive.p99", RatioAtMost, 1.1, 1.05),
        goal("redrive.p99.cluster", RatioAtMost, 1.1, 1.05),
        goal("backlog.p99", RatioAtMost, 1.1, 1.05),
        goal("backlog.p99.cluster", RatioAtMost, 1.1, 1.05),
        goal("recovery", ValueAtMost, 2.0, 0.5),
        goal("idle", ValueAtMost, 0.01, 0.01),
        goal("idle.cluster", ValueAtMost, 0.01, 0.01),
        goal("idle.waiting", ValueAtMost, 0.01, 0.01),
        goal("idle.waiting.cluster", ValueAtMost, 0.01, 0.01),
        goal("scale.steps", RatioAtMost, 1.1, 1.05),
        goal("scale.memory", RatioAtMost, 1.5, 1.2),
        goal("scale.restart", RatioAtMost, 1.5, 1.2),
        goal("scale.list.p99", RatioAtMost, 1.5, 1.2),
        goal("scale.context", RatioAtMost, 2.2, 2.05),
        goal("scale.batches", RatioAtMost, 1.0, 1.0),
        goal("scale.batches.memory", RatioAtMost, 1.5, 1.2),
    ]
};

impl Goal {
    pub(crate) fn of(job: &str) -> Option<Self> {
        GOALS.into_iter().find(|goal| goal.job == job)
    }

    /// The rows that have one.
    #[cfg(test)]
    pub(crate) fn names() -> impl Iterator<Item = &'static str> {
        GOALS.into_iter().map(|goal| goal.job)
    }

    /// How far a figure came. A ratio that is missing meets nothing.
    pub(crate) fn met(self, value: f64, ratio: Option<f64>) -> Met {
        let (figure, reaches): (_, fn(f64, f64) -> bool) = match self.sense {
            Sense::RatioAtLeast => (ratio, |figure, goal| figure >= goal),
            Sense::RatioAtMost => (ratio, |figure, goal| figure <= goal),
            Sense::ValueAtLeast => (Some(value), |figure, goal| figure >= goal),
            Sense::ValueAtMost => (Some(value), |figure, goal| figure <= goal),
        };
        match figure {
            Some(figure) if reaches(figure, self.want) => Met::Want,
            Some(figure) if reaches(figure, self.must) => Met::Must,
            Some(_) | None => Met::No,
        }
    }

    /// Whether less is better, and whether the goal is about the ratio.
    pub(crate) fn sign(self) -> &'static str {
        match self.sense {
            Sense::RatioAtLeast | Sense::ValueAtLeast => ">=",
            Sense::RatioAtMost | Sense::ValueAtMost => "<=",
        }
    }

    pub(crate) fn is_about_ratio(self) -> bool {
        matches!(self.sense, Sense::RatioAtLeast | Sense::RatioAtMost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_job_has_two_goals_and_want_is_beyond_must() {
        for goal in GOALS {
            assert_eq!(GOALS.iter().filter(|other| other.job == goal.job).count(), 1);
            assert_ne!(goal.met(goal.want, Some(goal.want)), Met::No, "{}", goal.job);
        }
    }

    #[test]
    fn a_figure_meets_what_it_reaches() {
        let least = goal("x", Sense::RatioAtLeast, 0.5, 0.8);
        assert_eq!(least.met(0.0, Some(0.8)), Met::Want);
        assert_eq!(least.met(0.0, Some(0.79)), Met::Must);
        assert_eq!(least.met(9.0, Some(0.4)), Met::No);
        assert_eq!(least.met(9.0, None), Met::No);
        let most = goal("x", Sense::ValueAtMost, 2.0, 0.5);
        assert_eq!(most.met(0.5, None), Met::Want);
        assert_eq!(most.met(2.1, None), Met::No);
    }
}
