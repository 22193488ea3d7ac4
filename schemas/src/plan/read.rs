//! The JSON of a plan, read into one flat list: the plan's steps first, then what stands in for them
//! and what undoes them.

use super::{Approval, OnDeadline, PlanFault, PlanStep, Role, UNDO_SCOPE, memo::Memo, path};
use crate::{
    Effect, Error, OnExhausted, Probe, Result, RetryPolicy, StepKey, check_id, limits, spec,
};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PlanJson<'a> {
    #[serde(default)]
    pub(super) retry: RetryPolicy,
    #[serde(borrow)]
    pub(super) steps: Vec<Written<'a>>,
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
}

fn one() -> u32 {
    1
}

/// A step as it is written, when it runs, and its identity.
pub(super) struct Flat<'j> {
    pub(super) key: StepKey,
    pub(super) role: Role,
    pub(super) written: &'j Written<'j>,
}

/// The steps of the list, then those that stand in for others or undo them.
pub(super) fn flat<'j>(listed: &'j [Written<'j>]) -> Result<Vec<Flat<'j>>> {
    let mut steps = Vec::with_capacity(listed.len());
    for written in listed {
        push(&mut steps, Role::Listed, written)?;
    }
    let mut of = 0;
    while of < steps.len() {
        let written = steps[of].written;
        for (place, fallback) in written.fallback.iter().enumerate() {
            push(&mut steps, Role::Fallback { of, place }, fallback)?;
        }
        if let Some(undo) = &written.compensate {
            push(&mut steps, Role::Undo { of }, undo)?;
        }
        of += 1;
    }
    Ok(steps)
}

fn push<'j>(steps: &mut Vec<Flat<'j>>, role: Role, written: &'j Written<'j>) -> Result<()> {
    if steps.len() >= limits::PLAN_STEPS {
        return Err(Error::too_large("steps", steps.len() + 1, limits::PLAN_STEPS));
    }
    let key = match role {
        Role::Listed | Role::Fallback { .. } => {
            StepKey::new(&written.scope, &written.name, written.occurrence)
        }
        Role::Undo { of } => undo_key(&steps[of].key, written),
    };
    let path = || path(steps.len(), |at| steps.get(at).map_or(role, |step| step.role));
    let key = key.map_err(|error| Error::invalid(path(), error.to_string()))?;
    steps.push(Flat { key, role, written });
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
        Ok(PlanStep {
            key: self.key.clone(),
            role: self.role,
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
        })
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
            spec::Act::Sleep(_) | spec::Act::Call => {}
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
