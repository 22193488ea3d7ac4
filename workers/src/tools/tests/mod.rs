//! Tools against a server that follows a script byte by byte. What the server saw counts first.

mod allowed;
mod classes;
mod delivery;
mod gate;
mod requests;
mod results;
mod retry_after;
mod reuse;
mod server;
mod tls;

use super::{Allowed, CallEnd, HttpTools, ToolCall};
use bytes::Bytes;
use spine_schemas::{Effect, ErrorClass, Output, RunKey, StepError, StepKey, keys};
use std::{future::Future, time::Duration};

const EFFECTS: [Effect; 4] = [Effect::Pure, Effect::Idempotent, Effect::Probe, Effect::AtMostOnce];

/// Long enough that no test ends by it.
const AMPLE: Duration = Duration::from_secs(60);
/// For the tests that wait for it.
const BRIEF: Duration = Duration::from_millis(400);

/// Runs the same for every effect class at once, since each may wait for a time-out.
async fn for_every_effect<F: Future<Output = ()>>(run: impl Fn(Effect) -> F) {
    futures::future::join_all(EFFECTS.map(run)).await;
}

fn tools() -> HttpTools {
    HttpTools::new(Allowed::loopback())
}

fn call(tool: &str, effect: Effect) -> ToolCall {
    let (run, step) = (RunKey::new("default", "refund-17"), StepKey::named("refund"));
    ToolCall {
        tool: tool.into(),
        idempotency_key: keys::idempotency_key("i", &run, &step, 0),
        run,
        step,
        attempt: 1,
        trace: None,
        content_type: "application/json".into(),
        body: Bytes::from_static(br#"{"cents":4200}"#),
        timeout: AMPLE,
        intended_at: tokio::time::Instant::now(),
        effect,
        not_applied: Vec::new(),
    }
}

#[track_caller]
fn completed(end: CallEnd) -> Output {
    match end {
        CallEnd::Completed { output, .. } => output,
        CallEnd::Failed(error) | CallEnd::NeverSent(error) => panic!("not completed: {error:?}"),
    }
}

#[track_caller]
fn failed(end: CallEnd) -> StepError {
    match end {
        CallEnd::Failed(error) => error,
        CallEnd::Completed { .. } | CallEnd::NeverSent(_) => panic!("not failed: {end:?}"),
    }
}

#[track_caller]
fn never_sent(end: CallEnd) -> StepError {
    match end {
        CallEnd::NeverSent(error) => error,
        CallEnd::Completed { .. } | CallEnd::Failed(_) => panic!("may have been sent: {end:?}"),
    }
}

/// The class of an end without a whole answer, where `repeatable` is that of the classes that may be
/// repeated.
fn silent_class(effect: Effect, repeatable: ErrorClass) -> ErrorClass {
    if effect.is_careful() { ErrorClass::UnknownOutcome } else { repeatable }
}
