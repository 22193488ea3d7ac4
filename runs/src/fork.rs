//! Forking: which finished steps of a run a new one takes over, and which effects would happen again.
//!
//! Nothing here changes the original. A step is taken over only if the new run would ask for exactly what the
//! original asked for; whatever rests on a step that runs again runs again, too. So does what the original has
//! undone, or is about to undo.

mod alike;

use crate::{Reason, RunState, StepState, StepStatus, brain, fallback, undo, unresolved};
use alike::{asks_the_same, stands_in_as_before};
use spine_schemas::{
    Driver, Effect, Output, Payload, Plan, PlanStep, Role, RunCreated, StepEvent, StepKey,
    StepSpec,
    mutants::{Mutant, planted},
};
use std::{collections::BTreeSet, sync::Arc};

/// What a fork takes over, and what it does again.
#[derive(Clone, Debug, Default)]
pub struct Forked {
    /// Steps that it takes over, in the order in which they ended.
    pub reused: Vec<ReusedStep>,
    /// Steps of the original that it does not take over, in their order there.
    pub again: Vec<AgainStep>,
}

/// A step that is taken over.
#[derive(Clone, Debug)]
pub struct ReusedStep {
    /// Its identity.
    pub key: StepKey,
    /// What it was asked to do.
    pub spec: Arc<StepSpec>,
    /// What it produced, or what stands in for that.
    pub output: Option<Output>,
    /// Whether it was left out.
    pub is_skipped: bool,
    /// Whether an operator had given it another input.
    pub is_edited: bool,
    /// Whether the plan knows how it is undone.
    pub can_be_undone: bool,
}

impl ReusedStep {
    /// What the fork's log says of it. The output comes from where `source` says.
    pub fn event(&self, source: Option<&str>) -> StepEvent {
        let from = |output: Output| Output { source: source.map(str::to_owned), ..output };
        StepEvent::Reused {
            spec: self.spec.clone(),
            output: self.output.clone().map(from),
            skipped: self.is_skipped.then(|| "left out there".to_owned()),
            edited: self.is_edited,
        }
    }
}

/// A step of the original that the fork has for itself.
#[derive(Clone, Debug)]
pub struct AgainStep {
    /// Its identity.
    pub key: StepKey,
    /// Its tool in the original.
    pub tool: String,
    /// What repeating it may do.
    pub effect: Effect,
    /// Whether its effect took place in the original.
    pub happened: Happened,
    /// Why it is not taken over.
    pub because: Because,
}

/// Whether an effect took place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    /// It did.
    Yes,
    /// Nobody knows, or it may at any moment.
    Maybe,
    /// It did not, or was undone.
    No,
}

/// Why a step is not taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Because {
    /// It is where the fork goes its own way.
    Cut,
    /// It rests on a step that is not taken over, or came after the cut.
    Follows,
    /// It had not ended well.
    Unfinished,
    /// It would be asked for something else.
    Changed,
    /// What it had done was undone, or is going to be.
    Undone,
    /// The fork has no such step.
    Dropped,
}

impl AgainStep {
    /// Whether an effect of the original may take place a second time.
    pub fn may_repeat(&self) -> bool {
        let runs = match self.because {
            Because::Cut
            | Because::Follows
            | Because::Unfinished
            | Because::Changed
            | Because::Undone => true,
            Because::Dropped => false,
        };
        let done = match self.happened {
            Happened::Yes | Happened::Maybe => true,
            Happened::No => false,
        };
        runs && done && self.effect != Effect::Pure
    }
}

impl RunState {
    /// Whether it can be forked: Spine must run it, and it must have all that it takes over itself.
    ///
    /// # Errors
    /// Why it cannot.
    pub fn may_be_forked(&self) -> Result<(), Reason> {
        match self.driver() {
            Driver::Record => Err(Reason::WrongDriver),
            Driver::Plan | Driver::Journal if self.takes_over() => Err(Reason::StepState),
            Driver::Plan | Driver::Journal => Ok(()),
        }
    }

    /// Whether it is a fork that has not taken over all finished steps yet. Nothing of it begins before.
    pub fn takes_over(&self) -> bool {
        let fork = self.created.fork.as_ref();
        let is_short = fork.is_some_and(|fork| self.steps.len() < fork.reused as usize);
        is_short && !planted(Mutant::ForkBeginsEarly)
    }
}

/// Plans a fork of a run: `created` is how the new one begins, `from` the step from which on it goes its own
/// way, `None` for whatever had not ended well.
pub fn forked(original: &RunState, created: &RunCreated, from: Option<&StepKey>) -> Forked {
    let mut forked = match (original.plan(), &created.plan) {
        (Some(before), Some(plan)) => of_plan(original, before, created, plan, from),
        (Some(_) | None, _) => of_journal(original, from),
    };
    forked.reused.sort_by_key(|reused| {
        let step = &original.steps[&reused.key];
        (step.ended_at, step.scheduled_offset)
    });
    forked
}

/// An agent's steps are taken over in the order in which it began them, up to the cut.
fn of_journal(original: &RunState, from: Option<&StepKey>) -> Forked {
    let cut = from.and_then(|from| original.steps.get(from)).map(|step| step.scheduled_offset);
    let mut steps: Vec<&StepState> = original.steps.values().map(|step| &**step).collect();
    steps.sort_by_key(|step| step.scheduled_offset);
    let mut forked = Forked::default();
    for step in steps {
        let because = if cut == Some(step.scheduled_offset) {
            Because::Cut
        } else if cut.is_some_and(|cut| step.scheduled_offset > cut) {
            Because::Follows
        } else if !fallback::ended_well(step) {
            Because::Unfinished
        } else {
            forked.reused.push(reused(step, false));
            continue;
        };
        forked.again.push(again(original, step, because));
    }
    forked
}

fn of_plan(
    original: &RunState,
    before: &Plan,
    created: &RunCreated,
    plan: &Arc<Plan>,
    from: Option<&StepKey>,
) -> Forked {
    let mut new = begun(original, created);
    let (mut forked, mut kept) = (Forked::default(), BTreeSet::new());
    let mut plan = plan.clone();
    // Steps name earlier ones alone, so whatever one rests on was decided before it. The list grows by the
    // answers of a brain that are taken over.
    let mut at = 0;
    while let Some(step) = plan.in_list().get(at) {
        let grown = take(original, before, &mut new, step, from);
        if let Some(can_grow) = grown {
            let can_be_undone = plan.undo(at).is_some();
            forked.reused.push(reused(&original.steps[&step.key], can_be_undone));
            kept.insert(at);
            plan = can_grow.unwrap_or(plan);
        }
        at += 1;
    }
    let plan = &*plan;
    take_fallbacks(original, before, plan, &kept, &mut forked);
    let taken: BTreeSet<&StepKey> = forked.reused.iter().map(|step| &step.key).collect();
    let mut others: Vec<&StepState> = original.steps.values().map(|step| &**step).collect();
    others.retain(|step| !taken.contains(&step.key) && !undo::is_undo(original, &step.key));
    others.sort_by_key(|step| step.scheduled_offset);
    for step in others {
        let because = match plan.find(&step.key) {
            // A brain that is asked again may ask for the same.
            None if was_asked_for(before, &step.key) && plan.next_ask().is_some() => {
                Because::Follows
            }
            None => Because::Dropped,
            Some((_, planned)) => {
                why_not(original, before, &new, planned, from).unwrap_or(Because::Follows)
            }
        };
        forked.again.push(again(original, step, because));
    }
    forked.again.extend(not_begun(original, before, plan));
    forked
}

/// Takes a step over, if it can be; with the plan that the new run has from there on, where it is another.
fn take(
    original: &RunState,
    before: &Plan,
    new: &mut RunState,
    step: &PlanStep,
    from: Option<&StepKey>,
) -> Option<Option<Arc<Plan>>> {
    if why_not(original, before, new, step, from).is_some() {
        return None;
    }
    let done = original.steps[&step.key].clone();
    let is_answer = brain::asks(new, &step.key).is_some() && done.status == StepStatus::Completed;
    let grown = match done.output.as_ref().filter(|_| is_answer) {
        Some(output) => Some(brain::answered(new, &step.key, output)?.ok()?),
        None => None,
    };
    new.steps.insert(done);
    if grown.is_some() {
        new.grown.clone_from(&grown);
    }
    Some(grown)
}

/// Whether a step of the original is there because its brain asked for it, or is the asking itself.
fn was_asked_for(before: &Plan, key: &StepKey) -> bool {
    before.brain.is_some() && before.find(key).is_some()
}

/// The new run before it has any step, to find out what its steps would be asked for.
fn begun(original: &RunState, created: &RunCreated) -> RunState {
    RunState {
        created: Arc::new(created.clone()),
        grown: None,
        steps: crate::Steps::default(),
        ..original.clone()
    }
}

/// The steps that stood in for one that is taken over go with it.
fn take_fallbacks(
    original: &RunState,
    before: &Plan,
    plan: &Plan,
    kept: &BTreeSet<usize>,
    forked: &mut Forked,
) {
    let mut kept = kept.clone();
    let stays = |key: &StepKey| {
        let known = before.find(key);
        known.is_none_or(|(at, _)| !undo::is_taken_back(original, before, at))
    };
    for (at, planned) in plan.steps.iter().enumerate().skip(plan.listed) {
        let Role::Fallback { of, .. } = planned.role else { continue };
        let done = original.steps.get(&planned.key);
        let done = done.filter(|step| fallback::ended_well(step) && stays(&planned.key));
        if let Some(step) = done.filter(|_| kept.contains(&of)) {
            forked.reused.push(reused(step, plan.undo(at).is_some()));
            kept.insert(at);
        }
    }
}

/// Why a step of the new plan cannot be taken over as things stand, if it cannot. `new` has the steps that
/// are taken over already.
fn why_not(
    original: &RunState,
    before: &Plan,
    new: &RunState,
    step: &PlanStep,
    from: Option<&StepKey>,
) -> Option<Because> {
    if from == Some(&step.key) {
        return Some(Because::Cut);
    }
    let done = original.steps.get(&step.key).filter(|done| fallback::ended_well(done));
    let (Some(done), Some((at, planned))) = (done, before.find(&step.key)) else {
        return Some(Because::Unfinished);
    };
    if undo::is_taken_back(original, before, at) {
        return Some(Because::Undone);
    }
    // It was left out because of an answer that is taken over.
    if brain::has_dropped(new, &step.key) {
        return None;
    }
    let rests_on = |after: &usize| {
        let plan = new.plan();
        plan.is_some_and(|plan| new.steps.contains_key(&plan.steps[*after].key))
    };
    if !step.after.iter().all(rests_on) {
        return Some(Because::Follows);
    }
    let is_same = asks_the_same((original, planned, done), (new, step))
        && stands_in_as_before((original, before), new, (at, done));
    (!is_same && !planted(Mutant::ForkTakesChanged)).then_some(Because::Changed)
}

fn reused(step: &StepState, can_be_undone: bool) -> ReusedStep {
    // What completed has an output, be it an empty one; what was left out may have one in its place.
    let empty = || Output::of(Payload::null());
    let completed = step.status == StepStatus::Completed;
    let output = step.output.clone().or_else(|| completed.then(empty));
    ReusedStep {
        key: step.key.clone(),
        spec: step.spec.clone(),
        output,
        is_skipped: !completed,
        is_edited: step.edit > 0,
        can_be_undone: can_be_undone && completed,
    }
}

fn again(original: &RunState, step: &StepState, because: Because) -> AgainStep {
    AgainStep {
        key: step.key.clone(),
        tool: step.spec.tool.clone(),
        effect: step.spec.effect,
        happened: happened(original, step),
        because,
    }
}

/// Whether the original may do more by itself while its fork does the same.
fn goes_on(original: &RunState) -> bool {
    original.is_open() && original.goes_on_by_itself()
}

/// The same where it is not about to end: then what waits never begins.
fn begins_more(original: &RunState) -> bool {
    goes_on(original) && !original.is_ending() && !undo::goes_back(original)
}

/// What the original has not begun and may at any moment.
fn not_begun(original: &RunState, before: &Plan, plan: &Plan) -> Vec<AgainStep> {
    let ahead = before.in_list().iter().filter(|step| {
        begins_more(original)
            && !original.steps.contains_key(&step.key)
            && !before.dropped.contains_key(&step.key)
            && plan.find(&step.key).is_some()
    });
    let again = ahead.map(|step| AgainStep {
        key: step.key.clone(),
        tool: step.tool.clone(),
        effect: step.effect,
        happened: Happened::Maybe,
        because: Because::Unfinished,
    });
    again.collect()
}

fn happened(original: &RunState, step: &StepState) -> Happened {
    let undone = || {
        let plan = original.plan()?;
        let undo = plan.undo(plan.find(&step.key)?.0)?;
        let undo = original.steps.get(&undo.key)?;
        Some(undo.status == StepStatus::Completed)
    };
    let left = || {
        let open = unresolved::any(Driver::Plan, step) || step.late_success;
        if open { Happened::Maybe } else { Happened::No }
    };
    match step.status {
        _ if undone() == Some(true) => Happened::No,
        StepStatus::Completed => Happened::Yes,
        StepStatus::Running | StepStatus::Unknown => Happened::Maybe,
        StepStatus::Scheduled
        | StepStatus::RetryWaiting
        | StepStatus::Deferred
        | StepStatus::Awaiting
        | StepStatus::Failed => {
            if begins_more(original) {
                Happened::Maybe
            } else {
                left()
            }
        }
        StepStatus::DeadLettered | StepStatus::Skipped | StepStatus::Cancelled => left(),
    }
}
