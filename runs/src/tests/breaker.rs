//! Circuit breakers: when they open, how they are probed, how calls begin again, and what is free.

use crate::breaker::{Breaker, LIMIT_MS, RECOVERED, Rules, Sign, Starts, Turn};
use spine_schemas::{
    HeldBy,
    control::{BreakerState, Forced},
    time::Micros,
};

const NOW: Micros = Micros(1_000_000_000_000);
const RULES: Rules = Rules { failures: 5, percent: 50, open_ms: 5000, most_open_ms: 60_000 };

/// A call that ends as it does, in the present phase; whether it was free, and what others hear.
fn ended(breaker: &mut Breaker, sign: Sign, now: Micros) -> (bool, Option<Turn>) {
    breaker.ended(breaker.epoch(), sign, &RULES, now)
}

fn opened(breaker: &mut Breaker, now: Micros) -> Micros {
    for _ in 0..RULES.failures - 1 {
        assert_eq!(ended(breaker, Sign::Fails, now), (false, None));
    }
    let (free, turn) = ended(breaker, Sign::Fails, now);
    assert!(!free, "what opens it is charged");
    let Some(Turn::Breaker(BreakerState::Open, Some(until), _)) = turn else {
        panic!("it did not open: {turn:?}")
    };
    until
}

/// Takes what is allowed; how many that were.
fn take(breaker: &mut Breaker, now: Micros) -> u32 {
    let Starts::Only(count, ..) = breaker.starts(now) else { panic!("as many as one likes") };
    breaker.begin(count, &RULES, now);
    count
}

#[test]
fn c3_five_failures_in_a_row_open_it_and_a_success_between_does_not() {
    let mut breaker = Breaker::default();
    for number in 0..50 {
        let sign = if number % 5 == 4 { Sign::Works } else { Sign::Fails };
        // So far apart that they make no rate.
        let at = NOW.plus_ms(number * 3000);
        assert_eq!(ended(&mut breaker, sign, at), (false, None), "call {number}");
    }
    let until = opened(&mut Breaker::default(), NOW);
    assert_eq!(until, NOW.plus_ms(5000));
}

#[test]
fn a_rate_of_failures_opens_it_too_and_old_calls_do_not_count() {
    let mut breaker = Breaker::default();
    let mut turn = None;
    for number in 0..20 {
        let sign = if number % 2 == 0 { Sign::Fails } else { Sign::Works };
        assert_eq!(turn, None, "opened by {number} calls");
        turn = ended(&mut breaker, sign, NOW).1;
    }
    // The twentieth worked: it is looked at when one fails.
    assert!(matches!(
        ended(&mut breaker, Sign::Fails, NOW).1,
        Some(Turn::Breaker(BreakerState::Open, ..))
    ));
    let mut slow = Breaker::default();
    for number in 0..60 {
        let sign = if number % 2 == 0 { Sign::Fails } else { Sign::Works };
        let at = NOW.plus_ms(number * 4000);
        assert_eq!(ended(&mut slow, sign, at).1, None, "one in 4 s, half of them bad, is no rate");
    }
}

/// However well it worked before: what a busy tool costs until its outage is known must not grow with its calls.
#[test]
fn c3_five_in_a_row_open_it_after_many_that_worked_but_for_some() {
    let mut breaker = Breaker::default();
    for number in 0..2000 {
        let sign = if number % 20 == 0 { Sign::Fails } else { Sign::Works };
        assert_eq!(ended(&mut breaker, sign, NOW.plus_ms(number * 10)).1, None, "call {number}");
    }
    opened(&mut breaker, NOW.plus_ms(20_000));
}

#[test]
fn while_it_is_open_nothing_starts_and_late_failures_are_free() {
    let mut breaker = Breaker::default();
    let before = breaker.epoch();
    let until = opened(&mut breaker, NOW);
    assert_eq!(breaker.starts(NOW), Starts::Only(0, HeldBy::Breaker, until));
    assert_eq!(breaker.changes_at(NOW), Some(until));
    // What was under way ends after it had opened.
    assert_eq!(breaker.ended(before, Sign::Fails, &RULES, NOW), (true, None));
    assert_eq!(breaker.ended(before, Sign::Works, &RULES, NOW), (false, None));
    assert_eq!(breaker.starts(NOW), Starts::Only(0, HeldBy::Breaker, until), "it stays open");
}

#[test]
fn one_probe_is_made_and_each_that_fails_doubles_the_time() {
    let mut breaker = Breaker::default();
    let mut until = opened(&mut breaker, NOW);
    for open_ms in [10_000, 20_000, 40_000, 60_000, 60_000] {
        assert_eq!(take(&mut breaker, until), 1);
        assert_eq!(take(&mut breaker, until), 0, "one probe at a time");
        let (free, turn) = ended(&mut breaker, Sign::Fails, until);
        assert!(free);
        let Some(Turn::Breaker(BreakerState::Open, Some(next), _)) = turn else {
            panic!("not open: {turn:?}")
        };
        assert_eq!(next, until.plus_ms(open_ms));
        until = next;
    }
}

#[test]
fn a_probe_that_is_never_heard_of_is_made_again() {
    let mut breaker = Breaker::default();
    let until = opened(&mut breaker, NOW);
    assert_eq!(take(&mut breaker, until), 1);
    let later = until.plus_ms(RULES.open_ms);
    assert_eq!(breaker.changes_at(until), Some(later));
    assert_eq!(take(&mut breaker, later), 1);
}

#[test]
fn l36_after_a_probe_calls_begin_in_waves_each_twice_as_large() {
    let mut breaker = Breaker::default();
    let until = opened(&mut breaker, NOW);
    assert_eq!(take(&mut breaker, until), 1);
    let (_, turn) = ended(&mut breaker, Sign::Works, until);
    assert!(matches!(turn, Some(Turn::Breaker(BreakerState::Closed, None, _))));
    let mut waves = Vec::new();
    while let Starts::Only(..) = breaker.starts(until) {
        let wave = take(&mut breaker, until);
        waves.push(wave);
        for _ in 0..wave {
            assert_eq!(ended(&mut breaker, Sign::Works, until), (false, None));
        }
    }
    assert_eq!(waves, [2, 4, 8, 16, 32]);
    assert!(waves.iter().sum::<u32>() >= RECOVERED);
    assert!(breaker.is_new(until), "a tool that is healthy again is nothing special");
}

#[test]
fn a_wave_that_nothing_is_heard_of_is_not_waited_for_for_ever() {
    let mut breaker = Breaker::default();
    let until = opened(&mut breaker, NOW);
    take(&mut breaker, until);
    ended(&mut breaker, Sign::Works, until);
    assert_eq!(take(&mut breaker, until), 2);
    let later = until.plus_ms(RULES.open_ms);
    for ms in 0..10 {
        // Whoever asks in vain puts nothing off.
        assert_eq!(take(&mut breaker, until.plus_ms(ms * 100)), 0);
    }
    assert_eq!(take(&mut breaker, later), 1);
}

#[test]
fn a_relapse_stops_the_waves_and_its_failures_are_free() {
    let mut breaker = Breaker::default();
    let until = opened(&mut breaker, NOW);
    take(&mut breaker, until);
    ended(&mut breaker, Sign::Works, until);
    let epoch = breaker.epoch();
    // Half of them fail.
    for _ in 0..2 {
        ended(&mut breaker, Sign::Works, until);
        assert_eq!(ended(&mut breaker, Sign::Fails, until), (true, None), "that may be bad luck");
    }
    ended(&mut breaker, Sign::Works, until);
    let (free, turn) = ended(&mut breaker, Sign::Fails, until);
    assert!(free && matches!(turn, Some(Turn::Breaker(BreakerState::Open, ..))));
    assert!(matches!(breaker.starts(until), Starts::Only(0, HeldBy::Breaker, _)));
    // The rest of the wave.
    assert_eq!(breaker.ended(epoch, Sign::Fails, &RULES, until), (true, None));
    assert_eq!(breaker.ended(epoch, Sign::Works, &RULES, until), (false, None));
    assert!(matches!(breaker.starts(until), Starts::Only(0, HeldBy::Breaker, _)));
    // Two that fail at once are no bad luck.
    let mut dead = Breaker::default();
    let until = opened(&mut dead, NOW);
    take(&mut dead, until);
    ended(&mut dead, Sign::Works, until);
    assert_eq!(ended(&mut dead, Sign::Fails, until), (true, None));
    assert!(ended(&mut dead, Sign::Fails, until).1.is_some());
}

#[test]
fn f2_a_tool_that_asks_for_a_pause_gets_it_and_then_a_few_calls() {
    let mut breaker = Breaker::default();
    let (free, turn) = ended(&mut breaker, Sign::AsksForPause(Some(5000)), NOW);
    let until = NOW.plus_ms(5000);
    assert_eq!((free, turn), (false, Some(Turn::Limit(until))), "its class makes it free");
    assert_eq!(breaker.starts(NOW), Starts::Only(0, HeldBy::RateLimit, until));
    // Others that were under way say the same.
    assert_eq!(ended(&mut breaker, Sign::AsksForPause(Some(3000)), NOW).1, None);
    assert_eq!(ended(&mut breaker, Sign::AsksForPause(None), NOW).1, None);
    assert_eq!(
        breaker.starts(until),
        Starts::Only(2, HeldBy::RateLimit, until.plus_ms(RULES.open_ms))
    );
    assert_eq!(take(&mut breaker, until), 2);
    // Without a word about how long, each time twice as long.
    let mut waits = Vec::new();
    let mut now = until;
    for _ in 0..4 {
        let Some(Turn::Limit(next)) = ended(&mut breaker, Sign::AsksForPause(None), now).1 else {
            panic!("no pause")
        };
        waits.push(next.ms_since(now) / LIMIT_MS);
        now = next;
    }
    assert_eq!(waits, [2, 4, 8, 16]);
}

#[test]
fn what_others_say_counts_as_if_it_were_seen_here() {
    let mut breaker = Breaker::default();
    let until = NOW.plus_ms(1000);
    breaker.hear(BreakerState::Open, Some(until), &RULES, NOW);
    assert_eq!(breaker.starts(NOW), Starts::Only(0, HeldBy::Breaker, until));
    breaker.hear(BreakerState::HalfOpen, Some(until.plus_ms(500)), &RULES, until);
    assert_eq!(take(&mut breaker, until), 0, "another process probes it");
    breaker.hear(BreakerState::Closed, None, &RULES, until);
    assert_eq!(take(&mut breaker, until), 2, "waves begin here, too");
    breaker.hear_limit(until.plus_ms(700), &RULES, until);
    assert!(matches!(breaker.starts(until), Starts::Only(0, HeldBy::RateLimit, _)));
}

#[test]
fn operators_have_the_last_word() {
    let mut breaker = Breaker::default();
    breaker.force(Forced::Open, &RULES, NOW);
    let later = NOW.plus_ms(1 << 40);
    for state in [BreakerState::Closed, BreakerState::HalfOpen, BreakerState::Open] {
        breaker.hear(state, None, &RULES, NOW);
        assert!(matches!(breaker.starts(later), Starts::Only(0, HeldBy::ToolPaused, _)));
    }
    breaker.force(Forced::Closed, &RULES, NOW);
    breaker.hear(BreakerState::Open, Some(later), &RULES, NOW);
    for _ in 0..50 {
        assert_eq!(ended(&mut breaker, Sign::Fails, NOW), (false, None), "and it is charged");
    }
    assert_eq!(breaker.starts(NOW), Starts::Free);
    breaker.force(Forced::Auto, &RULES, NOW);
    assert!(matches!(breaker.starts(NOW), Starts::Only(2, ..)), "it is tried with care");
    breaker.force(Forced::Auto, &RULES, NOW);
    assert!(matches!(breaker.starts(NOW), Starts::Only(2, ..)), "twice is once");
}

#[test]
fn calls_that_try_a_slow_tool_count_although_others_began_after_them() {
    let mut breaker = Breaker::default();
    let until = opened(&mut breaker, NOW);
    assert_eq!(take(&mut breaker, until), 1);
    let first = breaker.epoch();
    let second = until.plus_ms(RULES.open_ms);
    assert_eq!(take(&mut breaker, second), 1, "the first one takes long");
    let (_, turn) = breaker.ended(first, Sign::Works, &RULES, second.plus_ms(3000));
    assert!(matches!(turn, Some(Turn::Breaker(BreakerState::Closed, ..))), "{turn:?}");
    // Of two that fail one opens it again, for twice as long.
    let mut hanging = Breaker::default();
    let until = opened(&mut hanging, NOW);
    take(&mut hanging, until);
    take(&mut hanging, until.plus_ms(RULES.open_ms));
    let epoch = hanging.epoch();
    let late = until.plus_ms(30_000);
    let (free, turn) = hanging.ended(epoch, Sign::Fails, &RULES, late);
    let expected = late.plus_ms(2 * RULES.open_ms);
    assert!(
        free && matches!(turn, Some(Turn::Breaker(BreakerState::Open, Some(at), _)) if at == expected)
    );
    assert_eq!(hanging.ended(epoch, Sign::Fails, &RULES, late), (true, None));
}

#[test]
fn starts_that_were_allowed_before_it_opened_again_are_no_probes() {
    let mut breaker = Breaker::default();
    let until = opened(&mut breaker, NOW);
    assert_eq!(breaker.begin(16, &RULES, NOW), None);
    assert_eq!(breaker.starts(NOW), Starts::Only(0, HeldBy::Breaker, until));
    assert!(!breaker.is_tried(NOW));
}

#[test]
fn trouble_of_long_ago_is_forgotten() {
    let mut breaker = Breaker::default();
    ended(&mut breaker, Sign::Fails, NOW);
    assert!(!breaker.is_new(NOW));
    assert!(breaker.is_new(NOW.plus_ms(60_000)));
    let mut told = Breaker::default();
    told.hear_limit(NOW, &RULES, NOW.plus_ms(1));
    assert_eq!(told.starts(NOW.plus_ms(1)), Starts::Free, "a pause that is over is none");
}

#[test]
fn without_breakers_nothing_opens() {
    let mut breaker = Breaker::default();
    let rules = Rules { failures: 0, ..RULES };
    for _ in 0..1000 {
        assert_eq!(breaker.ended(breaker.epoch(), Sign::Fails, &rules, NOW), (false, None));
    }
    // Nor does it for others, who may have been told otherwise.
    let until = Some(NOW.plus_ms(60_000));
    for state in [BreakerState::Open, BreakerState::HalfOpen, BreakerState::Closed] {
        breaker.hear(state, until, &rules, NOW);
        assert_eq!(breaker.starts(NOW), Starts::Free, "{state:?}");
    }
    let limited = breaker.ended(breaker.epoch(), Sign::AsksForPause(Some(5000)), &rules, NOW).1;
    assert_eq!(limited, Some(Turn::Limit(NOW.plus_ms(5000))), "a tool's wish is kept to");
    let later = NOW.plus_ms(5000);
    for _ in 0..50 {
        let failed = breaker.ended(breaker.epoch(), Sign::Fails, &rules, later);
        assert_eq!(failed, (false, None), "nor while calls begin again");
    }
    breaker.force(Forced::Open, &rules, NOW);
    breaker.force(Forced::Auto, &rules, NOW);
    assert_eq!(breaker.starts(later), Starts::Free, "auto is closed");
}
