//! The JSON of a letter: a row of the list, and the whole with every attempt.

use crate::{
    app::Shared,
    approval::ApprovalView,
    views::{PositionView, Time},
};
use serde::Serialize;
use serde_json::value::RawValue;
use spine_schemas::{Digest, StepKey};
use spine_store::{LetterKind, LetterRow, LetterStatus};

/// A letter in a list.
#[derive(Serialize)]
pub(crate) struct LetterView<'a> {
    id: Digest,
    kind: LetterKind,
    status: LetterStatus,
    tenant: Option<&'a str>,
    run_id: Option<&'a str>,
    step: Option<&'a StepKey>,
    tool: Option<&'a str>,
    class: &'a str,
    code: &'a str,
    message: &'a str,
    generation: u32,
    attempt_count: u32,
    dead_at: Time,
    source: PositionView,
    decided: PositionView,
    closed_at: Option<Time>,
    closed_by: Option<&'a str>,
    closed_reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approval: Option<ApprovalView>,
}

impl<'a> LetterView<'a> {
    pub(crate) fn of<L, S, V>(app: &Shared<L, S, V>, row: &'a LetterRow) -> Self {
        let source = app.position(row.partition, row.source_offset);
        let decided = app.position(row.partition, row.offset);
        Self {
            id: row.letter_id,
            kind: row.kind,
            status: row.status,
            tenant: row.tenant.as_deref(),
            run_id: row.run_id.as_deref(),
            step: row.step.as_ref(),
            tool: row.tool.as_deref(),
            class: &row.class,
            code: &row.code,
            message: &row.message,
            generation: row.generation,
            attempt_count: row.attempts,
            dead_at: Time(row.dead_at),
            source,
            decided,
            closed_at: Time::of(row.closed_at),
            closed_by: row.closed_by.as_deref(),
            closed_reason: row.closed_reason.as_deref(),
            approval: None,
        }
    }

    /// The same, of a task, with who has approved so far.
    #[must_use]
    pub(crate) fn with(self, approval: Option<ApprovalView>) -> Self {
        Self { approval, ..self }
    }
}

/// A letter with its whole history.
#[derive(Serialize)]
pub(crate) struct WholeLetterView<'a> {
    #[serde(flatten)]
    pub(crate) letter: LetterView<'a>,
    pub(crate) attempts: &'a RawValue,
}
