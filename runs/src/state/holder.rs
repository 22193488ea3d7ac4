//! Who runs an attempt.

use serde::{Deserialize, Serialize};

/// Who runs an attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Holder {
    /// The owner under the claim at this offset.
    Owner(u64),
    /// An agent's session.
    Session(String),
    /// An outside system, in a record run.
    Outside,
    /// A worker that asked for it.
    Worker(String),
    /// A run of its own; see [`spine_schemas::keys::child_run_id`].
    Child,
}
