//! What somebody who listens to a run is told: which attempts run, what they say of themselves, and when what was
//! said is void because another attempt takes their place.
//!
//! Pure. Nothing of it is in the log or in a state. Who listens, and how much may wait for them, is in the workers.

use crate::{RunState, RunStatus, StepState, StepStatus};
use bytes::Bytes;
use spine_schemas::StepKey;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What a listener is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// It listens from here on: how the run stands, and which attempts run.
    Listening {
        /// How the run stands.
        status: RunStatus,
        /// The attempts that run, by step.
        live: BTreeMap<StepKey, u32>,
    },
    /// The first attempt of a step runs.
    Began(StepKey),
    /// A further attempt runs. Whatever earlier ones said of this step is void.
    Retried(StepKey, u32),
    /// What an attempt says.
    Part(Part),
    /// No attempt of the step runs any more.
    AttemptEnded {
        /// The step.
        step: StepKey,
        /// The attempt that ran.
        attempt: u32,
        /// How the step stands: what was said counts if it is completed.
        status: StepStatus,
    },
    /// The run ended. Nothing follows.
    RunEnded(RunStatus),
    /// The listener was too slow for so many parts and turns of the run.
    Missed(u64),
}

/// Something that an attempt says while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The step.
    pub step: StepKey,
    /// The attempt that speaks.
    pub attempt: u32,
    /// A JSON text; what it means is between the agent and the listener.
    pub data: Bytes,
}

/// Somebody speaks for an attempt that does not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotLive {
    /// The attempt of the step that runs, if any does.
    pub live: Option<u32>,
}

/// The attempts of one run that may speak.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Speakers {
    live: BTreeMap<StepKey, u32>,
}

impl Speakers {
    /// The attempts that run in a state.
    pub fn of(run: &RunState) -> Self {
        let live = |(key, step): (&StepKey, &Arc<StepState>)| {
            Some((key.clone(), step.live.as_ref()?.attempt))
        };
        Self { live: run.steps.iter().filter_map(live).collect() }
    }

    /// What a new listener is told first.
    pub fn greeting(&self, status: RunStatus) -> Said {
        Said::Listening { status, live: self.live.clone() }
    }

    /// What follows for listeners from an event that was applied to a run: `changed` is the step that it is about, if it
    /// is about one. Others are looked at, too, since a new session takes over all attempts of an old one.
    pub fn follow(&mut self, run: &RunState, changed: Option<&StepKey>) -> Vec<Said> {
        let mut looked: BTreeSet<StepKey> = self.live.keys().cloned().collect();
        looked.extend(changed.cloned());
        let mut said: Vec<Said> =
            looked.iter().filter_map(|step| self.follow_step(run, step)).collect();
        if !run.is_open() {
            said.push(Said::RunEnded(run.status));
        }
        said
    }

    fn follow_step(&mut self, run: &RunState, key: &StepKey) -> Option<Said> {
        let step = run.steps.get(key)?;
        let Some(live) = &step.live else {
            let attempt = self.live.remove(key)?;
            return Some(Said::AttemptEnded { step: key.clone(), attempt, status: step.status });
        };
        let attempt = live.attempt;
        if self.live.insert(key.clone(), attempt) == Some(attempt) {
            return None;
        }
        Some(match attempt {
            1 => Said::Began(key.clone()),
            _ => Said::Retried(key.clone(), attempt),
        })
    }

    /// Whether an attempt may speak: it is the one of its step that runs.
    ///
    /// # Errors
    /// [`NotLive`]: whoever speaks should stop, its work is no longer wanted.
    pub fn check(&self, step: &StepKey, attempt: u32) -> Result<(), NotLive> {
        let live = self.live.get(step).copied();
        if live == Some(attempt) { Ok(()) } else { Err(NotLive { live }) }
    }
}
