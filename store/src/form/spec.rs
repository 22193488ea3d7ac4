//! The part of a run that never changes: written once, when it is created.

use super::{
    Creation, damaged, driver_name, given::Given, offset_column, parse_name, payload,
    payload::PayloadForm, read_digest, read_json, read_offset, write_json,
};
use crate::Result;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use spine_runs::RunState;
use spine_schemas::{Caller, Fork, Plan, RunCreated, time::Micros};
use std::{borrow::Cow, sync::Arc};

/// A row of `run_specs`, beside its key and partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecForm<'a> {
    /// Name of the workflow.
    pub workflow: Cow<'a, str>,
    /// Version of the workflow.
    pub version: Cow<'a, str>,
    /// `plan`, `journal` or `record`.
    pub driver: Cow<'a, str>,
    /// The run that made this one; empty if none.
    pub parent: Cow<'a, str>,
    /// The caller's tags as a JSON object.
    pub tags: Cow<'a, str>,
    /// Offset of the first event.
    pub created_offset: i64,
    /// Log time of the first event.
    pub created_at: i64,
    /// Digest of all that the first event said.
    pub created_digest: Cow<'a, [u8]>,
    /// Digest of the input.
    pub input_digest: Cow<'a, [u8]>,
    /// JSON of what has no column.
    pub state: Cow<'a, str>,
    /// Bytes of the input.
    pub input: Cow<'a, [u8]>,
    /// The plan as received; empty if none.
    pub plan: Cow<'a, [u8]>,
}

#[derive(Serialize, Deserialize)]
struct State<'a> {
    #[serde(default, skip_serializing_if = "Given::is_empty")]
    given: Given,
    #[serde(default, skip_serializing_if = "PayloadForm::is_plain")]
    input: PayloadForm<'a>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fork: Option<Cow<'a, Fork>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    caller: Option<Cow<'a, Caller>>,
}

impl<'a> SpecForm<'a> {
    /// The row of a run.
    ///
    /// # Errors
    /// See [`write_json`].
    pub fn of(run: &'a RunState) -> Result<Self> {
        let RunCreated { workflow, version, driver, input, tags, parent, plan, fork, caller } =
            &*run.created;
        let mut given = Given::default();
        let parent = given.put_text("parent", parent.as_deref());
        let (input_digest, input_bytes) = payload::columns(Some(input));
        let fork = fork.as_deref().map(Cow::Borrowed);
        let caller = caller.as_deref().map(Cow::Borrowed);
        let state = State { given, input: PayloadForm::of(input), fork, caller };
        Ok(Self {
            workflow: Cow::Borrowed(workflow),
            version: Cow::Borrowed(version),
            driver: Cow::Borrowed(driver_name(*driver)),
            parent: Cow::Borrowed(parent),
            tags: write_json("tags", tags)?.into(),
            created_offset: offset_column(run.created_offset),
            created_at: run.created_at.0,
            created_digest: Cow::Borrowed(&run.created_digest.0),
            input_digest,
            state: write_json("state", &state)?.into(),
            input: input_bytes,
            plan: plan.as_ref().map_or(Cow::Borrowed(&[]), |plan| Cow::Borrowed(&plan.source)),
        })
    }

    pub(crate) fn read(&self) -> Result<Creation> {
        let state: State<'_> = read_json("state", &self.state)?;
        let plan = match &*self.plan {
            [] => None,
            source => Some(Plan::parse(Bytes::copy_from_slice(source)).map(Arc::new)),
        };
        let created = RunCreated {
            workflow: self.workflow.clone().into_owned(),
            version: self.version.clone().into_owned(),
            driver: parse_name("driver", &self.driver)?,
            input: state.input.into_payload("input", &self.input_digest, self.input.clone())?,
            tags: read_json("tags", &self.tags)?,
            parent: state.given.text("parent", &self.parent),
            plan: plan.transpose().map_err(|error| damaged("plan", error))?,
            fork: state.fork.map(|fork| Box::new(fork.into_owned())),
            caller: state.caller.map(|caller| Box::new(caller.into_owned())),
        };
        Ok(Creation {
            created: Arc::new(created),
            created_digest: read_digest("created_digest", &self.created_digest)?,
            created_offset: read_offset("created_offset", self.created_offset)?,
            created_at: Micros(self.created_at),
        })
    }
}
