//! What is known of asking a tool whether an attempt took effect.

use serde::{Deserialize, Serialize};
use spine_schemas::time::Micros;

/// A tool was asked, and did not say for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probing {
    /// How often it was asked.
    pub asked: u32,
    /// When it is asked again; `None` where that would tell nothing more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due_at: Option<Micros>,
    /// What it said, for people.
    pub answer: String,
}
