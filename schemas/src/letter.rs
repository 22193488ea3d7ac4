//! A dead letter: what could not be done or read, with everything needed to understand it and to put it back.

use crate::{
    Digest, Error, ErrorClass, RecordClass, Result, RunKey, StepKey, limits, time::Micros,
};
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

impl DeadLetter {
    /// Checks the letter's own values against `limits`. The original is kept as it was, whatever it
    /// holds; the encoded size is checked where it is known, in [`crate::codec::encode_letter`].
    ///
    /// # Errors
    /// [`Error::Invalid`] or [`Error::TooLarge`], naming the field.
    pub fn check(&self) -> Result<()> {
        size("code", &self.code, limits::NAME_BYTES)?;
        size("message", &self.message, limits::MESSAGE_BYTES)?;
        if i64::try_from(self.offset).is_err() {
            return Err(Error::invalid("offset", "must be below 9223372036854775808"));
        }
        let LetterSource::Step { run, step, attempts, .. } = &self.source else { return Ok(()) };
        crate::check_tenant(&run.tenant)?;
        crate::check_id("step.run_id", &run.run_id)?;
        step.check()?;
        if attempts.len() > limits::ATTEMPT_HISTORY {
            let limit = limits::ATTEMPT_HISTORY;
            return Err(Error::too_large("step.attempts", attempts.len(), limit));
        }
        for attempt in attempts {
            size("step.attempts.code", &attempt.code, limits::NAME_BYTES)?;
            size("step.attempts.message", &attempt.message, limits::MESSAGE_BYTES)?;
        }
        Ok(())
    }
}

fn size(field: &str, text: &str, limit: usize) -> Result<()> {
    if text.len() > limit {
        return Err(Error::too_large(field, text.len(), limit));
    }
    Ok(())
}
