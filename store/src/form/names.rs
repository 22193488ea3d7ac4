//! The text names of closed sets, and the way back.

use super::damaged;
use crate::Result;
use serde::{Deserialize, Serialize, de::IntoDeserializer};
use spine_runs::WaitKind;
use spine_schemas::{Driver, StepKey};

/// The name of a member of a closed set, as in JSON. For rare columns: it allocates.
///
/// # Errors
/// [`crate::Error::Damaged`] when it has no JSON form, which only a bug can cause.
pub fn name_of(column: &str, member: &impl Serialize) -> Result<String> {
    match serde_json::to_value(member) {
        Ok(serde_json::Value::String(name)) => Ok(name),
        Ok(other) => Err(damaged(column, other)),
        Err(error) => Err(damaged(column, error)),
    }
}

/// The member that a name stands for.
///
/// # Errors
/// [`crate::Error::Damaged`] naming the column.
pub fn parse_name<'a, T: Deserialize<'a>>(column: &str, name: &'a str) -> Result<T> {
    let text: serde::de::value::StrDeserializer<'a, serde::de::value::Error> =
        name.into_deserializer();
    T::deserialize(text).map_err(|error| damaged(column, error))
}

/// A step as text, as its `Display` gives it, without the cost of formatting: there is one for each event.
pub fn step_text(step: &StepKey) -> String {
    let mut text = String::with_capacity(step.scope.len() + step.name.len() + 12);
    if !step.scope.is_empty() {
        text.push_str(&step.scope);
        text.push('/');
    }
    text.push_str(&step.name);
    text.push('#');
    match step.occurrence {
        1 => text.push('1'),
        other => text.push_str(&other.to_string()),
    }
    text
}

/// The name of a driver.
pub fn driver_name(driver: Driver) -> &'static str {
    match driver {
        Driver::Plan => "plan",
        Driver::Journal => "journal",
        Driver::Record => "record",
    }
}

/// The name of what a run waits for.
pub fn wait_name(kind: WaitKind) -> &'static str {
    match kind {
        WaitKind::Owner => "owner",
        WaitKind::Attempt => "attempt",
        WaitKind::Retry => "retry",
        WaitKind::Deferral => "deferral",
        WaitKind::Resolution => "resolution",
        WaitKind::DeadLetter => "dead_letter",
        WaitKind::Client => "client",
        WaitKind::Reporter => "reporter",
    }
}
