//! Results that stand in for calls, told from the log alone: an equal call has given each of them.

use spine_schemas::{Body, Digest, Event, Output, StepEvent, StepSpec};
use std::collections::{BTreeMap, BTreeSet};

/// Tenant, tool, type and digest of an input.
type Call = (String, String, String, Digest);

/// What calls gave, and what was taken instead of calls.
#[derive(Debug, Default)]
pub(crate) struct Memoized {
    gave: BTreeMap<Call, BTreeSet<Digest>>,
    taken: Vec<(Call, Digest, String)>,
}

fn call(event: &Event, spec: &StepSpec) -> Call {
    let input = (spec.input.content_type.clone(), spec.input.digest);
    (event.tenant.to_string(), spec.tool.clone(), input.0, input.1)
}

impl Memoized {
    /// Takes an applied event; `spec` is that of its step.
    pub(crate) fn take(&mut self, event: &Event, spec: Option<&StepSpec>) {
        let (Body::Step(_, _, body), Some(spec)) = (&event.body, spec) else { return };
        match body {
            StepEvent::Completed { output, .. } if !output.degraded => {
                self.gave.entry(call(event, spec)).or_default().insert(output.payload.digest);
            }
            StepEvent::Reused { output: Some(Output { payload, source, .. }), .. }
                if event.claim.is_some() =>
            {
                assert_eq!(source.as_deref(), Some("cache"), "{}", event.event_id);
                assert!(spec.memo_ms.is_some(), "{}: nobody said it may", event.event_id);
                self.taken.push((call(event, spec), payload.digest, event.event_id.clone()));
            }
            _ => {}
        }
    }

    /// Each was given by an equal call. Partitions share what is known, and no order.
    pub(crate) fn check(&self) {
        for (call, digest, event) in &self.taken {
            let gave = self.gave.get(call).is_some_and(|gave| gave.contains(digest));
            assert!(gave, "{event}: no equal call gave what was taken: {call:?}");
        }
    }
}
