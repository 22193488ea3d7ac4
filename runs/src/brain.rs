//! Brains: what one is asked with, and what its answer makes of the plan of its run.
//!
//! An answer is the output of the step that asked, so it is durable like any other and the plan follows from the
//! steps alone. One that the plan cannot take is a failure of its attempt. Who calls, and when, is decided
//! elsewhere: the step that asks is a step of the plan.

use crate::{
    RunState, StepState, StepStatus, Steps, kept,
    limits::{ASK_AHEAD_BYTES, ASK_ERROR_BYTES, ASK_INPUT_BYTES, ASK_STEPS_BYTES},
};
use bytes::Bytes;
use serde_json::json;
use spine_schemas::{
    BRAIN_ANSWER, BRAIN_SCOPE, Digest, ErrorClass, Output, Payload, Plan, PlanStep, Role,
    RunCreated, StepError, StepEvent, StepKey, ask_key, canonical, kept_state, limits::JSON_DEPTH,
};
use std::{borrow::Cow, sync::Arc};

/// Where a run with a brain is.
#[derive(Clone, Copy, Debug)]
pub struct Turn<'r> {
    /// The tool that is asked.
    pub tool: &'r str,
    /// The newest turn that has begun, from 1; 0 before the first.
    pub turn: u32,
    /// How many there may be.
    pub max_turns: u32,
}

impl RunState {
    /// The plan as it is now: as it was received, and what its brain has added.
    pub fn plan(&self) -> Option<&Arc<Plan>> {
        self.grown.as_ref().or(self.created.plan.as_ref())
    }
}

/// The turn of a run with a brain.
pub fn turn_of(run: &RunState) -> Option<Turn<'_>> {
    let plan = run.plan()?;
    let brain = plan.brain.as_ref()?;
    let answered = u32::try_from(plan.answers.len()).unwrap_or(u32::MAX);
    let asks = plan.next_ask().is_some_and(|ask| run.steps.contains_key(&ask.key));
    let (tool, turn) = (brain.tool.as_str(), answered + u32::from(asks));
    Some(Turn { tool, turn, max_turns: brain.max_turns })
}

/// The turn that a step asks for, in the plan of its run.
pub(crate) fn asks(run: &RunState, key: &StepKey) -> Option<u32> {
    let is_ask = *key.scope == *BRAIN_SCOPE && run.plan()?.brain.is_some();
    (is_ask && ask_key(key.occurrence) == *key).then_some(key.occurrence)
}

/// The plan with what a step said, if that step is the one that asks the brain now.
///
/// # Errors
/// How the attempt failed that said so.
pub fn answered(
    run: &RunState,
    key: &StepKey,
    output: &Output,
) -> Option<Result<Arc<Plan>, StepError>> {
    if *key.scope != *BRAIN_SCOPE {
        return None;
    }
    let plan = run.plan()?;
    plan.next_ask().filter(|ask| ask.key == *key)?;
    let payload = &output.payload;
    if !kept::has_room(run, payload.data.len()) {
        let message = "the run keeps as many bytes of inputs and outputs as a run may";
        return Some(Err(StepError::new(ErrorClass::TooLarge, "run_too_large", message)));
    }
    let unusable = |error: String| {
        StepError::new(ErrorClass::Contract, BRAIN_ANSWER, format!("answer: {error}"))
    };
    let grown = plan.grown(payload).map_err(|error| unusable(unprefixed(&error)));
    Some(grown.and_then(|plan| match first_run(run, &plan) {
        Some(path) => Err(unusable(format!(
            "{path}.tool: the brain of a run that is a step gives no steps that are runs"
        ))),
        None => Ok(Arc::new(plan)),
    }))
}

/// Where an answer would begin a run in a run that was begun so: else nothing would end that.
fn first_run(run: &RunState, plan: &Plan) -> Option<String> {
    run.created.caller.as_ref()?;
    let mut given = plan.given_from(plan.newest());
    given.find(|(_, step)| step.child.is_some()).map(|(at, _)| plan.path(at))
}

fn unprefixed(error: &spine_schemas::Error) -> String {
    let text = error.to_string();
    text.strip_prefix("answer: ").map(str::to_owned).unwrap_or(text)
}

/// Whether an attempt failed only because of what the brain said. Asked again, it may say something else.
pub(crate) fn said_nonsense(error: &StepError) -> bool {
    error.class == ErrorClass::Contract && error.code == BRAIN_ANSWER
}

/// Whether a step may be scheduled, as far as the run's brain is concerned. Turns come one by one, when nothing
/// else is open, and what was dropped does not come.
pub(crate) fn may_schedule(run: &RunState, key: &StepKey) -> bool {
    if asks(run, key).is_none() {
        return !has_dropped(run, key);
    }
    let is_next = run.plan().and_then(|plan| plan.next_ask()).is_some_and(|ask| ask.key == *key);
    is_next && run.steps.unsettled().next().is_none()
}

/// Whether other steps than those of the newest answer lie before the step that asks next.
pub(crate) fn asks_behind_others(run: &RunState, ask: &PlanStep) -> bool {
    let Some(plan) = run.plan() else { return false };
    let mut between = plan.in_list()[plan.settled..].iter().take_while(|step| step.key != ask.key);
    let is_other =
        |step: &PlanStep| step.given_at != plan.newest() && !plan.dropped.contains_key(&step.key);
    between.any(is_other)
}

/// Whether the brain decided against a step.
pub(crate) fn has_dropped(run: &RunState, key: &StepKey) -> bool {
    run.plan().is_some_and(|plan| plan.dropped.contains_key(key))
}

/// Steps that the brain has dropped, as long as the log does not say so of them.
pub(crate) fn to_leave_out<'p>(
    run: &'p RunState,
    plan: &'p Plan,
) -> impl Iterator<Item = &'p PlanStep> {
    let first = if plan.dropped.is_empty() { plan.listed } else { plan.settled };
    let behind = plan.in_list()[first..].iter();
    behind.filter(move |step| {
        plan.dropped.contains_key(&step.key) && !run.steps.contains_key(&step.key)
    })
}

/// What the log says of a step that the brain has dropped.
pub(crate) fn left_out(plan: &Plan, step: &PlanStep) -> StepEvent {
    let tool = plan.brain.as_ref().map_or("", |brain| &brain.tool);
    let turn = plan.dropped.get(&step.key).copied().unwrap_or_default();
    let reason = if plan.brain_end.is_some() && turn == plan.newest() {
        format!("the brain {tool} ended the run at turn {turn}")
    } else {
        format!("the brain {tool} dropped it at turn {turn}")
    };
    StepEvent::Skipped { reason, output: None }
}

/// The plan that the steps of a run have made of the one that it began with; `None` where that is still it.
///
/// # Errors
/// When an answer that was taken cannot be, which only damage explains.
pub fn grown(created: &RunCreated, steps: &Steps) -> spine_schemas::Result<Option<Arc<Plan>>> {
    let Some(plan) = created.plan.as_ref().filter(|plan| plan.brain.is_some()) else {
        return Ok(None);
    };
    let answer = |turn| {
        let step = steps.get(&ask_key(turn))?;
        let output = step.output.as_ref().filter(|_| step.status == StepStatus::Completed)?;
        Some(output.payload.data.clone())
    };
    let answers: Vec<Bytes> = (1..).map_while(answer).collect();
    if answers.is_empty() {
        return Ok(None);
    }
    Ok(Some(Arc::new(plan.answered(answers)?)))
}

/// The plan with another answer in place of its newest; only a planted fault asks for it.
pub(crate) fn replaced(run: &RunState, key: &StepKey, output: &Output) -> Option<Arc<Plan>> {
    let plan = run.plan()?;
    let (_, before) = plan.answers.split_last()?;
    let is_newest = ask_key(u32::try_from(plan.answers.len()).ok()?) == *key;
    let mut answers = before.to_vec();
    answers.push(output.payload.data.clone());
    plan.answered(answers).ok().filter(|_| is_newest).map(Arc::new)
}

/// What the brain is asked with at a turn: the run as far as it went before.
pub(crate) fn input(run: &RunState, turn: u32) -> String {
    let Some(plan) = run.plan() else { return "null".into() };
    let of = ask_key(turn);
    let before = plan.in_list().iter().take_while(|step| step.key != of);
    let listed = before.filter(|step| step.role == Role::Listed);
    let done: Vec<(&PlanStep, &StepState)> =
        listed.filter_map(|step| run.steps.get(&step.key).map(|state| (step, &**state))).collect();
    let (steps, omitted) = entries(&done);
    let state = (turn as usize).checked_sub(2).and_then(|last| plan.answers.get(last));
    let state = state.and_then(|answer| kept_state(answer)).unwrap_or("null");
    let max_turns = plan.brain.as_ref().map_or(turn, |brain| brain.max_turns);
    let ahead = ahead(plan, turn);
    let input = &run.created.input;
    let given = value(input).filter(|text| text.len() <= ASK_INPUT_BYTES);
    let given = given.unwrap_or_else(|| json!(omission(input)).to_string().into());
    format!(
        "{{\"run_id\":{},\"workflow\":{},\"input\":{given},\"turn\":{turn},\"max_turns\":{max_turns},\
         \"state\":{state},\"steps_omitted\":{omitted},\"steps\":[{}]{ahead}}}",
        json!(run.key.run_id),
        json!(run.created.workflow),
        steps.join(",")
    )
}

/// What is listed behind a turn and was not dropped before: a member of the object if there is anything, as far
/// as there is room for it.
fn ahead(plan: &Plan, turn: u32) -> String {
    let behind = plan.in_list().iter().skip_while(|step| step.role != Role::Ask { turn });
    let comes = |step: &&PlanStep| {
        let is_left = plan.dropped.get(&step.key).is_none_or(|dropped| *dropped >= turn);
        step.role == Role::Listed && step.given_at < turn && is_left
    };
    let (mut names, mut bytes, mut omitted) = (Vec::new(), 0, 0);
    for step in behind.filter(comes) {
        let name = json!(step.key).to_string();
        bytes += name.len() + 1;
        if bytes <= ASK_AHEAD_BYTES {
            names.push(name);
        } else {
            omitted += 1;
        }
    }
    match (names.join(","), omitted) {
        (names, 0) if names.is_empty() => names,
        (names, 0) => format!(",\"ahead\":[{names}]"),
        (names, omitted) => format!(",\"ahead\":[{names}],\"ahead_omitted\":{omitted}"),
    }
}

/// The steps in their order, as far as there is room for them, and how many older ones are left out. Half of
/// the room is for the steps themselves, what is left is for outputs; the newest come first for both.
fn entries(done: &[(&PlanStep, &StepState)]) -> (Vec<String>, usize) {
    let (mut heads, mut bytes) = (Vec::new(), 0);
    for (step, state) in done.iter().rev() {
        let head = head(step, state);
        bytes += head.len() + 128;
        if bytes > ASK_STEPS_BYTES / 2 {
            break;
        }
        heads.push((head, state.output.as_ref().map(|output| &output.payload)));
    }
    let omitted = done.len() - heads.len();
    let mut room = ASK_STEPS_BYTES.saturating_sub(bytes);
    let mut entries: Vec<String> = heads
        .into_iter()
        .map(|(head, payload)| {
            let Some(payload) = payload else { return format!("{{{head},\"output\":null}}") };
            match value(payload).filter(|text| text.len() <= room) {
                Some(text) => {
                    room -= text.len();
                    format!("{{{head},\"output\":{text}}}")
                }
                None => {
                    let rest = json!(omission(payload)).to_string();
                    format!("{{{head},\"output\":null,{}", &rest[1..])
                }
            }
        })
        .collect();
    entries.reverse();
    (entries, omitted)
}

fn head(step: &PlanStep, state: &StepState) -> String {
    let degraded = state.output.as_ref().is_some_and(|output| output.degraded);
    let error = state.error.as_ref().filter(|_| state.status == StepStatus::Skipped).map(|error| {
        let message: &str = &error.message;
        let message = &message[..message.floor_char_boundary(ASK_ERROR_BYTES)];
        json!({"class": error.class, "code": error.code, "message": message})
    });
    format!(
        "\"step\":{},\"tool\":{},\"status\":{},\"degraded\":{degraded},\"error\":{}",
        json!(step.key),
        json!(step.tool),
        json!(state.status),
        json!(error)
    )
}

#[derive(serde::Serialize)]
struct Omission<'a> {
    omitted: bool,
    digest: &'a Digest,
    size_bytes: u64,
}

fn omission(payload: &Payload) -> Omission<'_> {
    Omission { omitted: true, digest: &payload.digest, size_bytes: payload.size_bytes }
}

/// A payload as a JSON value, where it has one that is not nested too deeply for a place inside another.
fn value(payload: &Payload) -> Option<Cow<'_, str>> {
    if payload.omitted || canonical::is_deeper(&payload.data, JSON_DEPTH - 4) {
        return None;
    }
    let text = std::str::from_utf8(&payload.data).ok()?;
    if payload.is_json() {
        return Some(text.into());
    }
    Some(json!(text).to_string().into())
}
