//! When something is wrong with a partition, from what was seen of it and when. It only compares: time comes in,
//! what to look into goes out.

use crate::limits;
use spine_schemas::time::Micros;

/// What one look found. `None` where nobody answered: then what was seen last still counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Look {
    /// Where the partition ends.
    pub(super) end: Option<u64>,
    /// The first offset that the store lacks.
    pub(super) next: Option<u64>,
}

/// What follows from a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// Nothing.
    Nothing,
    /// For too long the store has stood before what lies between two offsets. That is an alarm if it is records:
    /// Kafka keeps marks of its own at some.
    Behind { from: u64, end: u64, since: Micros },
    /// The store has it all, and for too long nothing came. That is an alarm if a run should have gone on.
    Quiet { next: u64, since: Micros },
    /// The store has moved, which ends the alarm.
    Over { since: Micros },
}

/// A partition as the looks have shown it.
#[derive(Debug, Default)]
pub(super) struct Standing {
    end: u64,
    /// `None` before the store has answered once.
    halt: Option<Halt>,
}

/// The store at one offset, and how long it has been there.
#[derive(Debug)]
struct Halt {
    next: u64,
    since: Micros,
    /// No record lies below this.
    none_below: u64,
    /// Since when something lies beyond.
    behind_since: Option<Micros>,
    /// When runs were last asked for that should have gone on.
    asked_at: Option<Micros>,
    alarm: Option<Micros>,
}

impl Standing {
    /// Takes a look; `after_ms` is how long it may take until something moves.
    pub(super) fn see(&mut self, look: Look, after_ms: u64, now: Micros) -> Finding {
        self.end = look.end.unwrap_or(self.end);
        let stood = self.halt.as_ref().map(|halt| halt.next);
        if let Some(next) = look.next.filter(|next| Some(*next) != stood) {
            let before = self.halt.replace(Halt::at(next, self.end, now));
            if let Some(since) = before.and_then(|halt| halt.alarm) {
                return Finding::Over { since };
            }
        }
        let end = self.end;
        self.halt.as_mut().map_or(Finding::Nothing, |halt| halt.see(end, after_ms, now))
    }

    /// What the store stood before was nothing of its concern.
    pub(super) fn none_below(&mut self, offset: u64) {
        if let Some(halt) = &mut self.halt {
            halt.none_below = offset;
            halt.behind_since = None;
        }
    }

    /// It is an alarm, until the store moves.
    pub(super) fn alarm(&mut self, since: Micros) {
        if let Some(halt) = &mut self.halt {
            halt.alarm = Some(since);
        }
    }

    /// Whether there is an alarm.
    pub(super) fn is_alarmed(&self) -> bool {
        self.halt.as_ref().is_some_and(|halt| halt.alarm.is_some())
    }
}

impl Halt {
    fn at(next: u64, end: u64, now: Micros) -> Self {
        Self {
            next,
            since: now,
            none_below: next,
            behind_since: (next < end).then_some(now),
            asked_at: None,
            alarm: None,
        }
    }

    fn see(&mut self, end: u64, after_ms: u64, now: Micros) -> Finding {
        let is_behind = self.none_below < end;
        self.behind_since = is_behind.then(|| self.behind_since.unwrap_or(now));
        if self.alarm.is_some() {
            return Finding::Nothing;
        }
        if let Some(since) = self.behind_since {
            return match now.ms_since(since) >= after_ms {
                true => Finding::Behind { from: self.none_below, end, since },
                false => Finding::Nothing,
            };
        }
        let pause_ms = after_ms / u64::from(limits::WATCH_PARTS);
        let may_ask = self.asked_at.is_none_or(|asked| now.ms_since(asked) >= pause_ms);
        if now.ms_since(self.since) < after_ms || !may_ask {
            return Finding::Nothing;
        }
        self.asked_at = Some(now);
        Finding::Quiet { next: self.next, since: self.since }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER_MS: u64 = 1000;

    fn at(ms: u64) -> Micros {
        Micros(1_700_000_000_000_000).plus_ms(ms)
    }

    fn see(standing: &mut Standing, end: u64, next: u64, ms: u64) -> Finding {
        let look = Look { end: Some(end), next: Some(next) };
        standing.see(look, AFTER_MS, at(ms))
    }

    fn behind(from: u64, end: u64, since_ms: u64) -> Finding {
        Finding::Behind { from, end, since: at(since_ms) }
    }

    #[test]
    fn f32_records_that_nobody_takes_are_an_alarm_once_and_until_the_store_moves() {
        let mut standing = Standing::default();
        assert_eq!(see(&mut standing, 7, 7, 0), Finding::Nothing);
        assert_eq!(see(&mut standing, 9, 7, 500), Finding::Nothing);
        // The time counts from when they were there, and further ones do not begin it anew.
        assert_eq!(see(&mut standing, 12, 7, 1499), Finding::Nothing);
        assert_eq!(see(&mut standing, 12, 7, 1500), behind(7, 12, 500));
        assert!(!standing.is_alarmed(), "it is looked into first");
        standing.alarm(at(500));
        assert_eq!(see(&mut standing, 15, 7, 9000), Finding::Nothing);
        assert!(standing.is_alarmed());
        assert_eq!(see(&mut standing, 15, 8, 9500), Finding::Over { since: at(500) });
        assert!(!standing.is_alarmed());
        assert_eq!(see(&mut standing, 15, 8, 10_499), Finding::Nothing);
        assert_eq!(see(&mut standing, 15, 8, 10_500), behind(8, 15, 9500));
    }

    #[test]
    fn a_store_that_moves_is_no_alarm_however_far_it_is_behind() {
        let mut standing = Standing::default();
        for ms in 0..100 {
            assert_eq!(see(&mut standing, 1_000_000, ms, ms * 900), Finding::Nothing);
        }
        // Also one that was made anew.
        assert_eq!(see(&mut standing, 1_000_000, 0, 90_500), Finding::Nothing);
        assert_eq!(see(&mut standing, 1_000_000, 0, 91_499), Finding::Nothing);
    }

    #[test]
    fn marks_of_the_log_are_no_records_and_what_comes_behind_them_counts_from_then() {
        let mut standing = Standing::default();
        assert_eq!(see(&mut standing, 9, 8, 0), Finding::Nothing);
        assert_eq!(see(&mut standing, 9, 8, 1000), behind(8, 9, 0));
        standing.none_below(9);
        let quiet = Finding::Quiet { next: 8, since: at(0) };
        assert_eq!(see(&mut standing, 9, 8, 1100), quiet);
        assert_eq!(see(&mut standing, 11, 8, 5000), Finding::Nothing);
        assert_eq!(see(&mut standing, 11, 8, 6000), behind(9, 11, 5000));
    }

    #[test]
    fn a_quiet_partition_is_asked_for_runs_now_and_then() {
        let mut standing = Standing::default();
        let quiet = Finding::Quiet { next: 7, since: at(0) };
        let asked = (0..40).filter(|tick| see(&mut standing, 7, 7, tick * 100) == quiet);
        assert_eq!(asked.collect::<Vec<_>>(), [10, 13, 16, 19, 22, 25, 28, 31, 34, 37]);
        standing.alarm(at(0));
        assert_eq!(see(&mut standing, 7, 7, 9000), Finding::Nothing, "once");
        assert_eq!(see(&mut standing, 8, 8, 9100), Finding::Over { since: at(0) });
    }

    #[test]
    fn who_does_not_answer_stands_where_it_stood_and_says_nothing_before_it_answered_once() {
        let mut standing = Standing::default();
        let end = |end| Look { end: Some(end), next: None };
        assert_eq!(standing.see(end(5), AFTER_MS, at(0)), Finding::Nothing);
        assert_eq!(standing.see(end(5), AFTER_MS, at(9000)), Finding::Nothing);
        assert_eq!(see(&mut standing, 5, 5, 10_000), Finding::Nothing);
        assert_eq!(standing.see(end(6), AFTER_MS, at(11_000)), Finding::Nothing);
        assert_eq!(standing.see(Look::default(), AFTER_MS, at(11_500)), Finding::Nothing);
        assert_eq!(standing.see(end(6), AFTER_MS, at(12_000)), behind(5, 6, 11_000));
        standing.alarm(at(11_000));
        assert_eq!(standing.see(Look::default(), AFTER_MS, at(13_000)), Finding::Nothing);
        assert!(standing.is_alarmed(), "no answer is no good news");
    }
}
