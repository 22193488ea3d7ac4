//! The newest verdicts of one partition, by offset.

use crate::limits;
use spine_runs::{Answer, Verdict};
use std::collections::VecDeque;

#[derive(Debug, Default)]
pub(super) struct Recent {
    verdicts: VecDeque<(u64, Verdict)>,
    /// Verdicts at and below this offset may have been dropped, or were never known here.
    forgotten: Option<u64>,
}

impl Recent {
    /// The verdict at an offset that was folded; `None` if it is not known any more.
    pub(super) fn verdict_at(&self, offset: u64) -> Option<Verdict> {
        match self.verdicts.binary_search_by_key(&offset, |(at, _)| *at) {
            Ok(index) => Some(self.verdicts[index].1.clone()),
            Err(_) if self.forgotten >= Some(offset) => None,
            Err(_) => Some(Verdict::Applied(Answer::Ok)),
        }
    }

    /// Some offsets up to here were folded elsewhere, so that nothing is known of their verdicts.
    pub(super) fn forget_up_to(&mut self, offset: u64) {
        self.verdicts.retain(|(at, _)| *at > offset);
        self.forgotten = self.forgotten.max(Some(offset));
    }

    pub(super) fn note(&mut self, offset: u64, verdict: Verdict) {
        // A new owner may fold offsets again that an earlier one has told already.
        if self.verdicts.back().is_some_and(|(newest, _)| *newest >= offset) {
            return;
        }
        self.verdicts.push_back((offset, verdict));
        if self.verdicts.len() > limits::VERDICTS {
            self.forgotten = self.forgotten.max(self.verdicts.pop_front().map(|(at, _)| at));
        }
    }
}
