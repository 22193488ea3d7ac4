//! What the topic of transitions tells: one JSON record for each that somebody outside may want to hear of.
//!
//! A record follows from its event and from the state right after it alone, so that it has equal bytes
//! however often it is told. Consumers tell repeats by `event_id`. Only that of a partition in which nothing
//! happens follows from no event.

use crate::{Digest, Error, Result, time::Micros};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// A transition that is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Transition {
    /// A run began.
    RunCreated,
    /// A run ended well.
    RunCompleted,
    /// A run ended well with something left out or of lower quality.
    RunDegraded,
    /// A run failed.
    RunFailed,
    /// A run was cancelled, or killed.
    RunCancelled,
    /// No event has moved a run for too long.
    RunStalled,
    /// Nothing of a run starts any more.
    RunPaused,
    /// A run goes on.
    RunResumed,
    /// What a run has done is undone from now on.
    CompensationStarted,
    /// A step has a letter.
    StepDeadLettered,
    /// Whether a step took effect is not known.
    StepUnknown,
    /// Somebody is asked what to do about a step.
    TaskOpened,
    /// Somebody is asked whether a call may be made.
    ApprovalRequested,
    /// A letter was put back to work.
    LetterRedriven,
    /// A letter was given up.
    LetterDiscarded,
    /// A letter was closed by what happened since.
    LetterResolved,
    /// A record has a letter: nobody could fold it.
    RecordDeadLettered,
    /// Something is owed in a partition, and for too long nothing has happened there.
    PartitionUnattended,
}

impl Transition {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::RunCreated,
        Self::RunCompleted,
        Self::RunDegraded,
        Self::RunFailed,
        Self::RunCancelled,
        Self::RunStalled,
        Self::RunPaused,
        Self::RunResumed,
        Self::CompensationStarted,
        Self::StepDeadLettered,
        Self::StepUnknown,
        Self::TaskOpened,
        Self::ApprovalRequested,
        Self::LetterRedriven,
        Self::LetterDiscarded,
        Self::LetterResolved,
        Self::RecordDeadLettered,
        Self::PartitionUnattended,
    ];

    /// The name in records, headers and flags.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RunCreated => "run_created",
            Self::RunCompleted => "run_completed",
            Self::RunDegraded => "run_degraded",
            Self::RunFailed => "run_failed",
            Self::RunCancelled => "run_cancelled",
            Self::RunStalled => "run_stalled",
            Self::RunPaused => "run_paused",
            Self::RunResumed => "run_resumed",
            Self::CompensationStarted => "compensation_started",
            Self::StepDeadLettered => "step_dead_lettered",
            Self::StepUnknown => "step_unknown",
            Self::TaskOpened => "task_opened",
            Self::ApprovalRequested => "approval_requested",
            Self::LetterRedriven => "letter_redriven",
            Self::LetterDiscarded => "letter_discarded",
            Self::LetterResolved => "letter_resolved",
            Self::RecordDeadLettered => "record_dead_lettered",
            Self::PartitionUnattended => "partition_unattended",
        }
    }
}

impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Transition {
    type Err = String;

    fn from_str(name: &str) -> std::result::Result<Self, String> {
        Self::ALL.into_iter().find(|one| one.as_str() == name).ok_or_else(|| {
            let all: Vec<&str> = Self::ALL.iter().map(|one| one.as_str()).collect();
            format!("'{name}' is none of {}", all.join(", "))
        })
    }
}

/// A transition as it is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifecycleRecord {
    /// Identity of the event, or of what was found without one; a record that comes again has the same.
    pub event_id: String,
    /// What it means.
    pub kind: Transition,
    /// Kind of the event; where there is none, what the record means.
    pub event: String,
    /// The tenant, where the event names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The run, where the event names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<String>,
    /// Its workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<String>,
    /// Version of the workflow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The step that it is about, if one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Status of the run right after the event.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Code of the error, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    /// The letter that was opened or closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub letter_id: Option<Digest>,
    /// The question that was opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<Digest>,
    /// Log time of the event.
    pub at: String,
    /// Where the event lies.
    pub position: LifecyclePosition,
}

/// Where an event lies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifecyclePosition {
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: u32,
    /// Its offset.
    pub offset: u64,
}

impl LifecycleRecord {
    /// What is always said: identity, meaning, kind of the event, its time and its place.
    pub fn new(
        event_id: impl Into<String>,
        (kind, event): (Transition, &str),
        at: Micros,
        position: LifecyclePosition,
    ) -> Self {
        Self {
            event_id: event_id.into(),
            kind,
            event: event.to_owned(),
            tenant: None,
            run_id: None,
            workflow: None,
            version: None,
            step: None,
            status: None,
            reason: None,
            error_code: None,
            letter_id: None,
            task_id: None,
            at: at.to_string(),
            position,
        }
    }

    /// The record's bytes: equal for equal records.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("texts and numbers are JSON")
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`Error::Decode`] for what is none.
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes).map_err(|error| Error::Decode(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_a_record_is_its_bytes() {
        for one in Transition::ALL {
            assert_eq!(one.as_str().parse(), Ok(one));
            assert_eq!(serde_json::to_value(one).unwrap(), one.as_str());
        }
        assert!("run_exploded".parse::<Transition>().unwrap_err().contains("run_stalled"));
        let record = LifecycleRecord {
            event_id: "e1".into(),
            kind: Transition::StepUnknown,
            event: "step_lost".into(),
            tenant: Some("default".into()),
            run_id: Some("r1".into()),
            workflow: None,
            version: None,
            step: Some("pay#1".into()),
            status: Some("waiting".into()),
            reason: None,
            error_code: None,
            letter_id: Some(Digest::of_bytes(b"x")),
            task_id: None,
            at: "2026-01-02T03:04:05Z".into(),
            position: LifecyclePosition { topic: "spine.steps".into(), partition: 2, offset: 7 },
        };
        assert_eq!(LifecycleRecord::parse(&record.to_json()).unwrap(), record);
        assert!(LifecycleRecord::parse(b"{}").is_err());
    }
}
