//! Plans: the steps that a run carries, checked as a whole before anything is appended.

mod approval;
mod brain;
mod child;
mod dropped;
mod memo;
mod order;
mod read;

pub use brain::{
    BRAIN_ANSWER, BRAIN_DROPPED, BRAIN_FAILED, BRAIN_SCOPE, Brain, BrainEnd, ask_key, kept_state,
};

use crate::{
    Effect, Error, Fault, OnExhausted, Payload, Probe, Result, RetryPolicy, StepKey, canonical,
    limits,
    spec::{Act, act_of},
};
pub use approval::Approval;
use brain::AnswerJson;
use bytes::Bytes;
pub use child::Child;
use dropped::Dropped;
use read::{Flat, Lists, PlanJson, Written};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};

/// The scope of the steps that undo others. Their names are those of what they undo.
pub const UNDO_SCOPE: &str = "compensate";

/// The steps of a plan run, in the order of the list.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The plan as it was received:
    /// `{"retry":…,"brain":…,"steps":[…],"faults":[…],"deadline_ms":…,"on_deadline":…}`.
    pub source: Bytes,
    /// Who is asked for more steps, if anybody is.
    pub brain: Option<Brain>,
    /// What it has answered so far, the oldest first. The list holds the steps of each answer behind the step
    /// that asked for it, and as long as the brain has not ended the run, the step that asks next.
    pub answers: Vec<Bytes>,
    /// Steps of the list that it has dropped, and at which turn. They keep their places.
    pub dropped: BTreeMap<StepKey, u32>,
    /// How it has ended the run.
    pub brain_end: Option<BrainEnd>,
    /// How many steps of the list had all ended when the brain gave its newest answer.
    pub settled: usize,
    /// Index of the step that asks it next.
    ask: Option<usize>,
    /// How many plans it lies in.
    level: usize,
    /// The steps of the list, and behind them those that only run when something fails.
    /// Predecessors are indexes into this.
    pub steps: Vec<PlanStep>,
    /// How many of them the list has.
    pub listed: usize,
    /// Faults to inject, on test tenants only.
    pub faults: Vec<PlanFault>,
    /// How long the run may take, pauses aside; 0 is no limit.
    pub deadline_ms: u64,
    /// What happens then.
    pub on_deadline: OnDeadline,
}

/// What happens to a run that has not ended at its deadline. It always fails.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDeadline {
    /// At once, but for what runs.
    #[default]
    Fail,
    /// After what it has done was undone.
    Compensate,
}

impl PartialEq for Plan {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source && self.answers == other.answers
    }
}

/// One step of a plan.
#[derive(Clone, Debug)]
pub struct PlanStep {
    /// Its identity.
    pub key: StepKey,
    /// When it runs at all.
    pub role: Role,
    /// The turn of the answer that gave it; 0 for what the plan has itself.
    pub given_at: u32,
    /// Place in the list of the text that it is from.
    pub place: usize,
    /// The tool to call.
    pub tool: String,
    /// What repeating may do.
    pub effect: Effect,
    /// The input as JSON, with `$ref` objects still in it.
    pub input: Bytes,
    /// Indexes of the steps that must have ended well before.
    pub after: Vec<usize>,
    /// When to try again.
    pub retry: RetryPolicy,
    /// Limit of one attempt.
    pub timeout_ms: u64,
    /// Limit from scheduling to start; 0 is none.
    pub schedule_to_start_ms: u64,
    /// Limit of the whole step; 0 is none.
    pub deadline_ms: u64,
    /// How long the remote remembers our key.
    pub key_ttl_ms: u64,
    /// What happens when retrying is over.
    pub on_exhausted: OnExhausted,
    /// JSON that stands in for its output where it is skipped; only with [`OnExhausted::Skip`].
    pub default: Option<Bytes>,
    /// Statuses by which the tool says that nothing was applied.
    pub not_applied: Vec<u16>,
    /// How long somebody has to approve of each call; `None` where nobody is asked.
    pub approval_ms: Option<u64>,
    /// How many people have to approve of each call, where that is more than one.
    pub quorum: Option<u32>,
    /// How old the result of an equal call may be that is taken instead of calling.
    pub memo_ms: Option<u64>,
    /// How to find out whether an attempt took effect, where the tool can be asked.
    pub probe: Option<Box<Probe>>,
    /// The run that each attempt is, where the tool is `run`.
    pub child: Option<Arc<Child>>,
}

/// When a step of a plan runs. Indexes are into [`Plan::steps`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// In its turn.
    Listed,
    /// When all that is listed before it has ended well: it asks the brain for what comes next. What is listed
    /// behind it begins after it.
    Ask {
        /// From 1.
        turn: u32,
    },
    /// In place of another that is out of attempts.
    Fallback {
        /// That step.
        of: usize,
        /// Place in its list.
        place: usize,
    },
    /// When the run is undone, if another has completed.
    Undo {
        /// That step.
        of: usize,
    },
}

/// A fault to inject instead of one call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanFault {
    /// The step.
    pub step: StepKey,
    /// Its attempt.
    pub attempt: u32,
    /// What is pretended.
    pub fault: Fault,
}

impl Plan {
    /// Reads and checks a plan.
    ///
    /// # Errors
    /// [`Error::Invalid`] or [`Error::TooLarge`], naming the field by its path in the plan.
    pub fn parse(source: impl Into<Bytes>) -> Result<Self> {
        Self::parse_at(source.into(), 0)
    }

    /// The same for the plan of a run that is a step of another, so many levels below the outermost.
    fn parse_at(source: Bytes, level: usize) -> Result<Self> {
        // Space around the plan is not part of it: it would not survive the JSON form of the event.
        let source = source.slice_ref(source.trim_ascii());
        Self::read(source, Vec::new(), level)
    }

    /// The plan with an answer of its brain more.
    ///
    /// # Errors
    /// [`Error::Invalid`] or [`Error::TooLarge`], naming the field by its path in the answer.
    pub fn grown(&self, answer: &Payload) -> Result<Self> {
        if self.brain_end.is_some() {
            return Err(Error::invalid("answer", "the brain has ended the run"));
        }
        if answer.omitted {
            let size = usize::try_from(answer.size_bytes).unwrap_or(usize::MAX);
            return Err(Error::too_large("answer", size, limits::PAYLOAD_BYTES));
        }
        if !answer.is_json() {
            let message = format!("is {}, not application/json", answer.content_type);
            return Err(Error::invalid("answer", message));
        }
        let mut answers = self.answers.clone();
        answers.push(answer.data.clone());
        let plan = self.answered(answers)?;
        plan.check_given(plan.newest())?;
        Ok(plan)
    }

    /// The plan with these answers of its brain, and none else.
    ///
    /// # Errors
    /// As [`Plan::grown`].
    pub fn answered(&self, answers: Vec<Bytes>) -> Result<Self> {
        let bytes = answers.iter().map(Bytes::len).sum();
        if bytes > limits::BRAIN_BYTES {
            return Err(Error::too_large("answer", bytes, limits::BRAIN_BYTES));
        }
        Self::read(self.source.clone(), answers, self.level)
    }

    fn read(source: Bytes, answers: Vec<Bytes>, level: usize) -> Result<Self> {
        canonical::check_depth("steps", &source)?;
        let json: PlanJson<'_> = serde_json::from_slice(&source)
            .map_err(|error| Error::invalid("steps", error.to_string()))?;
        if json.steps.is_empty() && json.brain.is_none() {
            return Err(Error::invalid("steps", "a plan needs at least one step"));
        }
        json.retry.check("retry")?;
        json.brain.as_ref().map_or(Ok(()), Brain::check)?;
        let texts: Vec<AnswerJson<'_>> =
            answers.iter().map(|answer| AnswerJson::read(answer)).collect::<Result<_>>()?;
        let brain_end = texts.last().map_or(Ok(None), AnswerJson::end)?;
        let ask = json.brain.as_ref().map(Written::ask);
        let lists = Lists::of(&json, &texts, ask.as_ref(), brain_end.is_some())?;
        let (flat, listed) = read::flat(&lists)?;
        let names = index_of_names(&flat)?;
        let dropped = Dropped::of(&flat, listed, &names, &texts)?;
        let steps = read_steps(&flat, &names, &dropped, &json, level)?;
        dropped.check_references(&steps, &names, newest(&answers))?;
        order::check_references(&steps, &names, &dropped)?;
        check_faults(&json.faults, &names)?;
        let settled = match texts.len().checked_sub(1) {
            Some(before) => order::place_of_ask(&flat[..listed], before) + 1,
            None => 0,
        };
        let next = flat[settled..listed].iter().position(Flat::is_ask);
        let on_deadline = json.on_deadline()?;
        let PlanJson { faults, deadline_ms, brain, .. } = json;
        Ok(Self {
            dropped: dropped.by_key(&steps[..listed]),
            ask: next.map(|place| settled + place),
            steps,
            listed,
            faults,
            deadline_ms,
            on_deadline,
            source,
            brain,
            answers,
            brain_end,
            settled,
            level,
        })
    }

    /// What is asked of a new plan beyond what makes it a plan. Those in the log may be older than
    /// the limit.
    ///
    /// # Errors
    /// [`Error::TooLarge`] naming the step, over [`limits::STEP_REFERENCES`]; [`Error::Invalid`] for a
    /// step in the scope of those that undo others.
    pub fn check_new(&self) -> Result<()> {
        self.check_given(0)
    }

    /// The same for what was given at a turn or later.
    fn check_given(&self, turn: u32) -> Result<()> {
        for (at, step) in self.given_from(turn) {
            let count = canonical::references(&step.input)?.len();
            if count > limits::STEP_REFERENCES {
                let field = format!("{}.input.$ref", self.path(at));
                return Err(Error::too_large(field, count, limits::STEP_REFERENCES));
            }
            let undoes = matches!(step.role, Role::Undo { .. });
            if !undoes && step.key.scope.split('/').next() == Some(UNDO_SCOPE) {
                let message = "\"compensate\" is the scope of the steps that undo others";
                return Err(Error::invalid(format!("{}.scope", self.path(at)), message));
            }
            if let Some(child) = &step.child {
                let path = || format!("{}.run.plan", self.path(at));
                child.plan.check_new().map_err(|error| child::inside(&path(), error))?;
            }
        }
        Ok(())
    }

    /// The turn of the newest answer; 0 before the first.
    pub fn newest(&self) -> u32 {
        newest(&self.answers)
    }

    /// The steps that were given at a turn or later, those beside the list included, and their indexes.
    pub fn given_from(&self, turn: u32) -> impl Iterator<Item = (usize, &PlanStep)> {
        self.steps.iter().enumerate().filter(move |(_, step)| step.given_at >= turn)
    }

    /// The first tool of the steps given at a turn or later that must not be called or asked, also in the runs
    /// that are steps: the field that names it, and what `check` says of it.
    pub fn refused_tool(
        &self,
        turn: u32,
        check: &dyn Fn(&str) -> std::result::Result<(), String>,
    ) -> Option<(String, String)> {
        self.given_from(turn).find_map(|(at, step)| {
            let called = (act_of(&step.tool) == Act::Call).then_some(("tool", &step.tool));
            let probe = step.probe.as_ref().map(|probe| ("probe.tool", &probe.tool));
            let own = called.into_iter().chain(probe).find_map(|(name, tool)| {
                Some((format!("{}.{name}", self.path(at)), check(tool).err()?))
            });
            own.or_else(|| {
                let (field, refusal) = step.child.as_ref()?.plan.refused_tool(0, check)?;
                Some((format!("{}.run.plan.{field}", self.path(at)), refusal))
            })
        })
    }

    /// The steps of the list, in its order.
    pub fn in_list(&self) -> &[PlanStep] {
        &self.steps[..self.listed]
    }

    /// A step of the plan and its index.
    pub fn find(&self, key: &StepKey) -> Option<(usize, &PlanStep)> {
        self.steps.iter().enumerate().find(|(_, step)| step.key == *key)
    }

    /// The steps that stand in for another, in their order.
    pub fn fallback(&self, of: usize) -> impl Iterator<Item = &PlanStep> {
        let stands_in = move |role| matches!(role, Role::Fallback { of: other, .. } if other == of);
        self.steps[self.listed..].iter().filter(move |step| stands_in(step.role))
    }

    /// The step that undoes another.
    pub fn undo(&self, of: usize) -> Option<&PlanStep> {
        self.steps[self.listed..].iter().find(|step| step.role == Role::Undo { of })
    }

    /// Where a step stands in the plan's text, for messages.
    pub fn path(&self, at: usize) -> String {
        path(at, |at| self.steps[at].origin())
    }

    /// The step that asks the brain next, if one does.
    pub fn next_ask(&self) -> Option<&PlanStep> {
        self.ask.map(|at| &self.steps[at])
    }

    /// The fault planned for an attempt, if any.
    pub fn fault(&self, step: &StepKey, attempt: u32) -> Option<Fault> {
        let planned = |fault: &&PlanFault| fault.step == *step && fault.attempt == attempt;
        self.faults.iter().find(planned).map(|fault| fault.fault)
    }
}

impl PlanStep {
    /// When it runs, and its place in the text that it is from.
    fn origin(&self) -> (Role, usize) {
        (self.role, self.place)
    }
}

fn newest(answers: &[Bytes]) -> u32 {
    u32::try_from(answers.len()).unwrap_or(u32::MAX)
}

/// The steps with their predecessors. Behind what is dropped comes what came before it.
fn read_steps(
    flat: &[Flat<'_>],
    names: &BTreeMap<StepKey, usize>,
    dropped: &Dropped,
    json: &PlanJson<'_>,
    level: usize,
) -> Result<Vec<PlanStep>> {
    let mut steps: Vec<PlanStep> = Vec::with_capacity(flat.len());
    for (at, step) in flat.iter().enumerate() {
        let path = || path(at, |at| flat[at].origin());
        brain::check_step(step, json.brain.as_ref(), path)?;
        let after = order::predecessors(at, flat, names)
            .map_err(|message| Error::invalid(format!("{}.after", path()), message))?;
        let after = dropped.passed_on(step.role, after, &steps);
        steps.push(step.read(&path, after, &json.retry, level)?);
    }
    Ok(steps)
}

/// The path of a step. `origin_of` says when a step runs, and its place in the text that it is from.
fn path(at: usize, origin_of: impl Fn(usize) -> (Role, usize)) -> String {
    let (mut at, mut below) = (at, String::new());
    loop {
        match origin_of(at) {
            (Role::Listed, place) => return format!("steps[{place}]{below}"),
            (Role::Ask { .. }, _) => return format!("brain{below}"),
            (Role::Fallback { of, place }, _) => {
                (at, below) = (of, format!(".fallback[{place}]{below}"))
            }
            (Role::Undo { of }, _) => (at, below) = (of, format!(".compensate{below}")),
        }
    }
}

fn index_of_names(steps: &[Flat<'_>]) -> Result<BTreeMap<StepKey, usize>> {
    let mut names = BTreeMap::new();
    for (at, step) in steps.iter().enumerate() {
        if names.insert(step.key.clone(), at).is_some() {
            let field = format!("{}.name", path(at, |at| steps[at].origin()));
            return Err(Error::invalid(field, format!("{} is there twice", step.key)));
        }
    }
    Ok(names)
}

fn check_faults(faults: &[PlanFault], names: &BTreeMap<StepKey, usize>) -> Result<()> {
    for (at, fault) in faults.iter().enumerate() {
        if !names.contains_key(&fault.step) {
            let message = format!("there is no step {}", fault.step);
            return Err(Error::invalid(format!("faults[{at}].step"), message));
        }
        if fault.attempt == 0 {
            return Err(Error::invalid(format!("faults[{at}].attempt"), "counts from 1"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
