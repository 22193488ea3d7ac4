//! The text names of closed sets, and the way back.

use super::damaged;
use crate::Result;
use serde::{Deserialize, Serialize, de::IntoDeserializer};
use spine_runs::WaitKind;
use spine_schemas::{Driver, StepKey};
use std::fmt::Write as _;

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

/// A step as text, in memory that is taken once: there is one for each event.
pub fn step_text(step: &StepKey) -> String {
    let mut text = String::with_capacity(step.scope.len() + step.name.len() + 12);
    // Writing into memory cannot fail.
    let _ = write!(text, "{step}");
    text
}

/// The column of the step that a row belongs to; empty if to none.
pub fn step_column(step: Option<&StepKey>) -> String {
    step.map(step_text).unwrap_or_default()
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
        WaitKind::Probe => "probe",
        WaitKind::Fork => "fork",
        WaitKind::DeadLetter => "dead_letter",
        WaitKind::Task => "task",
        WaitKind::Approval => "approval",
        WaitKind::Signal => "signal",
        WaitKind::Sleep => "sleep",
        WaitKind::Fallback => "fallback",
        WaitKind::Breaker => "breaker",
        WaitKind::RateLimit => "rate_limit",
        WaitKind::ToolPaused => "tool_paused",
        WaitKind::TenantPaused => "tenant_paused",
        WaitKind::Paused => "paused",
        WaitKind::Worker => "worker",
        WaitKind::Child => "child",
        WaitKind::Client => "client",
        WaitKind::Reporter => "reporter",
    }
}
