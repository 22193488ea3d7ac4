//! Offsets that somebody wants kept: who asked is told once the group's coordinator has them.
//!
//! The member's thread commits them; what is noted for lag tools alone nobody waits for (`member`).

use super::lock;
use crate::{Error, Result};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Mutex,
};
use tokio::sync::oneshot;

/// What is wanted, and not committed yet.
#[derive(Default)]
pub(super) struct Keeping(Mutex<Vec<Wanted>>);

struct Wanted {
    partition: u32,
    next: u64,
    done: oneshot::Sender<Result<()>>,
}

impl Keeping {
    /// Wants an offset kept.
    pub(super) fn ask(&self, partition: u32, next: u64) -> oneshot::Receiver<Result<()>> {
        let (done, told) = oneshot::channel();
        lock(&self.0).push(Wanted { partition, next, done });
        told
    }

    /// Commits what is wanted of the partitions that are held, of each the furthest, and tells who asked.
    pub(super) fn settle(
        &self,
        held: &BTreeSet<u32>,
        commit: impl FnOnce(&BTreeMap<u32, u64>) -> Result<()>,
    ) {
        let all = std::mem::take(&mut *lock(&self.0));
        if all.is_empty() {
            return;
        }
        let (ours, gone): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|wanted| held.contains(&wanted.partition));
        let mut offsets = BTreeMap::new();
        for wanted in &ours {
            let next: &mut u64 = offsets.entry(wanted.partition).or_default();
            *next = wanted.next.max(*next);
        }
        let outcome = commit(&offsets);
        // Whoever asked may have waited long enough.
        for wanted in ours {
            let _ = wanted.done.send(outcome.clone());
        }
        for Wanted { partition, done, .. } in gone {
            let what = format!("partition {partition} in the assignment of this member");
            let _ = done.send(Err(Error::Missing(what)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_is_told_what_became_of_the_commit_and_nothing_is_committed_of_others() {
        let keeping = Keeping::default();
        let held = BTreeSet::from([0]);
        let asked = [(0, 9), (0, 5), (1, 2)];
        let [mut first, mut second, mut gone] = asked.map(|(of, next)| keeping.ask(of, next));
        keeping.settle(&held, |offsets| {
            assert_eq!(*offsets, BTreeMap::from([(0, 9)]));
            Ok(())
        });
        assert_eq!((first.try_recv().unwrap(), second.try_recv().unwrap()), (Ok(()), Ok(())));
        assert!(matches!(gone.try_recv().unwrap(), Err(Error::Missing(_))));
        keeping.settle(&held, |_| unreachable!("nobody asks"));
        let mut third = keeping.ask(0, 10);
        keeping.settle(&held, |_| Err(Error::Unavailable("a rebalance".into())));
        assert!(third.try_recv().unwrap().is_err());
    }
}
