//! Runs with steps that wait in queues, so that a worker who asks is given some without a look at any
//! other. Tenants take turns, then the runs of each, so that a long backlog of one holds up no other.

use crate::limits;
use spine_schemas::RunKey;
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

/// What waits, by queue. At most [`limits::QUEUED_RUNS`]; then the longest backlog loses its newest.
#[derive(Debug, Default)]
pub(super) struct Queued {
    queues: BTreeMap<String, Backlog>,
    /// The queues of each run.
    runs: BTreeMap<RunKey, BTreeSet<String>>,
    /// Whether runs found no place, which the store still has.
    pub(super) left: bool,
    /// Whether something may be granted that could not be before: more waits, or somebody asks.
    pub(super) is_fresh: bool,
}

/// The runs of one queue.
#[derive(Debug, Default)]
struct Backlog {
    /// Whose turn it is.
    turns: VecDeque<Arc<str>>,
    tenants: BTreeMap<Arc<str>, Line>,
}

/// The runs of one tenant, each with the number of its steps that wait.
#[derive(Debug, Default)]
struct Line {
    turns: VecDeque<RunKey>,
    steps: BTreeMap<RunKey, usize>,
}

/// Queues in which a run is the first to wait, and those in which nobody waits any more.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) begun: Vec<String>,
    pub(super) ended: Vec<String>,
}

impl Queued {
    /// A run has so many steps that wait in these queues, and none in others. It keeps its place.
    pub(super) fn set(&mut self, run: &RunKey, queues: BTreeMap<String, usize>) -> Changes {
        let mut changes = Changes::default();
        if queues.is_empty() && !self.runs.contains_key(run) {
            return changes;
        }
        for queue in self.runs.remove(run).unwrap_or_default() {
            if !queues.contains_key(&queue) {
                self.remove(&queue, run, &mut changes);
            }
        }
        if queues.is_empty() {
            return changes;
        }
        self.is_fresh = true;
        self.runs.insert(run.clone(), queues.keys().cloned().collect());
        for (queue, steps) in queues {
            let backlog = self.queues.entry(queue.clone()).or_insert_with(|| {
                changes.begun.push(queue);
                Backlog::default()
            });
            backlog.set(run, steps);
        }
        while self.runs.len() > limits::QUEUED_RUNS {
            self.shorten(&mut changes);
        }
        changes
    }

    /// Takes steps of a queue for one who asks, `most` in all: one of a run at a time, in turns.
    pub(super) fn take(
        &mut self,
        queue: &str,
        most: usize,
        tenants: Option<&BTreeSet<String>>,
    ) -> BTreeMap<RunKey, usize> {
        match self.queues.get_mut(queue) {
            Some(backlog) => backlog.take(most, tenants),
            None => BTreeMap::new(),
        }
    }

    /// Whether anything waits in a queue.
    pub(super) fn waits_in(&self, queue: &str) -> bool {
        self.queues.contains_key(queue)
    }

    /// Runs that wait.
    pub(super) fn len(&self) -> usize {
        self.runs.len()
    }

    #[cfg(feature = "mutants")]
    pub(super) fn contains(&self, run: &RunKey, queue: &str) -> bool {
        self.runs.get(run).is_some_and(|queues| queues.contains(queue))
    }

    fn remove(&mut self, queue: &str, run: &RunKey, changes: &mut Changes) {
        let Some(backlog) = self.queues.get_mut(queue) else { return };
        backlog.remove(run);
        if backlog.tenants.is_empty() {
            self.queues.remove(queue);
            changes.ended.push(queue.to_owned());
        }
    }

    /// The newest run of the longest line goes, whoever came last.
    fn shorten(&mut self, changes: &mut Changes) {
        let lines = self.queues.values().flat_map(|backlog| backlog.tenants.values());
        let longest = lines.max_by_key(|line| line.steps.len());
        let newest = longest.and_then(|line| {
            line.turns.iter().rev().find(|run| line.steps.contains_key(*run)).cloned()
        });
        let Some(run) = newest else { return };
        self.left = true;
        for queue in self.runs.remove(&run).unwrap_or_default() {
            self.remove(&queue, &run, changes);
        }
    }
}

impl Backlog {
    fn set(&mut self, run: &RunKey, steps: usize) {
        let line = self.tenants.entry(run.tenant.clone()).or_insert_with(|| {
            self.turns.push_back(run.tenant.clone());
            Line::default()
        });
        if line.steps.insert(run.clone(), steps).is_none() {
            line.turns.push_back(run.clone());
        }
    }

    fn remove(&mut self, run: &RunKey) {
        let Some(line) = self.tenants.get_mut(&run.tenant) else { return };
        line.steps.remove(run);
        if line.turns.len() > 2 * line.steps.len() {
            line.turns.retain(|run| line.steps.contains_key(run));
        }
        if line.steps.is_empty() {
            self.tenants.remove(&run.tenant);
            self.turns.retain(|tenant| *tenant != run.tenant);
        }
    }

    fn take(&mut self, most: usize, tenants: Option<&BTreeSet<String>>) -> BTreeMap<RunKey, usize> {
        let mut taken = BTreeMap::new();
        let (mut left, mut passed) = (most, 0);
        while left > 0 && passed < self.turns.len() {
            let Some(tenant) = self.turns.pop_front() else { break };
            self.turns.push_back(tenant.clone());
            let may = tenants.is_none_or(|tenants| tenants.contains(&*tenant));
            let line = self.tenants.get_mut(&tenant).filter(|_| may);
            match line.and_then(Line::next) {
                Some(run) => {
                    *taken.entry(run).or_default() += 1;
                    (left, passed) = (left - 1, 0);
                }
                None => passed += 1,
            }
        }
        taken
    }
}

impl Line {
    /// The run whose turn it is, with one step fewer that waits. It stays listed: what is decided next for
    /// it says how many there are.
    fn next(&mut self) -> Option<RunKey> {
        for _ in 0..self.turns.len() {
            let run = self.turns.pop_front()?;
            let Some(steps) = self.steps.get_mut(&run) else { continue };
            self.turns.push_back(run.clone());
            if *steps > 0 {
                *steps -= 1;
                return Some(run);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(tenant: &str, id: &str) -> RunKey {
        RunKey::new(tenant, id)
    }

    fn of(queue: &str, steps: usize) -> BTreeMap<String, usize> {
        [(queue.to_owned(), steps)].into()
    }

    #[test]
    fn l46_tenants_take_turns_and_then_their_runs() {
        let mut queued = Queued::default();
        for number in 0..1000 {
            queued.set(&run("a", &format!("r{number:04}")), of("q", 100));
        }
        queued.set(&run("b", "only"), of("q", 3));
        let taken = queued.take("q", 4, None);
        let expected = [("a", "r0000", 1), ("a", "r0001", 1), ("b", "only", 2)];
        assert_eq!(taken, expected.map(|(tenant, id, n)| (run(tenant, id), n)).into());
        let taken = queued.take("q", 4, None);
        let expected = [("a", "r0002", 1), ("a", "r0003", 1), ("a", "r0004", 1), ("b", "only", 1)];
        assert_eq!(taken, expected.map(|(tenant, id, n)| (run(tenant, id), n)).into());
        let only_b = queued.take("q", 4, Some(&["b".to_owned()].into()));
        assert_eq!(only_b, [].into(), "all of it was taken");
    }

    #[test]
    fn a_run_keeps_its_place_and_leaves_when_nothing_of_it_waits() {
        let (mut queued, one, two) = (Queued::default(), run("t", "1"), run("t", "2"));
        assert_eq!(queued.set(&one, of("q", 1)).begun, ["q"]);
        assert_eq!(queued.set(&two, of("q", 1)), Changes::default());
        assert_eq!(queued.set(&one, of("q", 2)), Changes::default());
        assert_eq!(queued.take("q", 1, None), [(one.clone(), 1)].into());
        assert_eq!(queued.set(&one, of("p", 1)).begun, ["p"]);
        assert_eq!(queued.take("q", 9, None), [(two.clone(), 1)].into());
        assert_eq!(queued.set(&two, BTreeMap::new()).ended, ["q"]);
        assert!(!queued.waits_in("q") && queued.waits_in("p"));
        assert_eq!(queued.set(&one, BTreeMap::new()).ended, ["p"]);
        assert_eq!((queued.len(), queued.take("p", 9, None)), (0, BTreeMap::new()));
    }

    #[test]
    fn beyond_the_bound_the_longest_backlog_is_left_to_the_store() {
        let mut queued = Queued::default();
        for number in 0..limits::QUEUED_RUNS {
            queued.set(&run("a", &format!("r{number}")), of("q", 1));
        }
        assert!(!queued.left);
        queued.set(&run("b", "late"), of("q", 1));
        assert_eq!((queued.len(), queued.left), (limits::QUEUED_RUNS, true));
        let taken = queued.take("q", 2, None);
        assert_eq!(taken, [(run("a", "r0"), 1), (run("b", "late"), 1)].into());
    }
}
