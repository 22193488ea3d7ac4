//! The plan in the body of a new run: read as a whole, its tools and faults checked at the door.

use super::create::NewRun;
use crate::{App, Code, Problem, Verdicts};
use serde_json::value::RawValue;
use spine_log::EventLog;
use spine_schemas::{Plan, RunKey};
use spine_store::RunStore;
use std::sync::Arc;

/// The plan, if the body has steps, or a brain that is asked for them.
pub(super) fn read<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    run: &RunKey,
    new: &NewRun<'_>,
) -> Result<Option<Arc<Plan>>, Problem> {
    let parts = new.plan_parts();
    if new.steps.is_none() && new.brain.is_none() {
        let first = parts.into_iter().find(|(_, part)| part.is_some());
        return first.map_or(Ok(None), |(name, _)| Err(without_steps(name)));
    }
    checked(app, run, source(parts)).map(Some)
}

/// The plan of a new run, its tools and faults checked.
pub(super) fn checked<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    run: &RunKey,
    source: String,
) -> Result<Arc<Plan>, Problem> {
    let plan = Plan::parse(source)?;
    plan.check_new()?;
    if !plan.faults.is_empty() && !app.settings().test_tenants.contains(&*run.tenant) {
        let detail = format!("tenant {} is not a test tenant", run.tenant);
        return Err(Problem::new(Code::FaultsRefused, detail).with("field", "faults"));
    }
    if let Some((field, refusal)) = plan.refused_tool(0, &|tool| app.verdicts().check_tool(tool)) {
        let detail = format!("{field}: {refusal}");
        return Err(Problem::new(Code::ToolRefused, detail).with("field", field));
    }
    Ok(Arc::new(plan))
}

fn without_steps(field: &'static str) -> Problem {
    let detail = format!("{field}: is only allowed beside steps or a brain");
    Problem::new(Code::InvalidField, detail).with("field", field)
}

/// The part of the body that is the plan, text as received, so that its digest is the sender's.
fn source<'a>(parts: impl IntoIterator<Item = (&'static str, Option<&'a RawValue>)>) -> String {
    let mut text = String::from("{");
    for (name, part) in parts {
        let Some(part) = part else { continue };
        if text.len() > 1 {
            text.push(',');
        }
        text.push('"');
        text.push_str(name);
        text.push_str("\":");
        text.push_str(part.get());
    }
    text.push('}');
    text
}
