//! Where a run comes from that takes over the finished steps of another.

use crate::StepKey;
use serde::{Deserialize, Serialize};

/// Where a fork comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fork {
    /// The run that it was made of, of the same tenant.
    pub run_id: String,
    /// The step from which on it goes its own way; `None` where that is whatever had not ended well.
    pub step: Option<StepKey>,
    /// How many steps it takes over. It begins when it has them all.
    pub reused: u32,
    /// Whether those are undone with its own, if it is.
    pub undo_reused: bool,
    /// Set when effects may repeat and whoever forked it accepts that.
    pub force: bool,
    /// Why.
    pub reason: String,
}
