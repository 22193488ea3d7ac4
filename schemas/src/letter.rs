//! A dead letter: what could not be done or read, with everything needed to understand it and to put it back.

use crate::{Digest, ErrorClass, RecordClass, RunKey, StepKey, time::Micros};
use bytes::Bytes;

/// A letter as it lies in the dead-letter topic. Repeats are equal byte for byte.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetter {
    /// Its one identity, derived from what it is about.
    pub letter_id: Digest,
    /// What it is about.
    pub source: LetterSource,
    /// Position of the original: the event that scheduled the step, or the record itself.
    pub topic: String,
    /// Partition of the original.
    pub partition: u32,
    /// Offset of the original.
    pub offset: u64,
    /// The original's key.
    pub key: Option<Bytes>,
    /// The original's headers, verbatim.
    pub headers: Vec<(String, Bytes)>,
    /// The original's bytes.
    pub value: Option<Bytes>,
    /// A stable code for grouping.
    pub code: String,
    /// For people.
    pub message: String,
    /// Log time of the deciding event.
    pub dead_at: Micros,
}

/// What a letter is about.
#[derive(Clone, Debug, PartialEq)]
pub enum LetterSource {
    /// A step whose retrying is over.
    Step {
        /// Its run.
        run: RunKey,
        /// The step.
        step: StepKey,
        /// Class of the last error.
        class: ErrorClass,
        /// How often it had been redriven before.
        generation: u32,
        /// The policy in force, as JSON.
        policy: String,
        /// Every attempt, oldest first.
        attempts: Vec<LetterAttempt>,
        /// Attempts left out of the middle of the list.
        attempts_omitted: u32,
    },
    /// A record that could not be folded.
    Record {
        /// Why.
        class: RecordClass,
    },
}

/// One attempt in a letter.
#[derive(Clone, Debug, PartialEq)]
pub struct LetterAttempt {
    /// Its number.
    pub attempt: u32,
    /// Log time of its start.
    pub started_at: Micros,
    /// Log time of its end.
    pub ended_at: Micros,
    /// Class of its error.
    pub class: ErrorClass,
    /// Code of its error.
    pub code: String,
    /// Message of its error.
    pub message: String,
}
