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
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// The scope of the steps that ask the brain. No other step of such a plan is in it.
pub const BRAIN_SCOPE: &str = "brain";
/// Code of the error of an answer that the plan cannot take.
pub const BRAIN_ANSWER: &str = "brain_answer";
/// Code of the error of a run that its brain gave up.
pub const BRAIN_FAILED: &str = "brain_failed";
/// Code of the error of a step that the brain dropped.
pub const BRAIN_DROPPED: &str = "brain_dropped";

/// What is wrong with an answer from which nothing follows.
pub(super) const NOTHING_SAID: &str = "an answer has steps, \"done\": true or a reason to \"fail\"";

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
    #[serde(borrow, default, deserialize_with = "given")]
    steps: Option<Vec<Written<'a>>>,
    /// Names of steps that are not to be done.
    #[serde(default)]
    pub(super) drop: Vec<String>,
    #[serde(borrow)]
    state: Option<&'a RawValue>,
    #[serde(default)]
    done: bool,
    #[serde(borrow)]
    output: Option<&'a RawValue>,
    fail: Option<String>,
}

/// A list that is there, be it empty: that is not the same as none.
fn given<'de: 'a, 'a, D: Deserializer<'de>>(
    from: D,
) -> std::result::Result<Option<Vec<Written<'a>>>, D::Error> {
    Vec::deserialize(from).map(Some)
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
        let changes = self.steps.is_some() || !self.drop.is_empty();
        match (self.steps().is_empty(), ends) {
            (false, [false, false]) | (true, [true, false] | [false, true]) => {}
            // That is an answer where something is left of the list.
            (true, [false, false]) if changes => {}
            (true, [false, false]) => return wrong("steps", NOTHING_SAID),
            (_, [true, true]) => return wrong("fail", "the run is done, or it fails"),
            (false, _) => return wrong("steps", "a run that is done or fails has no more of them"),
        }
        if self.output.is_some() && !self.done {
            return wrong("output", "is for \"done\": true");
        }
        if self.ends() && !self.drop.is_empty() {
            return wrong("drop", "is not needed: what is left is dropped when the run ends");
        }
        if self.drop.len() > limits::PLAN_STEPS {
            return Err(Error::too_large("drop", self.drop.len(), limits::PLAN_STEPS));
        }
        if self.state.is_some() && self.ends() {
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

    /// The steps that it gives.
    pub(super) fn steps(&self) -> &[Written<'a>] {
        self.steps.as_deref().unwrap_or_default()
    }

    /// Whether the list is to be done as it is.
    pub(super) fn changes_nothing(&self) -> bool {
        self.steps().is_empty() && self.drop.is_empty() && !self.ends()
    }

    /// Whether it is the last one.
    pub(super) fn ends(&self) -> bool {
        self.done || self.fail.is_some()
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

/// Steps that ask are in a scope that nobody else uses, and only where a brain is named can it be asked.
pub(super) fn check_step(
    step: &Flat<'_>,
    brain: Option<&Brain>,
    path: impl Fn() -> String,
) -> Result<()> {
    if step.written.then_ask && step.role != Role::Listed {
        let message = "is for steps of the list: the brain is asked between those";
        return Err(Error::invalid(format!("{}.then_ask", path()), message));
    }
    if brain.is_none() {
        let message = "needs a brain, and the plan names none";
        let wrong = || Error::invalid(format!("{}.then_ask", path()), message);
        return if step.written.then_ask { Err(wrong()) } else { Ok(()) };
    }
    if !step.is_ask() && step.key.scope.split('/').next() == Some(BRAIN_SCOPE) {
        let message = "\"brain\" is the scope of the steps that ask the brain";
        return Err(Error::invalid(format!("{}.scope", path()), message));
    }
    Ok(())
}
