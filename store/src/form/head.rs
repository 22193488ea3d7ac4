//! The part of a run that changes: one row, written whole with every change.

use super::{
    Creation, damaged, driver_name, given::Given, offset_column, parse_name, payload,
    payload::OutputForm, read_count, read_json, read_offset, sum_column, wait_name, write_json,
};
use crate::Result;
use serde::{Deserialize, Serialize};
use spine_runs::{
    BatchProgress, CancelRequest, Pause, RunState, RunStatus, Session, Signal, Stall, Steps,
    Totals, Undo, WaitKind, brain,
};
use spine_schemas::{Payload, RunKey, StepError, StepKey, time::Micros};
use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet, VecDeque},
};

/// A row of `runs`, beside its key and partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadForm<'a> {
    /// As in `run_specs`, so that lists need one table.
    pub workflow: Cow<'a, str>,
    /// As in `run_specs`.
    pub version: Cow<'a, str>,
    /// As in `run_specs`.
    pub driver: Cow<'a, str>,
    /// The public status.
    pub status: Cow<'a, str>,
    /// Names of everything that an open run waits for, sorted, joined by commas.
    pub waiting_for: Cow<'a, str>,
    /// Steps in all, completed, failed and dead-lettered.
    pub steps: [i64; 4],
    /// Attempts that were started.
    pub attempts: i64,
    /// Integer micro-units of money.
    pub cost_micros: i64,
    /// Tokens read, at any price.
    pub tokens_in: i64,
    /// Tokens written, reasoning included.
    pub tokens_out: i64,
    /// Recorded decisions.
    pub decisions: i64,
    /// Log time of the first event.
    pub started_at: i64,
    /// Log time of the end; 0 while open.
    pub ended_at: i64,
    /// Offset of the newest event that was applied.
    pub last_offset: i64,
    /// Log time of that event.
    pub last_at: i64,
    /// Log time of the newest event that moved a stalled run; 0 while it is not stalled.
    pub stalled_since: i64,
    /// The step that it failed with; empty if none.
    pub failed_step: Cow<'a, str>,
    /// Class of its error; empty if none.
    pub error_class: Cow<'a, str>,
    /// Code of its error.
    pub error_code: Cow<'a, str>,
    /// Message of its error.
    pub error_message: Cow<'a, str>,
    /// Digest of the output; empty if none.
    pub output_digest: Cow<'a, [u8]>,
    /// JSON of what has no column.
    pub state: Cow<'a, str>,
    /// Hashes of the ids of counted decisions: 8 bytes each, high byte first, ascending.
    pub seen: Cow<'a, [u8]>,
    /// Bytes of the output.
    pub output: Cow<'a, [u8]>,
}

#[derive(Serialize, Deserialize)]
struct State<'a> {
    #[serde(default, skip_serializing_if = "Given::is_empty")]
    given: Given,
    #[serde(default, skip_serializing_if = "OutputForm::is_plain")]
    output: OutputForm<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    error_free: bool,
    #[serde(default, skip_serializing_if = "is_empty_queue")]
    batches: Cow<'a, VecDeque<BatchProgress>>,
    #[serde(default, skip_serializing_if = "is_empty_map")]
    sessions: Cow<'a, BTreeMap<String, Session>>,
    totals: Totals,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cancel: Option<Cow<'a, CancelRequest>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    undo: Option<Cow<'a, Undo>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    paused: Option<Cow<'a, Pause>>,
    #[serde(default, skip_serializing_if = "is_zero")]
    paused_ms: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stalled: Option<Cow<'a, Stall>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    signals: Vec<SignalForm<'a>>,
}

/// A signal that nobody awaited yet. They are few and JSON, so they may stand here as text.
#[derive(Serialize, Deserialize)]
struct SignalForm<'a> {
    name: Cow<'a, str>,
    data: Cow<'a, str>,
}

impl<'a> SignalForm<'a> {
    fn of(signal: &'a Signal) -> Self {
        let data = String::from_utf8_lossy(&signal.data.data);
        Self { name: Cow::Borrowed(&signal.name), data }
    }

    fn into_signal(self) -> Result<Signal> {
        let data = Payload::json("signals", self.data.into_owned());
        let data = data.map_err(|error| damaged("signals", error))?;
        Ok(Signal { name: self.name.into_owned(), data })
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(ms: &u64) -> bool {
    *ms == 0
}

fn is_empty_queue(batches: &VecDeque<BatchProgress>) -> bool {
    batches.is_empty()
}

fn is_empty_map(sessions: &BTreeMap<String, Session>) -> bool {
    sessions.is_empty()
}

impl<'a> HeadForm<'a> {
    /// The row of a run.
    ///
    /// # Errors
    /// See [`write_json`].
    pub fn of(run: &'a RunState) -> Result<Self> {
        let counts = run.step_counts();
        let mut given = Given::default();
        let ended_at = given.put_time("ended_at", run.ended_at);
        let error = run.error.as_ref();
        let output = run.output.as_ref();
        let (output_digest, output_bytes) = payload::columns(output.map(|output| &output.payload));
        let state = State {
            given,
            output: OutputForm::of(output),
            retry_after_ms: error.and_then(|error| error.retry_after_ms),
            error_free: error.is_some_and(|error| error.free),
            batches: Cow::Borrowed(&run.batches),
            sessions: Cow::Borrowed(&run.sessions),
            totals: run.totals,
            cancel: run.cancel.as_deref().map(Cow::Borrowed),
            undo: run.undo.as_deref().map(Cow::Borrowed),
            paused: run.paused.as_deref().map(Cow::Borrowed),
            paused_ms: run.paused_ms,
            stalled: run.stalled.as_deref().map(Cow::Borrowed),
            signals: run.signals.iter().map(SignalForm::of).collect(),
        };
        Ok(Self {
            workflow: Cow::Borrowed(&run.created.workflow),
            version: Cow::Borrowed(&run.created.version),
            driver: Cow::Borrowed(driver_name(run.driver())),
            status: Cow::Borrowed(run.public_status()),
            waiting_for: waiting_for(run),
            steps: [counts.total, counts.completed, counts.failed, counts.dead_lettered]
                .map(i64::from),
            attempts: sum_column(run.totals.attempts),
            cost_micros: sum_column(run.totals.cost_micros),
            tokens_in: tokens_in(&run.totals),
            tokens_out: tokens_out(&run.totals),
            decisions: i64::from(run.decisions),
            started_at: run.created_at.0,
            ended_at,
            last_offset: offset_column(run.last_offset),
            last_at: run.last_at.0,
            stalled_since: run.stalled.as_ref().map_or(0, |stall| stall.since.0),
            failed_step: run.failed_step.as_ref().map_or("".into(), |step| step.to_string().into()),
            error_class: error.map_or("", |error| error.class.as_str()).into(),
            error_code: error.map_or("", |error| &error.code).into(),
            error_message: error.map_or("", |error| &error.message).into(),
            output_digest,
            state: write_json("state", &state)?.into(),
            seen: write_seen(&run.seen).into(),
            output: output_bytes,
        })
    }

    pub(crate) fn into_state(
        self,
        key: RunKey,
        creation: Creation,
        steps: Steps,
    ) -> Result<RunState> {
        let state: State<'_> = read_json("state", &self.state)?;
        let grown =
            brain::grown(&creation.created, &steps).map_err(|error| damaged("plan", error))?;
        Ok(RunState {
            key,
            created: creation.created,
            grown,
            created_digest: creation.created_digest,
            created_offset: creation.created_offset,
            created_at: creation.created_at,
            status: read_status(&self.status)?,
            ended_at: state.given.time("ended_at", self.ended_at),
            output: state.output.into_output(&self.output_digest, self.output)?,
            error: read_error(
                &self.error_class,
                self.error_code,
                self.error_message,
                state.retry_after_ms,
                state.error_free,
            )?,
            failed_step: read_step("failed_step", &self.failed_step)?,
            cancel: state.cancel.map(|cancel| Box::new(cancel.into_owned())),
            undo: state.undo.map(|undo| Box::new(undo.into_owned())),
            paused: state.paused.map(|paused| Box::new(paused.into_owned())),
            paused_ms: state.paused_ms,
            stalled: state.stalled.map(|stall| Box::new(stall.into_owned())),
            signals: state
                .signals
                .into_iter()
                .map(SignalForm::into_signal)
                .collect::<Result<_>>()?,
            steps,
            batches: state.batches.into_owned(),
            sessions: state.sessions.into_owned(),
            seen: read_seen(&self.seen)?,
            decisions: read_count("decisions", self.decisions)?,
            totals: state.totals,
            last_offset: read_offset("last_offset", self.last_offset)?,
            last_at: Micros(self.last_at),
        })
    }
}

/// `waiting` is how a running run looks to people; the state does not know it.
fn read_status(name: &str) -> Result<RunStatus> {
    match name {
        "waiting" => Ok(RunStatus::Running),
        other => parse_name("status", other),
    }
}

/// The error in its columns; an empty class says that there is none.
pub(super) fn read_error(
    class: &str,
    code: Cow<'_, str>,
    message: Cow<'_, str>,
    retry_after_ms: Option<u64>,
    free: bool,
) -> Result<Option<StepError>> {
    if class.is_empty() {
        return Ok(None);
    }
    Ok(Some(StepError {
        class: parse_name("error_class", class)?,
        code: code.into_owned(),
        message: message.into_owned(),
        retry_after_ms,
        free,
    }))
}

/// The optional step in a column. A step's text is never empty.
pub(super) fn read_step(column: &str, text: &str) -> Result<Option<StepKey>> {
    let step = (!text.is_empty()).then(|| text.parse());
    step.transpose().map_err(|error| damaged(column, error))
}

fn waiting_for(run: &RunState) -> Cow<'static, str> {
    let kinds: BTreeSet<WaitKind> = run.waits().into_iter().map(|wait| wait.wait_for).collect();
    let mut names: Vec<&'static str> = kinds.into_iter().map(wait_name).collect();
    names.sort_unstable();
    match names[..] {
        [] => "".into(),
        [name] => name.into(),
        _ => names.join(",").into(),
    }
}

fn tokens_in(totals: &Totals) -> i64 {
    let read = totals.input_uncached.saturating_add(totals.cache_read);
    sum_column(read.saturating_add(totals.cache_write))
}

fn tokens_out(totals: &Totals) -> i64 {
    sum_column(totals.output_text.saturating_add(totals.output_reasoning))
}

fn write_seen(seen: &BTreeSet<u64>) -> Vec<u8> {
    seen.iter().flat_map(|hash| hash.to_be_bytes()).collect()
}

fn read_seen(bytes: &[u8]) -> Result<BTreeSet<u64>> {
    let (words, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(damaged("seen", format!("{} bytes", bytes.len())));
    }
    Ok(words.iter().map(|word| u64::from_be_bytes(*word)).collect())
}
