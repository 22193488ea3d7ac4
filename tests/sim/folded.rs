//! One event of the log as the checkers see it: what the fold made of it, and its run before and after.

use spine_runs::{RunState, StepState, Verdict};
use spine_schemas::{Body, Event, StepEvent};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Folded<'a> {
    pub(crate) event: &'a Event,
    pub(crate) offset: u64,
    pub(crate) verdict: &'a Verdict,
    pub(crate) before: Option<&'a RunState>,
    pub(crate) after: Option<&'a RunState>,
}

impl<'a> Folded<'a> {
    pub(crate) fn is_applied(&self) -> bool {
        matches!(self.verdict, Verdict::Applied(_))
    }

    /// The step of which it began an attempt, and its run. An agent's `begin` may only have made people be asked,
    /// or only have taken over from another session.
    pub(crate) fn begun(&self) -> Option<(&'a RunState, &'a StepState)> {
        let (run, step) = self.start()?;
        let live = step.live.as_ref().filter(|live| live.lease == self.offset);
        live.map(|_| (run, step))
    }

    /// The step about whose call it made people be asked, as an agent's `begin` does.
    pub(crate) fn asks_for_agent(&self) -> Option<&'a StepState> {
        let (_, step) = self.start()?;
        step.asks_since(self.offset).then_some(step)
    }

    fn start(&self) -> Option<(&'a RunState, &'a StepState)> {
        let Body::Step(_, key, StepEvent::Started(_)) = &self.event.body else { return None };
        let run = self.after.filter(|_| self.is_applied())?;
        Some((run, &**run.steps.get(key)?))
    }
}
