//! Parallel branches: who they are does not depend on the order in which they run.

use super::{
    bodies::{completed, key_of},
    given::Given,
};
use crate::{RunStatus, StepState, StepStatus};
use spine_schemas::{Digest, StepKey, keys};
use std::{collections::BTreeMap, sync::Arc};

const BRANCHES: usize = 50;
const SCHEDULES: u64 = 100;

/// Numbers that depend on the seed and on nothing else.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % most as u64).unwrap()
    }
}

fn plan() -> String {
    let branch = |n: usize| {
        format!(
            r#"{{"name":"call","scope":"branch-{n}","tool":"t","effect":"idempotent","after":[]}}"#
        )
    };
    let after: Vec<String> = (0..BRANCHES).map(|n| format!(r#""branch-{n}/call""#)).collect();
    let mut steps: Vec<String> = (0..BRANCHES).map(branch).collect();
    steps.push(format!(
        r#"{{"name":"join","tool":"t","effect":"pure","after":[{}]}}"#,
        after.join(",")
    ));
    format!("[{}]", steps.join(","))
}

/// Runs the plan in an order of its own; gives each step's key at the remote, and in which order they ended.
fn live(seed: u64) -> (BTreeMap<StepKey, Digest>, Vec<StepKey>) {
    let (mut given, mut chance) = (Given::plan(&plan()), Chance(seed));
    let (mut identities, mut order) = (BTreeMap::new(), Vec::new());
    while given.run().is_open() {
        given.settle();
        let running = |step: &&Arc<StepState>| step.status == StepStatus::Running;
        let running: Vec<Arc<StepState>> =
            given.run().steps.values().filter(running).cloned().collect();
        if running.is_empty() {
            break;
        }
        // Now and then the owner dies, and everything that runs is lost and begins again.
        if chance.below(40) == 0 {
            given.lose_owner();
            continue;
        }
        let step = &running[chance.below(running.len())];
        let key = keys::idempotency_key("i", &given.run().key, &step.key, step.edit);
        let known = identities.insert(step.key.clone(), key);
        assert!(known.is_none_or(|known| known == key), "{}: two keys", step.key);
        order.push(step.key.clone());
        let lease = step.live.as_ref().unwrap().lease;
        given.append(completed(&step.key.to_string(), step.attempt, lease));
    }
    given.settle();
    assert_eq!(given.run().status, RunStatus::Completed);
    assert_eq!(order.last(), Some(&key_of("join")));
    (identities, order)
}

#[test]
fn c17_fifty_branches_keep_their_identities_over_a_hundred_schedules() {
    let (expected, first) = live(0);
    assert_eq!(expected.len(), BRANCHES + 1);
    let mut orders = 0;
    for seed in 1..SCHEDULES {
        let (identities, order) = live(seed);
        assert_eq!(identities, expected, "schedule {seed}");
        orders += usize::from(order != first);
    }
    assert!(orders > 90, "the schedules differ");
}
