//! From the fold's verdict on an operation to its answer in JSON.

use super::lease;
use crate::{
    App, Code, Problem, Verdicts,
    ask::Asked,
    query::AtLeast,
    steering,
    views::{self, Time},
};
use serde::Serialize;
use serde_json::{Value, value::RawValue};
use spine_log::EventLog;
use spine_runs::{Answer, Reason, RunState, StepStatus, WaitKind};
use spine_schemas::{Digest, RunKey, StepKey, control::ControlRecord, keys};
use spine_store::RunStore;

/// What an operation is about.
pub(super) struct About {
    pub(super) step: Option<StepKey>,
    /// The pause of its tool or tenant that this process knew of.
    pub(super) paused: Option<ControlRecord>,
}

/// The answer to one operation.
#[derive(Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub(crate) enum OpResult {
    Ok,
    Execute {
        attempt: u32,
        lease: String,
        lease_until: Time,
        idempotency_key: Digest,
        /// What the step is to be done with, where an operator has given it another input than its agent.
        #[serde(skip_serializing_if = "Option::is_none")]
        input: Option<Box<RawValue>>,
    },
    Replay {
        output: Box<RawValue>,
    },
    Wait {
        r#for: WaitKind,
        until: Option<Time>,
        #[serde(skip_serializing_if = "Option::is_none")]
        task: Option<Digest>,
        #[serde(skip_serializing_if = "Option::is_none")]
        paused: Option<Value>,
    },
    Unknown {
        attempt: u32,
    },
    Denied {
        code: u16,
        name: &'static str,
        message: &'static str,
    },
    DeadLettered {
        letter: Digest,
    },
    Conflict {
        stored: Digest,
        given: Digest,
    },
    NotTried,
}

/// The answer to an operation.
pub(super) async fn answer<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    run: &RunKey,
    about: &About,
    asked: &Asked,
) -> Result<OpResult, Problem> {
    let Some(answer) = asked.verdict.answer() else {
        // Only a refusal comes without an answer.
        return Ok(denied(asked.verdict.reason().unwrap_or(Reason::StepState)));
    };
    Ok(match (answer.clone(), about.step.as_ref()) {
        (Answer::Ok | Answer::Counted { .. }, _) => OpResult::Ok,
        (Answer::Execute { attempt, lease, lease_until, edit }, Some(step)) => {
            let input = match edit {
                0 => None,
                _ => match edited_input(app, run, (step, edit), asked).await? {
                    Some(input) => Some(input),
                    // An answer that is asked for again: that attempt is over.
                    None => return Ok(denied(Reason::WrongAttempt)),
                },
            };
            OpResult::Execute {
                attempt,
                lease: lease::text(asked.partition, lease),
                lease_until: Time(lease_until),
                idempotency_key: key(app, run, step, edit),
                input,
            }
        }
        (Answer::Replay, Some(step)) => {
            OpResult::Replay { output: stored_output(app, run, step, asked).await? }
        }
        (Answer::Execute { .. } | Answer::Replay, None) => {
            return Err(Problem::new(Code::Internal, "an answer about a step names none"));
        }
        (Answer::Wait { wait_for, until }, _) => OpResult::Wait {
            r#for: wait_for,
            until: Time::of(until),
            task: None,
            paused: about.who_paused(wait_for),
        },
        (Answer::Asked { task_id, until }, _) => OpResult::Wait {
            r#for: WaitKind::Approval,
            until: Time::of(until),
            task: Some(task_id),
            paused: None,
        },
        (Answer::Unknown { attempt }, _) => OpResult::Unknown { attempt },
        (Answer::Denied { code }, _) => denied(code),
        (Answer::DeadLettered { letter_id }, _) => OpResult::DeadLettered { letter: letter_id },
        (Answer::Conflict { stored, given }, _) => OpResult::Conflict { stored, given },
        (Answer::NotTried, _) => OpResult::NotTried,
    })
}

impl About {
    /// Who paused what is waited for, since when, and why.
    fn who_paused(&self, wait_for: WaitKind) -> Option<Value> {
        let is_told = matches!(wait_for, WaitKind::ToolPaused | WaitKind::TenantPaused);
        self.paused.as_ref().filter(|_| is_told).map(steering::said)
    }
}

fn denied(reason: Reason) -> OpResult {
    let row = Code::from(reason).row();
    OpResult::Denied { code: row.number, name: row.name, message: row.title }
}

fn key<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    run: &RunKey,
    step: &StepKey,
    edit: u32,
) -> Digest {
    keys::idempotency_key(&app.settings().installation_id, run, step, edit)
}

/// What the step produced. A finished step does not change, so the store is waited for only where it
/// does not have it yet.
async fn stored_output<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    run: &RunKey,
    step: &StepKey,
    asked: &Asked,
) -> Result<Box<RawValue>, Problem> {
    if let Some(state) = app.find_run(asked.partition, run).await?
        && let Some(output) = finished_output(&state, step)
    {
        return output;
    }
    let until = AtLeast { partition: Some(asked.partition), offset: asked.offset };
    let (_, state) = app.load_run(run, Some(until)).await?;
    finished_output(&state, step).unwrap_or_else(|| {
        let detail = format!("the store has no end of step {step}");
        Err(Problem::new(Code::NotStoredYet, detail))
    })
}

/// The input that an operator gave a step: the one that it is approved of, and the one of its key. `None` where it
/// has been given another one since.
async fn edited_input<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    run: &RunKey,
    (step, edit): (&StepKey, u32),
    asked: &Asked,
) -> Result<Option<Box<RawValue>>, Problem> {
    let until = AtLeast { partition: Some(asked.partition), offset: asked.offset };
    let (_, state) = app.load_run(run, Some(until)).await?;
    let Some(step) = state.steps.get(step) else {
        let detail = format!("the store has no step {step}");
        return Err(Problem::new(Code::NotStoredYet, detail));
    };
    if step.edit != edit {
        return Ok(None);
    }
    let json = serde_json::value::to_raw_value(&views::PayloadView(&step.spec.input));
    json.map(Some).map_err(|error| Problem::new(Code::Internal, error.to_string()))
}

/// The output of a step that has ended well or was left out; `None` while it has not.
fn finished_output(state: &RunState, step: &StepKey) -> Option<Result<Box<RawValue>, Problem>> {
    let step = state.steps.get(step)?;
    let output = match step.status {
        StepStatus::Completed | StepStatus::Skipped => step.output.as_ref(),
        StepStatus::Scheduled
        | StepStatus::Running
        | StepStatus::RetryWaiting
        | StepStatus::Deferred
        | StepStatus::Awaiting
        | StepStatus::Unknown
        | StepStatus::Failed
        | StepStatus::DeadLettered
        | StepStatus::Cancelled => return None,
    };
    let payload = output.map(|output| views::PayloadView(&output.payload));
    let json = serde_json::value::to_raw_value(&payload);
    Some(json.map_err(|error| Problem::new(Code::Internal, error.to_string())))
}
