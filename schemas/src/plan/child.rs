//! The plan of a run that is a step of another.

use super::Plan;
use crate::{Error, Result, limits};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::sync::Arc;

/// The run that each attempt of a step is. Its input is that of the step.
#[derive(Clone, Debug)]
pub struct Child {
    /// Its workflow; that of its parent if it names none.
    pub workflow: Option<String>,
    /// Its version; that of its parent if it names none.
    pub version: Option<String>,
    /// Its steps.
    pub plan: Arc<Plan>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChildJson<'a> {
    workflow: Option<String>,
    version: Option<String>,
    #[serde(borrow)]
    plan: &'a RawValue,
}

impl Child {
    /// Reads and checks `{"workflow"?, "version"?, "plan": {…}}`.
    ///
    /// # Errors
    /// [`Error::Invalid`] or [`Error::TooLarge`], naming the field by its path in the outermost plan.
    pub(super) fn parse(
        run: &RawValue,
        field: &dyn Fn(&str) -> String,
        level: usize,
    ) -> Result<Self> {
        let (level, deepest) = (level + 1, limits::PLAN_LEVELS - 1);
        if level > deepest {
            let message =
                format!("is nested too deeply: runs of runs end {deepest} levels below the first");
            return Err(Error::invalid(field("run"), message));
        }
        let json: ChildJson<'_> = serde_json::from_str(run.get())
            .map_err(|error| Error::invalid(field("run"), error.to_string()))?;
        for (name, value) in [("run.workflow", &json.workflow), ("run.version", &json.version)] {
            let length = value.as_ref().map_or(1, String::len);
            if length == 0 || length > limits::NAME_BYTES {
                return Err(Error::invalid(field(name), "must have 1 to 512 bytes"));
            }
        }
        let source = json.plan.get();
        if source.len() > limits::CHILD_PLAN_BYTES {
            return Err(Error::too_large(
                field("run.plan"),
                source.len(),
                limits::CHILD_PLAN_BYTES,
            ));
        }
        let inside = |error| inside(&field("run.plan"), error);
        let plan =
            Plan::parse_at(Bytes::copy_from_slice(source.as_bytes()), level).map_err(inside)?;
        if !plan.faults.is_empty() {
            return Err(Error::invalid(
                field("run.plan.faults"),
                "is for the outermost plan alone",
            ));
        }
        Ok(Self { workflow: json.workflow, version: json.version, plan: Arc::new(plan) })
    }
}

/// The same error, of a plan that lies inside another.
pub(super) fn inside(path: &str, error: Error) -> Error {
    match error {
        Error::Invalid { field, message } => Error::invalid(format!("{path}.{field}"), message),
        Error::TooLarge { field, actual, limit } => {
            Error::too_large(format!("{path}.{field}"), actual, limit)
        }
        other => other,
    }
}
