//! How many bytes of payloads a run's state keeps. A run is loaded and held as a whole, so that the
//! number of its steps alone is no bound.

use crate::{RunState, limits::RUN_BYTES};
use bytes::Bytes;
use spine_schemas::{Output, Payload, StepSpec};
use std::sync::Arc;

/// Whether the state has room for a payload of so many bytes more.
pub(crate) fn has_room(run: &RunState, more_bytes: usize) -> bool {
    run.steps.payload_bytes() + more_bytes <= RUN_BYTES
}

/// An output as the state keeps it. An outcome is never refused: without room its digest and size
/// are kept, and the bytes stay in the log.
pub(crate) fn output(output: &Output, has_room: bool) -> Output {
    Output { payload: payload(&output.payload, has_room), ..output.clone() }
}

/// The same for what a reported step was given.
pub(crate) fn spec(spec: &Arc<StepSpec>, has_room: bool) -> Arc<StepSpec> {
    if has_room {
        return spec.clone();
    }
    Arc::new(StepSpec { input: payload(&spec.input, has_room), ..StepSpec::clone(spec) })
}

fn payload(payload: &Payload, has_room: bool) -> Payload {
    let kept = payload.clone();
    if has_room { kept } else { Payload { data: Bytes::new(), omitted: true, ..kept } }
}
