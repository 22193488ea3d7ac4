//! The circuit breaker of one tool, as one process knows it: whether calls may begin, and how many.
//!
//! Pure: times and ends of calls come in as values. A breaker decides only *when* something is tried; that
//! processes see different things for a moment costs a few calls and no promise. What they tell each other
//! is in `spine_schemas::control`; which steps wait for it is up to the owner.

use spine_schemas::{
    HeldBy,
    control::{BreakerState, Forced},
    mutants::{Mutant, planted},
    time::Micros,
};
use std::collections::VecDeque;

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Failures in a row that open it. With 0 none opens by itself; what tools and operators ask for is kept to
    /// all the same.
    pub failures: u32,
    /// The part of the calls of [`WINDOW_MS`] that opens it when so much of them failed, in percent, once there were
    /// [`WINDOW_LEAST`].
    pub percent: u32,
    /// How long it stays open at first; twice as long after each probe that fails. As long a call is waited
    /// for that tries the tool, before another one may.
    pub open_ms: u64,
    /// The longest that it stays open.
    pub most_open_ms: u64,
}

/// The time that the failure rate is of.
pub const WINDOW_MS: u64 = 30_000;
/// Calls below which a rate means nothing.
pub const WINDOW_LEAST: usize = 20;
/// Calls that are remembered.
pub const WINDOW_MOST: usize = 200;
/// Successes after which a tool that came back counts as healthy.
pub const RECOVERED: u32 = 50;
/// The pause after a tool asked for one and did not say how long; doubles, [`LIMIT_DOUBLINGS`] times at most.
pub const LIMIT_MS: u64 = 1000;
/// See [`LIMIT_MS`].
pub const LIMIT_DOUBLINGS: u32 = 6;

/// What the end of a call says about its tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It works: a success, or an answer that blames the caller.
    Works,
    /// It does not.
    Fails,
    /// It asks for a pause, in milliseconds if it says how long.
    AsksForPause(Option<u64>),
    /// Nothing.
    None,
}

/// What others must hear of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The breaker is in another state, until a time, and why.
    Breaker(BreakerState, Option<Micros>, String),
    /// The tool is not called until a time.
    Limit(Micros),
}

/// How many calls may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Starts {
    /// As many as there are slots for.
    Free,
    /// So many; more at a later time at the earliest.
    Only(u32, HeldBy, Micros),
}

/// A circuit breaker.
#[derive(Clone, Debug, Default)]
pub struct Breaker {
    phase: Phase,
    /// Counts the phases: the end of a call that began in an earlier one says nothing about this one.
    epoch: u64,
    fails_in_row: u32,
    recent: VecDeque<(Micros, bool)>,
    /// How often it opened since the tool was healthy.
    openings: u32,
    limited_until: Option<Micros>,
    /// How often in a row the tool asked for a pause.
    pauses: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Closed,
    Open {
        until: Micros,
    },
    /// A call tries whether the tool is back: ours, or that of another process.
    HalfOpen {
        until: Micros,
    },
    /// The tool is back, and calls begin in growing waves.
    Recovering {
        left: u32,
        good: u32,
        bad: u32,
        /// When one more may begin, should nothing be heard of those before.
        idle_until: Micros,
    },
    ForcedOpen,
    ForcedClosed,
}

impl Breaker {
    /// Whether it knows nothing any more that a new one would not know.
    pub fn is_new(&self, now: Micros) -> bool {
        let is_old = |at: &Micros| now.ms_since(*at) > WINDOW_MS;
        self.phase == Phase::Closed
            && self.limited_until.is_none_or(|until| until <= now)
            && self.recent.iter().all(|(at, works)| *works || is_old(at))
    }

    /// Whether an operator set it.
    pub fn is_forced(&self) -> bool {
        matches!(self.phase, Phase::ForcedOpen | Phase::ForcedClosed)
    }

    /// The number of its phase; see [`Breaker::ended`].
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// How many calls may begin now.
    pub fn starts(&self, now: Micros) -> Starts {
        if self.phase == Phase::ForcedClosed {
            return Starts::Free;
        }
        if let Some(until) = self.limited_until.filter(|until| *until > now) {
            return Starts::Only(0, HeldBy::RateLimit, until);
        }
        match self.phase {
            Phase::Closed | Phase::ForcedClosed => Starts::Free,
            Phase::Open { until } | Phase::HalfOpen { until } => {
                Starts::Only(u32::from(until <= now), HeldBy::Breaker, until)
            }
            Phase::Recovering { left, idle_until, .. } => {
                let idle = u32::from(left == 0 && idle_until <= now);
                let by = if self.pauses > 0 { HeldBy::RateLimit } else { HeldBy::Breaker };
                Starts::Only(left.max(idle), by, idle_until)
            }
            // Only a person can end that.
            Phase::ForcedOpen => Starts::Only(0, HeldBy::ToolPaused, now),
        }
    }

    /// Whether calls may be under way that were let through one by one.
    pub fn is_tried(&self, now: Micros) -> bool {
        let is_limited = self.limited_until.is_some_and(|until| until > now);
        !is_limited && matches!(self.phase, Phase::HalfOpen { .. } | Phase::Recovering { .. })
    }

    /// When [`Breaker::starts`] says something else although nothing was heard.
    pub fn changes_at(&self, now: Micros) -> Option<Micros> {
        let phase = match self.phase {
            Phase::Open { until } | Phase::HalfOpen { until } => Some(until),
            Phase::Recovering { idle_until, .. } => Some(idle_until),
            Phase::Closed | Phase::ForcedOpen | Phase::ForcedClosed => None,
        };
        [phase, self.limited_until].into_iter().flatten().filter(|at| *at > now).min()
    }

    /// Calls are about to begin, as many as [`Breaker::starts`] allowed.
    pub fn begin(&mut self, count: u32, rules: &Rules, now: Micros) -> Option<Turn> {
        let probe = now.plus_ms(rules.open_ms);
        let tell = || {
            let why = "a call tries whether the tool is back".to_owned();
            Some(Turn::Breaker(BreakerState::HalfOpen, Some(probe), why))
        };
        match &mut self.phase {
            // It may have opened again since it was asked how many may begin.
            Phase::Open { until } if count > 0 && *until <= now => {
                self.enter(Phase::HalfOpen { until: probe });
                tell()
            }
            // The calls before may take long: their ends count as much as that of this one.
            Phase::HalfOpen { until } if count > 0 => {
                *until = probe;
                tell()
            }
            Phase::Recovering { left, idle_until, .. } if count > 0 => {
                *left = left.saturating_sub(count);
                *idle_until = probe;
                None
            }
            Phase::Closed
            | Phase::Open { .. }
            | Phase::HalfOpen { .. }
            | Phase::Recovering { .. }
            | Phase::ForcedOpen
            | Phase::ForcedClosed => None,
        }
    }

    /// A call has ended that began in the phase with the number `epoch`. Says whether a failure is free of
    /// charge, since the tool was known to be down, and what others must hear of.
    pub fn ended(
        &mut self,
        epoch: u64,
        sign: Sign,
        rules: &Rules,
        now: Micros,
    ) -> (bool, Option<Turn>) {
        let is_current = epoch == self.epoch;
        match sign {
            Sign::None => (false, None),
            Sign::Works if is_current => (false, self.works(rules, now)),
            Sign::Works => (false, None),
            Sign::AsksForPause(ms) => (false, self.pause(ms, rules, now)),
            Sign::Fails if !is_current => (rules.failures > 0 && !self.is_closed(), None),
            Sign::Fails => self.fails(rules, now),
        }
    }

    /// Another process says that the tool asked for a pause.
    pub fn hear_limit(&mut self, until: Micros, rules: &Rules, now: Micros) {
        if until > now {
            self.limit(until, rules, now);
        }
    }

    /// An operator says what it is.
    pub fn force(&mut self, to: Forced, rules: &Rules, now: Micros) {
        match to {
            Forced::Open => self.enter(Phase::ForcedOpen),
            Forced::Closed => self.enter(Phase::ForcedClosed),
            Forced::Auto if !self.is_forced() => {}
            Forced::Auto if rules.failures == 0 => self.enter(Phase::Closed),
            Forced::Auto => self.recover(rules, now),
        }
    }

    /// Another process says in which state its breaker is.
    pub fn hear(&mut self, state: BreakerState, until: Option<Micros>, rules: &Rules, now: Micros) {
        // An operator has the last word, and who has no breakers hears of none.
        if self.is_forced() || rules.failures == 0 {
            return;
        }
        let until = until.unwrap_or(now);
        match (state, &mut self.phase) {
            (BreakerState::Open, _) => self.enter(Phase::Open { until }),
            (BreakerState::HalfOpen, Phase::HalfOpen { until: before }) => {
                *before = until.max(*before);
            }
            (BreakerState::HalfOpen, Phase::Open { .. }) => self.enter(Phase::HalfOpen { until }),
            (BreakerState::Closed, Phase::Open { .. } | Phase::HalfOpen { .. }) => {
                self.recover(rules, now);
            }
            (BreakerState::HalfOpen | BreakerState::Closed, _) => {}
        }
    }

    fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed | Phase::ForcedClosed)
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        self.epoch += 1;
        self.fails_in_row = 0;
        self.recent.clear();
    }

    fn recover(&mut self, rules: &Rules, now: Micros) {
        let idle_until = now.plus_ms(rules.open_ms);
        self.enter(Phase::Recovering { left: 2, good: 0, bad: 0, idle_until });
    }

    fn works(&mut self, rules: &Rules, now: Micros) -> Option<Turn> {
        self.fails_in_row = 0;
        match &mut self.phase {
            Phase::Closed => {
                self.note(true, now);
                None
            }
            Phase::HalfOpen { .. } => {
                self.recover(rules, now);
                Some(Turn::Breaker(BreakerState::Closed, None, "a probe succeeded".into()))
            }
            Phase::Recovering { left, good, .. } => {
                *good += 1;
                // Two for each that came back well: every wave is twice as large as the one before.
                *left += 2;
                if *good >= RECOVERED {
                    (self.openings, self.pauses) = (0, 0);
                    self.enter(Phase::Closed);
                }
                None
            }
            Phase::Open { .. } | Phase::ForcedOpen | Phase::ForcedClosed => None,
        }
    }

    fn fails(&mut self, rules: &Rules, now: Micros) -> (bool, Option<Turn>) {
        match &mut self.phase {
            Phase::Recovering { .. } if rules.failures == 0 => (false, None),
            Phase::Closed => {
                self.fails_in_row += 1;
                self.note(false, now);
                let why = self.why_open(rules);
                (false, why.map(|why| self.open(why, rules, now)))
            }
            Phase::HalfOpen { .. } => (true, Some(self.open("a probe failed".into(), rules, now))),
            Phase::Recovering { good, bad, .. } => {
                *bad += 1;
                // About as many as open it; one that fails among the first is bad luck.
                let relapsed = *bad * 2 > *good + 2 && !planted(Mutant::WaveIgnoresRelapse);
                let why = || "it failed again while it recovered".to_owned();
                (true, relapsed.then(|| self.open(why(), rules, now)))
            }
            Phase::Open { .. } | Phase::ForcedOpen => (true, None),
            Phase::ForcedClosed => (false, None),
        }
    }

    fn note(&mut self, works: bool, now: Micros) {
        self.recent.push_back((now, works));
        while self.recent.len() > WINDOW_MOST
            || self.recent.front().is_some_and(|(at, _)| now.ms_since(*at) > WINDOW_MS)
        {
            self.recent.pop_front();
        }
    }

    fn why_open(&self, rules: &Rules) -> Option<String> {
        if rules.failures == 0 {
            return None;
        }
        if self.fails_in_row >= rules.failures {
            return Some(format!("{} calls in a row failed", self.fails_in_row));
        }
        let failed = self.recent.iter().filter(|(_, works)| !works).count();
        let (all, percent) = (self.recent.len(), rules.percent as usize);
        let is_rate = all >= WINDOW_LEAST && failed * 100 >= all * percent;
        is_rate.then(|| format!("{failed} of the newest {all} calls failed"))
    }

    fn open(&mut self, why: String, rules: &Rules, now: Micros) -> Turn {
        let doubled = rules.open_ms.saturating_mul(1 << self.openings.min(20));
        let until = now.plus_ms(doubled.min(rules.most_open_ms));
        self.openings = self.openings.saturating_add(1);
        self.pauses = 0;
        self.enter(Phase::Open { until });
        Turn::Breaker(BreakerState::Open, Some(until), why)
    }

    /// The tool asks for a pause: it is there, and has enough.
    fn pause(&mut self, ms: Option<u64>, rules: &Rules, now: Micros) -> Option<Turn> {
        if self.phase == Phase::ForcedClosed {
            return None;
        }
        let is_limited = self.limited_until.is_some_and(|until| until > now);
        let ms = match ms {
            Some(ms) => ms,
            // Those that were under way tell nothing new.
            None if is_limited => return None,
            None => LIMIT_MS << self.pauses.min(LIMIT_DOUBLINGS),
        };
        let until = now.plus_ms(ms);
        // Calls that were under way together say nearly the same.
        if self.limited_until.is_some_and(|before| before.plus_ms(LIMIT_MS) > until) {
            return None;
        }
        self.pauses += u32::from(!is_limited);
        self.limit(until, rules, now);
        Some(Turn::Limit(until))
    }

    fn limit(&mut self, until: Micros, rules: &Rules, now: Micros) {
        self.limited_until = self.limited_until.max(Some(until));
        self.pauses = self.pauses.max(1);
        match self.phase {
            Phase::Closed | Phase::HalfOpen { .. } | Phase::Recovering { .. } => {
                self.recover(rules, now);
                if let Phase::Recovering { idle_until, .. } = &mut self.phase {
                    *idle_until = until.plus_ms(rules.open_ms);
                }
            }
            Phase::Open { .. } | Phase::ForcedOpen | Phase::ForcedClosed => {}
        }
    }
}
