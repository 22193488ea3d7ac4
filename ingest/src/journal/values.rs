//! The values inside journal operations, with their defaults: steps, errors, usage, decisions.

use crate::Problem;
use serde::Deserialize;
use serde_json::value::RawValue;
use spine_schemas::{Decision, ErrorClass, Output, Payload, StepError, StepKey, Usage};

/// The identity of a step.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct StepJson {
    name: String,
    #[serde(default)]
    scope: String,
    #[serde(default = "one")]
    occurrence: u32,
}

fn one() -> u32 {
    1
}

impl StepJson {
    pub(crate) fn key(&self) -> Result<StepKey, Problem> {
        Ok(StepKey::new(&self.scope, &self.name, self.occurrence)?)
    }
}

/// Why an attempt, or a run, failed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ErrorJson {
    class: ErrorClass,
    code: String,
    #[serde(default)]
    message: String,
    retry_after_ms: Option<u64>,
}

impl From<ErrorJson> for StepError {
    fn from(error: ErrorJson) -> Self {
        let ErrorJson { class, code, message, retry_after_ms } = error;
        Self { class, code, message, retry_after_ms, free: false }
    }
}

/// What an attempt used.
#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
pub(crate) struct UsageJson {
    provider: Option<String>,
    model: Option<String>,
    input_uncached: u64,
    cache_read: u64,
    cache_write: u64,
    output_text: u64,
    output_reasoning: u64,
    cost_micros: u64,
    price_version: Option<String>,
}

impl From<UsageJson> for Usage {
    fn from(usage: UsageJson) -> Self {
        Self {
            provider: usage.provider,
            model: usage.model,
            input_uncached: usage.input_uncached,
            cache_read: usage.cache_read,
            cache_write: usage.cache_write,
            output_text: usage.output_text,
            output_reasoning: usage.output_reasoning,
            cost_micros: usage.cost_micros,
            price_version: usage.price_version,
        }
    }
}

/// What an agent decided.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DecisionJson<'a> {
    decision: String,
    #[serde(default)]
    request: String,
    #[serde(default)]
    agent: String,
    #[serde(default)]
    reasoning: String,
    #[serde(default)]
    action: String,
    #[serde(borrow)]
    params: Option<&'a RawValue>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    error: Option<String>,
    confidence: Option<f64>,
}

impl DecisionJson<'_> {
    pub(crate) fn typed(self, step: Option<StepKey>) -> Result<Decision, Problem> {
        Ok(Decision {
            decision: self.decision,
            request: self.request,
            agent: self.agent,
            reasoning: self.reasoning,
            action: self.action,
            params: self.params.map(|json| payload("decision.params", json)).transpose()?,
            result: self.result.map(|json| payload("decision.result", json)).transpose()?,
            error: self.error,
            confidence: self.confidence,
            step,
        })
    }
}

/// A payload as it was received.
pub(crate) fn payload(field: &str, json: &RawValue) -> Result<Payload, Problem> {
    Ok(Payload::json(field, json.get().to_owned())?)
}

/// A payload, or `null` where there is none.
pub(crate) fn payload_or_null(field: &str, json: Option<&RawValue>) -> Result<Payload, Problem> {
    json.map_or_else(|| Ok(Payload::null()), |json| payload(field, json))
}

/// What a step or a run produced.
pub(crate) fn output(json: Option<&RawValue>, degraded: bool) -> Result<Output, Problem> {
    let payload = payload_or_null("output", json)?;
    Ok(Output { payload, degraded, source: None })
}
