//! Brains: an endpoint that is asked for the next steps of a run, and the answers that it may give. Each answer
//! goes behind what the plan has so far, so the plan grows and nothing in it changes.

use super::{
    Role,
    read::{Flat, Written},
};
use crate::{
    Effect, Error, OnExhausted, Payload, Result, RetryPolicy, StepKey, canonical, limits, spec,
};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

/// The scope of the steps that ask the brain. No other step of such a plan is in it.
pub const BRAIN_SCOPE: &str = "brain";
/// Code of the error of an answer that the plan cannot take.
pub const BRAIN_ANSWER: &str = "brain_answer";
/// Code of the error of a run that its brain gave up.
pub const BRAIN_FAILED: &str = "brain_failed";

/// The endpoint that is asked for the next steps.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Brain {
    /// The tool to call.
    pub tool: String,
    /// Limit of one attempt.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u64,
    /// When to ask again after a failure or an answer that the plan cannot take; the plan's policy if absent.
    pub retry: Option<RetryPolicy>,
    /// What asking twice may do.
    #[serde(default = "pure")]
    pub effect: Effect,
    /// How often it is asked at most.
    #[serde(default = "usual_turns")]
    pub max_turns: u32,
    /// What happens when retrying is over.
    #[serde(default)]
    pub on_exhausted: OnExhausted,
}

/// How a brain ended its run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BrainEnd {
    /// The run completes, with this output as JSON if there is one.
    Done(Option<Bytes>),
    /// The run fails, for this reason.
    Fail(String),
}

fn timeout_ms() -> u64 {
    spec::TIMEOUT_MS
}

fn pure() -> Effect {
    Effect::Pure
}

fn usual_turns() -> u32 {
    100
}

/// The step that asks a brain for the first time, the second time, and so on.
pub fn ask_key(turn: u32) -> StepKey {
    StepKey { scope: BRAIN_SCOPE.into(), name: "ask".into(), occurrence: turn }
}

impl Brain {
    pub(super) fn check(&self) -> Result<()> {
        let wrong =
            |name: &str, message: &str| Err(Error::invalid(format!("brain.{name}"), message));
        if self.tool.is_empty() || self.tool.len() > limits::NAME_BYTES {
            return wrong("tool", "must have 1 to 512 bytes");
        }
        if spec::act_of(&self.tool) != spec::Act::Call || self.tool.starts_with("sleep:") {
            return wrong("tool", "must be called, as http(s)://…");
        }
        if self.timeout_ms == 0 || self.timeout_ms > limits::TIMEOUT_MS {
            return wrong("timeout_ms", "must be between 1 and 86400000");
        }
        if self.effect == Effect::Probe {
            return wrong("effect", "must be pure, idempotent or at_most_once");
        }
        if self.max_turns == 0 || self.max_turns > limits::BRAIN_TURNS {
            return wrong("max_turns", "must be between 1 and 1000");
        }
        match self.on_exhausted {
            OnExhausted::DeadLetter
            | OnExhausted::Fail
            | OnExhausted::Compensate
            | OnExhausted::Escalate => {}
            OnExhausted::Skip | OnExhausted::Fallback => {
                return wrong("on_exhausted", "must be dead_letter, escalate, fail or compensate");
            }
        }
        self.retry.map_or(Ok(()), |retry| retry.check("brain.retry"))
    }
}

/// An answer as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AnswerJson<'a> {
    #[serde(borrow, default)]
    pub(super) steps: Vec<Written<'a>>,
    #[serde(borrow)]
    state: Option<&'a RawValue>,
    #[serde(default)]
    done: bool,
    #[serde(borrow)]
    output: Option<&'a RawValue>,
    fail: Option<String>,
}

impl<'a> AnswerJson<'a> {
    pub(super) fn read(text: &'a [u8]) -> Result<Self> {
        canonical::check_depth("answer", text)?;
        let answer: Self = serde_json::from_slice(text)
            .map_err(|error| Error::invalid("answer", error.to_string()))?;
        answer.check()?;
        Ok(answer)
    }

    fn check(&self) -> Result<()> {
        let wrong = |field: &str, message: &str| Err(Error::invalid(field, message));
        let ends = [self.done, self.fail.is_some()];
        match (self.steps.is_empty(), ends) {
            (false, [false, false]) | (true, [true, false] | [false, true]) => {}
            (true, [false, false]) => {
                return wrong(
                    "steps",
                    "an answer has steps, \"done\": true or a reason to \"fail\"",
                );
            }
            (_, [true, true]) => return wrong("fail", "the run is done, or it fails"),
            (false, _) => return wrong("steps", "a run that is done or fails has no more of them"),
        }
        if self.output.is_some() && !self.done {
            return wrong("output", "is for \"done\": true");
        }
        if self.state.is_some() && self.steps.is_empty() {
            return wrong("state", "is for the next turn, and this is the last one");
        }
        if let Some(state) =
            self.state.filter(|state| state.get().len() > limits::BRAIN_STATE_BYTES)
        {
            return Err(Error::too_large("state", state.get().len(), limits::BRAIN_STATE_BYTES));
        }
        if let Some(reason) = &self.fail
            && (reason.is_empty() || reason.len() > limits::MESSAGE_BYTES)
        {
            return wrong("fail", "must have 1 to 4096 bytes");
        }
        Ok(())
    }

    /// How it ends the run, if it does.
    pub(super) fn end(&self) -> Result<Option<BrainEnd>> {
        if let Some(reason) = &self.fail {
            return Ok(Some(BrainEnd::Fail(reason.clone())));
        }
        if !self.done {
            return Ok(None);
        }
        let output = self.output.map(|output| Bytes::copy_from_slice(output.get().as_bytes()));
        if let Some(output) = &output {
            Payload::json("output", output.clone())?;
        }
        Ok(Some(BrainEnd::Done(output)))
    }
}

/// What an answer keeps for the next turn, as JSON.
pub fn kept_state(answer: &[u8]) -> Option<&str> {
    let answer: AnswerJson<'_> = serde_json::from_slice(answer).ok()?;
    answer.state.map(RawValue::get)
}

/// Steps that ask, and their answers' steps, are in a scope that nobody else uses.
pub(super) fn check_scope(step: &Flat<'_>, path: impl FnOnce() -> String) -> Result<()> {
    let asks = matches!(step.role, Role::Ask { .. });
    if !asks && step.key.scope.split('/').next() == Some(BRAIN_SCOPE) {
        let message = "\"brain\" is the scope of the steps that ask the brain";
        return Err(Error::invalid(format!("{}.scope", path()), message));
    }
    Ok(())
}
