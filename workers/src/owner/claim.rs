//! Claims: compare-and-set in log order. Nothing is decided before the own claim was read back.

use super::{Owner, append::Written};
use crate::{Clock, Error, Result, limits, metrics, tools::Tools, verdicts::Phase};
use bytes::Bytes;
use spine_log::{EventLog, NewRecord, Urgency};
use spine_runs::FOLD_VERSION;
use spine_schemas::{Body, Claim, Event, PartitionEvent, codec, time::Micros};
use spine_store::RunStore;
use std::{collections::BTreeSet, time::Duration};
use tokio::time::Instant;

/// Where the owner stands with its claim.
#[derive(Debug, Default)]
pub(super) struct ClaimPhase {
    state: State,
    /// Claims that this owner made and that held at their position.
    pub(super) own: BTreeSet<u64>,
    /// Claims that this owner appended so far, for ids.
    made: u64,
    pause: Duration,
}

#[derive(Debug, Default)]
enum State {
    /// Must claim, not before the instant.
    #[default]
    Wanted,
    WantedAt(Instant),
    /// Appended under this event id; not read back yet.
    Made(String),
    Held(Held),
}

/// The claim under which decisions are made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    pub(super) offset: u64,
    pub(super) at: Micros,
}

impl ClaimPhase {
    pub(super) fn held(&self) -> Option<Held> {
        match &self.state {
            State::Held(held) => Some(*held),
            State::Wanted | State::WantedAt(_) | State::Made(_) => None,
        }
    }

    /// Stops deciding and claims again after a pause that doubles.
    pub(super) fn give_up(&mut self) {
        self.pause = (self.pause * 2).clamp(limits::CLAIM_FIRST, limits::CLAIM_MOST);
        self.state = State::WantedAt(Instant::now() + self.pause);
    }

    /// Claims again at once: the outcome of an append is not known.
    pub(super) fn renew(&mut self) {
        if let State::Held(_) = self.state {
            self.state = State::Wanted;
        }
    }

    pub(super) fn due_at(&self) -> Option<Instant> {
        match &self.state {
            State::Wanted => Some(Instant::now()),
            State::WantedAt(at) => Some(*at),
            State::Made(_) | State::Held(_) => None,
        }
    }
}

impl<L, S, T, C> Owner<L, S, T, C>
where
    L: EventLog,
    S: RunStore,
    T: Tools,
    C: Clock,
{
    /// Claims the partition for the first time, and reads ahead to the claim, so that everything
    /// that earlier owners set aside is known before anything is folded. `false` when told to stop.
    pub(super) async fn claim_first(&mut self) -> Result<bool> {
        let phase = Phase::Waiting("catching up".into());
        self.node.hub.set_phase(self.tp.partition, phase);
        let mut pause = limits::CLAIM_FIRST;
        while !self.orders.must_go() {
            // A claim over any but the newest is lost, and the owner before may have claimed meanwhile.
            let end = self.node.log.bounds(&self.tp).await?.end;
            self.scan_to(end).await?;
            self.check_claim()?;
            let (event_id, value) = self.next_claim();
            let appended = self.append_control(vec![value]).await?;
            self.scan_to(appended.last_offset + 1).await?;
            if self.scan.current_claim() == Some(appended.first_offset) {
                self.claim.own.insert(appended.first_offset);
                self.claim.state = State::Made(event_id);
                return Ok(true);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(limits::CLAIM_MOST);
        }
        Ok(false)
    }

    /// The claim under which this owner decides now: none while the records ahead wait to be folded.
    pub(super) fn deciding(&self) -> Option<Held> {
        self.claim.held().filter(|_| !self.holding.is_held())
    }

    /// Claims again when it is time, unless the process is stopping.
    pub(super) fn claim_if_due(&mut self) -> Result<()> {
        let due = self.claim.due_at().is_some_and(|at| at <= Instant::now());
        if due && self.drain_until.is_none() {
            self.check_claim()?;
            self.append_claim();
        }
        Ok(())
    }

    /// Whether the newest claim in the log is one that this owner may claim over.
    fn check_claim(&self) -> Result<()> {
        let config = &self.node.config;
        let Some(newest) = self.scan.newest_claim() else { return Ok(()) };
        if newest.partitions != self.partitions {
            return Err(Error::PartitionsChanged { from: newest.partitions, to: self.partitions });
        }
        let own = self.node.store.store_id();
        if config.private_store && !config.take_over && newest.store_id != own {
            return Err(Error::OtherStore {
                partition: self.tp.partition,
                store_id: newest.store_id.clone(),
                worker: newest.worker.clone(),
                own: own.to_owned(),
            });
        }
        if newest.store_id != own {
            let (partition, worker) = (self.tp.partition, &newest.worker);
            tracing::warn!(
                partition,
                worker,
                theirs = newest.store_id,
                own,
                "the owner before folded into another store: after a switch or a rebuild this is as \
                 it should be, but workers that live at the same time must share one store"
            );
        }
        Ok(())
    }

    fn append_claim(&mut self) {
        let (event_id, value) = self.next_claim();
        self.claim.state = State::Made(event_id);
        let record = NewRecord::plain(None, value);
        let (log, tp) = (self.node.log.clone(), self.tp.clone());
        self.writes.spawn(async move {
            let result = log.append(&tp, vec![record], Urgency::Outcome).await;
            Written::Claim(result)
        });
    }

    /// The next claim's event id and bytes.
    fn next_claim(&mut self) -> (String, Bytes) {
        self.claim.made += 1;
        let now = self.node.clock.now();
        let worker = &self.node.config.worker;
        let event_id =
            format!("claim-{worker}-{}-{}-{}", self.tp.partition, now.0, self.claim.made);
        // The fold may lag behind the scan while the owner catches up.
        let folded = self.fold.state().claim.as_ref().map(|claim| claim.offset);
        let claim = Claim {
            worker: worker.clone(),
            address: self.node.config.address.clone(),
            store_id: self.node.store.store_id().to_owned(),
            log_id: self.node.log.log_id().to_owned(),
            fold_version: FOLD_VERSION,
            partitions: self.partitions,
            over: folded.max(self.scan.current_claim()),
            restored: self.node.config.restored && self.claim.made == 1,
        };
        let event = self.control_event(event_id.clone(), None, PartitionEvent::OwnerClaimed(claim));
        match codec::encode(&event) {
            Ok(value) => (event_id, value),
            Err(error) => unreachable!("a claim of ours is legal: {error}"),
        }
    }

    /// A control event of this owner.
    pub(super) fn control_event(
        &self,
        event_id: String,
        claim: Option<u64>,
        body: PartitionEvent,
    ) -> Event {
        let (now, actor) = (self.node.clock.now(), format!("owner:{}", self.node.config.worker));
        Event { claim, ..Event::new(event_id, "default", now, actor, Body::Partition(body)) }
    }

    /// A claim was folded: ours, so that decisions may begin, or another one's, so that they end.
    pub(super) fn claim_folded(&mut self, event: &Event, applied: bool, offset: u64, at: Micros) {
        if let (true, Body::Partition(PartitionEvent::OwnerClaimed(claim))) = (applied, &event.body)
        {
            self.node.hub.note_claim(self.tp.partition, offset, &claim.address);
        }
        let ours = match &self.claim.state {
            State::Made(event_id) => *event_id == event.event_id,
            State::Wanted | State::WantedAt(_) | State::Held(_) => false,
        };
        match (ours, applied) {
            (true, true) => {
                tracing::info!(partition = self.tp.partition, offset, "claimed");
                self.claim.state = State::Held(Held { offset, at });
                self.claim.own.insert(offset);
                self.claim.pause = Duration::ZERO;
                self.claim_held();
            }
            (true, false) => self.claim.give_up(),
            (false, true) if self.claim.held().is_some() => {
                tracing::warn!(partition = self.tp.partition, offset, "another owner claimed");
                self.claim.give_up();
            }
            // While our own claim is under way, its verdict tells us what to do.
            (false, _) => {}
        }
    }

    /// Everything that an earlier claim of ours appended has been read by now: batches that were
    /// not found in the log are not there, and outcomes in them are due again.
    fn claim_held(&mut self) {
        self.fold.count_ends();
        metrics::observe_no_end_yet();
        self.appends.clear();
        self.granted.clear();
        self.attempts.append_again();
        self.sweep = Some(None);
        self.ready.extend(self.attempts.runs_with_outcomes());
    }
}
