//! Runs of plans: steps one after the other, each a call of the tool.

use serde_json::{Value, json};

/// A plan whose steps call `tool` one after the other, each below the run's own path, so that its calls can
/// be told from those of other runs.
pub(crate) fn body(run_id: &str, tool: &str, steps: u64, effect: &str) -> Value {
    let step = |at: u64| {
        let after: Vec<String> =
            at.checked_sub(1).map(|before| format!("s{before}")).into_iter().collect();
        json!({
            "name": format!("s{at}"), "tool": format!("{tool}/{run_id}/{at}"), "effect": effect,
            "after": after, "input": {"order": "A-17", "step": at},
        })
    };
    let steps: Vec<Value> = (0..steps).map(step).collect();
    json!({"run_id": run_id, "workflow": "bench", "version": "1", "input": {}, "steps": steps})
}

/// Run and step of a call, from its path.
pub(crate) fn of_call(path: &str) -> Option<(&str, u64)> {
    let (rest, step) = path.rsplit_once('/')?;
    Some((rest.rsplit('/').next()?, step.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_names_its_run_and_step() {
        let plan = body("r-1", "http://h:1/ok", 2, "pure");
        let tool = plan["steps"][1]["tool"].as_str().unwrap();
        assert_eq!(of_call(tool), Some(("r-1", 1)));
        assert_eq!(plan["steps"][1]["after"], json!(["s0"]));
        assert_eq!(of_call("/"), None);
    }
}
