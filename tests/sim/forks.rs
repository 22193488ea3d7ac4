//! Forks of runs that are under way or over, by chance, and what must hold of them.

use crate::{
    plans,
    random::Random,
    tools::RemoteEffect,
    workload::{Access, Clients},
};
use bytes::Bytes;
use serde_json::value::{RawValue, to_raw_value};
use spine_runs::{RunState, StepStatus, forked};
use spine_schemas::{
    BatchItem, Body, Digest, Effect, Event, Fork, Plan, PlanStep, Role, RunCreated, RunEvent,
    RunKey, StepKey, canonical,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Most forks of a world.
const MOST: u64 = 8;

impl<A: Access> Clients<A> {
    /// Forks a run now and then, from some step or from where it stands, as it was or with something changed.
    pub(crate) async fn fork_some(&self, run: &RunState, number: &mut u64) {
        let can = run.created.fork.is_none() && !run.takes_over() && *number < MOST;
        if !can || run.driver() == spine_schemas::Driver::Record || !self.random.chance(2) {
            return;
        }
        *number += 1;
        let key = RunKey::new("default", &format!("{}-fork-{number}", run.key.run_id));
        let events = self.events_of_fork(run, &key);
        if run.driver() == spine_schemas::Driver::Plan {
            self.ledger.runs.lock().unwrap().push(key.clone());
        }
        // Whoever forks may be cut off in between, and goes on later.
        let cut = 1 + usize::try_from(self.random.below(events.len() as u64)).unwrap();
        self.append_events(&key, &events[..cut]).await;
        if self.random.chance(25) {
            self.signal_early(&key).await;
        }
        if cut < events.len() {
            tokio::time::sleep(Duration::from_millis(self.random.below(300))).await;
            self.append_events(&key, &events).await;
        }
    }

    fn events_of_fork(&self, run: &RunState, key: &RunKey) -> Vec<Event> {
        let keys: Vec<&StepKey> = run.steps.values().map(|step| &step.key).collect();
        let from = pick(&self.random, &keys).cloned();
        let mut created = RunCreated { caller: None, ..RunCreated::clone(&run.created) };
        if self.random.chance(20) {
            created.input = plans::number(&self.random);
        }
        if self.random.chance(40) {
            created.plan = created.plan.map(|plan| Arc::new(changed(&self.random, &plan)));
        }
        let taken = forked(run, &created, from.as_ref());
        created.fork = Some(Box::new(Fork {
            run_id: run.key.run_id.to_string(),
            step: from,
            reused: u32::try_from(taken.reused.len()).unwrap(),
            undo_reused: self.random.chance(50),
            force: true,
            reason: "simulated".into(),
        }));
        let created = Body::Run(key.run_id.clone(), RunEvent::Created(Box::new(created)));
        let reused = taken
            .reused
            .iter()
            .map(|step| Body::Step(key.run_id.clone(), step.key.clone(), step.event(None)));
        let bodies = std::iter::once(created).chain(reused);
        let batch = |index| BatchItem { id: format!("fork-{}", key.run_id), index };
        let event = |(index, body)| Event { batch: Some(batch(index)), ..self.event(key, body) };
        (0..).zip(bodies).map(event).collect()
    }
}

fn pick<'k>(random: &Random, keys: &[&'k StepKey]) -> Option<&'k StepKey> {
    if keys.is_empty() || random.chance(30) {
        return None;
    }
    Some(keys[usize::try_from(random.below(keys.len() as u64)).unwrap()])
}

/// The same plan with another input of some step. All else stays as it is written.
fn changed(random: &Random, plan: &Plan) -> Plan {
    let input = to_raw_value(&random.below(1000)).unwrap();
    let all: BTreeMap<String, &RawValue> = serde_json::from_slice(&plan.source).unwrap();
    let steps = all["steps"].get();
    let mut steps: Vec<BTreeMap<String, &RawValue>> = serde_json::from_str(steps).unwrap();
    let at = usize::try_from(random.below(steps.len() as u64)).unwrap();
    steps[at].insert("input".into(), &input);
    let steps = to_raw_value(&steps).unwrap();
    let part = |name: &str, part| if name == "steps" { &*steps } else { part };
    let all: BTreeMap<&str, &RawValue> =
        all.iter().map(|(name, given)| (name.as_str(), part(name, *given))).collect();
    Plan::parse(serde_json::to_vec(&all).unwrap()).unwrap()
}

/// What a fork took over is what had ended well in its original, and nothing was done for it again.
pub(crate) fn check(
    runs: &BTreeMap<RunKey, Arc<RunState>>,
    effects: &BTreeMap<(RunKey, StepKey), Vec<RemoteEffect>>,
) {
    for (key, run) in runs {
        let Some(fork) = &run.created.fork else { continue };
        let original = &runs[&RunKey::new(&key.tenant, &fork.run_id)];
        for step in run.steps.values().filter(|step| step.reused) {
            let name = &step.key;
            let before = &original.steps[name];
            let ended = matches!(before.status, StepStatus::Completed | StepStatus::Skipped);
            assert!(ended, "{key} {name}: taken over although it is {:?}", before.status);
            let digest = |step: &spine_runs::StepState| {
                step.output.as_ref().map(|output| output.payload.digest)
            };
            assert_eq!(digest(step), digest(before), "{key} {name}: another output");
            let place = (key.clone(), name.clone());
            assert!(!effects.contains_key(&place), "{key} {name}: taken over, and done again");
            check_unchanged(run, original, name);
        }
    }
}

/// What a step is asked for, as its plan says it.
#[derive(Debug, PartialEq, Eq)]
struct Asked<'p> {
    tool: &'p str,
    effect: Effect,
    input: Digest,
    child: Option<&'p Bytes>,
}

impl<'p> Asked<'p> {
    fn of(run: &RunState, step: &'p PlanStep) -> Self {
        // The inputs of simulated plans are written out, or are all that the run was given.
        let refers = !canonical::references(&step.input).unwrap().is_empty();
        let written = canonical::digest("input", &step.input).unwrap();
        Self {
            tool: &step.tool,
            effect: step.effect,
            input: if refers { run.created.input.digest } else { written },
            child: step.child.as_ref().map(|child| &child.plan.source),
        }
    }
}

/// A step of the list is taken over only where the fork asks for the same, and only with all that it comes after; so is
/// what stands in for one that was left out.
fn check_unchanged(run: &RunState, original: &RunState, name: &StepKey) {
    let key = &run.key;
    let plans = (run.created.plan.as_deref(), original.created.plan.as_deref());
    let (Some(plan), Some(before)) = plans else { return };
    // What a brain has given is in neither of them, and what it has dropped nobody asks for.
    let (Some((_, now)), Some((_, then))) = (plan.find(name), before.find(name)) else { return };
    let is_left_out = |step: &StepKey| {
        let step = run.steps.get(step);
        step.is_some_and(|step| step.reused && step.status == StepStatus::Skipped)
    };
    let counts = match now.role {
        Role::Listed => plan.brain.is_none() || !is_left_out(name),
        Role::Fallback { of, .. } => is_left_out(&plan.steps[of].key),
        Role::Undo { .. } | Role::Ask { .. } => false,
    };
    if !counts {
        return;
    }
    assert_eq!(Asked::of(run, now), Asked::of(original, then), "{key} {name}: taken over");
    if now.role != Role::Listed {
        return;
    }
    // Whatever came after a step that was dropped came after what that came after.
    if plan.brain.is_some() {
        return;
    }
    for other in now.after.iter().map(|at| &plan.steps[*at].key) {
        let is_taken = run.steps.get(other).is_some_and(|step| step.reused);
        assert!(is_taken, "{key} {name}: taken over without {other}");
    }
}
