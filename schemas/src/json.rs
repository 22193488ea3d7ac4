//! The JSON form of events: what outsiders post, and what `events tail` and the API show.
//!
//! Field names are those of the Avro record. Payloads are kept as text, so that 64-bit integers and
//! `1.0` against `1` survive. Requests of other shapes (plans, journals) are read in `ingest`.

use crate::{
    Body, Error, Event, PartitionEvent, Result, RunEvent, StepEvent, StepStarted, time::Micros,
    wire,
};
use std::borrow::Cow;

/// What the door puts in where a caller says nothing.
pub struct Defaults<'a> {
    /// For `occurred_at`.
    pub now: Micros,
    /// For `tenant`.
    pub tenant: &'a str,
    /// For `actor`.
    pub actor: &'a str,
    /// Makes an `event_id`; asked only when there is none.
    pub event_id: &'a dyn Fn() -> String,
}

/// Reads one event: a line of NDJSON or an element of an array. All kinds and fields are read; who may
/// append what is decided with [`check_fact`] and by the journal. Outcomes are made to fit, see
/// [`Event::fit`]; everything else over a limit is refused.
///
/// # Errors
/// [`Error::Invalid`] or [`Error::TooLarge`] naming the field, `event` for text that is not JSON.
pub fn parse_event(text: &[u8], defaults: &Defaults<'_>) -> Result<Event> {
    let mut wire: wire::StepEvent<'static> =
        serde_json::from_slice(text).map_err(|error| locate(text, error))?;
    if wire.event_id.is_empty() {
        wire.event_id = Cow::Owned((defaults.event_id)());
    }
    if wire.tenant.is_empty() {
        wire.tenant = Cow::Owned(defaults.tenant.to_owned());
    }
    if wire.actor.is_empty() {
        wire.actor = Cow::Owned(defaults.actor.to_owned());
    }
    if wire.occurred_at == wire::Time::unset() {
        wire.occurred_at = wire::Time(defaults.now);
    }
    let event = wire.into_event().map_err(at_the_door)?.fit();
    event.check()?;
    Ok(event)
}

/// The JSON text of an event; [`parse_event`] gives the same event again. Payloads stand in it as they
/// were received, so it may hold line breaks.
///
/// # Errors
/// [`Error::Invalid`] naming `run.plan`, when the source of a plan is not JSON.
pub fn to_text(event: &Event) -> Result<String> {
    serde_json::to_string(&wire::StepEvent::from(event))
        .map_err(|error| Error::invalid("run.plan", error.to_string()))
}

/// The JSON text of an event on one line, for NDJSON. Line breaks between the values of a payload
/// become spaces, which no digest sees.
///
/// # Errors
/// Those of [`to_text`].
pub fn to_line(event: &Event) -> Result<String> {
    // Inside JSON strings line breaks are always escaped, so those that are left are between values.
    to_text(event).map(|text| text.replace(['\n', '\r'], " "))
}

/// Whether an outside system may report this about a record run.
pub fn is_fact(body: &Body) -> bool {
    match body {
        Body::Run(_, event) => match event {
            RunEvent::Created(run) => run.driver == crate::Driver::Record,
            RunEvent::Completed { .. }
            | RunEvent::Failed { .. }
            | RunEvent::Cancelled { .. }
            | RunEvent::DecisionRecorded(_) => true,
            RunEvent::CancelRequested { .. }
            | RunEvent::CompensationStarted { .. }
            | RunEvent::SignalReceived { .. }
            | RunEvent::Paused { .. }
            | RunEvent::Resumed { .. }
            | RunEvent::Stalled { .. } => false,
        },
        Body::Step(_, _, event) => match event {
            StepEvent::Scheduled(_)
            | StepEvent::Started(StepStarted { attempt: Some(_), .. })
            | StepEvent::Heartbeat { .. }
            | StepEvent::Completed { .. }
            | StepEvent::Failed { .. }
            | StepEvent::Skipped { .. }
            | StepEvent::Cancelled { .. } => true,
            StepEvent::Started(StepStarted { attempt: None, .. })
            | StepEvent::Lost { .. }
            | StepEvent::RetryScheduled { .. }
            | StepEvent::Deferred { .. }
            | StepEvent::Released { .. }
            | StepEvent::Unknown { .. }
            | StepEvent::Resolved(_)
            | StepEvent::DeadLettered { .. }
            | StepEvent::Redriven { .. }
            | StepEvent::Discarded { .. }
            | StepEvent::FallbackStarted { .. }
            | StepEvent::TaskOpened { .. }
            | StepEvent::TaskDecided { .. }
            | StepEvent::TaskExpired { .. }
            | StepEvent::Reused { .. }
            | StepEvent::Probed(_)
            | StepEvent::ApprovalRequested { .. }
            | StepEvent::WaitCreated { .. }
            | StepEvent::WaitExpired
            | StepEvent::Paused { .. }
            | StepEvent::Resumed { .. }
            | StepEvent::FaultInjected { .. } => false,
        },
        Body::Partition(
            PartitionEvent::OwnerClaimed(_)
            | PartitionEvent::RecordDeadLettered { .. }
            | PartitionEvent::RecordDisposed { .. },
        ) => false,
    }
}

/// Checks that an event is a fact about a record run, and pretends neither a claim nor a session.
///
/// # Errors
/// [`Error::Invalid`] naming `kind`, `attempt`, `run.driver`, `claim` or `op`.
pub fn check_fact(event: &Event) -> Result<()> {
    if !is_fact(&event.body) {
        return Err(match &event.body {
            Body::Run(_, RunEvent::Created(_)) => {
                Error::invalid("run.driver", "must be record here; POST /v1/runs makes other runs")
            }
            Body::Step(_, _, StepEvent::Started(_)) => Error::invalid("attempt", "is missing"),
            Body::Run(..) | Body::Step(..) | Body::Partition(_) => {
                Error::invalid("kind", format!("{} cannot be reported from outside", event.kind()))
            }
        });
    }
    if event.claim.is_some() {
        return Err(Error::invalid("claim", "is set by the owner of the partition alone"));
    }
    if event.op.is_some() {
        return Err(Error::invalid("op", "is set by the journal alone"));
    }
    Ok(())
}

/// Finds the field that a failed reading is about, by reading again with a record of the path. Only
/// failures pay for it.
fn locate(text: &[u8], first: serde_json::Error) -> Error {
    let mut json = serde_json::Deserializer::from_slice(text);
    let again: std::result::Result<wire::StepEvent<'static>, _> =
        serde_path_to_error::deserialize(&mut json);
    let Err(located) = again else { return Error::invalid("event", first.to_string()) };
    let path = located.path().to_string();
    let (data, message) = (located.inner().is_data(), located.inner().to_string());
    if !data {
        return Error::invalid("event", message);
    }
    let message = message.rsplit_once(" at line ").map_or(message.as_str(), |(text, _at)| text);
    // The path of these two ends at the record; the message names the field.
    let quoted =
        |before: &str| message.strip_prefix(before).and_then(|rest| rest.strip_suffix('`'));
    let named = match (quoted("missing field `"), quoted("duplicate field `")) {
        (Some(name), _) => Some((name, "is missing")),
        (None, Some(name)) => Some((name, "is there twice")),
        (None, None) => None,
    };
    match (path.as_str(), named) {
        (".", Some((name, message))) => Error::invalid(name, message),
        (path, Some((name, message))) => Error::invalid(format!("{path}.{name}"), message),
        (".", None) => Error::invalid("event", message),
        (path, None) => Error::invalid(path, message),
    }
}

/// At the door an unknown symbol is the sender's mistake, not a newer build's.
fn at_the_door(error: Error) -> Error {
    match error {
        Error::UnknownKind { field, symbol, .. } => {
            Error::invalid(field, format!("must not be '{symbol}'"))
        }
        Error::Invalid { .. }
        | Error::TooLarge { .. }
        | Error::Decode(_)
        | Error::SchemaUnknown(_)
        | Error::Incompatible(_) => error,
    }
}

#[cfg(test)]
mod tests;
