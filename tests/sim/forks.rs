//! Forks of runs that are under way or over, by chance, and what must hold of them.

use crate::{
    random::Random,
    tools::RemoteEffect,
    workload::{Access, Clients},
};
use spine_runs::{RunState, StepStatus, forked};
use spine_schemas::{
    BatchItem, Body, Event, Fork, RunCreated, RunEvent, RunKey, StepEvent, StepKey,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

/// Most forks of a world.
const MOST: u64 = 8;

impl<A: Access> Clients<A> {
    /// Forks a run now and then, from some step or from where it stands.
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
        if cut < events.len() {
            tokio::time::sleep(Duration::from_millis(self.random.below(300))).await;
            self.append_events(&key, &events).await;
        }
    }

    fn events_of_fork(&self, run: &RunState, key: &RunKey) -> Vec<Event> {
        let keys: Vec<&StepKey> = run.steps.values().map(|step| &step.key).collect();
        let from = pick(&self.random, &keys).cloned();
        let mut created = RunCreated { caller: None, ..RunCreated::clone(&run.created) };
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
        let reused = taken.reused.into_iter().map(|step| {
            let skipped = step.is_skipped.then(|| "left out".to_owned());
            let event = StepEvent::Reused { spec: step.spec, output: step.output, skipped };
            Body::Step(key.run_id.clone(), step.key, event)
        });
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
        }
    }
}
