//! What comes before a step of a plan, and that it refers only to what has surely ended by then.

use super::{PlanStep, Role, dropped::Dropped, path, read::Flat};
use crate::{Error, StepKey, canonical, limits};
use std::collections::{BTreeMap, BTreeSet};

/// Without `after` a step follows its predecessor in the list. Only earlier steps can be named, so
/// that a plan cannot hold a cycle.
///
/// # Errors
/// What is wrong with `after`.
pub(super) fn predecessors(
    at: usize,
    steps: &[Flat<'_>],
    names: &BTreeMap<StepKey, usize>,
) -> Result<Vec<usize>, String> {
    let step = &steps[at];
    match (step.role, step.after()) {
        (Role::Listed, Some(after)) => {
            // Nothing behind a question to a brain begins before that was answered.
            let mut after = named(at, after, names)?;
            let missing =
                step.asked_by.and_then(|ask| after.binary_search(&ask).err().zip(Some(ask)));
            if let Some((place, ask)) = missing {
                after.insert(place, ask);
            }
            Ok(after)
        }
        (Role::Ask { .. }, _) => Ok((step.asked_by.unwrap_or(0)..at).collect()),
        (Role::Listed, None) => Ok(at.checked_sub(1).into_iter().collect()),
        (Role::Fallback { .. } | Role::Undo { .. }, Some(_)) => {
            Err("is for the plan's own list: these run one after another".into())
        }
        // The steps of one fallback lie side by side.
        (Role::Fallback { place, .. }, None) => {
            Ok((place > 0).then(|| at - 1).into_iter().collect())
        }
        (Role::Undo { .. }, None) => Ok(Vec::new()),
    }
}

fn named(
    at: usize,
    after: &[String],
    names: &BTreeMap<StepKey, usize>,
) -> Result<Vec<usize>, String> {
    if after.len() > limits::PLAN_AFTER {
        return Err(format!("{} are more than the {} allowed", after.len(), limits::PLAN_AFTER));
    }
    let mut indexes = BTreeSet::new();
    for name in after {
        let key: StepKey = name.parse().map_err(|error: Error| error.to_string())?;
        match names.get(&key) {
            Some(&index) if index < at => indexes.insert(index),
            Some(_) => return Err(format!("{name} does not come before this step")),
            None => return Err(format!("there is no step {name}")),
        };
    }
    Ok(indexes.into_iter().collect())
}

/// Every `$ref` must name the run or a step that has surely ended when the reference is resolved.
pub(super) fn check_references(
    steps: &[PlanStep],
    names: &BTreeMap<StepKey, usize>,
    dropped: &Dropped,
) -> crate::Result<()> {
    let mut before: Vec<Indexes> = Vec::with_capacity(steps.len());
    for step in steps {
        let mut ended = match step.role {
            Role::Listed | Role::Ask { .. } => Indexes::none(steps.len()),
            // Where the step could run, what stands in for it can.
            Role::Fallback { of, .. } => before[of].clone(),
            Role::Undo { of } => {
                let mut ended = before[of].clone();
                ended.insert(of);
                ended
            }
        };
        for &index in &step.after {
            ended.insert(index);
            ended.insert_all(&before[index]);
        }
        let at = before.len();
        for reference in canonical::references(&step.input)? {
            // What is dropped resolves nothing.
            let source = reference.step.as_ref().filter(|_| !dropped.has(at));
            let Some(source) = source else { continue };
            if !names.get(source).is_some_and(|&index| ended.contains(index)) {
                let message = format!("$ref to {source}, which this step does not come after");
                return Err(Error::invalid(
                    format!("{}.input", path(at, |at| steps[at].origin())),
                    message,
                ));
            }
        }
        before.push(ended);
    }
    Ok(())
}

/// Where in the list a brain is asked, counted from 0.
pub(super) fn place_of_ask(listed: &[Flat<'_>], number: usize) -> usize {
    let asks = listed.iter().enumerate().filter(|(_, step)| step.is_ask());
    asks.map(|(at, _)| at).nth(number).unwrap_or(0)
}

/// A set of indexes, one bit each: a plan is read with every decoding of its run, and a chain of a
/// thousand steps has half a million predecessors.
#[derive(Clone)]
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
