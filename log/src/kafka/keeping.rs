//! Offsets that somebody wants kept: who asked is told once the group's coordinator has them.
//!
//! The member's thread sends them; what is noted for lag tools alone nobody waits for (`member`).

use super::lock;
use crate::{Error, Result};
use std::{collections::BTreeMap, sync::Mutex};
use tokio::sync::oneshot;

/// What is wanted, and not kept yet.
#[derive(Default)]
pub(super) struct Keeping(Mutex<Vec<Wanted>>);

struct Wanted {
    partition: u32,
    next: u64,
    is_sent: bool,
    done: oneshot::Sender<Result<()>>,
}

impl Keeping {
    /// Wants an offset kept.
    pub(super) fn ask(&self, partition: u32, next: u64) -> oneshot::Receiver<Result<()>> {
        let (done, told) = oneshot::channel();
        lock(&self.0).push(Wanted { partition, next, is_sent: false, done });
        told
    }

    /// What was asked since this was called last, of each partition the furthest.
    pub(super) fn take_new(&self) -> BTreeMap<u32, u64> {
        let mut new = BTreeMap::new();
        for wanted in lock(&self.0).iter_mut().filter(|wanted| !wanted.is_sent) {
            wanted.is_sent = true;
            let next: &mut u64 = new.entry(wanted.partition).or_default();
            *next = wanted.next.max(*next);
        }
        new
    }

    /// A commit of a partition up to an offset has ended.
    pub(super) fn ended(&self, partition: u32, next: u64, outcome: &Result<()>) {
        self.tell(outcome, |wanted| {
            wanted.is_sent && wanted.partition == partition && wanted.next <= next
        });
    }

    /// A partition has gone to another member.
    pub(super) fn lost(&self, partition: u32) {
        let gone =
            Error::Missing(format!("partition {partition} in the assignment of this member"));
        self.tell(&Err(gone), |wanted| wanted.partition == partition);
    }

    fn tell(&self, outcome: &Result<()>, which: impl Fn(&Wanted) -> bool) {
        let mut all = lock(&self.0);
        for wanted in all.extract_if(.., |wanted| which(wanted)) {
            // Who asked may have waited long enough.
            let _ = wanted.done.send(outcome.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_is_told_of_the_commit_that_covers_it_and_of_no_earlier_one() {
        let keeping = Keeping::default();
        let mut first = keeping.ask(0, 5);
        assert_eq!(keeping.take_new(), BTreeMap::from([(0, 5)]));
        let (mut second, mut other) = (keeping.ask(0, 9), keeping.ask(1, 2));
        keeping.ended(0, 9, &Ok(()));
        assert_eq!(first.try_recv().unwrap(), Ok(()));
        assert!(second.try_recv().is_err(), "it was not sent then");
        assert_eq!(keeping.take_new(), BTreeMap::from([(0, 9), (1, 2)]));
        keeping.ended(0, 7, &Ok(()));
        assert!(second.try_recv().is_err(), "it is further");
        let refused = Err(Error::Unavailable("a rebalance".into()));
        keeping.ended(0, 9, &refused);
        assert_eq!(second.try_recv().unwrap(), refused);
        keeping.lost(1);
        assert!(matches!(other.try_recv().unwrap(), Err(Error::Missing(_))));
        assert_eq!(keeping.take_new(), BTreeMap::new());
    }
}
