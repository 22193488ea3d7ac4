//! Runs that found no slot for a start. Each is listed once: a run that asked often must not hide the others.

use spine_schemas::RunKey;
use std::collections::{BTreeSet, VecDeque};

/// In the order in which they asked first.
#[derive(Debug, Default)]
pub(super) struct Starved {
    queue: VecDeque<RunKey>,
    listed: BTreeSet<RunKey>,
}

impl Starved {
    pub(super) fn push(&mut self, key: &RunKey) {
        if self.listed.insert(key.clone()) {
            self.queue.push_back(key.clone());
        }
    }

    /// The first so many.
    pub(super) fn take(&mut self, count: usize) -> Vec<RunKey> {
        let mut taken = Vec::new();
        while taken.len() < count
            && let Some(key) = self.queue.pop_front()
        {
            // One that was removed meanwhile is passed over.
            if self.listed.remove(&key) {
                taken.push(key);
            }
        }
        taken
    }

    /// A run asks no more.
    pub(super) fn remove(&mut self, key: &RunKey) {
        if self.listed.remove(key) && self.queue.len() > 2 * self.listed.len() {
            self.queue.retain(|key| self.listed.contains(key));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.listed.len()
    }

    pub(super) fn contains(&self, key: &RunKey) -> bool {
        self.listed.contains(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_often_is_listed_once_and_may_ask_again() {
        let [one, two] = ["one", "two"].map(|id| RunKey::new("default", id));
        let mut starved = Starved::default();
        for key in [&one, &one, &two, &one] {
            starved.push(key);
        }
        assert_eq!(starved.take(1), std::slice::from_ref(&one));
        starved.push(&one);
        assert_eq!(starved.take(9), [two.clone(), one.clone()]);
        assert_eq!(starved.len(), 0);
        starved.push(&one);
        starved.push(&two);
        starved.remove(&one);
        assert_eq!(starved.len(), 1);
        starved.push(&one);
        assert_eq!(starved.take(9), [one, two], "each once");
    }
}
