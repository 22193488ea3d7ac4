//! Who has approved of a call that an open task asks about, and how many have to.

use crate::{App, Problem, Verdicts, views::Time};
use serde::Serialize;
use spine_log::EventLog;
use spine_runs::StepState;
use spine_schemas::{Digest, RunKey, StepKey};
use spine_store::{LetterKind, LetterRow, LetterStatus, RunStore};
use std::collections::{BTreeMap, BTreeSet};

/// What a task about a call waits for.
#[derive(Serialize)]
pub(crate) struct ApprovalView {
    /// Digest of the exact call.
    call: Digest,
    needed: u32,
    approved_by: Vec<String>,
    expires_at: Option<Time>,
}

impl ApprovalView {
    /// That of a step whose call is asked about now.
    pub(crate) fn of(step: &StepState) -> Option<Self> {
        let task = step.task.as_deref()?;
        Some(Self {
            call: task.call?,
            needed: step.spec.quorum.unwrap_or(1),
            approved_by: task.approvers.clone(),
            expires_at: Time::of(task.until),
        })
    }
}

/// Those of the open tasks among some rows, by task. Rows say who is asked, runs what was answered so far.
pub(crate) async fn of_tasks<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    rows: &[LetterRow],
) -> Result<BTreeMap<Digest, ApprovalView>, Problem> {
    let mut asked: BTreeMap<u32, BTreeMap<RunKey, BTreeSet<StepKey>>> = BTreeMap::new();
    let is_open = |row: &&LetterRow| {
        row.kind == LetterKind::Task && row.status == LetterStatus::Open && row.code == "approval"
    };
    for row in rows.iter().filter(is_open) {
        if let (Some(tenant), Some(run_id), Some(step)) = (&row.tenant, &row.run_id, &row.step) {
            let runs = asked.entry(row.partition).or_default();
            let steps = runs.entry(RunKey::new(tenant, run_id)).or_default();
            steps.insert(step.clone());
        }
    }
    let mut found = BTreeMap::new();
    for (partition, runs) in asked {
        let keys: Vec<RunKey> = runs.keys().cloned().collect();
        let states = app.store().load_runs(partition, &keys).await?;
        for (steps, run) in runs.values().zip(states) {
            let Some(run) = run else { continue };
            let steps = steps.iter().filter_map(|step| run.steps.get(step));
            found.extend(steps.filter_map(|step| {
                let task = step.task.as_ref()?;
                Some((task.task_id, ApprovalView::of(step)?))
            }));
        }
    }
    Ok(found)
}
