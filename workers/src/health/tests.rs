//! Starts of a tool in trouble: what one partition has borrowed is not there for another.

use super::*;
use spine_schemas::{ErrorClass, StepError};

const TOOL: &str = "http://127.0.0.1:1/t";

/// A tool that failed so often that it is tried by one call at a time from `.1` on.
fn in_trouble() -> (Health, Micros) {
    let rules = Rules { failures: 5, percent: 50, open_ms: 1_000, most_open_ms: 60_000 };
    let (health, _said) = Health::new("w", rules, 500);
    let mut now = Micros(1_000_000_000);
    for _ in 0..5 {
        let failed = CallEnd::Failed(StepError::new(ErrorClass::Transient, "http_503", "down"));
        health.ended(TOOL, health.began(TOOL), failed, now);
    }
    let at = HeldAt::Tool(TOOL.into());
    assert_eq!(health.lets_through(&at, now), Some(0));
    now = health.changes_at(&at, now).expect("it is tried some time");
    assert_eq!(health.lets_through(&at, now), Some(1));
    (health, now)
}

fn unused(lent: &Lent) -> Rest {
    Rest {
        granted: 0,
        retries: lent.retries,
        holds: lent.holds.clone(),
        short_of_retries: false,
        leased: Vec::new(),
    }
}

#[test]
fn what_one_partition_has_borrowed_wakes_no_run_of_another_until_it_is_given_back() {
    let (health, now) = in_trouble();
    let (at, mut told) = (HeldAt::Tool(TOOL.into()), health.subscribe());
    let lent = health.lend(now);
    told.mark_unchanged();
    assert_eq!(health.lets_through(&at, now), Some(0), "it would find none");
    assert!(!told.has_changed().unwrap());
    health.give_back(&lent, &unused(&lent), now);
    assert!(told.has_changed().unwrap(), "whoever waits for it is told");
    assert_eq!(health.lets_through(&at, now), Some(1));
}

#[test]
fn what_nobody_waits_for_is_given_back_in_silence() {
    let (health, now) = in_trouble();
    let mut told = health.subscribe();
    let lent = health.lend(now);
    told.mark_unchanged();
    health.give_back(&lent, &unused(&lent), now);
    assert!(!told.has_changed().unwrap(), "two partitions would wake each other for ever");
}
