//! Runs: made, forked, listed, shown from all sides, steered, and their stuck steps resolved. One file per resource.

pub(crate) mod answer;
pub(crate) mod create;
pub(crate) mod decisions;
pub(crate) mod diff;
pub(crate) mod failing;
pub(crate) mod fork;
pub(crate) mod history;
pub(crate) mod list;
mod plan;
mod resolve;
pub(crate) mod show;
pub(crate) mod signal;
pub(crate) mod steer;
pub(crate) mod step_verbs;
mod step_view;
pub(crate) mod steps;
pub(crate) mod stream;
pub(crate) mod why;
