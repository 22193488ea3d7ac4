//! Attempts of which nobody knows whether they took effect, and what they forbid.

use crate::{AttemptEnd, AttemptState, StepState, retry};
use spine_schemas::{Driver, Effect, ErrorClass, StepSpec, spec::queue_of, time::Micros};

/// Whether an attempt that was reported as failed may have taken effect all the same.
///
/// An owner says `transient` for a careful step only where the tool says that nothing was applied;
/// an agent or a worker says it of any exception, so from them it settles nothing. Whoever reports a
/// run from outside has asked already, and says `step_unknown` where there was no answer.
pub(crate) fn may_have_acted(driver: Driver, spec: &StepSpec, class: ErrorClass) -> bool {
    let effect = spec.effect;
    let guessed = effect.is_careful() && class == ErrorClass::Transient;
    match driver {
        Driver::Plan if queue_of(&spec.tool).is_some() => {
            retry::is_ambiguous(effect, class) || guessed
        }
        Driver::Plan => retry::is_ambiguous(effect, class),
        Driver::Journal => retry::is_ambiguous(effect, class) || guessed,
        Driver::Record => false,
    }
}

/// Whether it is open if this attempt of a step took effect.
pub(crate) fn is_unresolved(driver: Driver, spec: &StepSpec, attempt: &AttemptState) -> bool {
    match &attempt.end {
        AttemptEnd::Failed(error) => may_have_acted(driver, spec, error.class),
        AttemptEnd::Lost(_) => spec.effect != Effect::Pure,
        AttemptEnd::Running
        | AttemptEnd::Completed
        | AttemptEnd::Released(_)
        | AttemptEnd::DidNotHappen => false,
    }
}

/// The attempt from which the life of the key counts, by its place in the history.
pub(crate) fn first(driver: Driver, step: &StepState) -> Option<usize> {
    step.attempts
        .iter()
        .position(|attempt| !attempt.accepted && is_unresolved(driver, &step.spec, attempt))
}

/// Whether any attempt of the step is unresolved, the ones that an operator accepted included.
pub(crate) fn any(driver: Driver, step: &StepState) -> bool {
    step.attempts.iter().any(|attempt| is_unresolved(driver, &step.spec, attempt))
}

/// When the remote may have forgotten the key of an attempt that may have taken effect. From then
/// on another attempt could repeat the effect, so the step counts as `at_most_once`.
pub(crate) fn key_forgotten_at(driver: Driver, step: &StepState) -> Option<Micros> {
    if step.spec.effect != Effect::Idempotent {
        return None;
    }
    let since = step.attempts[first(driver, step)?].started_at;
    Some(since.plus_ms(step.spec.key_ttl_ms))
}

/// Whether that time has come.
pub(crate) fn key_is_forgotten(driver: Driver, step: &StepState, now: Micros) -> bool {
    key_forgotten_at(driver, step).is_some_and(|at| now >= at)
}
