//! What somebody who listens to a run is told: which attempts run, what they say of themselves, and when what was
//! said is void because another attempt takes their place.
//!
//! Pure. Nothing of it is in the log or in a state. Who listens, and how much may wait for them, is in the workers.

use crate::{AttemptEnd, RunState, RunStatus, StepState, StepStatus};
use bytes::Bytes;
use spine_schemas::StepKey;
use std::collections::{BTreeMap, BTreeSet};

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
        /// How the step stands. What was said counts once it is completed; a success may come late.
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

/// Somebody speaks for an attempt that does not run any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotLive {
    /// The attempt of the step that runs, if any does.
    pub live: Option<u32>,
}

/// The newest attempt of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Newest {
    attempt: u32,
    is_live: bool,
}

/// Who may speak for the steps of one run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Speakers {
    steps: BTreeMap<StepKey, Newest>,
}

impl Speakers {
    /// The attempts of a state.
    pub fn of(run: &RunState) -> Self {
        let begun = run.steps.iter().filter(|(_, step)| step.attempt > 0);
        Self { steps: begun.map(|(key, step)| (key.clone(), newest(step))).collect() }
    }

    /// What a new listener is told first.
    pub fn greeting(&self, status: RunStatus) -> Said {
        let live = self.live().map(|(key, newest)| (key.clone(), newest.attempt)).collect();
        Said::Listening { status, live }
    }

    fn live(&self) -> impl Iterator<Item = (&StepKey, &Newest)> {
        self.steps.iter().filter(|(_, newest)| newest.is_live)
    }

    /// What follows for listeners from an event that was applied to a run: `changed` is the step that it is about, if it
    /// is about one. Others are looked at, too, since a new session takes over all attempts of an old one.
    pub fn follow(&mut self, run: &RunState, changed: Option<&StepKey>) -> Vec<Said> {
        let mut looked: BTreeSet<StepKey> = self.live().map(|(key, _)| key.clone()).collect();
        looked.extend(changed.cloned());
        let mut said: Vec<Said> =
            looked.iter().filter_map(|step| self.follow_step(run, step)).collect();
        if !run.is_open() {
            said.push(Said::RunEnded(run.status));
        }
        said
    }

    fn follow_step(&mut self, run: &RunState, key: &StepKey) -> Option<Said> {
        let step = run.steps.get(key).filter(|step| step.attempt > 0)?;
        let now = newest(step);
        let before = self.steps.insert(key.clone(), now);
        let ended = || Said::AttemptEnded {
            step: key.clone(),
            attempt: before.map_or(now.attempt, |before| before.attempt),
            status: step.status,
        };
        match (before, now.is_live) {
            (Some(before), true) if before == now => None,
            (_, true) if now.attempt == 1 => Some(Said::Began(key.clone())),
            (_, true) => Some(Said::Retried(key.clone(), now.attempt)),
            (Some(Newest { is_live: true, .. }), false) => Some(ended()),
            // A success that comes after its attempt was given up counts all the same; not so where somebody else said
            // what the step gives.
            (_, false) => has_succeeded(step).then(ended),
        }
    }

    /// Whether an attempt may speak: it runs. One that is newer than what was folded cannot be judged yet, and is not
    /// heard (`false`).
    ///
    /// # Errors
    /// [`NotLive`] for an attempt that is over: its words do not count, its outcome may.
    pub fn check(&self, step: &StepKey, attempt: u32) -> Result<bool, NotLive> {
        match self.steps.get(step) {
            Some(newest) if newest.is_live && newest.attempt == attempt => Ok(true),
            Some(newest) if attempt <= newest.attempt => {
                Err(NotLive { live: newest.is_live.then_some(newest.attempt) })
            }
            Some(_) | None => Ok(false),
        }
    }
}

fn newest(step: &StepState) -> Newest {
    match &step.live {
        Some(live) => Newest { attempt: live.attempt, is_live: true },
        None => Newest { attempt: step.attempt, is_live: false },
    }
}

/// Whether the step is completed by what its newest attempt did.
fn has_succeeded(step: &StepState) -> bool {
    let by_attempt = step.attempts.last().is_some_and(|of| of.end == AttemptEnd::Completed);
    step.status == StepStatus::Completed && by_attempt
}
