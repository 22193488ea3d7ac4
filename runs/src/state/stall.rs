//! That a run stands still, as its owner found.

use serde::{Deserialize, Serialize};
use spine_schemas::{StepKey, time::Micros};

/// No event has moved the run for too long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stall {
    /// Log time of the newest event that moved it.
    pub since: Micros,
    /// Offset of that event.
    pub moved: u64,
    /// Log time of the event that said so.
    pub at: Micros,
    /// The step that it waits for, if one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<StepKey>,
    /// What it waits for, and who can move it.
    pub reason: String,
}
