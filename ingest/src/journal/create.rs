//! A run that begins with its first operations: its creation goes ahead of them in the same append. Sent again, or
//! by the next session, it finds the run that is there; a run that was made otherwise is a conflict, as it is to
//! `POST /v1/runs`, which also makes runs that no agent drives.

use super::values::payload_or_null;
use crate::{Problem, runs::create};
use serde::Deserialize;
use serde_json::value::RawValue;
use spine_schemas::{Driver, RunCreated, RunEvent};
use std::collections::BTreeMap;

/// What `create` holds: what `POST /v1/runs` takes of a run that an agent drives.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NewRun<'a> {
    workflow: String,
    version: Option<String>,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    #[serde(default)]
    tags: BTreeMap<String, String>,
    parent: Option<String>,
}

impl NewRun<'_> {
    /// What its event says; an agent that names the version that it runs need not name it twice.
    pub(super) fn event(&self, version: Option<&str>) -> Result<RunEvent, Problem> {
        let version = self.version.as_deref().or(version);
        Ok(RunEvent::Created(Box::new(RunCreated {
            workflow: self.workflow.clone(),
            version: version.map_or_else(create::first_version, str::to_owned),
            driver: Driver::Journal,
            input: payload_or_null("input", self.input)
                .map_err(|problem| problem.within("create"))?,
            tags: self.tags.clone(),
            parent: self.parent.clone(),
            plan: None,
            fork: None,
            caller: None,
        })))
    }
}
