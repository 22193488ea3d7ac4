//! Which faults hit which attempts: the same ones for the same number, spread over the steps.

use std::collections::BTreeMap;

/// Most faults: three on each of these steps, whose policy allows four attempts.
pub(super) const MOST: usize = 3 * STEPS.len();
/// The steps that faults hit. The others have their own trouble.
const STEPS: [&str; 7] = ["lookup", "classify", "ledger", "history", "draft", "plan", "summary"];

/// A fault of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The tool answers 503 and does nothing.
    Unavailable,
    /// The server pretends a timeout: a fault of the plan, which only test tenants may have.
    Injected,
    /// The tool does its work, then the connection drops.
    Dropped,
    /// The tool answers too late and does nothing.
    Slow,
}

const KINDS: [Fault; 4] = [Fault::Unavailable, Fault::Injected, Fault::Dropped, Fault::Slow];

/// The faults of a demo, by step and attempt.
#[derive(Clone, Debug)]
pub(super) struct Faults(BTreeMap<(&'static str, u32), Fault>);

impl Faults {
    /// So many faults.
    pub(super) fn new(number: usize) -> Self {
        let fault = |at: usize| {
            let attempt = (at / STEPS.len()) as u32 + 1;
            ((STEPS[at % STEPS.len()], attempt), KINDS[at % KINDS.len()])
        };
        Self((0..number.min(MOST)).map(fault).collect())
    }

    /// How many attempts of a step they spoil.
    pub(super) fn of_step(&self, step: &str) -> usize {
        self.0.keys().filter(|(name, _)| *name == step).count()
    }

    /// Steps and attempts whose fault the plan injects.
    pub(super) fn injected(&self) -> Vec<(&'static str, u32)> {
        let injected = self.0.iter().filter(|(_, fault)| **fault == Fault::Injected);
        injected.map(|(place, _)| *place).collect()
    }

    /// What the tool server does to an attempt.
    pub(super) fn of_tool(&self, step: &str, attempt: u32) -> Option<Fault> {
        let found = self.0.iter().find(|((name, at), _)| *name == step && *at == attempt);
        found.map(|(_, fault)| *fault).filter(|fault| *fault != Fault::Injected)
    }

    /// Each fault in words.
    pub(super) fn in_words(&self) -> Vec<String> {
        let word = |fault| match fault {
            Fault::Unavailable => "answers 503",
            Fault::Injected => "times out (injected by the plan)",
            Fault::Dropped => "does its work, then drops the connection",
            Fault::Slow => "answers too late",
        };
        let faults = self.0.iter();
        faults
            .map(|((step, at), fault)| format!("{step}, attempt {at}: {}", word(*fault)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_faults_as_asked_and_no_step_runs_out_of_attempts() {
        for number in 0..=MOST {
            let faults = Faults::new(number);
            assert_eq!(faults.0.len(), number);
            assert!(STEPS.iter().all(|step| faults.of_step(step) <= 3));
        }
        assert_eq!(Faults::new(8).injected(), [("classify", 1), ("plan", 1)]);
    }
}
