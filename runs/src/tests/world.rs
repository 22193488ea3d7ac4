//! A small world: parallel branches, tools with luck of their own, owners that die, operators at
//! random. Runs end or name what they wait for, and effects are counted against accepted starts.

use super::{
    arbitrary::config,
    bodies::{APPLIED, completed, failed, released},
    given::Given,
};
use crate::{Holder, RunStatus, StepState, StepStatus};
use proptest::prelude::*;
use spine_schemas::{Body, Effect, ErrorClass, StepKey, Then};
use std::collections::{BTreeMap, BTreeSet};

const PLAN: &str = r#"[
    {"name":"a","tool":"t","effect":"pure","after":[],"retry":{"max_attempts":3}},
    {"name":"b","tool":"t","effect":"at_most_once","after":[],"retry":{"max_attempts":2}},
    {"name":"c","tool":"t","effect":"idempotent","after":["a"],"input":{"$ref":"a#/ok"}},
    {"name":"d","tool":"t","effect":"probe","after":["b"]},
    {"name":"e","tool":"t","effect":"at_most_once","after":["c","d"],"retry":{"max_attempts":3}}]"#;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Luck {
    Done,
    DoneButSilent,
    DoneButOwnerDies,
    NotDone,
    Refused,
    NeverSent,
    OwnerDiesBefore,
}

/// What the outside saw and still has to say.
#[derive(Default)]
struct Outside {
    /// Effects by step and edit.
    effects: BTreeMap<StepKey, u32>,
    /// Accepted starts by step.
    starts: BTreeMap<StepKey, u32>,
    /// Outcomes that come late.
    late: Vec<Body>,
    /// Leases that were acted on.
    acted: BTreeSet<u64>,
    /// Effects that somebody was told had not happened, or forced again.
    waived: BTreeMap<StepKey, u32>,
}

impl Outside {
    /// Acts on every accepted start once, and gives the outcome that the owner hears of.
    fn act(&mut self, given: &mut Given, luck: Luck) -> Vec<Body> {
        let claim = given.claim_offset();
        let live: Vec<(StepKey, u32, u64)> = (given.run().steps.values())
            .filter_map(|step| {
                let live = step.live.as_ref()?;
                let own = live.holder == Holder::Owner(claim);
                (own && !self.acted.contains(&live.lease))
                    .then(|| (step.key.clone(), live.attempt, live.lease))
            })
            .collect();
        let Some((key, attempt, lease)) = live.into_iter().next() else {
            return Vec::new();
        };
        self.acted.insert(lease);
        *self.starts.entry(key.clone()).or_default() += 1;
        let effect = given.run().steps[&key].spec.effect;
        let done = completed(&key.name, attempt, lease);
        let fail = |class| vec![failed(&key.name, attempt, lease, class)];
        if matches!(luck, Luck::Done | Luck::DoneButSilent | Luck::DoneButOwnerDies) {
            *self.effects.entry(key.clone()).or_default() += 1;
        }
        match luck {
            Luck::Done => vec![done],
            Luck::DoneButSilent => {
                self.late.push(done);
                fail(if effect.is_careful() {
                    ErrorClass::UnknownOutcome
                } else {
                    ErrorClass::Timeout
                })
            }
            Luck::DoneButOwnerDies => {
                self.late.push(done);
                kill_owner(given);
                Vec::new()
            }
            Luck::NotDone => fail(ErrorClass::Transient),
            Luck::Refused => fail(ErrorClass::Terminal),
            Luck::NeverSent => {
                vec![released(&key.name, attempt, lease, Some(ErrorClass::Transient))]
            }
            Luck::OwnerDiesBefore => {
                kill_owner(given);
                Vec::new()
            }
        }
    }

    /// For careful steps: completed means one effect at least, not done none, and never one more
    /// than accepted starts or than what people allowed.
    fn check(&self, given: &Given) {
        for step in given.run().steps.values() {
            let count = |of: &BTreeMap<StepKey, u32>| of.get(&step.key).copied().unwrap_or(0);
            let (effects, starts) = (count(&self.effects), count(&self.starts));
            assert!(effects <= starts, "{}: {effects} of {starts}", step.key);
            assert!(starts <= step.attempt);
            if !step.spec.effect.is_careful() {
                continue;
            }
            assert!(effects <= 1 + count(&self.waived), "{}: {effects} effects", step.key);
            let told = step.output.as_ref().is_some_and(|output| output.source.is_some());
            if step.status == StepStatus::Completed && !told {
                assert!(effects >= 1, "{} is completed without effect", step.key);
            }
            let undecided = matches!(step.status, StepStatus::Running | StepStatus::Unknown);
            let goes_on = matches!(step.status, StepStatus::Scheduled | StepStatus::RetryWaiting);
            assert!(undecided || !goes_on || effects <= count(&self.waived), "{}", step.key);
        }
    }
}

fn kill_owner(given: &mut Given) {
    given.claim();
    given.own_claims.clear();
    given.own_claims.insert(given.claim_offset());
}

/// An operator deals with the first step that waits for one. Whoever looks sees what happened.
fn operate(given: &mut Given, outside: &mut Outside, luck: u8) {
    let stuck =
        |step: &&StepState| matches!(step.status, StepStatus::Unknown | StepStatus::DeadLettered);
    let found = given.run().steps.values().map(AsRef::as_ref).find(stuck).cloned();
    let Some(step) = found.filter(|_| given.run().is_open()) else {
        return;
    };
    let effects = outside.effects.get(&step.key).copied().unwrap_or(0);
    let waived = outside.waived.entry(step.key.clone()).or_default();
    let name = step.key.name.to_string();
    if step.status == StepStatus::Unknown {
        let happened = effects > *waived;
        let verdict = given.resolve_step(&name, step.attempt, happened);
        assert_eq!(verdict, APPLIED);
        return;
    }
    let letter_id = given.letter(&name);
    let body = match luck {
        0 | 1 => {
            let then = if luck == 0 { Then::Skip } else { Then::Fail };
            let reason = "no use".into();
            super::bodies::step(
                &name,
                spine_schemas::StepEvent::Discarded { letter_id, then, reason },
            )
        }
        _ => {
            *waived = effects;
            super::bodies::redriven(&name, letter_id, true)
        }
    };
    assert_eq!(given.append(body), APPLIED);
}

fn lucks() -> impl Strategy<Value = Vec<(Luck, u8, u16)>> {
    let luck = prop_oneof![
        6 => Just(Luck::Done),
        1 => Just(Luck::DoneButSilent),
        1 => Just(Luck::DoneButOwnerDies),
        3 => Just(Luck::NotDone),
        1 => Just(Luck::Refused),
        2 => Just(Luck::NeverSent),
        1 => Just(Luck::OwnerDiesBefore),
    ];
    prop::collection::vec((luck, 0u8..8, 0u16..2_000), 300)
}

proptest! {
    #![proptest_config(config(200))]

    #[test]
    fn f24_g3_runs_end_or_name_their_wait_and_effects_are_accounted_for(lucks in lucks()) {
        let mut given = Given::plan(PLAN);
        let mut outside = Outside::default();
        for (luck, chance, wait_ms) in lucks {
            given.after(u64::from(wait_ms));
            let mut outcomes = outside.act(&mut given, luck);
            if chance == 7 {
                outcomes.append(&mut outside.late);
            }
            given.settle_with(outcomes);
            outside.check(&given);
            if !given.run().is_open() {
                break;
            }
            prop_assert!(!given.run().waits().is_empty());
            if chance > 4 {
                operate(&mut given, &mut outside, chance % 4);
            }
            if chance == 4 {
                given.after(60_000);
            }
        }
        super::streams::check(&given);
        prop_assert_ne!(given.run().status, RunStatus::Running, "300 turns are enough");
    }
}

#[test]
fn every_kind_of_luck_is_met_by_its_effect_class() {
    use StepStatus::{Completed, DeadLettered, Deferred, RetryWaiting, Running, Unknown};
    for (luck, pure, careful) in [
        (Luck::Done, Completed, Completed),
        (Luck::DoneButSilent, RetryWaiting, Unknown),
        (Luck::DoneButOwnerDies, Running, Unknown),
        (Luck::NotDone, RetryWaiting, RetryWaiting),
        (Luck::Refused, DeadLettered, DeadLettered),
        (Luck::NeverSent, Deferred, Deferred),
        (Luck::OwnerDiesBefore, Running, Unknown),
    ] {
        for (effect, status) in [(Effect::Pure, pure), (Effect::AtMostOnce, careful)] {
            let mut given = Given::running(effect, "");
            let mut outside = Outside::default();
            let outcomes = outside.act(&mut given, luck);
            given.settle_with(outcomes);
            given.now =
                given.run().next_due().filter(|_| given.status() == Running).unwrap_or(given.now);
            given.settle();
            assert_eq!(given.status(), status, "{effect:?} {luck:?}");
            outside.check(&given);
        }
    }
}
