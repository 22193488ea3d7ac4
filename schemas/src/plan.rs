//! Plans: the steps that a run carries, checked as a whole before anything is appended.

use crate::{
    Effect, Error, Fault, OnExhausted, Result, RetryPolicy, StepKey, canonical, limits, spec,
};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::{BTreeMap, BTreeSet};

/// The steps of a plan run, in the order of the list.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The plan as it was received: `{"retry":…,"steps":[…],"faults":[…]}`.
    pub source: Bytes,
    /// The steps; predecessors are indexes into this list.
    pub steps: Vec<PlanStep>,
    /// Faults to inject, on test tenants only.
    pub faults: Vec<PlanFault>,
}

impl PartialEq for Plan {
    fn eq(&self, other: &Self) -> bool {
        self.source == other.source
    }
}

/// One step of a plan.
#[derive(Clone, Debug)]
pub struct PlanStep {
    /// Its identity.
    pub key: StepKey,
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
    /// Statuses by which the tool says that nothing was applied.
    pub not_applied: Vec<u16>,
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PlanJson<'a> {
    #[serde(default)]
    retry: RetryPolicy,
    #[serde(borrow)]
    steps: Vec<StepJson<'a>>,
    #[serde(default)]
    faults: Vec<PlanFault>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StepJson<'a> {
    name: String,
    #[serde(default)]
    scope: String,
    #[serde(default = "one")]
    occurrence: u32,
    tool: String,
    #[serde(default)]
    effect: Effect,
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
    #[serde(default)]
    not_applied: Vec<u16>,
}

fn one() -> u32 {
    1
}

impl Plan {
    /// Reads and checks a plan.
    ///
    /// # Errors
    /// [`Error::Invalid`] or [`Error::TooLarge`], naming the field by its path in the plan.
    pub fn parse(source: impl Into<Bytes>) -> Result<Self> {
        let source: Bytes = source.into();
        // Space around the plan is not part of it: it would not survive the JSON form of the event.
        let source = source.slice_ref(source.trim_ascii());
        canonical::check_depth("steps", &source)?;
        let json: PlanJson<'_> = serde_json::from_slice(&source)
            .map_err(|error| Error::invalid("steps", error.to_string()))?;
        if json.steps.is_empty() {
            return Err(Error::invalid("steps", "a plan needs at least one step"));
        }
        if json.steps.len() > limits::PLAN_STEPS {
            return Err(Error::too_large("steps", json.steps.len(), limits::PLAN_STEPS));
        }
        json.retry.check("retry")?;
        let names = index_of_names(&json.steps)?;
        let mut steps = Vec::with_capacity(json.steps.len());
        for (at, step) in json.steps.iter().enumerate() {
            steps.push(plan_step(at, step, &json.retry, &names)?);
        }
        check_references(&steps, &names)?;
        check_faults(&json.faults, &names)?;
        Ok(Self { steps, faults: json.faults, source })
    }

    /// What is asked of a new plan beyond what makes it a plan. Those in the log may be older than
    /// the limit.
    ///
    /// # Errors
    /// [`Error::TooLarge`] naming the step, over [`limits::STEP_REFERENCES`].
    pub fn check_new(&self) -> Result<()> {
        for (at, step) in self.steps.iter().enumerate() {
            let count = canonical::references(&step.input)?.len();
            if count > limits::STEP_REFERENCES {
                let field = format!("steps[{at}].input.$ref");
                return Err(Error::too_large(field, count, limits::STEP_REFERENCES));
            }
        }
        Ok(())
    }

    /// The fault planned for an attempt, if any.
    pub fn fault(&self, step: &StepKey, attempt: u32) -> Option<Fault> {
        let planned = |fault: &&PlanFault| fault.step == *step && fault.attempt == attempt;
        self.faults.iter().find(planned).map(|fault| fault.fault)
    }
}

fn index_of_names(steps: &[StepJson<'_>]) -> Result<BTreeMap<StepKey, usize>> {
    let mut names = BTreeMap::new();
    for (at, step) in steps.iter().enumerate() {
        let key = StepKey::new(&step.scope, &step.name, step.occurrence)
            .map_err(|error| Error::invalid(format!("steps[{at}]"), error.to_string()))?;
        let text = key.to_string();
        if names.insert(key, at).is_some() {
            return Err(Error::invalid(
                format!("steps[{at}].name"),
                format!("{text} is there twice"),
            ));
        }
    }
    Ok(names)
}

fn plan_step(
    at: usize,
    step: &StepJson<'_>,
    retry: &RetryPolicy,
    names: &BTreeMap<StepKey, usize>,
) -> Result<PlanStep> {
    let field = |name: &str| format!("steps[{at}].{name}");
    if step.tool.is_empty() || step.tool.len() > limits::NAME_BYTES {
        return Err(Error::invalid(field("tool"), "must have 1 to 512 bytes"));
    }
    let retry = step.retry.unwrap_or(*retry);
    retry.check(&field("retry"))?;
    let timeout_ms = step.timeout_ms.unwrap_or(spec::TIMEOUT_MS);
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
    let input = step.input.map_or("null", RawValue::get);
    if input.len() > limits::PAYLOAD_BYTES {
        return Err(Error::too_large(field("input"), input.len(), limits::PAYLOAD_BYTES));
    }
    Ok(PlanStep {
        key: StepKey::new(&step.scope, &step.name, step.occurrence)?,
        tool: step.tool.clone(),
        effect: step.effect,
        input: Bytes::copy_from_slice(input.as_bytes()),
        after: predecessors(at, step, names)?,
        retry,
        timeout_ms,
        schedule_to_start_ms: step.schedule_to_start_ms,
        deadline_ms,
        key_ttl_ms,
        on_exhausted: step.on_exhausted,
        not_applied: step.not_applied.clone(),
    })
}

/// Without `after` a step follows its predecessor in the list. Only earlier steps can be named, so
/// that a plan cannot hold a cycle.
fn predecessors(
    at: usize,
    step: &StepJson<'_>,
    names: &BTreeMap<StepKey, usize>,
) -> Result<Vec<usize>> {
    let field = format!("steps[{at}].after");
    let Some(after) = &step.after else {
        return Ok(at.checked_sub(1).into_iter().collect());
    };
    if after.len() > limits::PLAN_AFTER {
        return Err(Error::too_large(field, after.len(), limits::PLAN_AFTER));
    }
    let mut indexes = BTreeSet::new();
    for name in after {
        let key: StepKey = name
            .parse()
            .map_err(|error: Error| Error::invalid(field.as_str(), error.to_string()))?;
        match names.get(&key) {
            Some(&index) if index < at => indexes.insert(index),
            Some(_) => {
                return Err(Error::invalid(
                    field,
                    format!("{name} does not come before this step"),
                ));
            }
            None => return Err(Error::invalid(field, format!("there is no step {name}"))),
        };
    }
    Ok(indexes.into_iter().collect())
}

/// Every `$ref` must name the run or a step that has surely ended when the reference is resolved.
fn check_references(steps: &[PlanStep], names: &BTreeMap<StepKey, usize>) -> Result<()> {
    let mut before: Vec<Indexes> = Vec::with_capacity(steps.len());
    for (at, step) in steps.iter().enumerate() {
        let mut ended = Indexes::none(steps.len());
        for &index in &step.after {
            ended.insert(index);
            ended.insert_all(&before[index]);
        }
        for reference in canonical::references(&step.input)? {
            let Some(source) = &reference.step else { continue };
            if !names.get(source).is_some_and(|&index| ended.contains(index)) {
                let message = format!("$ref to {source}, which this step does not come after");
                return Err(Error::invalid(format!("steps[{at}].input"), message));
            }
        }
        before.push(ended);
    }
    Ok(())
}

/// A set of indexes, one bit each: a plan is read with every decoding of its run, and a chain of a
/// thousand steps has half a million predecessors.
struct Indexes(Vec<u64>);

impl Indexes {
    fn none(count: usize) -> Self {
        Self(vec![0; count.div_ceil(64)])
    }

    fn insert(&mut self, index: usize) {
        self.0[index / 64] |= 1 << (index % 64);
    }

    fn insert_all(&mut self, other: &Self) {
        for (word, more) in self.0.iter_mut().zip(&other.0) {
            *word |= more;
        }
    }

    fn contains(&self, index: usize) -> bool {
        self.0[index / 64] & (1 << (index % 64)) != 0
    }
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
