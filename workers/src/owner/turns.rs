//! Runs that wait at one place. Each is listed once: a run that asked often must not hide the others. Tenants take
//! turns, so that the backlog of one is not waited for by another.

use spine_schemas::RunKey;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// By tenants in turn; of each in the order in which its runs asked first.
#[derive(Debug, Default)]
pub(super) struct Turns {
    turns: VecDeque<String>,
    queues: BTreeMap<String, VecDeque<RunKey>>,
    listed: BTreeSet<RunKey>,
    /// How many the queues hold, those included that were removed meanwhile.
    queued: usize,
}

impl Turns {
    pub(super) fn push(&mut self, key: &RunKey) {
        if !self.listed.insert(key.clone()) {
            return;
        }
        self.queued += 1;
        match self.queues.get_mut(&*key.tenant) {
            Some(queue) => queue.push_back(key.clone()),
            None => {
                self.queues.insert(key.tenant.to_string(), VecDeque::from([key.clone()]));
                self.turns.push_back(key.tenant.to_string());
            }
        }
    }

    /// The first so many.
    pub(super) fn take(&mut self, count: usize) -> Vec<RunKey> {
        self.take_of(count, |_| true)
    }

    /// The same of tenants that are let. Asked once for each run.
    pub(super) fn take_of(
        &mut self,
        count: usize,
        mut lets: impl FnMut(&str) -> bool,
    ) -> Vec<RunKey> {
        let (mut taken, mut skipped) = (Vec::new(), 0);
        while taken.len() < count
            && skipped < self.turns.len()
            && let Some(tenant) = self.turns.pop_front()
        {
            if lets(&tenant) {
                skipped = 0;
                taken.extend(self.first_of(&tenant));
            } else {
                skipped += 1;
            }
            if self.queues.contains_key(&tenant) {
                self.turns.push_back(tenant);
            }
        }
        taken
    }

    /// Whose runs wait.
    pub(super) fn tenants(&self) -> impl Iterator<Item = &str> {
        self.queues.keys().map(String::as_str)
    }

    /// The first of a tenant that was not removed meanwhile. A tenant without runs is forgotten.
    fn first_of(&mut self, tenant: &str) -> Option<RunKey> {
        let queue = self.queues.get_mut(tenant)?;
        let mut first = None;
        while first.is_none()
            && let Some(key) = queue.pop_front()
        {
            self.queued -= 1;
            first = self.listed.take(&key);
        }
        if queue.is_empty() {
            self.queues.remove(tenant);
        }
        first
    }

    /// A run asks no more.
    pub(super) fn remove(&mut self, key: &RunKey) {
        if self.listed.remove(key) && self.queued > 2 * self.listed.len() {
            let listed = &self.listed;
            self.queues.retain(|_, queue| {
                queue.retain(|key| listed.contains(key));
                !queue.is_empty()
            });
            let queues = &self.queues;
            self.turns.retain(|tenant| queues.contains_key(tenant));
            // One that was removed and asks again may be there twice.
            self.queued = queues.values().map(VecDeque::len).sum();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.listed.len()
    }

    #[cfg(feature = "mutants")]
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
        let mut turns = Turns::default();
        for key in [&one, &one, &two, &one] {
            turns.push(key);
        }
        assert_eq!(turns.take(1), std::slice::from_ref(&one));
        turns.push(&one);
        assert_eq!(turns.take(9), [two.clone(), one.clone()]);
        assert_eq!(turns.len(), 0);
        turns.push(&one);
        turns.push(&two);
        turns.remove(&one);
        assert_eq!(turns.len(), 1);
        turns.push(&one);
        assert_eq!(turns.take(9), [one, two], "each once");
    }

    #[test]
    fn l46_the_backlog_of_one_tenant_is_not_waited_for_by_another() {
        let mut turns = Turns::default();
        let many: Vec<RunKey> = (0..1000).map(|n| RunKey::new("a", &n.to_string())).collect();
        many.iter().for_each(|key| turns.push(key));
        assert_eq!(turns.take(2), many[..2]);
        let late = [RunKey::new("b", "0"), RunKey::new("b", "1")];
        late.iter().for_each(|key| turns.push(key));
        let taken = turns.take(3);
        assert_eq!(taken, [many[2].clone(), late[0].clone(), many[3].clone()]);
        turns.remove(&late[1]);
        assert_eq!(turns.take_of(2, |tenant| tenant != "a"), []);
        assert_eq!(turns.take(2), many[4..6]);
        many.iter().for_each(|key| turns.remove(key));
        assert_eq!((turns.len(), turns.take(9)), (0, Vec::new()));
        turns.push(&late[1]);
        assert_eq!(turns.take(9), [late[1].clone()]);
    }
}
