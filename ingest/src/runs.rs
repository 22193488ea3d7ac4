//! Runs: made, listed, shown from all sides, and their stuck steps resolved. One file per resource.

pub(crate) mod create;
pub(crate) mod decisions;
pub(crate) mod history;
pub(crate) mod list;
mod plan;
pub(crate) mod resolve;
pub(crate) mod show;
mod step_view;
pub(crate) mod steps;
pub(crate) mod why;
