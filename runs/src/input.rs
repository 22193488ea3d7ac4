//! A plan step's input: its template with every `$ref` replaced by what earlier steps produced.

use crate::{RunState, StepState, StepStatus, brain, kept, limits::LOOK_UP_BYTES};
use bytes::Bytes;
use spine_schemas::{
    ErrorClass, Payload, PlanStep, Role, StepError, StepSpec,
    canonical::{self, Reference},
    limits,
};

/// The spec of a plan step, ready to be scheduled.
///
/// # Errors
/// The spec with its unresolved template, and why it cannot be resolved: class `too_large` when a
/// source was left out for its size, when the whole becomes too large for an event or for its run, or
/// when too much had to be read for it; `contract` when nothing is where the reference points.
///
/// `read_bytes` counts what was read to find the sources.
pub(crate) fn resolve(
    run: &RunState,
    step: &PlanStep,
    read_bytes: &mut usize,
) -> Result<StepSpec, Box<(StepSpec, StepError)>> {
    match resolved(run, step, read_bytes) {
        Ok(input) => Ok(spec_of(step, input)),
        Err(error) => Err(Box::new((spec_of(step, template(step)), error))),
    }
}

fn resolved(run: &RunState, step: &PlanStep, read_bytes: &mut usize) -> Result<Payload, StepError> {
    if let Role::Ask { turn } = step.role {
        return payload(run, brain::input(run, turn));
    }
    let (mut failure, most) = (None, read_bytes.saturating_add(LOOK_UP_BYTES));
    let text = canonical::substitute(&step.input, limits::PAYLOAD_BYTES, &mut |reference| {
        let found = if *read_bytes > most {
            let message = format!("more than {LOOK_UP_BYTES} bytes were read for its references");
            Err(too_large("references_too_large", message))
        } else {
            look_up(run, reference, read_bytes)
        };
        found.map_err(|error| {
            let shown = spine_schemas::Error::invalid("$ref", error.message.clone());
            failure = Some(error);
            shown
        })
    });
    let text = text.map_err(|error| match (failure, &error) {
        (Some(failure), _) => failure,
        (None, spine_schemas::Error::TooLarge { .. }) => {
            let message = format!("the input has more than {} bytes", limits::PAYLOAD_BYTES);
            too_large("input_too_large", message)
        }
        (None, _) => StepError::new(ErrorClass::Contract, "input", error.to_string()),
    })?;
    payload(run, text)
}

fn payload(run: &RunState, text: impl Into<Bytes>) -> Result<Payload, StepError> {
    let text = text.into();
    if !kept::has_room(run, text.len()) {
        let message = "the run keeps as many bytes of inputs and outputs as a run may";
        return Err(too_large("run_too_large", message.to_owned()));
    }
    Payload::json("input", text)
        .map_err(|error| StepError::new(ErrorClass::Contract, "input", error.to_string()))
}

/// Whether a step still has the template of its plan as its input, because the references in it point at
/// nothing. It cannot be called with that.
pub(crate) fn is_template(run: &RunState, step: &StepState) -> bool {
    let plan = run.plan().filter(|_| step.edit == 0);
    let Some((_, planned)) = plan.and_then(|plan| plan.find(&step.key)) else { return false };
    if let Role::Ask { .. } = planned.role {
        return step.spec.input.digest == template(planned).digest;
    }
    let has_references = canonical::references(&planned.input).is_ok_and(|found| !found.is_empty());
    has_references && step.spec.input.digest == template(planned).digest
}

fn too_large(code: &str, message: String) -> StepError {
    StepError::new(ErrorClass::TooLarge, code, message)
}

fn template(step: &PlanStep) -> Payload {
    Payload::json("input", step.input.clone()).unwrap_or_else(|_| Payload::null())
}

/// The spec of a plan step that is not to begin.
pub(crate) fn unresolved(step: &PlanStep) -> StepSpec {
    spec_of(step, template(step))
}

fn spec_of(step: &PlanStep, input: Payload) -> StepSpec {
    StepSpec {
        tool: step.tool.clone(),
        input,
        effect: step.effect,
        retry: step.retry,
        timeout_ms: step.timeout_ms,
        schedule_to_start_ms: step.schedule_to_start_ms,
        deadline_ms: step.deadline_ms,
        key_ttl_ms: step.key_ttl_ms,
        on_exhausted: step.on_exhausted,
        not_applied: step.not_applied.clone(),
        approval_ms: step.approval_ms,
        probe: step.probe.clone(),
        quorum: step.quorum,
        memo_ms: step.memo_ms,
    }
}

fn look_up<'r>(
    run: &'r RunState,
    reference: &Reference,
    read_bytes: &mut usize,
) -> Result<&'r [u8], StepError> {
    let contract = |message: String| StepError::new(ErrorClass::Contract, "reference", message);
    let (name, payload) = match &reference.step {
        None => ("run".to_owned(), &run.created.input),
        Some(key) => {
            let step = run.steps.get(key);
            match step.and_then(|step| step.output.as_ref()) {
                Some(output) => (key.to_string(), &output.payload),
                None if step.is_some_and(|step| step.status == StepStatus::Skipped) => {
                    return Ok(b"null");
                }
                None => return Err(contract(format!("step {key} has no output"))),
            }
        }
    };
    if payload.omitted {
        let message = format!("the output of {name} was left out: {} bytes", payload.size_bytes);
        return Err(too_large("source_omitted", message));
    }
    if !payload.is_json() {
        return Err(contract(format!("the output of {name} is {}", payload.content_type)));
    }
    canonical::pointer_at_cost(&payload.data, &reference.pointer, read_bytes)
        .map_err(|error| contract(format!("{name}: {error}")))
}
