//! Planted faults of the owner that need more than one line. Built for the simulator only.

use super::{Owner, act, claim::Held};
use crate::{
    Clock,
    tools::{CallEnd, Tools},
};
use bytes::Bytes;
use spine_log::{EventLog, NewRecord, Urgency};
use spine_runs::{Bounds, Busy, Holder, Live, RunState, Slots, StepState, decide, wake_at};
use spine_schemas::{
    Body, DeadLetter, Event, LetterSource, RunKey, StepEvent, StepKey, codec,
    mutants::{Mutant, is_watched, planted},
};
use spine_store::RunStore;
use std::collections::BTreeMap;
use tokio::{task::JoinHandle, time::Instant};

/// Calls that were made before their start was read back.
pub(super) type Early = BTreeMap<(RunKey, StepKey, u32), JoinHandle<CallEnd>>;

impl<L, S, T, C> Owner<L, S, T, C>
where
    L: EventLog,
    S: RunStore,
    T: Tools,
    C: Clock,
{
    /// After each turn of a watched world: every open run is awake. Something of it is under way, or it waits for a slot,
    /// or it will be looked at when there is something to do for it.
    pub(super) fn check_awake(&self) {
        let swept = self.sweep.is_none() && self.timers.watch.is_none();
        let settled = is_watched() && swept && self.drain_until.is_none();
        let Some(held) = self.deciding().filter(|_| settled) else {
            return;
        };
        let view = self.owner_view(held, self.node.clock.now());
        // Nobody waits for a slot that is free and that nobody is told of any more.
        let is_told = self.freed > 0 || !self.ready.is_empty() || self.appends.is_paused();
        let overslept = self.starved.may_begin(&self.slots()).filter(|_| !is_told);
        assert!(overslept.is_none(), "{overslept:?} waits for a slot that is free");
        for run in self.cache.runs() {
            let key = &run.key;
            let under_way = self.appends.is_latched(key) || self.ready.contains(key);
            // Who waits for a slot is woken by the end of an attempt, if there is one that may end.
            let will_end = self.open_starts() > 0 || self.appends.is_paused();
            let will_end = will_end || self.held.retries_at.is_some();
            let waits = self.starved.contains(key) && will_end || self.held.contains(key);
            if under_way || self.attempts.has_outcomes(key) || waits {
                continue;
            }
            let per_run = self.node.config.attempts_per_run;
            let bounds = Bounds { per_run, ..Bounds::NONE };
            let decided = decide(run, &view, &mut Slots::new(usize::MAX, bounds, Busy::default()));
            // A worker who asks must find what waits in its queue.
            let is_listed = |queue| self.queued.contains(key, queue) || self.queued.left;
            let is_unlisted = decided.queued.keys().any(|queue| !is_listed(queue));
            let to_do = (is_unlisted || !decided.bodies.is_empty()).then_some(view.now);
            if let Some(at) = to_do.or_else(|| wake_at(run, &view)) {
                let looks_at = self.timers.looks_at(key);
                assert!(
                    looks_at.is_some_and(|looks_at| looks_at <= at),
                    "{key} sleeps: {decided:?} at {at}, looked at {looks_at:?}"
                );
            }
        }
    }

    /// Acts on what was only decided.
    pub(super) fn act_early(&mut self, key: &RunKey, events: &[Event]) {
        for event in events {
            match &event.body {
                Body::Step(_, step, StepEvent::Started(start)) => {
                    let early = planted(Mutant::ActBeforeDurable);
                    let acknowledged = planted(Mutant::ActBeforeReadBack);
                    if let (true, Some(attempt)) = (early || acknowledged, start.attempt) {
                        self.call_early(key, step, attempt, acknowledged);
                    }
                }
                Body::Step(_, step, StepEvent::DeadLettered { .. })
                    if planted(Mutant::LetterBeforeDecision) =>
                {
                    self.publish_early(key, step, event);
                }
                Body::Step(..) | Body::Run(..) | Body::Partition(_) => {}
            }
        }
    }

    fn call_early(&mut self, key: &RunKey, step: &StepKey, attempt: u32, wait: bool) {
        let Some(run) = self.cache.get(key).cloned() else { return };
        // A step that its own batch schedules is not in the state yet; it is acted on in time.
        let Some(state) = run.steps.get(step) else { return };
        let claim = self.claim.held().map_or(0, |held: Held| held.offset);
        let live = Live {
            attempt,
            lease: 0,
            holder: Holder::Owner(claim),
            started_at: self.node.clock.now(),
            lease_ms: state.spec.timeout_ms,
            heartbeat: 0,
            heartbeat_at: self.node.clock.now(),
        };
        let call =
            act::tool_call(&self.node.config.installation_id, &run, state, &live, Instant::now());
        let tools = self.node.tools.clone();
        let handle = tokio::spawn(async move {
            if wait {
                // About as long as an acknowledgement takes.
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
            tools.call(call).await
        });
        self.early.insert((key.clone(), step.clone(), attempt), handle);
    }

    /// Uses the call that was made too early, if there is one.
    pub(super) fn take_early(&mut self, run: &RunState, step: &StepState, live: &Live) -> bool {
        let place = (run.key.clone(), step.key.clone(), live.attempt);
        let Some(handle) = self.early.remove(&place) else { return false };
        let lease = live.lease;
        self.calls.spawn(async move {
            match handle.await {
                Ok(end) => (lease, end),
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        });
        true
    }

    fn publish_early(&mut self, key: &RunKey, step: &StepKey, event: &Event) {
        let Body::Step(_, _, StepEvent::DeadLettered { letter_id, error, .. }) = &event.body else {
            return;
        };
        let letter = DeadLetter {
            letter_id: *letter_id,
            source: LetterSource::Step {
                run: key.clone(),
                step: step.clone(),
                class: error.class,
                generation: 0,
                policy: String::new(),
                attempts: Vec::new(),
                attempts_omitted: 0,
            },
            topic: self.tp.topic.to_string(),
            partition: self.tp.partition,
            offset: 0,
            key: Some(Bytes::from(key.record_key())),
            headers: Vec::new(),
            value: None,
            code: error.code.clone(),
            message: error.message.clone(),
            dead_at: self.node.clock.now(),
        };
        let Ok(value) = codec::encode_letter(&letter) else { return };
        let record = NewRecord::plain(letter.key, value);
        let (log, to) = (self.node.log.clone(), self.letters_to.clone());
        tokio::spawn(async move {
            let _ = log.append(&to, vec![record], Urgency::Outcome).await;
        });
    }
}
