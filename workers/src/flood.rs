//! How many bad records are too many: a limit on setting records aside, so that a producer gone wrong
//! stops one partition with an alarm and does not fill the dead-letter topic.
//!
//! It counts what this owner saw. A restart begins anew, as a resume does: what is in the log by then
//! was decided, and a limit that is kept over restarts would need a record of its own.

use crate::limits;
use std::collections::VecDeque;

/// The newest records, as good or bad.
#[derive(Debug, Default)]
pub(crate) struct Flood {
    /// Whether each of the newest [`limits::BAD_WINDOW`] records was bad, oldest first.
    window: VecDeque<bool>,
    bad: usize,
    /// Bad ones since the last good one.
    in_a_row: usize,
}

impl Flood {
    /// Notes a record that was folded or set aside.
    pub(crate) fn note(&mut self, is_bad: bool) {
        self.window.push_back(is_bad);
        self.bad += usize::from(is_bad);
        self.in_a_row = if is_bad { self.in_a_row + 1 } else { 0 };
        if self.window.len() > limits::BAD_WINDOW {
            self.bad -= usize::from(self.window.pop_front() == Some(true));
        }
    }

    /// Whether one more bad record is too many; then, how many there were.
    pub(crate) fn is_full(&self) -> Option<usize> {
        if self.in_a_row >= limits::BAD_RUN {
            return Some(self.in_a_row);
        }
        let seen = self.window.len();
        let share_is_over = (self.bad + 1) * 100 > (seen + 1) * limits::BAD_PERCENT;
        (seen >= limits::BAD_LEAST && share_is_over).then_some(self.bad)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_and_a_share_of_bad_records_are_too_many() {
        // Good records, bad ones after each of them, rounds; then whether one more bad one stops.
        let cases = [
            ("the first record", 0, 0, 1, None),
            ("few records say nothing of the share", 1, 1, 400, None),
            ("the share counts from 1,000 on", 1, 1, 500, Some(500)),
            ("9 in 100 pass", 91, 9, 100, None),
            ("11 in 100 do not", 89, 11, 100, Some(1100)),
            ("one short of the run", 9000, 998, 1, None),
            ("a whole run", 9000, 1000, 1, Some(1000)),
            ("all bad from the beginning", 0, 999, 1, None),
        ];
        for (name, good, bad, rounds, expected) in cases {
            let mut flood = Flood::default();
            for _ in 0..rounds {
                (0..good).for_each(|_| flood.note(false));
                (0..bad).for_each(|_| flood.note(true));
            }
            assert_eq!(flood.is_full(), expected, "{name}");
        }
    }

    #[test]
    fn what_is_older_than_the_window_is_forgotten() {
        let mut flood = Flood::default();
        (0..900).for_each(|_| flood.note(true));
        (0..limits::BAD_WINDOW).for_each(|_| flood.note(false));
        assert_eq!((flood.bad, flood.window.len()), (0, limits::BAD_WINDOW));
    }
}
