//! That people have to approve of each call of a step, as plans and agents write it.

use crate::{Error, Result, limits, spec};
use serde::Deserialize;

/// `{"expires_ms":…,"quorum":…}`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// How long they have; no answer in time means no.
    #[serde(default = "a_day")]
    pub expires_ms: u64,
    #[serde(default = "one")]
    quorum: u32,
}

fn a_day() -> u64 {
    spec::DEADLINE_MS
}

fn one() -> u32 {
    1
}

impl Approval {
    /// How many have to approve, where that is more than one.
    pub fn quorum(&self) -> Option<u32> {
        (self.quorum > 1).then_some(self.quorum)
    }

    /// Checks the numbers.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the number by its path below `field`.
    pub fn check(&self, field: &str) -> Result<()> {
        if self.expires_ms == 0 || self.expires_ms > limits::DEADLINE_MS {
            return Err(Error::invalid(format!("{field}.expires_ms"), "must be 1 ms to a year"));
        }
        if self.quorum == 0 || self.quorum > limits::QUORUM {
            return Err(Error::invalid(format!("{field}.quorum"), "must be 1 to 16 people"));
        }
        Ok(())
    }
}
