//! JSON shapes that several answers share: positions, times, payloads, errors, waits.

use crate::{app::Shared, limits};
use base64::{display::Base64Display, prelude::BASE64_STANDARD};
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::value::RawValue;
use spine_runs::{Pause, RunState, Wait, WaitKind};
use spine_schemas::{Digest, Output, Payload, StepKey, canonical, time::Micros};
use std::sync::Arc;

/// Where an event lies.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PositionView {
    topic: Arc<str>,
    partition: u32,
    offset: u64,
}

impl<L, S, V> Shared<L, S, V> {
    /// A position in the topic of events.
    pub(crate) fn position(&self, partition: u32, offset: u64) -> PositionView {
        PositionView { topic: self.parts.settings.topic.clone(), partition, offset }
    }
}

/// A time, as RFC 3339 text.
pub(crate) struct Time(pub(crate) Micros);

impl Time {
    pub(crate) fn of(at: Option<Micros>) -> Option<Self> {
        at.map(Self)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(&self.0)
    }
}

/// A payload: the JSON as it was received, or `{"$payload":{…}}` where it is not plain JSON or was
/// omitted. The same form as in events.
pub(crate) struct PayloadView<'a>(pub(crate) &'a Payload);

impl PayloadView<'_> {
    fn plain_json(&self) -> Option<&RawValue> {
        if self.0.omitted || !self.0.is_json() || canonical::check_depth("", &self.0.data).is_err()
        {
            return None;
        }
        serde_json::from_slice(&self.0.data).ok()
    }
}

impl Serialize for PayloadView<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Escaped<'a> {
            content_type: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            bytes: Option<String>,
            size_bytes: u64,
            digest: Digest,
        }
        if let Some(raw) = self.plain_json() {
            return raw.serialize(to);
        }
        let Payload { content_type, data, digest, omitted, size_bytes } = self.0;
        let bytes = (!omitted).then(|| Base64Display::new(data, &BASE64_STANDARD).to_string());
        let inner = Escaped { content_type, bytes, size_bytes: *size_bytes, digest: *digest };
        let mut map = to.serialize_map(Some(1))?;
        map.serialize_entry("$payload", &inner)?;
        map.end()
    }
}

/// What a step or a run produced.
#[derive(Serialize)]
pub(crate) struct OutputView<'a> {
    data: PayloadView<'a>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    degraded: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
}

impl<'a> OutputView<'a> {
    pub(crate) fn of(output: &'a Output) -> Self {
        Self {
            data: PayloadView(&output.payload),
            degraded: output.degraded,
            source: output.source.as_deref(),
        }
    }
}

/// Why nothing new starts.
#[derive(Serialize)]
pub(crate) struct PauseView<'a> {
    reason: &'a str,
    by: &'a str,
    at: Time,
}

impl<'a> PauseView<'a> {
    pub(crate) fn of(pause: &'a Pause) -> Self {
        Self { reason: &pause.reason, by: &pause.by, at: Time(pause.at) }
    }
}

/// A named wait of an open run.
#[derive(Serialize)]
pub(crate) struct WaitView {
    r#for: WaitKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<StepKey>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    letter: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<Digest>,
}

/// The waits of a run, and how many were left out.
pub(crate) fn waits(run: &RunState) -> (Option<Vec<WaitView>>, usize) {
    let all = run.waits();
    let omitted = all.len().saturating_sub(limits::WAITS);
    let shown: Vec<WaitView> =
        all.into_iter().take(limits::WAITS).map(|wait| wait_view(run, wait)).collect();
    ((!shown.is_empty()).then_some(shown), omitted)
}

fn wait_view(run: &RunState, wait: Wait) -> WaitView {
    let step = wait.step.as_ref().and_then(|key| run.steps.get(key));
    let letter = step.and_then(|step| step.letter.as_ref()).map(|letter| letter.letter_id);
    let task = step.and_then(|step| step.task.as_ref()).map(|task| task.task_id);
    WaitView { r#for: wait.wait_for, step: wait.step, until: Time::of(wait.until), letter, task }
}
