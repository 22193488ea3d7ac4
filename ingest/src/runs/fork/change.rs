//! What is changed in the plan of a fork: text in, text out, so that numbers keep their literals.

use crate::{Code, Problem};
use serde_json::value::RawValue;
use spine_schemas::{Plan, Role, StepKey};
use std::collections::BTreeMap;

/// Other values for fields of steps, by step; null takes a field away.
pub(super) type Changes<'a> = BTreeMap<StepKey, BTreeMap<String, &'a RawValue>>;

type Fields<'a> = BTreeMap<String, &'a RawValue>;

/// What makes a step's identity, and what is in steps that is no field of theirs.
const FIXED: [&str; 3] = ["name", "scope", "occurrence"];

/// The text of a plan with given parts in place of its own, and with changes in its steps.
pub(super) fn source(
    before: &Plan,
    parts: &[(&'static str, Option<&RawValue>)],
    changes: &Changes<'_>,
) -> Result<String, Problem> {
    let damaged = |error: serde_json::Error| Problem::new(Code::Internal, error.to_string());
    let mut all: Fields<'_> = serde_json::from_slice(&before.source).map_err(damaged)?;
    all.remove("faults");
    let has_steps = parts.iter().any(|(name, part)| *name == "steps" && part.is_some());
    if has_steps && !changes.is_empty() {
        let detail = "change: is for the steps of the original; these are all given anew";
        return Err(Problem::new(Code::InvalidField, detail).with("field", "change"));
    }
    for (name, part) in parts {
        if let Some(part) = part {
            all.insert((*name).to_owned(), part);
        }
    }
    let steps = match all.get("steps") {
        Some(steps) if !changes.is_empty() => Some(changed(before, steps, changes)?),
        Some(_) | None => None,
    };
    let texts = all.iter().map(|(name, part)| match (&steps, name.as_str()) {
        (Some(steps), "steps") => format!("\"steps\":{steps}"),
        _ => format!("\"{name}\":{}", part.get()),
    });
    Ok(format!("{{{}}}", texts.collect::<Vec<_>>().join(",")))
}

/// The steps of a list with their changes.
fn changed(before: &Plan, steps: &RawValue, changes: &Changes<'_>) -> Result<String, Problem> {
    let damaged = |error: serde_json::Error| Problem::new(Code::Internal, error.to_string());
    let mut steps: Vec<Fields<'_>> = serde_json::from_str(steps.get()).map_err(damaged)?;
    for (key, fields) in changes {
        let wrong = |name: &str, what: &str| {
            let field = format!("change.{key}{name}");
            Problem::new(Code::InvalidField, format!("{field}: {what}")).with("field", field)
        };
        let at = place(before, key).ok_or_else(|| match before.brain {
            Some(_) => wrong(
                "",
                "is not in the list that the run began with: what a brain asks for is changed by asking it \
                 again, with \"from\" and the step that asked for it",
            ),
            None => wrong("", "the plan's list has no such step"),
        })?;
        for (name, value) in fields {
            if FIXED.contains(&name.as_str()) {
                return Err(wrong(&format!(".{name}"), "makes the step; it cannot be changed"));
            }
            if value.get() == "null" && name != "input" && name != "default" {
                steps[at].remove(name);
            } else {
                steps[at].insert(name.clone(), value);
            }
        }
    }
    serde_json::to_string(&steps).map_err(damaged)
}

fn place(plan: &Plan, key: &StepKey) -> Option<usize> {
    let step = plan.in_list().iter().find(|step| step.key == *key)?;
    (step.role == Role::Listed).then_some(step.place)
}
