//! What asking a tool about an attempt came to.

use crate::{Output, time::Micros};
use serde::{Deserialize, Serialize};

/// What a tool's probe said about the attempts of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The newest attempt.
    pub attempt: u32,
    /// What was found out.
    pub found: Found,
    /// What the step produced, when it happened and the probe knows.
    pub output: Option<Output>,
    /// When the tool is asked again, while it is not clear.
    pub due_at: Option<Micros>,
    /// What the tool said, for people.
    pub reason: String,
}

/// Whether an effect took place, as far as that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found {
    /// It did.
    Happened,
    /// It did not, and will not any more.
    Absent,
    /// The tool did not say.
    Unclear,
}
