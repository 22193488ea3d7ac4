//! The fields of the wide record, taken one by one and turned into typed values. What a kind does not
//! take is left over, and refused.

use super::{Error as WireError, Output, Retry, Spec, Step, StepEvent, Symbol, Text, Usage};
use crate::{self as typed, Error, Result, RetryPolicy, StepKey, StepSpec};
use std::{borrow::Cow, sync::Arc};

impl StepEvent<'_> {
    pub(super) fn take_attempt(&mut self) -> Result<u32> {
        count("attempt", need("attempt", self.attempt.take())?)
    }

    pub(super) fn take_lease(&mut self) -> Result<Option<u64>> {
        optional_whole("lease", self.lease.take())
    }

    /// An absent reason is an empty one: whoever reports a fact need not explain it.
    pub(super) fn take_reason(&mut self) -> String {
        self.reason.take().map(Cow::into_owned).unwrap_or_default()
    }

    pub(super) fn take_step(&mut self) -> Result<Option<StepKey>> {
        self.step.take().map(step_key).transpose()
    }

    pub(super) fn take_letter(&mut self) -> Result<typed::Digest> {
        Ok(need("dead_letter", self.dead_letter.take())?.letter_id.0)
    }

    pub(super) fn take_output(&mut self) -> Result<Option<typed::Output>> {
        let Some(Output { data, degraded, source }) = self.output.take() else { return Ok(None) };
        let payload = data.into_typed("output.data")?;
        Ok(Some(typed::Output { payload, degraded, source: source.map(Cow::into_owned) }))
    }

    pub(super) fn take_error(&mut self) -> Result<typed::StepError> {
        let WireError { class, code, message, retry_after_ms, free } =
            need("error", self.error.take())?;
        Ok(typed::StepError {
            class: known("error.class", class)?,
            code: code.into_owned(),
            message: message.into_owned(),
            retry_after_ms: optional_whole("error.retry_after_ms", retry_after_ms)?,
            free: free.unwrap_or_default(),
        })
    }

    pub(super) fn take_usage(&mut self) -> Result<Option<typed::Usage>> {
        let Some(usage) = self.usage.take() else { return Ok(None) };
        let usage: Usage<'_> = *usage;
        Ok(Some(typed::Usage {
            provider: usage.provider.map(Cow::into_owned),
            model: usage.model.map(Cow::into_owned),
            input_uncached: whole("usage.input_uncached", usage.input_uncached)?,
            cache_read: whole("usage.cache_read", usage.cache_read)?,
            cache_write: whole("usage.cache_write", usage.cache_write)?,
            output_text: whole("usage.output_text", usage.output_text)?,
            output_reasoning: whole("usage.output_reasoning", usage.output_reasoning)?,
            cost_micros: whole("usage.cost_micros", usage.cost_micros)?,
            price_version: usage.price_version.map(Cow::into_owned),
        }))
    }

    pub(super) fn take_spec(&mut self) -> Result<StepSpec> {
        let spec: Spec<'_> = *need("spec", self.spec.take())?;
        let status = |status| {
            u16::try_from(status)
                .map_err(|_| Error::invalid("spec.not_applied", "must be HTTP statuses"))
        };
        Ok(StepSpec {
            tool: spec.tool.into_owned(),
            input: spec.input.into_typed("spec.input")?,
            effect: known("spec.effect", spec.effect)?,
            retry: retry_policy(&spec.retry)?,
            timeout_ms: whole("spec.timeout_ms", spec.timeout_ms)?,
            schedule_to_start_ms: whole("spec.schedule_to_start_ms", spec.schedule_to_start_ms)?,
            deadline_ms: whole("spec.deadline_ms", spec.deadline_ms)?,
            key_ttl_ms: whole("spec.key_ttl_ms", spec.key_ttl_ms)?,
            on_exhausted: known("spec.on_exhausted", spec.on_exhausted)?,
            not_applied: spec.not_applied.into_iter().map(status).collect::<Result<_>>()?,
            approval_ms: optional_whole("spec.approval_ms", spec.approval_ms)?,
            probe: spec.probe.map(|probe| {
                Box::new(typed::Probe { tool: probe.tool.into_owned(), voids: probe.voids })
            }),
            quorum: spec.quorum.map(|quorum| count("spec.quorum", quorum)).transpose()?,
            memo_ms: optional_whole("spec.memo_ms", spec.memo_ms)?,
        })
    }

    /// The first field that the kind did not take.
    pub(super) fn left_over(&self) -> Option<&'static str> {
        // One test per field: a list of them would be written to memory for every event.
        macro_rules! first_of {
            ($wire:ident: $($field:ident)+) => {
                $(if $wire.$field.is_some() {
                    return Some(stringify!($field));
                })+
            };
        }
        first_of! {
            self: run_id step attempt lease heartbeat reason run spec start output error usage
                decision timer resolution dead_letter redrive discard fault owner record disposal
                cancel task wait signal probed
        }
        None
    }
}

fn retry_policy(retry: &Retry) -> Result<RetryPolicy> {
    Ok(RetryPolicy {
        max_attempts: count("spec.retry.max_attempts", retry.max_attempts)?,
        initial_ms: whole("spec.retry.initial_ms", retry.initial_ms)?,
        multiplier: retry.multiplier,
        max_ms: whole("spec.retry.max_ms", retry.max_ms)?,
        jitter: retry.jitter,
        max_elapsed_ms: whole("spec.retry.max_elapsed_ms", retry.max_elapsed_ms)?,
    })
}

/// The key as it was written; `check` judges its text.
pub(super) fn step_key(step: Step<'_>) -> Result<StepKey> {
    let occurrence = count("step.occurrence", step.occurrence)?;
    Ok(StepKey { scope: text(step.scope), name: text(step.name), occurrence })
}

fn text(text: Text<'_>) -> Arc<str> {
    text.into()
}

pub(super) fn need<T>(field: &'static str, value: Option<T>) -> Result<T> {
    value.ok_or_else(|| Error::invalid(field, "is missing"))
}

pub(super) fn known<T>(field: &'static str, symbol: Symbol<T>) -> Result<T> {
    match symbol {
        Symbol::Known(symbol) => Ok(symbol),
        Symbol::Unknown => Err(unknown(field)),
    }
}

pub(super) fn unknown(field: &str) -> Error {
    Error::UnknownKind { field: field.into(), symbol: "unknown".into(), claimed: false }
}

/// A number that is never negative.
pub(super) fn whole(field: &'static str, number: i64) -> Result<u64> {
    u64::try_from(number).map_err(|_| Error::invalid(field, "must not be negative"))
}

pub(super) fn optional_whole(field: &'static str, number: Option<i64>) -> Result<Option<u64>> {
    number.map(|number| whole(field, number)).transpose()
}

/// A number that fits into 32 bits.
pub(super) fn count(field: &'static str, number: i64) -> Result<u32> {
    u32::try_from(number)
        .map_err(|_| Error::invalid(field, "must be a whole number below 4294967296"))
}
