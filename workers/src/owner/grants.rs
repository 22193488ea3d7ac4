//! Granting steps of queues to workers that ask: room is reserved in their polls first, then the start is
//! decided and appended, and only when it was read back is anybody told.

use super::{Owner, act, attempts::Attempt};
use crate::{
    Clock, Result, limits, metrics,
    polls::Place,
    tools::{Tools, traceparent},
};
use spine_log::EventLog;
use spine_runs::{Grant, GrantedStep, Leased, Live, RunState, StepState};
use spine_schemas::{Body, Event, Payload, RunKey, StepEvent, StepKey, fault_points};
use spine_store::RunStore;
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

/// Starts that were decided for workers and not read back: where they go, and under which claim they were
/// decided.
#[derive(Debug, Default)]
pub(super) struct Granted(BTreeMap<(RunKey, StepKey, u32), (u64, Place)>);

impl Granted {
    /// Their appends left nothing behind: the room is given back.
    pub(super) fn forget(&mut self, run: &RunKey) {
        self.0.retain(|(of, _, _), _| of != run);
    }

    /// What was not read before a new claim is not in the log.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    fn take(&mut self, run: &RunKey, step: &StepKey, attempt: u32, claim: u64) -> Option<Place> {
        let of = (run.clone(), step.clone(), attempt);
        self.0.get(&of).filter(|(under, _)| *under == claim)?;
        self.0.remove(&of).map(|(_, place)| place)
    }
}

/// What workers ask for, by run and queue.
pub(super) type Asked = BTreeMap<(RunKey, String), Vec<Grant>>;

impl<L, S, T, C> Owner<L, S, T, C>
where
    L: EventLog,
    S: RunStore,
    T: Tools,
    C: Clock,
{
    /// Grants workers what they ask for and what waits, as far as it goes.
    pub(super) async fn grant(&mut self) -> Result<()> {
        self.take_back();
        if self.queued.left && self.queued.len() < limits::QUEUED_RUNS / 2 && self.sweep.is_none() {
            self.queued.left = false;
            self.sweep = Some(None);
        }
        let is_idle = self.appends.is_paused() || self.drain_until.is_some();
        let held = self.deciding().filter(|_| !is_idle);
        let Some(held) = held.filter(|_| self.queued.is_fresh) else { return Ok(()) };
        // Room that is given back calls this owner again.
        for _ in 0..limits::GRANT_ROUNDS {
            let (asked, mut places) = self.pick();
            if asked.is_empty() {
                self.queued.is_fresh = false;
                break;
            }
            let mut runs: Vec<RunKey> = asked.keys().map(|(run, _)| run.clone()).collect();
            runs.dedup();
            let decided = self.decide_for(runs, 0, held, asked).await?;
            for Leased { run, step, attempt, ticket } in decided.leased {
                if let Some(place) = places.remove(&ticket) {
                    self.granted.0.insert((run, step, attempt), (held.offset, place));
                }
            }
        }
        Ok(())
    }

    /// Reserves room for what waits. What is not granted after all is given back with its place.
    fn pick(&mut self) -> (Asked, BTreeMap<u64, Place>) {
        let (mut asked, mut places) = (Asked::new(), BTreeMap::new());
        for asking in self.node.polls.asking(|queue| self.queued.waits_in(queue)) {
            let ask = asking.ask;
            let room = asking.room.min(limits::GRANTS);
            for (run, steps) in self.queued.take(&ask.queue, room, ask.tenants.as_ref()) {
                let grants = asked.entry((run, ask.queue.clone())).or_default();
                for _ in 0..steps {
                    let Some(place) = self.node.polls.reserve(asking.id) else { break };
                    let ticket = places.len() as u64;
                    places.insert(ticket, place);
                    let (worker, lease_ms) = (ask.worker.clone(), ask.lease_ms);
                    grants.push(Grant { worker, lease_ms, ticket });
                }
            }
        }
        (asked, places)
    }

    /// Steps of a run wait for workers, in these queues and in no others.
    pub(super) fn set_queued(&mut self, run: &RunKey, queues: BTreeMap<String, usize>) {
        let (polls, partition) = (&self.node.polls, self.tp.partition);
        let before = self.queued.len();
        let changes = self.queued.set(run, queues);
        changes.begun.iter().for_each(|queue| polls.set_waiting(queue, partition, true));
        changes.ended.iter().for_each(|queue| polls.set_waiting(queue, partition, false));
        if self.queued.len() != before {
            metrics::observe_queued(partition, self.queued.len());
        }
    }

    /// A start that was accepted under the current claim and read after it is told to the worker. If that
    /// is gone, or must not have it any more, nobody has heard of the attempt, so it is given back.
    pub(super) fn hand_over(&mut self, run: &RunState, step: &StepState, live: &Live, claim: u64) {
        fault_points::reach("granted");
        let now = self.node.clock.now();
        let forbidden = self.node.health.forbids(&run.key.tenant, &step.spec.tool, now);
        // By its own clock alone: if that were another than the log's, leases would go to and fro for ever.
        let is_over =
            self.appends.posted_at(&run.key).elapsed() >= Duration::from_millis(live.lease_ms);
        let fault = run.created.plan.as_ref().and_then(|p| p.fault(&step.key, live.attempt));
        let place = self.granted.take(&run.key, &step.key, live.attempt, claim);
        let stays = forbidden || is_over || fault.is_some() || self.drain_until.is_some();
        if let Some(place) = place.filter(|_| !stays)
            && place.deliver(self.lease(run, step, live))
        {
            metrics::observe_lease("granted");
            return;
        }
        metrics::observe_lease("given_back");
        self.attempts.insert(live.lease, Attempt::new(run, step, live));
        let outcome = match fault {
            Some(fault) => act::injected(run, &step.key, live, fault),
            None => {
                let (attempt, lease) = (live.attempt, live.lease);
                let released = StepEvent::Released { attempt, lease, error: None };
                vec![Body::Step(run.key.run_id.clone(), step.key.clone(), released)]
            }
        };
        self.outcome_due(live.lease, outcome);
    }

    /// A start of this owner that was read when it could not be acted on any more: nobody was told, nor
    /// will be. Where it was accepted it is given back.
    pub(super) fn not_handed_over(&mut self, event: &Event, run: &RunKey, offset: Option<u64>) {
        let Body::Step(_, step, StepEvent::Started(start)) = &event.body else { return };
        let (Some(attempt), Some(claim)) = (start.attempt, event.claim) else { return };
        let place = self.granted.take(run, step, attempt, claim);
        if let (Some(_), Some(lease)) = (place, offset) {
            self.give_back(run, step.clone(), attempt, lease);
        }
    }

    /// What workers were told who went before they could hear it is given back.
    fn take_back(&mut self) {
        for lease in self.node.polls.take_returned(self.tp.partition) {
            self.give_back(&lease.run, lease.step, lease.attempt, lease.offset);
        }
    }

    fn give_back(&mut self, run: &RunKey, step: StepKey, attempt: u32, lease: u64) {
        metrics::observe_lease("given_back");
        self.attempts.insert(lease, Attempt::never_sent(run, step, attempt, lease));
        self.ready.insert(run.clone());
    }

    fn lease(&self, run: &RunState, step: &StepState, live: &Live) -> GrantedStep {
        let installation = &self.node.config.installation_id;
        let call = act::tool_call(installation, run, step, live, Instant::now());
        let input: Payload = step.spec.input.clone();
        GrantedStep {
            partition: self.tp.partition,
            attempt: live.attempt,
            offset: live.lease,
            until: step.lease_until().unwrap_or(live.started_at),
            idempotency_key: call.idempotency_key,
            input,
            effect: call.effect,
            timeout_ms: step.spec.timeout_ms,
            traceparent: traceparent(&call),
            run: call.run,
            step: call.step,
        }
    }
}
