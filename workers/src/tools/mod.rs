//! Calling tools: one attempt in, how it ended out. What follows from that is decided in `runs`.

mod allowed;
mod answer;
mod classify;
mod connection;
mod dial;
mod gate;
mod http;
mod idle;
mod limits;
mod metrics;
mod post;
mod request;
mod retry_after;
mod target;
#[cfg(test)]
mod tests;

pub use allowed::{ALLOW_SETTING, Allowed};
pub use http::HttpTools;
pub use post::Posted;
pub(crate) use request::traceparent;

use bytes::Bytes;
use spine_schemas::{Digest, Effect, Output, RunKey, StepError, StepKey, Trace, Usage};
use std::{future::Future, time::Duration};

/// One attempt at a tool.
#[derive(Clone, Debug)]
pub struct ToolCall {
    /// `http(s)://…`
    pub tool: String,
    /// The run.
    pub run: RunKey,
    /// The step.
    pub step: StepKey,
    /// The attempt.
    pub attempt: u32,
    /// The key under which the remote does it at most once.
    pub idempotency_key: Digest,
    /// W3C trace ids to pass on.
    pub trace: Option<Trace>,
    /// Media type of the body.
    pub content_type: String,
    /// The step's input.
    pub body: Bytes,
    /// How long the attempt may take from now, sending and answer together.
    pub timeout: Duration,
    /// When the attempt was intended: the time-out counts from here, so that a process that was
    /// stopped between the intent and the call does not send late.
    pub intended_at: tokio::time::Instant,
    /// What repeating may do; decides how an ambiguous end is classed.
    pub effect: Effect,
    /// Statuses by which this tool says that nothing was applied.
    pub not_applied: Vec<u16>,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq)]
pub enum CallEnd {
    /// With a result.
    Completed {
        /// The tool's answer.
        output: Output,
        /// What it used, if the tool said so.
        usage: Option<Usage>,
    },
    /// With an error: something was sent, or the tool may not be called at all.
    Failed(StepError),
    /// Nothing was sent, and that may change.
    NeverSent(StepError),
}

/// Calls tools.
pub trait Tools: Clone + Send + Sync + 'static {
    /// Makes one attempt, once. Always ends within the call's time-out.
    fn call(&self, call: ToolCall) -> impl Future<Output = CallEnd> + Send;

    /// Whether a tool may be called at all: its scheme is known and its host is allowed.
    ///
    /// # Errors
    /// Says what is wrong and how to allow it.
    fn check(&self, tool: &str) -> Result<(), String>;
}
