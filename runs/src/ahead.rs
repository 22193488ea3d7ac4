//! Folding ahead: outcomes and everything that follows from them, as one batch for one append.
//!
//! Pure like the fold itself. The state that comes out is thrown away: it becomes true when the
//! batch has been read back.

use crate::{
    HeldAt, Lack, Owner, PartitionState, Place, RunState, Slots, Verdict, decide, fold,
    limits::BATCH_BYTES, weight,
};
use spine_schemas::{BatchItem, Body, Event, StepEvent, StepKey, time::Micros};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// What the events of a batch have in common.
#[derive(Clone, Debug)]
pub struct Stamp {
    /// Identity of the batch; the events' ids derive from it.
    pub batch_id: String,
    /// Who appends.
    pub actor: String,
    /// When, by the owner's clock.
    pub now: Micros,
}

/// A batch to append.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Outcomes first, then decisions, in the order in which they fold.
    pub events: Vec<Event>,
    /// What starts had to wait for.
    pub starved: BTreeSet<Lack>,
    /// Where starts are held back.
    pub held: BTreeSet<HeldAt>,
    /// Steps that wait for a worker when all this is done, by queue.
    pub queued: BTreeMap<String, usize>,
}

/// Rounds of decisions that one batch may take. A chain of steps that end at once takes more; it goes on
/// when this much has been read back.
const ROUNDS: usize = 16;

/// Folds outcomes onto a copy of the run, and decisions onto that until none is left.
///
/// An outcome that changes nothing (it came late) is appended all the same, as evidence, outside
/// the batch, so that it does not break what rests on it.
///
/// The batch ends early once it has [`BATCH_BYTES`], at a place where what it holds stands without
/// the rest. Outcomes are all taken, since the caller has let go of them, so it is the caller who
/// bounds those. Whoever decides again after the batch has been read back gets the rest.
pub fn ahead(
    partition: &PartitionState,
    run: &Arc<RunState>,
    outcomes: Vec<Body>,
    owner: &Owner<'_>,
    slots: &mut Slots,
    stamp: &Stamp,
) -> Batch {
    let mut scratch = Scratch {
        partition,
        run: Some(run.clone()),
        batch: Batch::default(),
        items: 0,
        bytes: 0,
        owner,
        stamp,
    };
    for body in outcomes {
        scratch.add(body, false);
    }
    for _ in 0..ROUNDS {
        let Some(state) = scratch.run.as_ref().filter(|_| scratch.bytes < BATCH_BYTES) else {
            return scratch.batch;
        };
        let decided = decide::decide(state, owner, slots);
        scratch.batch.starved = decided.starved;
        scratch.batch.held.extend(decided.held);
        scratch.batch.queued = decided.queued;
        if decided.bodies.is_empty() {
            return scratch.batch;
        }
        for body in decided.bodies {
            scratch.add(body, true);
        }
        if decided.more {
            return scratch.batch;
        }
    }
    debug_assert!(goes_forward(&scratch.batch), "decisions for {} do not settle", run.key);
    scratch.batch
}

/// Whether a batch that took all its rounds went on from step to step. Decisions that do not settle come
/// back to the same one.
fn goes_forward(batch: &Batch) -> bool {
    let mut decisions: BTreeMap<Option<&StepKey>, usize> = BTreeMap::new();
    for event in batch.events.iter().filter(|event| event.claim.is_some()) {
        let step = match &event.body {
            Body::Step(_, step, _) => Some(step),
            Body::Run(..) | Body::Partition(_) => None,
        };
        *decisions.entry(step).or_default() += 1;
    }
    decisions.into_values().all(|of_one| of_one < ROUNDS / 2)
}

struct Scratch<'a> {
    partition: &'a PartitionState,
    run: Option<Arc<RunState>>,
    batch: Batch,
    items: u32,
    bytes: usize,
    owner: &'a Owner<'a>,
    stamp: &'a Stamp,
}

impl Scratch<'_> {
    /// Adds what was decided just now, or what the caller had at hand.
    fn add(&mut self, body: Body, decided: bool) {
        self.bytes += weight::of(&body);
        let outcome = is_outcome(&body);
        let place = Place {
            partition: 0,
            offset: u64::MAX / 2 + u64::from(self.items),
            at: self.stamp.now,
        };
        let mut event = self.event(body, (!outcome).then_some(self.owner.claim));
        let item = BatchItem { id: self.stamp.batch_id.clone(), index: self.items };
        // An outcome rests on nothing, so it can be tried before it is known to be of the batch.
        event.batch = (!outcome).then(|| item.clone());
        let verdict = fold::fold_run(self.partition.current_claim(), &mut self.run, &event, place);
        if let Verdict::Applied(_) = verdict {
            if let Some(run) = self.run.as_mut() {
                fold::note_item(run, &item, true);
            }
            self.items += 1;
            event.batch = Some(item);
            self.batch.events.push(event);
        } else if outcome {
            self.batch.events.push(event);
        } else {
            // What goes with an outcome may have been overtaken, as a planned fault is by the end of its run.
            debug_assert!(!decided, "the fold does not take {:?}: {verdict:?}", event.body);
        }
    }

    fn event(&self, body: Body, claim: Option<u64>) -> Event {
        let run = self.run.as_ref().expect("the run is there from the start");
        Event {
            claim,
            ..Event::new(
                format!("{}.{}", self.stamp.batch_id, self.batch.events.len()),
                run.key.tenant.clone(),
                self.stamp.now,
                self.stamp.actor.clone(),
                body,
            )
        }
    }
}

/// Outcomes are never fenced and carry no claim; everything else that an owner appends does.
pub fn is_outcome(body: &Body) -> bool {
    match body {
        Body::Step(_, _, event) => matches!(
            event,
            StepEvent::Completed { .. } | StepEvent::Failed { .. } | StepEvent::Released { .. }
        ),
        Body::Run(..) | Body::Partition(_) => false,
    }
}
