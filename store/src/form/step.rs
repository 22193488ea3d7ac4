//! One step of a run: one row, written whole with every change of the step.

use super::{
    damaged, exact,
    given::Given,
    head::read_error,
    offset_column, parse_name, payload,
    payload::{OutputForm, PayloadForm},
    read_count, read_json, read_offset, step_text, write_json,
};
use crate::Result;
use serde::{Deserialize, Serialize};
use spine_runs::{
    AttemptState, Held, LetterRef, Live, Pause, Probing, StepState, Still, TaskRef, WaitRef,
};
use spine_schemas::{Digest, OnExhausted, Probe, RetryPolicy, StepSpec, time::Micros};
use std::{borrow::Cow, sync::Arc};

/// A row of `steps`, beside the key of its run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepForm<'a> {
    /// `scope/name#occurrence`.
    pub step: Cow<'a, str>,
    /// Its status.
    pub status: Cow<'a, str>,
    /// Number of the newest attempt; 0 before the first.
    pub attempt: i64,
    /// Charged attempts since the last redrive.
    pub charged: i64,
    /// How often it was redriven.
    pub generation: i64,
    /// Its tool.
    pub tool: Cow<'a, str>,
    /// Its effect class.
    pub effect: Cow<'a, str>,
    /// Offset of the event that scheduled it.
    pub scheduled_offset: i64,
    /// Log time of that event.
    pub scheduled_at: i64,
    /// When it may be tried again; 0 if it does not wait for that.
    pub due_at: i64,
    /// Log time of its end; 0 before.
    pub ended_at: i64,
    /// Offset of the newest event that was applied to it.
    pub last_offset: i64,
    /// Class of its newest error; empty if none.
    pub error_class: Cow<'a, str>,
    /// Code of that error.
    pub error_code: Cow<'a, str>,
    /// Message of that error.
    pub error_message: Cow<'a, str>,
    /// Digest of the input.
    pub input_digest: Cow<'a, [u8]>,
    /// Digest of the output; empty if none.
    pub output_digest: Cow<'a, [u8]>,
    /// JSON of what has no column.
    pub state: Cow<'a, str>,
    /// Bytes of the input.
    pub input: Cow<'a, [u8]>,
    /// Bytes of the output.
    pub output: Cow<'a, [u8]>,
}

#[derive(Serialize, Deserialize)]
struct State<'a> {
    #[serde(default, skip_serializing_if = "Given::is_empty")]
    given: Given,
    #[serde(default, skip_serializing_if = "PayloadForm::is_plain")]
    input: PayloadForm<'a>,
    #[serde(default, skip_serializing_if = "OutputForm::is_plain")]
    output: OutputForm<'a>,
    retry: Retry,
    timeout_ms: u64,
    schedule_to_start_ms: u64,
    deadline_ms: u64,
    key_ttl_ms: u64,
    on_exhausted: OnExhausted,
    #[serde(default, skip_serializing_if = "is_empty_list")]
    not_applied: Cow<'a, [u16]>,
    budget_from: Micros,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    first_started_at: Option<Micros>,
    #[serde(default, skip_serializing_if = "is_zero")]
    lost_in_row: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    free_in_row: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    edit: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    live: Option<Cow<'a, Live>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    error_free: bool,
    #[serde(default, skip_serializing_if = "is_empty_list")]
    attempts: Cow<'a, [AttemptState]>,
    #[serde(default, skip_serializing_if = "is_zero")]
    attempts_omitted: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    letter: Option<Cow<'a, LetterRef>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    task: Option<Cow<'a, TaskRef>>,
    #[serde(default, skip_serializing_if = "is_zero")]
    tasks: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    paused: Option<Cow<'a, Pause>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    wait: Option<Cow<'a, WaitRef>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    held: Option<Cow<'a, Held>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    breaker_since: Option<Micros>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    approved: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    approval_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    given_up: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    late_success: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    still: Option<Still>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    probe: Option<Cow<'a, Probe>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    probing: Option<Cow<'a, Probing>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    quorum: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    memo_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    reused: bool,
}

#[derive(Serialize, Deserialize)]
struct Retry {
    max_attempts: u32,
    initial_ms: u64,
    #[serde(with = "exact")]
    multiplier: f64,
    max_ms: u64,
    #[serde(with = "exact")]
    jitter: f64,
    max_elapsed_ms: u64,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

fn is_empty_list<T>(list: &[T]) -> bool {
    list.is_empty()
}

impl<'a> State<'a> {
    fn of(step: &'a StepState, given: Given) -> Self {
        let spec = &*step.spec;
        Self {
            given,
            input: PayloadForm::of(&spec.input),
            output: OutputForm::of(step.output.as_ref()),
            retry: Retry::of(&spec.retry),
            timeout_ms: spec.timeout_ms,
            schedule_to_start_ms: spec.schedule_to_start_ms,
            deadline_ms: spec.deadline_ms,
            key_ttl_ms: spec.key_ttl_ms,
            on_exhausted: spec.on_exhausted,
            not_applied: Cow::Borrowed(&spec.not_applied),
            budget_from: step.budget_from,
            first_started_at: step.first_started_at,
            lost_in_row: step.lost_in_row,
            free_in_row: step.free_in_row,
            edit: step.edit,
            live: step.live.as_ref().map(Cow::Borrowed),
            retry_after_ms: step.error.as_ref().and_then(|error| error.retry_after_ms),
            error_free: step.error.as_ref().is_some_and(|error| error.free),
            attempts: Cow::Borrowed(&step.attempts),
            attempts_omitted: step.attempts_omitted,
            letter: step.letter.as_ref().map(Cow::Borrowed),
            task: step.task.as_deref().map(Cow::Borrowed),
            tasks: step.tasks,
            paused: step.paused.as_deref().map(Cow::Borrowed),
            wait: step.wait.as_deref().map(Cow::Borrowed),
            held: step.held.as_deref().map(Cow::Borrowed),
            breaker_since: step.breaker_since,
            approved: step.approved,
            approval_ms: spec.approval_ms,
            given_up: step.given_up,
            late_success: step.late_success,
            still: step.still,
            probe: spec.probe.as_deref().map(Cow::Borrowed),
            probing: step.probe.as_deref().map(Cow::Borrowed),
            quorum: spec.quorum,
            memo_ms: spec.memo_ms,
            reused: step.reused,
        }
    }
}

impl Retry {
    fn of(policy: &RetryPolicy) -> Self {
        let RetryPolicy { max_attempts, initial_ms, multiplier, max_ms, jitter, max_elapsed_ms } =
            *policy;
        Self { max_attempts, initial_ms, multiplier, max_ms, jitter, max_elapsed_ms }
    }

    fn into_policy(self) -> RetryPolicy {
        let Self { max_attempts, initial_ms, multiplier, max_ms, jitter, max_elapsed_ms } = self;
        RetryPolicy { max_attempts, initial_ms, multiplier, max_ms, jitter, max_elapsed_ms }
    }
}

impl<'a> StepForm<'a> {
    /// The row of a step.
    ///
    /// # Errors
    /// See [`write_json`].
    pub fn of(step: &'a StepState) -> Result<Self> {
        let mut given = Given::default();
        let due_at = given.put_time("due_at", step.due_at);
        let ended_at = given.put_time("ended_at", step.ended_at);
        let error = step.error.as_ref();
        let (input_digest, input) = payload::columns(Some(&step.spec.input));
        let (output_digest, output) =
            payload::columns(step.output.as_ref().map(|output| &output.payload));
        Ok(Self {
            step: step_text(&step.key).into(),
            status: step.status.as_str().into(),
            attempt: i64::from(step.attempt),
            charged: i64::from(step.charged),
            generation: i64::from(step.generation),
            tool: Cow::Borrowed(&step.spec.tool),
            effect: step.spec.effect.as_str().into(),
            scheduled_offset: offset_column(step.scheduled_offset),
            scheduled_at: step.scheduled_at.0,
            due_at,
            ended_at,
            last_offset: offset_column(step.last_offset),
            error_class: error.map_or("", |error| error.class.as_str()).into(),
            error_code: error.map_or("", |error| &error.code).into(),
            error_message: error.map_or("", |error| &error.message).into(),
            input_digest,
            output_digest,
            state: write_json("state", &State::of(step, given))?.into(),
            input,
            output,
        })
    }

    /// The step of a row.
    ///
    /// # Errors
    /// [`crate::Error::Damaged`] naming step and column.
    pub fn into_state(self) -> Result<StepState> {
        let state: State<'_> = read_json(&format!("step {}: state", self.step), &self.state)?;
        let spec = StepSpec {
            tool: self.tool.into_owned(),
            input: state.input.into_payload("input", &self.input_digest, self.input)?,
            effect: parse_name("effect", &self.effect)?,
            retry: state.retry.into_policy(),
            timeout_ms: state.timeout_ms,
            schedule_to_start_ms: state.schedule_to_start_ms,
            deadline_ms: state.deadline_ms,
            key_ttl_ms: state.key_ttl_ms,
            on_exhausted: state.on_exhausted,
            not_applied: state.not_applied.into_owned(),
            approval_ms: state.approval_ms,
            probe: state.probe.map(|probe| Box::new(probe.into_owned())),
            quorum: state.quorum,
            memo_ms: state.memo_ms,
        };
        let (class, code, message) = (self.error_class, self.error_code, self.error_message);
        Ok(StepState {
            key: self.step.parse().map_err(|error| damaged("step", error))?,
            spec: Arc::new(spec),
            status: parse_name("status", &self.status)?,
            scheduled_offset: read_offset("scheduled_offset", self.scheduled_offset)?,
            scheduled_at: Micros(self.scheduled_at),
            budget_from: state.budget_from,
            first_started_at: state.first_started_at,
            attempt: read_count("attempt", self.attempt)?,
            charged: read_count("charged", self.charged)?,
            lost_in_row: state.lost_in_row,
            free_in_row: state.free_in_row,
            generation: read_count("generation", self.generation)?,
            edit: state.edit,
            live: state.live.map(Cow::into_owned),
            due_at: state.given.time("due_at", self.due_at),
            error: read_error(&class, code, message, state.retry_after_ms, state.error_free)?,
            output: state.output.into_output(&self.output_digest, self.output)?,
            attempts: state.attempts.into_owned(),
            attempts_omitted: state.attempts_omitted,
            letter: state.letter.map(Cow::into_owned),
            task: state.task.map(|task| Box::new(task.into_owned())),
            tasks: state.tasks,
            paused: state.paused.map(|paused| Box::new(paused.into_owned())),
            wait: state.wait.map(|wait| Box::new(wait.into_owned())),
            held: state.held.map(|held| Box::new(held.into_owned())),
            breaker_since: state.breaker_since,
            probe: state.probing.map(|probing| Box::new(probing.into_owned())),
            approved: state.approved,
            reused: state.reused,
            given_up: state.given_up,
            late_success: state.late_success,
            ended_at: state.given.time("ended_at", self.ended_at),
            last_offset: read_offset("last_offset", self.last_offset)?,
            still: state.still,
        })
    }
}
