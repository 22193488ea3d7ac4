//! Signals by chance: early, late, twice, and to runs that await none; and what must become of each, told from the
//! log alone. The oldest wait of its name gets a signal. One that nobody awaits yet is kept for the next wait of
//! its name, the oldest first. Each ends one wait at most, with its data, and one that comes again is the same.

use crate::{
    folded::Folded,
    workload::{Access, Clients},
};
use spine_runs::{RunState, StepState, StepStatus};
use spine_schemas::{
    Body, Driver, Event, Payload, RunEvent, RunKey, StepEvent, StepKey, limits,
    spec::{Act, act_of},
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

/// What simulated steps await, and what none does.
const NAMES: [&str; 4] = ["go", "go", "on", "nobody"];

impl<A: Access> Clients<A> {
    /// Tells a run what its steps may await later.
    pub(crate) async fn signal_early(&self, key: &RunKey) {
        for _ in 0..1 + self.random.below(2) {
            self.signal(key, NAMES[self.random.below(4) as usize]).await;
        }
    }

    /// Tells a run what it awaits, before long; and now and then anything, also when it has ended.
    pub(crate) async fn signal_some(&self, run: &RunState) {
        let awaited = run.steps.unsettled().filter_map(|step| step.wait.as_ref()?.signal.clone());
        for name in awaited.collect::<BTreeSet<_>>() {
            if self.random.chance(40) {
                self.signal(&run.key, &name).await;
            }
        }
        if self.random.chance(3) {
            self.signal(&run.key, NAMES[self.random.below(4) as usize]).await;
        }
    }

    /// Sends a signal. Somebody else may mean the same name with other data, and whoever was not answered says the
    /// same again.
    async fn signal(&self, key: &RunKey, name: &str) {
        let mut events = vec![self.said(key, name)];
        if self.random.chance(20) {
            events.push(self.said(key, name));
        }
        if self.random.chance(25) {
            events.push(events[0].clone());
        }
        for event in events {
            self.append_event(key, &event).await;
            tokio::time::sleep(Duration::from_millis(self.random.below(30))).await;
        }
    }

    fn said(&self, key: &RunKey, name: &str) -> Event {
        let data = format!("{{\"said\":{}}}", self.random.next());
        let data = Payload::json("data", data).unwrap();
        let event = RunEvent::SignalReceived { name: name.to_owned(), data };
        self.event(key, Body::Run(key.run_id.clone(), event))
    }
}

/// A signal that counts.
#[derive(Clone, Debug)]
struct Said {
    name: String,
    data: Payload,
}

/// A step that awaits one.
#[derive(Clone, Debug)]
struct Awaits {
    step: StepKey,
    name: String,
}

/// What the signals of one run come to.
#[derive(Debug, Default)]
struct Inbox {
    /// Ids of those that count.
    counted: BTreeSet<String>,
    /// Those that nobody has got, the oldest first.
    kept: VecDeque<Said>,
    /// Who awaits one, by the offset from which on.
    waits: BTreeMap<u64, Awaits>,
    /// Steps that got theirs.
    served: BTreeSet<StepKey>,
}

/// The signals of all runs.
#[derive(Debug, Default)]
pub(crate) struct Signals(BTreeMap<RunKey, Inbox>);

impl Signals {
    pub(crate) fn take(&mut self, folded: &Folded<'_>) {
        let Some(run) = folded.after else { return };
        let inbox = self.0.entry(run.key.clone()).or_default();
        match &folded.event.body {
            Body::Run(_, RunEvent::SignalReceived { name, data }) => {
                let said = Said { name: name.clone(), data: data.clone() };
                inbox.receive(folded, run, said);
            }
            Body::Step(_, key, StepEvent::WaitCreated { signal: Some(name), .. })
                if begins_to_wait(folded, run, key) =>
            {
                let awaits = Awaits { step: key.clone(), name: name.clone() };
                inbox.begin(folded.offset, run, awaits);
            }
            _ => {}
        }
        inbox.check_waits(folded.event, run);
    }

    /// Whoever got a signal has ended with it, and nobody else has ended well who awaited one.
    pub(crate) fn check(&self, runs: &BTreeMap<RunKey, Arc<RunState>>) {
        for (key, run) in runs {
            let inbox = self.0.get(key);
            let own = run.steps.values().filter(|step| !step.reused);
            for step in own.filter(|step| matches!(act_of(&step.spec.tool), Act::Signal(_))) {
                let was_served = inbox.is_some_and(|inbox| inbox.served.contains(&step.key));
                let has_ended = step.status == StepStatus::Completed;
                assert_eq!(has_ended, was_served, "{key} {}: {:?}", step.key, step.status);
            }
        }
    }
}

impl Inbox {
    /// A signal counts once, in a run that goes on and that Spine or an agent drives.
    fn receive(&mut self, folded: &Folded<'_>, run: &RunState, said: Said) {
        let (id, name) = (&folded.event.event_id, &run.key);
        let may = |run: &RunState| run.is_open() && run.driver() != Driver::Record;
        let oldest = self.oldest_wait(&said.name);
        let has_place = oldest.is_some() || self.kept.len() < limits::RUN_SIGNALS;
        let counts = folded.before.is_some_and(may) && has_place && !self.counted.contains(id);
        assert_eq!(folded.is_applied(), counts, "{name}: signal {id}: {:?}", folded.verdict);
        if !counts {
            return;
        }
        self.counted.insert(id.clone());
        match oldest.and_then(|offset| self.waits.remove(&offset)) {
            Some(awaits) => self.serve(run, awaits.step, &said),
            None => self.kept.push_back(said),
        }
    }

    fn oldest_wait(&self, name: &str) -> Option<u64> {
        let mut waits = self.waits.iter();
        waits.find(|(_, awaits)| awaits.name == name).map(|(offset, _)| *offset)
    }

    /// A wait begins. What came before ends it at once.
    fn begin(&mut self, offset: u64, run: &RunState, awaits: Awaits) {
        let oldest = self.kept.iter().position(|said| said.name == awaits.name);
        match oldest.and_then(|at| self.kept.remove(at)) {
            Some(said) => self.serve(run, awaits.step, &said),
            None => _ = self.waits.insert(offset, awaits),
        }
    }

    fn serve(&mut self, run: &RunState, step: StepKey, said: &Said) {
        let (name, state) = (&run.key, &run.steps[&step]);
        let ended = state.status == StepStatus::Completed;
        assert!(ended, "{name} {step}: {:?}, although {said:?} came", state.status);
        let output = state.output.as_ref().map(|output| &output.payload);
        assert_eq!(output, Some(&said.data), "{name} {step}: ended with another signal");
        let is_first = self.served.insert(step.clone());
        assert!(is_first, "{name} {step}: got a second signal");
    }

    /// A wait goes on until its signal, its time or the end of its run ends it.
    fn check_waits(&mut self, event: &Event, run: &RunState) {
        let name = &run.key;
        self.waits.retain(|offset, awaits| {
            let (key, step) = (&awaits.step, &run.steps[&awaits.step]);
            let goes_on = step.wait.as_ref().is_some_and(|wait| wait.offset == *offset);
            let goes_on = goes_on && step.status == StepStatus::Awaiting;
            let why = event.kind().as_str();
            assert!(goes_on || gives_up(event, key), "{name} {key}: {why} ended its wait");
            let ended_well = step.status == StepStatus::Completed;
            assert!(!ended_well, "{name} {key}: ended by {why} and without a signal");
            goes_on
        });
        let open = run.steps.unsettled().filter(|step| awaits_signal(step)).count();
        assert_eq!(open, self.waits.len(), "{name}: waits that are open: {:?}", self.waits);
    }
}

/// Whether a wait began with an event. An agent may only have asked how one goes that it began before.
fn begins_to_wait(folded: &Folded<'_>, run: &RunState, key: &StepKey) -> bool {
    let Some(step) = run.steps.get(key).filter(|_| folded.is_applied()) else { return false };
    let before = folded.before.and_then(|run| run.steps.get(key));
    let had_ended = before.is_some_and(|step| step.status == StepStatus::Completed);
    let waits = step.wait.as_ref().is_some_and(|wait| wait.offset == folded.offset);
    let ended_at_once = step.status == StepStatus::Completed && step.last_offset == folded.offset;
    waits || (ended_at_once && !had_ended)
}

fn awaits_signal(step: &StepState) -> bool {
    step.wait.as_ref().is_some_and(|wait| wait.signal.is_some())
}

/// Whether an event ends a wait of a step without its signal.
fn gives_up(event: &Event, step: &StepKey) -> bool {
    match &event.body {
        Body::Step(_, key, StepEvent::WaitExpired | StepEvent::Cancelled { .. }) => key == step,
        Body::Run(_, event) => matches!(
            event,
            RunEvent::Completed { .. }
                | RunEvent::Failed { .. }
                | RunEvent::Cancelled { .. }
                | RunEvent::CompensationStarted { .. }
        ),
        Body::Step(..) | Body::Partition(_) => false,
    }
}
