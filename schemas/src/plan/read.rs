//! The JSON of a plan, read into one flat list: the plan's steps first, then what stands in for them
//! and what undoes them.

use super::{
    Approval, BRAIN_SCOPE, Brain, Child, OnDeadline, PlanFault, PlanStep, Role, UNDO_SCOPE,
    ask_key, brain::AnswerJson, memo::Memo, path,
};
use crate::{
    Effect, Error, OnExhausted, Probe, Result, RetryPolicy, StepKey, check_id, limits, spec,
};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::{collections::BTreeSet, sync::Arc};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PlanJson<'a> {
    #[serde(default)]
    pub(super) retry: RetryPolicy,
    #[serde(borrow, default)]
    pub(super) steps: Vec<Written<'a>>,
    pub(super) brain: Option<Brain>,
    #[serde(default)]
    pub(super) faults: Vec<PlanFault>,
    #[serde(default)]
    pub(super) deadline_ms: u64,
    on_deadline: Option<OnDeadline>,
}

impl PlanJson<'_> {
    /// What happens at the deadline.
    ///
    /// # Errors
    /// [`Error::Invalid`] or [`Error::TooLarge`], naming the field.
    pub(super) fn on_deadline(&self) -> Result<OnDeadline> {
        if self.deadline_ms > limits::DEADLINE_MS {
            let (given, most) = (self.deadline_ms as usize, limits::DEADLINE_MS as usize);
            return Err(Error::too_large("deadline_ms", given, most));
        }
        if self.on_deadline.is_some() && self.deadline_ms == 0 {
            return Err(Error::invalid("on_deadline", "there is no deadline_ms"));
        }
        Ok(self.on_deadline.unwrap_or_default())
    }
}

/// A step as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Written<'a> {
    #[serde(default)]
    name: String,
    #[serde(default)]
    scope: String,
    #[serde(default = "one")]
    occurrence: u32,
    pub(super) tool: String,
    #[serde(default)]
    pub(super) effect: Effect,
    #[serde(borrow, default)]
    input: Option<&'a RawValue>,
    after: Option<Vec<String>>,
    retry: Option<RetryPolicy>,
    timeout_ms: Option<u64>,
    #[serde(default)]
    schedule_to_start_ms: u64,
    deadline_ms: Option<u64>,
    key_ttl_ms: Option<u64>,
    #[serde(default)]
    on_exhausted: OnExhausted,
    #[serde(borrow, default)]
    default: Option<&'a RawValue>,
    #[serde(borrow, default)]
    fallback: Vec<Written<'a>>,
    #[serde(borrow, default)]
    pub(super) compensate: Option<Box<Written<'a>>>,
    #[serde(default)]
    not_applied: Vec<u16>,
    pub(super) approval: Option<Approval>,
    pub(super) memo: Option<Memo>,
    probe: Option<Box<Probe>>,
    #[serde(borrow, default)]
    run: Option<&'a RawValue>,
    /// Whether the brain is asked before what follows in the list begins.
    #[serde(default)]
    pub(super) then_ask: bool,
}

impl Written<'_> {
    /// The step by which a brain is asked.
    pub(super) fn ask(brain: &Brain) -> Self {
        Self {
            name: "ask".into(),
            scope: BRAIN_SCOPE.into(),
            occurrence: 1,
            tool: brain.tool.clone(),
            effect: brain.effect,
            input: None,
            after: None,
            retry: brain.retry,
            timeout_ms: Some(brain.timeout_ms),
            schedule_to_start_ms: 0,
            deadline_ms: None,
            key_ttl_ms: None,
            on_exhausted: brain.on_exhausted,
            default: None,
            fallback: Vec::new(),
            compensate: None,
            not_applied: Vec::new(),
            approval: None,
            memo: None,
            probe: None,
            run: None,
            then_ask: false,
        }
    }
}

fn one() -> u32 {
    1
}

/// A step as it is written, when it runs, and its identity.
pub(super) struct Flat<'j> {
    pub(super) key: StepKey,
    pub(super) role: Role,
    /// The step that asked last before it in the list.
    pub(super) asked_by: Option<usize>,
    /// The turn of the answer that it is from; 0 for what the plan has itself.
    pub(super) given_at: u32,
    /// Its place in the text that it is from.
    pub(super) place: usize,
    pub(super) written: &'j Written<'j>,
}

/// What makes the list of a plan: its own steps and those of the answers. An answer's steps lie behind the step
/// that asked for them, before what was left of the list then.
pub(super) struct Lists<'j> {
    own: &'j [Written<'j>],
    answers: &'j [AnswerJson<'j>],
    ask: Option<&'j Written<'j>>,
    /// How often the brain is asked.
    turns: u32,
    /// Steps that there may be in all.
    most: usize,
}

impl<'j> Lists<'j> {
    /// # Errors
    /// [`Error::Invalid`] for an answer that asks for another turn than there is.
    pub(super) fn of(
        json: &'j PlanJson<'j>,
        answers: &'j [AnswerJson<'j>],
        ask: Option<&'j Written<'j>>,
        is_over: bool,
    ) -> Result<Self> {
        let given = u32::try_from(answers.len()).unwrap_or(u32::MAX);
        let turns = given.saturating_add(u32::from(!is_over && ask.is_some()));
        let most_turns = json.brain.as_ref().map_or(0, |brain| brain.max_turns);
        if turns > most_turns {
            let message = format!("{most_turns} turns are all that there may be: end the run");
            return Err(Error::invalid("steps", message));
        }
        let most = limits::PLAN_STEPS;
        if let Some(answer) = answers.iter().find(|answer| answer.steps().len() > most) {
            return Err(Error::too_large("steps", answer.steps().len(), most));
        }
        let most = if answers.is_empty() { limits::PLAN_STEPS } else { limits::RUN_STEPS };
        Ok(Self { own: &json.steps, answers, ask, turns, most })
    }
}

/// The steps of the list, then those that stand in for others or undo them; and how many the list has.
pub(super) fn flat<'j>(lists: &Lists<'j>) -> Result<(Vec<Flat<'j>>, usize)> {
    let mut steps = list(lists)?;
    let (listed, mut of) = (steps.len(), 0);
    while of < steps.len() {
        let (written, given_at) = (steps[of].written, steps[of].given_at);
        let from = Origin { asked_by: None, given_at, place: 0, most: lists.most };
        for (place, fallback) in written.fallback.iter().enumerate() {
            push(&mut steps, Role::Fallback { of, place }, fallback, from)?;
        }
        if let Some(undo) = &written.compensate {
            push(&mut steps, Role::Undo { of }, undo, from)?;
        }
        of += 1;
    }
    Ok((steps, listed))
}

/// The brain is asked where a step says so that is not dropped and that more follows, and at the end. Behind the
/// turn that has no answer yet nothing is known of later ones.
fn list<'j>(lists: &Lists<'j>) -> Result<Vec<Flat<'j>>> {
    let mut steps = Vec::with_capacity(lists.own.len());
    let mut from = Origin { asked_by: None, given_at: 0, place: 0, most: lists.most };
    // What is left of each text, the newest last: its steps come first.
    let mut left = vec![(0, lists.own.iter().enumerate())];
    let (mut turn, mut dropped) = (0, BTreeSet::<StepKey>::new());
    loop {
        let next = left.last_mut().map(|(given_at, rest)| (*given_at, rest.next()));
        if let Some((given_at, Some((place, written)))) = next {
            push(&mut steps, Role::Listed, written, Origin { given_at, place, ..from })?;
            let is_last = left.iter().all(|(_, rest)| rest.len() == 0);
            let is_dropped = steps.last().is_some_and(|step| dropped.contains(&step.key));
            if !written.then_ask || is_last || is_dropped {
                continue;
            }
        } else if left.pop().is_some() {
            continue;
        }
        let Some(ask) = lists.ask.filter(|_| turn < lists.turns) else {
            if left.is_empty() {
                return Ok(steps);
            }
            continue;
        };
        turn += 1;
        push(&mut steps, Role::Ask { turn }, ask, from)?;
        from.asked_by = Some(steps.len() - 1);
        if let Some(answer) = lists.answers.get(turn as usize - 1) {
            dropped.extend(answer.drop.iter().filter_map(|name| name.parse::<StepKey>().ok()));
            left.push((turn, answer.steps().iter().enumerate()));
        }
    }
}

/// Where a step comes from, and how many there may be.
#[derive(Clone, Copy)]
struct Origin {
    asked_by: Option<usize>,
    given_at: u32,
    place: usize,
    most: usize,
}

fn push<'j>(
    steps: &mut Vec<Flat<'j>>,
    role: Role,
    written: &'j Written<'j>,
    from: Origin,
) -> Result<()> {
    let Origin { asked_by, given_at, place, most } = from;
    if steps.len() >= most {
        return Err(Error::too_large("steps", steps.len() + 1, most));
    }
    let key = match role {
        Role::Listed | Role::Fallback { .. } => {
            StepKey::new(&written.scope, &written.name, written.occurrence)
        }
        Role::Ask { turn } => Ok(ask_key(turn)),
        Role::Undo { of } => undo_key(&steps[of].key, written),
    };
    let path = || path(steps.len(), |at| steps.get(at).map_or((role, place), Flat::origin));
    let key = key.map_err(|error| Error::invalid(path(), error.to_string()))?;
    steps.push(Flat { key, role, asked_by, given_at, place, written });
    Ok(())
}

/// What undoes a step has its name, in a scope of its own.
fn undo_key(undone: &StepKey, written: &Written<'_>) -> Result<StepKey> {
    if !written.name.is_empty() || !written.scope.is_empty() || written.occurrence != 1 {
        return Err(Error::invalid("name", "what undoes a step takes its name from that"));
    }
    let scope = match &*undone.scope {
        "" => UNDO_SCOPE.to_owned(),
        scope => format!("{UNDO_SCOPE}/{scope}"),
    };
    StepKey::new(&scope, &undone.name, undone.occurrence)
}

impl Flat<'_> {
    /// When it runs, and its place in the text that it is from.
    pub(super) fn origin(&self) -> (Role, usize) {
        (self.role, self.place)
    }

    pub(super) fn is_ask(&self) -> bool {
        matches!(self.role, Role::Ask { .. })
    }

    /// The predecessors that are named, if any are.
    pub(super) fn after(&self) -> Option<&[String]> {
        self.written.after.as_deref()
    }

    /// Checks the step's own values. `path` is where it stands in the plan.
    pub(super) fn read(
        &self,
        path: &dyn Fn() -> String,
        after: Vec<usize>,
        retry: &RetryPolicy,
        level: usize,
    ) -> Result<PlanStep> {
        let field = |name: &str| format!("{}.{name}", path());
        let step = self.written;
        if step.tool.is_empty() || step.tool.len() > limits::NAME_BYTES {
            return Err(Error::invalid(field("tool"), "must have 1 to 512 bytes"));
        }
        let retry = match step.retry {
            Some(own) => own.check(&field("retry")).map(|()| own)?,
            None => *retry,
        };
        let act = spec::act_of(&step.tool);
        let in_queue = matches!(act, spec::Act::Queue(_));
        let usual_ms = if in_queue { spec::QUEUE_TIMEOUT_MS } else { spec::TIMEOUT_MS };
        let timeout_ms = step.timeout_ms.unwrap_or(usual_ms);
        if timeout_ms == 0 || timeout_ms > limits::TIMEOUT_MS {
            return Err(Error::invalid(field("timeout_ms"), "must be between 1 and 86400000"));
        }
        let deadline_ms = step.deadline_ms.unwrap_or(spec::DEADLINE_MS);
        if deadline_ms.max(step.schedule_to_start_ms) > limits::DEADLINE_MS {
            return Err(Error::invalid(field("deadline_ms"), "must not be longer than a year"));
        }
        let key_ttl_ms = step.key_ttl_ms.unwrap_or(spec::KEY_TTL_MS);
        if key_ttl_ms > limits::DEADLINE_MS {
            return Err(Error::invalid(field("key_ttl_ms"), "must not be longer than a year"));
        }
        if step.not_applied.len() > limits::STATUSES {
            let (count, limit) = (step.not_applied.len(), limits::STATUSES);
            return Err(Error::too_large(field("not_applied"), count, limit));
        }
        let input = json_of("input", &field, step.input)?.unwrap_or(Bytes::from_static(b"null"));
        self.check_recovery(&field)?;
        self.check_act(&field)?;
        self.check_means(&field)?;
        self.check_memo(&field)?;
        let child = self.child(&field, level)?;
        Ok(PlanStep {
            key: self.key.clone(),
            role: self.role,
            given_at: self.given_at,
            place: self.place,
            tool: step.tool.clone(),
            // A step that only waits has no effect that could repeat.
            effect: if act.acts() { step.effect } else { Effect::Pure },
            input,
            after,
            retry,
            timeout_ms,
            schedule_to_start_ms: step.schedule_to_start_ms,
            deadline_ms,
            key_ttl_ms,
            on_exhausted: step.on_exhausted,
            default: json_of("default", &field, step.default)?,
            not_applied: step.not_applied.clone(),
            approval_ms: step.approval.as_ref().map(|approval| approval.expires_ms),
            quorum: step.approval.as_ref().and_then(Approval::quorum),
            memo_ms: step.memo.map(|memo| memo.max_age_ms),
            probe: step.probe.clone(),
            child,
        })
    }

    /// The run that each attempt is. It has no time-out of its own, and repeating it is another run with other
    /// keys.
    fn child(&self, field: &dyn Fn(&str) -> String, level: usize) -> Result<Option<Arc<Child>>> {
        let step = self.written;
        let wrong = |name: &str, message: &str| Err(Error::invalid(field(name), message));
        match (step.run, spec::act_of(&step.tool)) {
            (None, spec::Act::Run) => wrong("run", "is missing: say which plan the run has"),
            (None, _) => Ok(None),
            (Some(_), spec::Act::Run) if step.timeout_ms.is_some() => {
                wrong("timeout_ms", "is not for runs: say deadline_ms in the plan of the run")
            }
            (Some(_), spec::Act::Run)
                if !matches!(step.effect, Effect::Pure | Effect::AtMostOnce) =>
            {
                wrong("effect", "must be pure or at_most_once: another run has other keys")
            }
            (Some(run), spec::Act::Run) => Child::parse(run, field, level).map(Arc::new).map(Some),
            (Some(_), _) => wrong("run", "goes with \"tool\": \"run\""),
        }
    }

    /// A step that waits calls nothing, so there is nothing to approve of.
    fn check_act(&self, field: &dyn Fn(&str) -> String) -> Result<()> {
        let step = self.written;
        match spec::act_of(&step.tool) {
            spec::Act::Signal(name) => check_id("signal", name)
                .map_err(|error| Error::invalid(field("tool"), error.to_string()))?,
            spec::Act::Queue(name) => check_id("queue", name)
                .map_err(|error| Error::invalid(field("tool"), error.to_string()))?,
            spec::Act::Sleep(ms) if ms > limits::DEADLINE_MS => {
                return Err(Error::invalid(field("tool"), "must not sleep longer than a year"));
            }
            spec::Act::Call if step.tool.starts_with("sleep:") => {
                return Err(Error::invalid(field("tool"), "is not sleep:MILLISECONDS"));
            }
            spec::Act::Sleep(_) | spec::Act::Call | spec::Act::Run => {}
        }
        let Some(approval) = &step.approval else { return Ok(()) };
        if !spec::act_of(&step.tool).acts() {
            return Err(Error::invalid(field("approval"), "is for calls; this step only waits"));
        }
        approval.check(&field("approval"))
    }

    /// Effects are asked about only where the effect class says so.
    fn check_means(&self, field: &dyn Fn(&str) -> String) -> Result<()> {
        let step = self.written;
        let Some(probe) = &step.probe else { return Ok(()) };
        if step.effect != Effect::Probe {
            return Err(Error::invalid(field("probe"), "needs \"effect\": \"probe\""));
        }
        if probe.tool.is_empty() || probe.tool.len() > limits::NAME_BYTES {
            return Err(Error::invalid(field("probe.tool"), "must have 1 to 512 bytes"));
        }
        if spec::act_of(&probe.tool) != spec::Act::Call {
            return Err(Error::invalid(field("probe.tool"), "must be called, as http(s)://…"));
        }
        Ok(())
    }

    /// What is to happen when the step is out of attempts, and what that needs.
    fn check_recovery(&self, field: &dyn Fn(&str) -> String) -> Result<()> {
        let (step, policy) = (self.written, self.written.on_exhausted);
        let wrong = |name: &str, message: &str| Err(Error::invalid(field(name), message));
        if step.default.is_some() && policy != OnExhausted::Skip {
            return wrong("default", "stands in for a skipped step: say on_exhausted \"skip\"");
        }
        if step.fallback.is_empty() != (policy != OnExhausted::Fallback) {
            return wrong("fallback", "and on_exhausted \"fallback\" need each other");
        }
        let Role::Undo { .. } = self.role else { return Ok(()) };
        if step.compensate.is_some() {
            return wrong("compensate", "is not possible for what undoes another step");
        }
        match policy {
            OnExhausted::DeadLetter | OnExhausted::Escalate | OnExhausted::Skip => Ok(()),
            OnExhausted::Fail | OnExhausted::Fallback | OnExhausted::Compensate => wrong(
                "on_exhausted",
                "must be dead_letter, escalate or skip for what undoes a step",
            ),
        }
    }
}

fn json_of(
    name: &str,
    field: &dyn Fn(&str) -> String,
    json: Option<&RawValue>,
) -> Result<Option<Bytes>> {
    let Some(json) = json.map(RawValue::get) else { return Ok(None) };
    if json.len() > limits::PAYLOAD_BYTES {
        return Err(Error::too_large(field(name), json.len(), limits::PAYLOAD_BYTES));
    }
    Ok(Some(Bytes::copy_from_slice(json.as_bytes())))
}
