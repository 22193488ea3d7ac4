//! Sessions of agents, told from the log alone: one that was replaced holds nothing and begins nothing any more, and
//! an attempt of one that gives signs of life is not given up.

use crate::folded::Folded;
use spine_runs::{Holder, RunState};
use spine_schemas::{Body, RunKey, StepEvent};
use std::collections::BTreeSet;

/// Sessions that were replaced.
#[derive(Debug, Default)]
pub(crate) struct Sessions(BTreeSet<(RunKey, String)>);

impl Sessions {
    pub(crate) fn take(&mut self, folded: &Folded<'_>) {
        check_lost(folded);
        let (Some(run), Some(op)) = (folded.after, &folded.event.op) else { return };
        let name = &run.key;
        let named = |session: &str| (name.clone(), session.to_owned());
        let is_gone = self.0.contains(&named(&op.session));
        if let Some((_, step)) = folded.begun() {
            let key = &step.key;
            assert!(!is_gone, "{name} {key}: begun by {}, which was replaced", op.session);
        }
        // It is replaced by every question of whoever names it, also by one that is refused.
        let was_open = folded.before.is_some_and(RunState::is_open) && !is_gone;
        let others = op.replaces.as_ref().filter(|old| **old != op.session);
        if let Some(old) = others.filter(|_| was_open) {
            self.0.insert(named(old));
            let held = Holder::Session(old.clone());
            let mut live = run.steps.values().filter_map(|step| step.live.as_ref());
            let holds = live.find(|live| live.holder == held);
            assert!(holds.is_none(), "{name}: {old} was replaced, and holds {holds:?}");
        }
    }
}

/// The lease of an agent's attempt counts from its newest sign of life. Agents and owners have one clock here.
fn check_lost(folded: &Folded<'_>) {
    let Body::Step(_, key, StepEvent::Lost { .. }) = &folded.event.body else { return };
    let run = folded.before.filter(|_| folded.is_applied());
    let step = run.and_then(|run| run.steps.get(key));
    let Some(live) = step.and_then(|step| step.live.as_ref()) else { return };
    if let Holder::Session(session) = &live.holder {
        let until = live.heartbeat_at.plus_ms(live.lease_ms);
        let at = folded.event.occurred_at;
        assert!(at >= until, "{key}: {session} held it until {until}, and lost it at {at}");
    }
}
