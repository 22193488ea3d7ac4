//! A plan step's input: its template with every `$ref` replaced by what earlier steps produced.

use crate::{RunState, StepStatus};
use spine_schemas::{
    ErrorClass, Payload, PlanStep, StepError, StepSpec,
    canonical::{self, Reference},
    limits,
};

/// The spec of a plan step, ready to be scheduled.
///
/// # Errors
/// The spec with its unresolved template, and why it cannot be resolved: class `too_large` when a
/// source was left out for its size or the whole becomes too large, `contract` when nothing is
/// where the reference points.
pub(crate) fn resolve(
    run: &RunState,
    step: &PlanStep,
) -> Result<StepSpec, Box<(StepSpec, StepError)>> {
    let mut failure = None;
    let resolved = canonical::substitute(&step.input, &mut |reference| {
        look_up(run, reference).map_err(|error| {
            let shown = spine_schemas::Error::invalid("$ref", error.message.clone());
            failure = Some(error);
            shown
        })
    });
    let text = match resolved {
        Ok(text) => text,
        Err(error) => {
            let contract = || StepError::new(ErrorClass::Contract, "input", error.to_string());
            let error = failure.unwrap_or_else(contract);
            return Err(Box::new((spec_of(step, template(step)), error)));
        }
    };
    if text.len() > limits::PAYLOAD_BYTES {
        let message = format!("the input has {} bytes, over {}", text.len(), limits::PAYLOAD_BYTES);
        let error = StepError::new(ErrorClass::TooLarge, "input_too_large", message);
        return Err(Box::new((spec_of(step, template(step)), error)));
    }
    match Payload::json("input", text) {
        Ok(input) => Ok(spec_of(step, input)),
        Err(error) => {
            let error = StepError::new(ErrorClass::Contract, "input", error.to_string());
            Err(Box::new((spec_of(step, template(step)), error)))
        }
    }
}

fn template(step: &PlanStep) -> Payload {
    Payload::json("input", step.input.clone()).unwrap_or_else(|_| Payload::null())
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
    }
}

fn look_up(run: &RunState, reference: &Reference) -> Result<Vec<u8>, StepError> {
    let contract = |message: String| StepError::new(ErrorClass::Contract, "reference", message);
    let (name, payload) = match &reference.step {
        None => ("run".to_owned(), &run.created.input),
        Some(key) => {
            let step = run.steps.get(key);
            match step.and_then(|step| step.output.as_ref()) {
                Some(output) => (key.to_string(), &output.payload),
                None if step.is_some_and(|step| step.status == StepStatus::Skipped) => {
                    return Ok(b"null".to_vec());
                }
                None => return Err(contract(format!("step {key} has no output"))),
            }
        }
    };
    if payload.omitted {
        let message = format!("the output of {name} was left out: {} bytes", payload.size_bytes);
        return Err(StepError::new(ErrorClass::TooLarge, "source_omitted", message));
    }
    if !payload.is_json() {
        return Err(contract(format!("the output of {name} is {}", payload.content_type)));
    }
    canonical::pointer(&payload.data, &reference.pointer)
        .map(<[u8]>::to_vec)
        .map_err(|error| contract(format!("{name}: {error}")))
}
