//! Runs that found no slot for a start. Only those are asked again for which there may be one now. Tenants take turns,
//! and the tools of a tenant, so that the backlog of one is not waited for by another.

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
    /// How many of them lack what.
    lacking: BTreeMap<Lack, usize>,
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
        let (mut taken, mut skipped) = (Vec::new(), 0);
        // Where nothing is there of what anybody lacks, tenants are not asked, however many wait.
        let is_there = |lacking: &BTreeMap<Lack, usize>| lacking.keys().any(|lack| slots.has(lack));
        while taken.len() < count && skipped < self.turns.len() && is_there(&self.lacking) {
            self.turns.rotate_left(1);
            match self.next(slots).and_then(|key| Some((self.remove(&key)?, key))) {
                Some((listing, key)) => {
                    skipped = 0;
                    taken.push((key, listing));
                }
                None => skipped += 1,
            }
        }
        taken
    }

    /// The next run of the tenant whose turn it is.
    fn next(&mut self, slots: &Slots) -> Option<RunKey> {
        let tenant = self.turns.back().filter(|tenant| slots.lets(tenant))?;
        self.tenants.get_mut(tenant)?.next(slots)
    }

    /// Who was taken and not asked has its place again, and its tenant its turn. The last one taken comes first.
    pub(super) fn put_back(&mut self, key: RunKey, listing: Listing) {
        if self.listed.contains_key(&key) {
            return;
        }
        self.forget_turn(&key.tenant);
        self.turns.push_front(key.tenant.clone());
        self.insert(key, listing);
    }

    fn insert(&mut self, key: RunKey, listing: Listing) {
        if !self.tenants.contains_key(&key.tenant) && self.turns.front() != Some(&key.tenant) {
            self.turns.push_back(key.tenant.clone());
        }
        let tenant = self.tenants.entry(key.tenant.clone()).or_default();
        for lack in &listing.lacks {
            let of_lack = match tenant.lacking.get_mut(lack) {
                Some(of_lack) => of_lack,
                None => tenant.lacking.entry(lack.clone()).or_default(),
            };
            of_lack.insert(listing.place, key.clone());
            match self.lacking.get_mut(lack) {
                Some(count) => *count += 1,
                None => drop(self.lacking.insert(lack.clone(), 1)),
            }
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
            if let Some(count) = self.lacking.get_mut(lack) {
                *count -= 1;
                if *count == 0 {
                    self.lacking.remove(lack);
                }
            }
        }
        if tenant.lacking.is_empty() {
            self.tenants.remove(&key.tenant);
            self.forget_turn(&key.tenant);
        }
        Some(listing)
    }

    /// Whose turn it was is the last one.
    fn forget_turn(&mut self, tenant: &str) {
        if self.turns.back().is_some_and(|last| **last == *tenant) {
            self.turns.pop_back();
        } else {
            self.turns.retain(|turn| **turn != *tenant);
        }
    }

    /// Whether one of them should be asked before these, which ask by themselves. Where all are of one tenant these
    /// come first, since they are in memory.
    pub(super) fn come_before(&self, ready: &[RunKey]) -> bool {
        let is_other = |key: &RunKey| !self.tenants.contains_key(&key.tenant);
        self.tenants.len() > 1 || !self.tenants.is_empty() && ready.iter().any(is_other)
    }

    /// Somebody for whom there is a slot, of those who do not wait for a retry.
    #[cfg(feature = "mutants")]
    pub(super) fn may_begin(&self, slots: &Slots) -> Option<&RunKey> {
        let mut listed = self.listed.iter().filter(|(_, of)| !of.lacks.contains(&Lack::Retry));
        listed.find(|(key, of)| of.may_begin(key, slots)).map(|(key, _)| key)
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
            Some(last) => (
                (Bound::Excluded(last), Bound::Unbounded),
                (Bound::Unbounded, Bound::Included(last)),
            ),
            None => ((Bound::Unbounded, Bound::Unbounded), (Bound::Unbounded, Bound::Unbounded)),
        };
        let mut in_turn = self.lacking.range(behind).chain(self.lacking.range(before));
        let (lack, runs) = in_turn.find(|(lack, _)| slots.has(lack))?;
        let (lack, first) = (lack.clone(), runs.values().next().cloned());
        self.last = Some(lack);
        first
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spine_runs::{Bounds, Busy};

    fn keys(tenant: &str, count: usize) -> Vec<RunKey> {
        (0..count).map(|at| RunKey::new(tenant, &at.to_string())).collect()
    }

    fn tool(name: &str) -> BTreeSet<Lack> {
        [Lack::Tool(name.into())].into()
    }

    /// Slots where one more call of each tool and of each tenant is one too many, but for those that are busy.
    fn slots(free: usize, tenants: &[&str], tools: &[&str]) -> Slots {
        let bounds = Bounds { per_run: 1, per_tenant: 1, per_tool: 1 };
        let busy = Busy {
            tenants: tenants.iter().map(|name| ((*name).into(), 1)).collect(),
            tools: tools.iter().map(|name| ((*name).into(), 1)).collect(),
        };
        Slots::new(free, bounds, busy)
    }

    fn taken(starved: &mut Starved, count: usize, slots: &Slots) -> Vec<RunKey> {
        starved.take(count, slots).into_iter().map(|(key, _)| key).collect()
    }

    #[test]
    fn who_asks_often_is_listed_once_and_keeps_its_place() {
        let free = slots(9, &[], &[]);
        let [one, two] = ["one", "two"].map(|id| RunKey::new("default", id));
        let mut starved = Starved::default();
        for key in [&one, &one, &two, &one] {
            starved.set(key, tool("x"));
        }
        assert_eq!(starved.len(), 2);
        let (key, listing) = starved.take(1, &free).remove(0);
        assert_eq!(key, one);
        starved.put_back(key, listing);
        assert_eq!(taken(&mut starved, 9, &free), [one.clone(), two.clone()]);
        starved.set(&one, tool("x"));
        starved.set(&two, tool("x"));
        starved.set(&one, BTreeSet::new());
        assert_eq!(taken(&mut starved, 9, &free), [two]);
        assert!(starved.len() == 0 && starved.turns.is_empty() && starved.tenants.is_empty());
    }

    #[test]
    fn l46_tenants_take_turns() {
        let free = slots(9, &[], &[]);
        let (many, late) = (keys("a", 1000), keys("b", 2));
        let mut starved = Starved::default();
        many.iter().for_each(|key| starved.set(key, tool("x")));
        assert_eq!(taken(&mut starved, 2, &free), many[..2]);
        assert!(!starved.come_before(&many[..1]), "who is in memory first, of one tenant");
        assert!(starved.come_before(&late[..1]));
        late.iter().for_each(|key| starved.set(key, tool("x")));
        assert!(starved.come_before(&many[..1]));
        let next = taken(&mut starved, 4, &free);
        assert_eq!(next.iter().filter(|key| &*key.tenant == "b").count(), 2, "{next:?}");
        assert_eq!(starved.len(), 996);
    }

    #[test]
    fn l46_only_those_are_asked_for_whom_there_may_be_a_slot() {
        let (many, other) = (keys("a", 1000), keys("b", 3));
        let mut starved = Starved::default();
        many.iter().for_each(|key| starved.set(key, tool("slow")));
        starved.set(&other[0], tool("slow"));
        starved.set(&other[1], tool("fast"));
        starved.set(&other[2], [Lack::Retry].into());
        let slow = slots(9, &[], &["slow"]);
        assert_eq!(taken(&mut starved, 9, &slow), [other[1].clone(), other[2].clone()]);
        starved.set(&other[1], [Lack::Tool("slow".into()), Lack::Any].into());
        assert_eq!(taken(&mut starved, 9, &slow), [other[1].clone()]);
        assert_eq!(taken(&mut starved, 9, &slots(0, &[], &[])), []);
        assert_eq!(taken(&mut starved, 1, &slots(9, &["a"], &[])), [other[0].clone()]);
        assert_eq!(taken(&mut starved, 9, &slots(9, &["a"], &[])), []);
        assert_eq!(starved.len(), 1000);
    }

    #[test]
    fn l46_who_was_taken_and_not_asked_has_its_turn_again() {
        let free = slots(9, &[], &[]);
        let mut starved = Starved::default();
        for tenant in ["a", "b", "c"] {
            keys(tenant, 9).iter().for_each(|key| starved.set(key, tool("x")));
        }
        for first in ["a", "c", "b", "a"] {
            let mut some = starved.take(3, &free);
            assert_eq!(&*some[0].0.tenant, first);
            // The first two begin.
            let (key, listing) = some.remove(2);
            starved.put_back(key, listing);
            assert_eq!(starved.turns.len(), 3);
        }
        let mut last = Starved::default();
        last.set(&keys("a", 1)[0], tool("x"));
        let (key, listing) = last.take(1, &free).remove(0);
        last.put_back(key, listing);
        assert_eq!((last.turns.len(), taken(&mut last, 9, &free).len()), (1, 1));
        assert!(last.turns.is_empty() && last.lacking.is_empty());
    }

    #[test]
    fn l46_tools_of_a_tenant_take_turns() {
        let free = slots(9, &[], &[]);
        let runs = keys("a", 4);
        let mut starved = Starved::default();
        for (run, name) in runs.iter().zip(["x", "x", "x", "y"]) {
            starved.set(run, tool(name));
        }
        let first = taken(&mut starved, 2, &free);
        assert_eq!(first, [runs[0].clone(), runs[3].clone()]);
    }
}
