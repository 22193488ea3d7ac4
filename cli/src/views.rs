//! The server's JSON as far as text for people needs it. Fields that are not shown are not read.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use spine_schemas::time::Micros;
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

/// A time in RFC 3339.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Time(pub(crate) Micros);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(from)?;
        let wrong = || serde::de::Error::custom(format!("{text} is not a time"));
        Micros::parse(&text).map(Self).ok_or_else(wrong)
    }
}

impl Serialize for Time {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&self.0)
    }
}

/// Where an event lies.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Position {
    pub(crate) partition: u32,
    pub(crate) offset: u64,
}

/// Why an attempt, a step or a run failed.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct StepError {
    pub(crate) class: String,
    pub(crate) code: String,
    pub(crate) message: String,
}

/// What a step or a run produced.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Output {
    pub(crate) data: Box<RawValue>,
    #[serde(default)]
    pub(crate) degraded: bool,
}

/// Steps by what became of them.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(crate) struct Counts {
    pub(crate) total: u32,
    pub(crate) completed: u32,
    pub(crate) failed: u32,
    pub(crate) dead_lettered: u32,
}

/// A run in a list.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RunRow {
    pub(crate) tenant: String,
    pub(crate) run_id: String,
    pub(crate) workflow: String,
    pub(crate) version: String,
    pub(crate) status: String,
    pub(crate) steps: Counts,
    pub(crate) attempts: u64,
    pub(crate) cost_micros: u64,
    pub(crate) started_at: Time,
    pub(crate) ended_at: Option<Time>,
    #[serde(default)]
    pub(crate) stalled_since: Option<Time>,
}

/// A page of runs.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RunsPage {
    pub(crate) runs: Vec<RunRow>,
    pub(crate) next: Option<String>,
}

/// A run.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Run {
    #[serde(flatten)]
    pub(crate) row: RunRow,
    pub(crate) driver: String,
    pub(crate) tokens: Tokens,
    #[serde(default)]
    pub(crate) decisions: u32,
    pub(crate) error: Option<StepError>,
    #[serde(default)]
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) brain: Option<Brain>,
    pub(crate) fork: Option<Fork>,
    pub(crate) parent: Option<String>,
    pub(crate) caller: Option<Caller>,
}

/// The step of the parent that a run is.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Caller {
    pub(crate) step: String,
    pub(crate) attempt: u32,
}

/// Who is asked for the next steps of a run, and how far that has come.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Brain {
    pub(crate) tool: String,
    pub(crate) turn: u32,
    pub(crate) max_turns: u32,
}

/// Where a fork comes from.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Fork {
    pub(crate) run_id: String,
    pub(crate) reason: String,
    pub(crate) reused: u32,
}

/// What a run was given and gave; read apart, since raw JSON cannot be read through a flattened part.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Payloads {
    pub(crate) input: Option<Box<RawValue>>,
    pub(crate) output: Option<Output>,
}

/// Tokens of all attempts.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(crate) struct Tokens {
    pub(crate) input_uncached: u64,
    pub(crate) cache_read: u64,
    pub(crate) cache_write: u64,
    pub(crate) output_text: u64,
    pub(crate) output_reasoning: u64,
}

/// A page of steps.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct StepsPage {
    pub(crate) steps: Vec<Step>,
    pub(crate) next: Option<String>,
}

/// A step with its history.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Step {
    pub(crate) step: String,
    pub(crate) status: String,
    pub(crate) attempts: Vec<Attempt>,
    #[serde(default)]
    pub(crate) attempts_omitted: u32,
    pub(crate) due_at: Option<Time>,
    pub(crate) lease_until: Option<Time>,
    pub(crate) effect: String,
    pub(crate) letter: Option<String>,
    pub(crate) task: Option<String>,
    pub(crate) approval: Option<Approval>,
    pub(crate) awaits: Option<Awaits>,
    pub(crate) paused: Option<Paused>,
    pub(crate) held: Option<Held>,
    pub(crate) output: Option<Source>,
    pub(crate) error: Option<StepError>,
    pub(crate) scheduled_at: Time,
    #[serde(default)]
    pub(crate) scheduled_offset: u64,
    #[serde(default)]
    pub(crate) reused: bool,
    #[serde(default)]
    pub(crate) given_up: bool,
    pub(crate) probe: Option<Probe>,
}

/// How a tool is asked what became of an attempt.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Probe {
    #[serde(default)]
    pub(crate) asked: u32,
    pub(crate) due_at: Option<Time>,
    pub(crate) answer: Option<String>,
}

/// What holds a step back.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Held {
    pub(crate) by: String,
    pub(crate) until: Time,
}

/// What a step awaits.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Awaits {
    pub(crate) signal: Option<String>,
    pub(crate) until: Time,
}

/// Why no attempt of a step starts.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Paused {
    pub(crate) reason: String,
    pub(crate) by: String,
}

/// Where an output comes from, if not from the step's own attempt.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Source {
    pub(crate) source: Option<String>,
}

/// An attempt.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Attempt {
    pub(crate) attempt: u32,
    pub(crate) started_at: Time,
    pub(crate) ended_at: Option<Time>,
    pub(crate) end: String,
    pub(crate) charged: bool,
    pub(crate) error: Option<StepError>,
    pub(crate) reason: Option<String>,
    pub(crate) injected: Option<String>,
    pub(crate) cost_micros: Option<u64>,
    pub(crate) run_id: Option<String>,
}

/// Why a run is not finished.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Why {
    pub(crate) why: String,
    pub(crate) last_event: Option<LastEvent>,
    pub(crate) owner: Option<Owner>,
}

/// The newest event that moved a run.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct LastEvent {
    pub(crate) kind: String,
    pub(crate) step: Option<String>,
    pub(crate) actor: String,
    pub(crate) at: Time,
}

/// Who decides for a run.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Owner {
    pub(crate) worker: String,
    pub(crate) address: String,
}

/// A page of events.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct EventsPage {
    pub(crate) events: Vec<Box<RawValue>>,
    pub(crate) next: Option<u64>,
}

/// An event where it lies.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Event {
    pub(crate) position: Position,
    pub(crate) at: Time,
    pub(crate) kind: String,
    pub(crate) step: Option<String>,
    pub(crate) attempt: Option<u32>,
    pub(crate) actor: String,
    pub(crate) verdict: String,
    pub(crate) reason: Option<String>,
}

/// A page of tasks.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct TasksPage {
    pub(crate) tasks: Vec<Letter>,
    pub(crate) next: Option<String>,
}

/// A page of dead letters.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct LettersPage {
    pub(crate) dead_letters: Vec<Letter>,
    pub(crate) next: Option<String>,
}

/// A dead letter; its attempts only where it is shown alone.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Letter {
    pub(crate) id: String,
    pub(crate) kind: String,
    pub(crate) status: String,
    pub(crate) tenant: Option<String>,
    pub(crate) run_id: Option<String>,
    pub(crate) step: Option<String>,
    pub(crate) tool: Option<String>,
    pub(crate) class: String,
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) generation: u32,
    pub(crate) attempt_count: u32,
    pub(crate) dead_at: Time,
    pub(crate) source: Position,
    pub(crate) closed_at: Option<Time>,
    pub(crate) closed_by: Option<String>,
    pub(crate) closed_reason: Option<String>,
    pub(crate) approval: Option<Approval>,
    #[serde(default)]
    pub(crate) attempts: Vec<LetterAttempt>,
}

/// Who has approved of a call.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Approval {
    pub(crate) needed: u32,
    pub(crate) approved_by: Vec<String>,
    pub(crate) expires_at: Option<Time>,
}

/// What became of an answer to a task.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Answered {
    pub(crate) status: String,
    #[serde(default)]
    pub(crate) approvals: u32,
    #[serde(default)]
    pub(crate) needed: u32,
}

/// An attempt in a letter.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct LetterAttempt {
    pub(crate) attempt: u32,
    pub(crate) started_at: Time,
    pub(crate) ended_at: Option<Time>,
    pub(crate) class: String,
    pub(crate) code: String,
    pub(crate) message: String,
    #[serde(default)]
    pub(crate) charged: bool,
}

/// What fails or is retried now.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(crate) struct Failing {
    pub(crate) groups: Vec<FailingGroup>,
    pub(crate) looked_at: usize,
    #[serde(default, skip_serializing)]
    pub(crate) next: Option<String>,
}

/// Steps that fail alike.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct FailingGroup {
    pub(crate) status: String,
    pub(crate) tool: String,
    pub(crate) class: String,
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) steps: usize,
    pub(crate) runs: usize,
    pub(crate) workflows: BTreeSet<String>,
    pub(crate) since: Time,
    pub(crate) last: Time,
    pub(crate) next_try: Option<Time>,
    pub(crate) examples: Vec<FailingExample>,
}

/// One of them.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct FailingExample {
    pub(crate) tenant: String,
    pub(crate) run_id: String,
    pub(crate) step: String,
    pub(crate) attempt: u32,
}
