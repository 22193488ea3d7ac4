//! What the demo's tools remember: every call, and every effect by its idempotency key.

use super::{
    faults::{Fault, Faults},
    plan::STEPS,
};
use spine_schemas::time::Micros;
use spine_workers::{Clock, SystemClock};
use std::collections::{BTreeMap, BTreeSet};

/// A call that a tool received.
#[derive(Clone, Debug)]
pub(super) struct Call {
    step: String,
    key: String,
    attempt: u32,
    at: Micros,
}

/// What a tool does with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    /// Answers with its result.
    Answer,
    /// Answers 503.
    Unavailable,
    /// Begins an answer and drops the connection.
    Drop,
    /// Answers long after the caller has given up.
    Sleep,
    /// Does not answer at all.
    Hold,
}

/// The tools' memory.
#[derive(Debug)]
pub(super) struct ToolState {
    faults: Faults,
    calls: Vec<Call>,
    /// Keys under which each step took effect, in order.
    effects: BTreeMap<String, Vec<String>>,
    broken: BTreeSet<String>,
    hold: Option<&'static str>,
}

impl ToolState {
    /// Tools of which one is broken, and one will leave its first caller without a reply.
    pub(super) fn new(faults: &Faults, broken: &str, hold: &'static str) -> Self {
        Self {
            faults: faults.clone(),
            calls: Vec::new(),
            effects: BTreeMap::new(),
            broken: BTreeSet::from([broken.to_owned()]),
            hold: Some(hold),
        }
    }

    /// Takes a call; the effect, if there is one, has happened when this returns.
    pub(super) fn take(&mut self, step: &str, key: &str, attempt: u32) -> Doing {
        let at = SystemClock.now();
        self.calls.push(Call { step: step.to_owned(), key: key.to_owned(), attempt, at });
        if self.broken.contains(step) {
            return Doing::Unavailable;
        }
        let doing = match self.faults.of_tool(step, attempt) {
            Some(Fault::Unavailable) => return Doing::Unavailable,
            Some(Fault::Slow) => return Doing::Sleep,
            Some(Fault::Dropped) => Doing::Drop,
            Some(Fault::Injected) | None if self.hold == Some(step) => {
                self.hold = None;
                Doing::Hold
            }
            Some(Fault::Injected) | None => Doing::Answer,
        };
        self.apply(step, key);
        doing
    }

    /// A tool that honours keys does nothing for a key that it knows; the others do it again.
    fn apply(&mut self, step: &str, key: &str) {
        let effects = self.effects.entry(step.to_owned()).or_default();
        let honours = STEPS.iter().any(|of| of.name == step && of.effect == "idempotent");
        if !(honours && effects.iter().any(|known| known == key)) {
            effects.push(key.to_owned());
        }
    }

    /// Mends a broken tool.
    pub(super) fn repair(&mut self, step: &str) {
        self.broken.remove(step);
    }

    /// Attempts and times of the calls of a step, in order.
    pub(super) fn times(&self, step: &str) -> Vec<(u32, Micros)> {
        let calls = self.calls.iter().filter(|call| call.step == step);
        calls.map(|call| (call.attempt, call.at)).collect()
    }

    /// Calls of a step.
    pub(super) fn calls(&self, step: &str) -> usize {
        self.calls.iter().filter(|call| call.step == step).count()
    }

    /// Different keys in the calls of a step.
    pub(super) fn keys(&self, step: &str) -> usize {
        let keys = self.calls.iter().filter(|call| call.step == step).map(|call| &call.key);
        keys.collect::<BTreeSet<_>>().len()
    }

    /// How often a step took effect.
    pub(super) fn effects(&self, step: &str) -> usize {
        self.effects.get(step).map_or(0, Vec::len)
    }
}
