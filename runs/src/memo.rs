//! Results of pure calls that stand in for equal calls: what is known, for how long, and whose place it may take.
//!
//! A cache and no more: what it does not know is called for. Only the newest results are kept, by bytes.

use crate::{RunState, StepState, StepStatus};
use spine_schemas::{
    Digest, Driver, Effect, Output, StepEvent, StepSpec,
    mutants::{Mutant, planted},
    spec::{RUN_TOOL, act_of},
    time::Micros,
};
use std::{collections::BTreeMap, sync::Arc};

/// Bytes that an entry counts beside its texts and its output.
const ENTRY_BYTES: usize = 256;

/// What makes two calls equal: who calls what, with what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Call {
    tenant: Arc<str>,
    tool: String,
    content_type: String,
    input: Digest,
}

/// The result of a call.
#[derive(Clone, Debug)]
struct Known {
    output: Output,
    /// Log time of the call's end.
    at: Micros,
    used: u64,
}

/// Results by call, the least recently used of which goes first.
#[derive(Clone, Debug)]
pub struct Memo {
    known: BTreeMap<Call, Known>,
    by_use: BTreeMap<u64, Call>,
    uses: u64,
    bytes: usize,
    most_bytes: usize,
}

impl Memo {
    /// One that knows nothing yet and keeps so many bytes at most.
    pub fn new(most_bytes: usize) -> Self {
        let (known, by_use) = (BTreeMap::new(), BTreeMap::new());
        Self { known, by_use, uses: 0, bytes: 0, most_bytes }
    }

    /// Bytes that are kept now.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What an equal call gave that is young enough for this step.
    pub(crate) fn recall(&self, run: &RunState, step: &StepState, now: Micros) -> Option<&Output> {
        let most_ms = step.spec.memo_ms.filter(|_| may_recall(&step.spec))?;
        let known = self.known.get(&Call::of(run, step))?;
        (now <= known.at.plus_ms(most_ms)).then_some(&known.output)
    }

    /// Takes what the call of a step gave whose end was just folded, at `at`. What did not come from a call of
    /// its own is no result, and what is not whole cannot stand in for one.
    pub fn learn(&mut self, run: &RunState, step: &StepState, at: Micros) {
        // What others report is no call of ours.
        let is_own = run.driver() == Driver::Plan;
        let asks = is_own && step.spec.memo_ms.is_some() && may_recall(&step.spec);
        let Some(output) = step.output.as_ref().filter(|output| asks && is_whole(output)) else {
            return;
        };
        if step.status != StepStatus::Completed || output.source.is_some() {
            return;
        }
        let call = Call::of(run, step);
        if self.known.get(&call).is_some_and(|known| known.at > at) {
            return;
        }
        self.forget(&call);
        self.uses += 1;
        // What was read shares memory with much else.
        let data = bytes::Bytes::copy_from_slice(&output.payload.data);
        let payload = spine_schemas::Payload { data, ..output.payload.clone() };
        let output = Output { payload, ..output.clone() };
        let known = Known { output, at, used: self.uses };
        self.bytes += weight(&call, &known);
        self.by_use.insert(self.uses, call.clone());
        self.known.insert(call, known);
        while self.bytes > self.most_bytes {
            let Some((_, oldest)) = self.by_use.first_key_value() else { return };
            let oldest = oldest.clone();
            self.forget(&oldest);
        }
    }

    /// Notes that what a step's call gave was of use.
    pub fn used(&mut self, run: &RunState, step: &StepState) {
        let call = Call::of(run, step);
        let Some(known) = self.known.get_mut(&call) else { return };
        self.by_use.remove(&known.used);
        self.uses += 1;
        known.used = self.uses;
        self.by_use.insert(self.uses, call);
    }

    fn forget(&mut self, call: &Call) {
        if let Some(known) = self.known.remove(call) {
            self.by_use.remove(&known.used);
            self.bytes -= weight(call, &known);
        }
    }
}

impl Call {
    fn of(run: &RunState, step: &StepState) -> Self {
        // Tenants share nothing.
        let tenant = match planted(Mutant::MemoOfAnybody) {
            true => Arc::from(""),
            false => run.key.tenant.clone(),
        };
        let input = match planted(Mutant::MemoOfAnybody) {
            true => Digest::of_bytes(b""),
            false => step.spec.input.digest,
        };
        let content_type = step.spec.input.content_type.to_string();
        Self { tenant, tool: step.spec.tool.clone(), content_type, input }
    }
}

fn weight(call: &Call, known: &Known) -> usize {
    let texts = call.tenant.len() + call.tool.len() + call.content_type.len();
    ENTRY_BYTES + 2 * texts + known.output.payload.data.len()
}

/// Whether a step of this kind may take the result of another call.
pub(crate) fn may_recall(spec: &StepSpec) -> bool {
    let is_free = spec.memo_ms.is_some() && spec.approval_ms.is_none();
    // Runs of one input need not have one plan.
    let is_call = act_of(&spec.tool).acts() && spec.tool != RUN_TOOL;
    is_free && spec.effect == Effect::Pure && is_call
}

/// Whether an output can stand in for another call's.
pub(crate) fn is_whole(output: &Output) -> bool {
    !output.degraded && !output.payload.omitted
}

/// What ends a step that may start without a call, if an equal one's result is known.
pub(crate) fn instead(
    run: &RunState,
    step: &StepState,
    memo: Option<&Memo>,
    now: Micros,
) -> Option<StepEvent> {
    let output = memo?.recall(run, step, now)?.clone();
    let output = Some(Output { source: Some(SOURCE.to_owned()), ..output });
    Some(StepEvent::Reused { spec: step.spec.clone(), output, skipped: None, edited: false })
}

/// What an output says that comes from here.
pub(crate) const SOURCE: &str = "cache";
