//! Every planted fault must be caught, and the number of seeds that it took is printed.

use crate::{World, live, setting};
use spine_schemas::mutants::{Mutant, plant};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Seeds within which a planted fault must show.
const SEEDS: u64 = 400;

const ALL: [Mutant; 11] = [
    Mutant::ActBeforeReadBack,
    Mutant::ActBeforeDurable,
    Mutant::ActOnEarlierClaim,
    Mutant::ProgressBeforeRows,
    Mutant::ReadBeforeSync,
    Mutant::RetryCareful,
    Mutant::AnswerBeforeVerdict,
    Mutant::LetterBeforeDecision,
    Mutant::StartFromCommitted,
    Mutant::IgnoreLateSuccess,
    Mutant::CutLastBlock,
];

/// The seed and world in which a planted fault first shows.
fn first_seed(mutant: Mutant, seeds: u64) -> Option<(World, u64)> {
    for seed in 0..seeds {
        for world in [World::Embedded, World::Cluster] {
            plant(Some(mutant));
            let lived = catch_unwind(AssertUnwindSafe(|| live(world, seed)));
            plant(None);
            if lived.is_err() {
                return Some((world, seed));
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
    let found: Vec<_> = ALL.iter().map(|mutant| (mutant, first_seed(*mutant, seeds))).collect();
    std::panic::set_hook(hook);
    for (mutant, place) in &found {
        match place {
            Some((world, seed)) => println!("{mutant:?}: caught by seed {seed} ({world:?})"),
            None => println!("{mutant:?}: NOT caught in {seeds} seeds"),
        }
    }
    assert!(found.iter().all(|(_, place)| place.is_some()), "a planted fault went unnoticed");
}
