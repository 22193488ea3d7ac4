//! The plan in the body of a new run: read as a whole, its tools and faults checked at the door.

use super::create::NewRun;
use crate::{App, Code, Problem, Verdicts};
use serde_json::value::RawValue;
use spine_log::EventLog;
use spine_schemas::{
    Plan, PlanStep, RunKey,
    spec::{Act, act_of},
};
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
    check_tools(app, &plan, "")?;
    Ok(Arc::new(plan))
}

/// Tools are called only where this installation allows it; also those of the runs that are steps.
fn check_tools<L: EventLog, S: RunStore, V: Verdicts>(
    app: &App<L, S, V>,
    plan: &Plan,
    within: &str,
) -> Result<(), Problem> {
    let acts =
        |(_, step): &(usize, &PlanStep)| act_of(&step.tool) == Act::Call || step.probe.is_some();
    for (at, step) in plan.steps.iter().enumerate().filter(acts) {
        let probe = step.probe.as_deref().map(|probe| ("probe.tool", &probe.tool));
        let called = (act_of(&step.tool) == Act::Call).then_some(("tool", &step.tool));
        for (name, tool) in called.into_iter().chain(probe) {
            app.verdicts().check_tool(tool).map_err(|refusal| {
                let field = format!("{within}{}.{name}", plan.path(at));
                Problem::new(Code::ToolRefused, format!("{field}: {refusal}")).with("field", field)
            })?;
        }
    }
    for (at, step) in plan.steps.iter().enumerate() {
        let Some(child) = &step.child else { continue };
        check_tools(app, &child.plan, &format!("{within}{}.run.plan.", plan.path(at)))?;
    }
    Ok(())
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
