//! A recorded decision: readable columns, arguments and result as blobs.

use super::{
    damaged, given::Given, head::read_step, payload, payload::PayloadForm, read_json, write_json,
};
use crate::Result;
use serde::{Deserialize, Serialize};
use spine_schemas::{Decision, Payload};
use std::borrow::Cow;

/// Stands for "the agent did not say". Given ones lie between 0 and 1.
const NO_CONFIDENCE: f64 = -1.0;

/// A row of `decisions`, beside run, position, time and actor.
#[derive(Clone, Debug, PartialEq)]
pub struct DecisionForm<'a> {
    /// The choice.
    pub decision: Cow<'a, str>,
    /// What was asked.
    pub request: Cow<'a, str>,
    /// Who decided.
    pub agent: Cow<'a, str>,
    /// On what grounds.
    pub reasoning: Cow<'a, str>,
    /// What is to be done.
    pub action: Cow<'a, str>,
    /// What went wrong; empty if nothing.
    pub error: Cow<'a, str>,
    /// 0 to 1, or -1 if the agent did not say.
    pub confidence: f64,
    /// The step that it belongs to; empty if none.
    pub step: Cow<'a, str>,
    /// Digest of the arguments; empty if none.
    pub params_digest: Cow<'a, [u8]>,
    /// Digest of the result; empty if none.
    pub result_digest: Cow<'a, [u8]>,
    /// JSON of what has no column.
    pub state: Cow<'a, str>,
    /// Bytes of the arguments.
    pub params: Cow<'a, [u8]>,
    /// Bytes of the result.
    pub result: Cow<'a, [u8]>,
}

#[derive(Serialize, Deserialize)]
struct State<'a> {
    #[serde(default, skip_serializing_if = "Given::is_empty")]
    given: Given,
    #[serde(default, skip_serializing_if = "PayloadForm::is_plain")]
    params: PayloadForm<'a>,
    #[serde(default, skip_serializing_if = "PayloadForm::is_plain")]
    result: PayloadForm<'a>,
}

impl<'a> DecisionForm<'a> {
    /// The row of a decision.
    ///
    /// # Errors
    /// See [`write_json`].
    pub fn of(from: &'a Decision) -> Result<Self> {
        let mut given = Given::default();
        let error = given.put_text("error", from.error.as_deref());
        let (params_digest, params) = payload::columns(from.params.as_ref());
        let (result_digest, result) = payload::columns(from.result.as_ref());
        let form = |payload: &'a Option<Payload>| {
            payload.as_ref().map(PayloadForm::of).unwrap_or_default()
        };
        let state = State { given, params: form(&from.params), result: form(&from.result) };
        Ok(Self {
            decision: Cow::Borrowed(&from.decision),
            request: Cow::Borrowed(&from.request),
            agent: Cow::Borrowed(&from.agent),
            reasoning: Cow::Borrowed(&from.reasoning),
            action: Cow::Borrowed(&from.action),
            error: Cow::Borrowed(error),
            confidence: from.confidence.unwrap_or(NO_CONFIDENCE),
            step: from.step.as_ref().map_or("".into(), |step| step.to_string().into()),
            params_digest,
            result_digest,
            state: write_json("state", &state)?.into(),
            params,
            result,
        })
    }

    /// The decision of a row.
    ///
    /// # Errors
    /// [`crate::Error::Damaged`] naming the column.
    pub fn into_decision(self) -> Result<Decision> {
        let state: State<'_> = read_json("state", &self.state)?;
        if self.confidence.is_nan() {
            return Err(damaged("confidence", "not a number"));
        }
        Ok(Decision {
            decision: self.decision.into_owned(),
            request: self.request.into_owned(),
            agent: self.agent.into_owned(),
            reasoning: self.reasoning.into_owned(),
            action: self.action.into_owned(),
            params: read_payload("params", state.params, &self.params_digest, self.params)?,
            result: read_payload("result", state.result, &self.result_digest, self.result)?,
            error: state.given.text("error", &self.error),
            confidence: (self.confidence >= 0.0).then_some(self.confidence),
            step: read_step("step", &self.step)?,
        })
    }
}

/// An empty digest says that there is none.
fn read_payload(
    column: &str,
    form: PayloadForm<'_>,
    digest: &[u8],
    data: Cow<'_, [u8]>,
) -> Result<Option<Payload>> {
    let payload = (!digest.is_empty()).then(|| form.into_payload(column, digest, data));
    payload.transpose()
}
