//! The attempts that this process runs for one partition, each until its outcome has been read back.

use crate::{limits, tools::CallEnd};
use spine_runs::{Busy, Live, RunState, StepState};
use spine_schemas::{Body, Output, RunKey, StepEvent, StepKey};
use std::{
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet},
};

/// The attempts that this process runs, by lease, from acting to the read-back of the outcome.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    /// Those of this owner, and those of owners before it that are not done with (see `late`).
    held: BTreeSet<u64>,
    open: BTreeMap<u64, Attempt>,
    busy: Busy,
    runs: BTreeMap<RunKey, BTreeSet<u64>>,
}

/// One attempt, from acting to the read-back of its outcome.
#[derive(Debug)]
pub(super) struct Attempt {
    run: RunKey,
    step: StepKey,
    tool: String,
    number: u32,
    /// What to append, once the call has ended.
    outcome: Option<Vec<Body>>,
    /// Whether it is on its way into the log.
    appended: bool,
}

impl Attempts {
    pub(super) fn held(&self) -> &BTreeSet<u64> {
        &self.held
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// How many run, by tool and by tenant.
    pub(super) fn busy(&self) -> &Busy {
        &self.busy
    }

    /// How many of a tool run.
    pub(super) fn of_tool(&self, tool: &str) -> usize {
        self.busy.tools.get(tool).copied().unwrap_or(0)
    }

    /// Runs with an open attempt stay in memory.
    pub(super) fn pins(&self, key: &RunKey) -> bool {
        self.runs.contains_key(key)
    }

    pub(super) fn insert(&mut self, lease: u64, attempt: Attempt) {
        self.held.insert(lease);
        *self.busy.tools.entry(attempt.tool.clone()).or_default() += 1;
        *self.busy.tenants.entry(attempt.run.tenant.clone()).or_default() += 1;
        self.runs.entry(attempt.run.clone()).or_default().insert(lease);
        self.open.insert(lease, attempt);
    }

    /// The outcome of an attempt was read back, or the fold gave up the attempt.
    pub(super) fn remove(&mut self, lease: u64) -> bool {
        self.held.remove(&lease);
        let Some(attempt) = self.open.remove(&lease) else {
            return false;
        };
        take_one(&mut self.busy.tools, attempt.tool.as_str());
        take_one(&mut self.busy.tenants, &*attempt.run.tenant);
        if let Some(leases) = self.runs.get_mut(&attempt.run) {
            leases.remove(&lease);
            if leases.is_empty() {
                self.runs.remove(&attempt.run);
            }
        }
        true
    }

    /// Takes outcomes of a run that are not under way yet, as many as fit into a batch.
    pub(super) fn take_outcomes(&mut self, key: &RunKey) -> Vec<Body> {
        let leases = self.runs.get(key).into_iter().flatten();
        let (mut bodies, mut bytes) = (Vec::new(), 0);
        for lease in leases {
            let Some(attempt) = self.open.get_mut(lease) else {
                continue;
            };
            if bytes >= limits::OUTCOMES_BYTES {
                break;
            }
            if let (Some(outcome), false) = (&attempt.outcome, attempt.appended) {
                bytes += outcome.iter().map(output_bytes).sum::<usize>();
                bodies.extend(outcome.iter().cloned());
                attempt.appended = true;
            }
        }
        bodies
    }

    /// A call ended: its outcome is due. Gives the run.
    pub(super) fn call_ended(&mut self, lease: u64, end: CallEnd) -> Option<&RunKey> {
        let body = self.open.get(&lease)?.ended(lease, end);
        self.outcome_due(lease, vec![body])
    }

    /// The outcome of an attempt is known. Gives the run.
    pub(super) fn outcome_due(&mut self, lease: u64, outcome: Vec<Body>) -> Option<&RunKey> {
        let attempt = self.open.get_mut(&lease)?;
        attempt.outcome = Some(outcome);
        Some(&attempt.run)
    }

    /// Attempts of owners before this one are held, too: nobody gives them up.
    pub(super) fn hold(&mut self, leases: impl IntoIterator<Item = u64>) {
        self.held.extend(leases);
    }

    /// Leases of the attempts of this owner.
    pub(super) fn leases(&self) -> impl Iterator<Item = u64> {
        self.open.keys().copied()
    }

    /// An outcome that is due, by lease.
    pub(super) fn due(&self) -> Option<(u64, &RunKey, &[Body])> {
        let due = self.open.iter().find(|(_, attempt)| attempt.is_due());
        let (lease, attempt) = due?;
        Some((*lease, &attempt.run, attempt.outcome.as_deref()?))
    }

    pub(super) fn has_outcomes(&self, key: &RunKey) -> bool {
        let leases = self.runs.get(key).into_iter().flatten();
        leases.filter_map(|lease| self.open.get(lease)).any(Attempt::is_due)
    }

    pub(super) fn runs_with_outcomes(&self) -> Vec<RunKey> {
        self.runs.keys().filter(|key| self.has_outcomes(key)).cloned().collect()
    }

    /// Whether every attempt has ended and its outcome is on its way into the log, or there.
    pub(super) fn all_appended(&self) -> bool {
        self.open.values().all(|attempt| attempt.appended)
    }

    /// Outcomes are appended again by whoever holds them until they have been read.
    pub(super) fn append_again(&mut self) {
        for attempt in self.open.values_mut() {
            attempt.appended = false;
        }
    }

    /// The same for one run.
    pub(super) fn append_again_of(&mut self, key: &RunKey) {
        for lease in self.runs.get(key).into_iter().flatten() {
            if let Some(attempt) = self.open.get_mut(lease) {
                attempt.appended = false;
            }
        }
    }
}

/// One less of these; the last one is forgotten.
fn take_one<K: Ord + Borrow<Q>, Q: Ord + ?Sized>(counts: &mut BTreeMap<K, usize>, of: &Q) {
    if let Some(count) = counts.get_mut(of) {
        *count -= 1;
        if *count == 0 {
            counts.remove(of);
        }
    }
}

/// What an outcome weighs, but for its plain fields.
fn output_bytes(body: &Body) -> usize {
    match body {
        Body::Step(_, _, StepEvent::Completed { output, .. }) => output.payload.data.len(),
        Body::Step(..) | Body::Run(..) | Body::Partition(_) => 0,
    }
}

impl Attempt {
    /// An attempt whose call begins now.
    pub(super) fn new(run: &RunState, step: &StepState, live: &Live) -> Self {
        Self {
            run: run.key.clone(),
            step: step.key.clone(),
            tool: step.spec.tool.clone(),
            number: live.attempt,
            outcome: None,
            appended: false,
        }
    }

    /// An attempt that was never sent, whatever the log says, and never will be.
    pub(super) fn never_sent(run: &RunKey, step: StepKey, number: u32, lease: u64) -> Self {
        let released = StepEvent::Released { attempt: number, lease, error: None };
        let body = Body::Step(run.run_id.clone(), step.clone(), released);
        let (run, tool) = (run.clone(), String::new());
        Self { run, step, tool, number, outcome: Some(vec![body]), appended: false }
    }

    /// What the end of the call leaves in the log.
    fn ended(&self, lease: u64, end: CallEnd) -> Body {
        let attempt = self.number;
        let body = match end {
            CallEnd::Completed { output, usage } => {
                let payload = output.payload.clone().omit_if_large();
                let output = Output { payload, ..output };
                StepEvent::Completed { attempt, lease: Some(lease), output, usage }
            }
            CallEnd::Failed(error) => {
                StepEvent::Failed { attempt, lease: Some(lease), error, usage: None }
            }
            CallEnd::NeverSent(error) => StepEvent::Released { attempt, lease, error: Some(error) },
        };
        Body::Step(self.run.run_id.clone(), self.step.clone(), body)
    }

    fn is_due(&self) -> bool {
        self.outcome.is_some() && !self.appended
    }
}
