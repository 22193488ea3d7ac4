//! Every planted fault must be caught, and the number of seeds that it took is printed.

use crate::{World, live, setting};
use spine_schemas::mutants::{Mutant, plant};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Seeds within which a planted fault must show.
const SEEDS: u64 = 400;

const ALL: [Mutant; 35] = [
    Mutant::ActBeforeReadBack,
    Mutant::ActBeforeDurable,
    Mutant::ActOnEarlierClaim,
    Mutant::ProgressBeforeRows,
    Mutant::ProgressBeforeTelling,
    Mutant::ReadBeforeSync,
    Mutant::RetryCareful,
    Mutant::AnswerBeforeVerdict,
    Mutant::LetterBeforeDecision,
    Mutant::StartFromCommitted,
    Mutant::IgnoreLateSuccess,
    Mutant::CutLastBlock,
    Mutant::LostWakeUp,
    Mutant::UndoOutOfOrder,
    Mutant::CancelSkipsChildren,
    Mutant::MessagesTriedOnce,
    Mutant::CancelSkipsRunning,
    Mutant::StartWhilePaused,
    Mutant::PauseUnheard,
    Mutant::BeginWhileHeld,
    Mutant::ApprovalNotCompared,
    Mutant::ApproverCountsTwice,
    Mutant::MemoOfAnybody,
    Mutant::OpenBreakerSpends,
    Mutant::WaveIgnoresRelapse,
    Mutant::BreakerUnheard,
    Mutant::BelieveEarlyNo,
    Mutant::ForkBeginsEarly,
    Mutant::AnswerReplaced,
    Mutant::ForkTakesChanged,
    Mutant::EarlySignalForgotten,
    Mutant::SignalTakenTwice,
    Mutant::SignalCountsTwice,
    Mutant::SignalToNewestWait,
    Mutant::ReplacedSessionBegins,
];

/// The worlds in which a fault can show: the disk is simulated in one, several owners in the other.
fn worlds(mutant: Mutant) -> &'static [World] {
    match mutant {
        Mutant::ReadBeforeSync
        | Mutant::CutLastBlock
        | Mutant::AnswerBeforeVerdict
        | Mutant::BeginWhileHeld
        | Mutant::ReplacedSessionBegins => &[World::Embedded],
        Mutant::OpenBreakerSpends | Mutant::WaveIgnoresRelapse | Mutant::BreakerUnheard => {
            &[World::Outage]
        }
        Mutant::ActBeforeReadBack
        | Mutant::ActBeforeDurable
        | Mutant::ActOnEarlierClaim
        | Mutant::ProgressBeforeRows
        | Mutant::ProgressBeforeTelling
        | Mutant::RetryCareful
        | Mutant::LetterBeforeDecision
        | Mutant::StartFromCommitted
        | Mutant::IgnoreLateSuccess
        | Mutant::LostWakeUp
        | Mutant::UndoOutOfOrder
        | Mutant::CancelSkipsChildren
        | Mutant::MessagesTriedOnce
        | Mutant::CancelSkipsRunning
        | Mutant::ApprovalNotCompared
        | Mutant::ApproverCountsTwice
        | Mutant::MemoOfAnybody
        | Mutant::BelieveEarlyNo
        | Mutant::ForkBeginsEarly
        | Mutant::AnswerReplaced
        | Mutant::ForkTakesChanged
        | Mutant::EarlySignalForgotten
        | Mutant::SignalTakenTwice
        | Mutant::SignalCountsTwice
        | Mutant::SignalToNewestWait
        | Mutant::PauseUnheard
        | Mutant::StartWhilePaused => &[World::Embedded, World::Cluster],
    }
}

/// The seed and world in which a planted fault first shows.
fn first_seed(mutant: Mutant, seeds: u64) -> Option<(World, u64)> {
    for seed in 0..seeds {
        for world in worlds(mutant) {
            plant(Some(mutant));
            let lived = catch_unwind(AssertUnwindSafe(|| live(*world, seed)));
            plant(None);
            if lived.is_err() {
                return Some((*world, seed));
            }
        }
    }
    None
}

#[test]
fn every_planted_fault_is_caught() {
    let seeds = setting("SPINE_MUTANT_SEEDS").unwrap_or(SEEDS);
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let only = std::env::var("SPINE_MUTANT").ok();
    let chosen = |mutant: &&Mutant| only.as_ref().is_none_or(|name| *name == format!("{mutant:?}"));
    let mut found = Vec::new();
    for mutant in ALL.iter().filter(chosen) {
        found.push((mutant, first_seed(*mutant, seeds)));
    }
    std::panic::set_hook(hook);
    for (mutant, place) in &found {
        match place {
            Some((world, seed)) => println!("{mutant:?}: caught by seed {seed} ({world:?})"),
            None => println!("{mutant:?}: NOT caught in {seeds} seeds"),
        }
    }
    assert!(found.iter().all(|(_, place)| place.is_some()), "a planted fault went unnoticed");
}
