//! Runs that found no slot for a start. Only those are asked again for which there may be one now. Tenants take turns,
//! and the tools of a tenant, so that the backlog of one is not waited for by another.

use crate::limits;
use spine_runs::{Lack, Slots};
use spine_schemas::RunKey;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    ops::Bound,
    sync::Arc,
};

/// By tenants in turn; of each by what they lack, in turn; of that in the order in which they asked first.
#[derive(Debug, Default)]
pub(super) struct Starved {
    turns: VecDeque<Arc<str>>,
    tenants: BTreeMap<Arc<str>, Tenant>,
    listed: BTreeMap<RunKey, Listing>,
    places: u64,
}

/// The runs of a tenant. None is empty.
#[derive(Debug, Default)]
struct Tenant {
    lacking: BTreeMap<Lack, BTreeMap<u64, RunKey>>,
    /// Whose turn it was.
    last: Option<Lack>,
}

/// A run that was taken from the list, or is in it.
#[derive(Clone, Debug)]
pub(super) struct Listing {
    place: u64,
    lacks: BTreeSet<Lack>,
}

impl Listing {
    /// Whether there may be a slot for the run.
    pub(super) fn may_begin(&self, run: &RunKey, slots: &Slots) -> bool {
        slots.lets(&run.tenant) && self.lacks.iter().any(|lack| slots.has(lack))
    }
}

impl Starved {
    /// A run waits for these, and for nothing else. It keeps its place.
    pub(super) fn set(&mut self, key: &RunKey, lacks: BTreeSet<Lack>) {
        let place = match self.listed.get(key) {
            Some(listing) if listing.lacks == lacks => return,
            Some(listing) => listing.place,
            None => {
                self.places += 1;
                self.places
            }
        };
        self.remove(key);
        if !lacks.is_empty() {
            self.insert(key.clone(), Listing { place, lacks });
        }
    }

    /// So many runs for which there may be a slot, at most.
    pub(super) fn take(&mut self, count: usize, slots: &Slots) -> Vec<(RunKey, Listing)> {
        let mut taken = Vec::new();
        let mut skipped = 0;
        // Tenants that wait for the same slot may be many.
        while taken.len() < count && skipped < self.turns.len().min(limits::STARVED_TENANTS) {
            self.turns.rotate_left(1);
            let tenant = self.turns.back().and_then(|tenant| self.tenants.get_mut(tenant));
            let tenant_name = self.turns.back().filter(|tenant| slots.lets(tenant));
            let next = tenant_name.and(tenant).and_then(|tenant| tenant.next(slots));
            match next.and_then(|key| Some((self.remove(&key)?, key))) {
                Some((listing, key)) => {
                    skipped = 0;
                    taken.push((key, listing));
                }
                None => skipped += 1,
            }
        }
        taken
    }

    /// Who was taken and not asked has its place again.
    pub(super) fn put_back(&mut self, key: RunKey, listing: Listing) {
        if !self.listed.contains_key(&key) {
            self.insert(key, listing);
        }
    }

    fn insert(&mut self, key: RunKey, listing: Listing) {
        let tenant = self.tenants.entry(key.tenant.clone()).or_insert_with(|| {
            self.turns.push_back(key.tenant.clone());
            Tenant::default()
        });
        for lack in &listing.lacks {
            let of_lack = match tenant.lacking.get_mut(lack) {
                Some(of_lack) => of_lack,
                None => tenant.lacking.entry(lack.clone()).or_default(),
            };
            of_lack.insert(listing.place, key.clone());
        }
        self.listed.insert(key, listing);
    }

    fn remove(&mut self, key: &RunKey) -> Option<Listing> {
        let listing = self.listed.remove(key)?;
        let tenant = self.tenants.get_mut(&key.tenant).expect("who is listed has a tenant");
        for lack in &listing.lacks {
            if let Some(of_lack) = tenant.lacking.get_mut(lack) {
                of_lack.remove(&listing.place);
                if of_lack.is_empty() {
                    tenant.lacking.remove(lack);
                }
            }
        }
        if tenant.lacking.is_empty() {
            self.tenants.remove(&key.tenant);
            self.turns.retain(|turn| *turn != key.tenant);
        }
        Some(listing)
    }

    /// Whether one of them should be asked before these, which ask by themselves. Where all are of one tenant these
    /// come first, since they are in memory.
    pub(super) fn come_before(&self, ready: &[RunKey]) -> bool {
        let is_other = |key: &RunKey| !self.tenants.contains_key(&key.tenant);
        self.tenants.len() > 1 || !self.tenants.is_empty() && ready.iter().any(is_other)
    }

    pub(super) fn len(&self) -> usize {
        self.listed.len()
    }

    pub(super) fn contains(&self, key: &RunKey) -> bool {
        self.listed.contains_key(key)
    }
}

impl Tenant {
    /// The first of those who lack what there is now.
    fn next(&mut self, slots: &Slots) -> Option<RunKey> {
        let (behind, before) = match &self.last {
            Some(last) => ((Bound::Excluded(last), Bound::Unbounded), (Bound::Unbounded, Bound::Included(last))),
            None => ((Bound::Unbounded, Bound::Unbounded), (Bound::Unbounded, Bound::Unbounded)),
        };
        let mut in_turn = self.lacking.range(behind).chain(self.lacking.range(before));
        let (lack, runs) = in_turn.find(|(lack, _)| slots.has(lack))?;
        let (lack, first) = (lack.clone(), runs.values().next().cloned());
        self.last = Some(lack);
        first
    }
}
