//! How two runs differ: what each was given, and what became of each step.

use crate::{RunState, StepState};
use spine_schemas::StepKey;
use std::collections::BTreeSet;

/// Something of a run or step that is not the same in both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Differs {
    /// The workflow.
    Workflow,
    /// Its version.
    Version,
    /// What the run or step was given.
    Input,
    /// What it produced.
    Output,
    /// What became of it.
    Status,
    /// What went wrong.
    Error,
    /// The tool.
    Tool,
    /// What repeating may do.
    Effect,
}

impl Differs {
    /// The name in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Workflow => "workflow",
            Self::Version => "version",
            Self::Input => "input",
            Self::Output => "output",
            Self::Status => "status",
            Self::Error => "error",
            Self::Tool => "tool",
            Self::Effect => "effect",
        }
    }
}

/// The difference between two runs.
#[derive(Clone, Debug)]
pub struct RunDiff<'r> {
    /// What differs of the runs as wholes.
    pub differs: Vec<Differs>,
    /// Steps that are not the same in both, in the order of their keys.
    pub steps: Vec<StepDiff<'r>>,
    /// How many steps are.
    pub equal_steps: usize,
}

/// A step that is not the same in both runs.
#[derive(Clone, Debug)]
pub struct StepDiff<'r> {
    /// Its identity.
    pub key: &'r StepKey,
    /// As it is in the first run, if it is there.
    pub first: Option<&'r StepState>,
    /// As it is in the second one.
    pub second: Option<&'r StepState>,
    /// What differs; empty where one of them has no such step.
    pub differs: Vec<Differs>,
}

/// Compares two runs. How often something was tried, and when, makes no difference.
pub fn diff<'r>(first: &'r RunState, second: &'r RunState) -> RunDiff<'r> {
    let keys: BTreeSet<&StepKey> =
        first.steps.values().chain(second.steps.values()).map(|step| &step.key).collect();
    let all = keys.len();
    let steps: Vec<StepDiff<'r>> =
        keys.into_iter().filter_map(|key| step_diff(key, first, second)).collect();
    RunDiff { differs: run_differs(first, second), equal_steps: all - steps.len(), steps }
}

fn run_differs(first: &RunState, second: &RunState) -> Vec<Differs> {
    let (a, b) = (&first.created, &second.created);
    let code = |run: &RunState| run.error.as_ref().map(|error| error.code.clone());
    let output = |run: &RunState| run.output.as_ref().map(|output| output.payload.digest);
    named([
        (Differs::Workflow, a.workflow != b.workflow),
        (Differs::Version, a.version != b.version),
        (Differs::Input, a.input.digest != b.input.digest),
        (Differs::Status, first.status != second.status),
        (Differs::Output, output(first) != output(second)),
        (Differs::Error, code(first) != code(second)),
    ])
}

fn step_diff<'r>(
    key: &'r StepKey,
    first: &'r RunState,
    second: &'r RunState,
) -> Option<StepDiff<'r>> {
    let of = |run: &'r RunState| run.steps.get(key).map(|step| &**step);
    let (first, second) = (of(first), of(second));
    let differs = match (first, second) {
        (Some(a), Some(b)) => step_differs(a, b),
        (Some(_), None) | (None, Some(_)) | (None, None) => Vec::new(),
    };
    let is_equal = first.is_some() && second.is_some() && differs.is_empty();
    (!is_equal).then_some(StepDiff { key, first, second, differs })
}

fn step_differs(a: &StepState, b: &StepState) -> Vec<Differs> {
    let code = |step: &StepState| step.error.as_ref().map(|error| error.code.clone());
    let output = |step: &StepState| step.output.as_ref().map(|output| output.payload.digest);
    // What went wrong on the way to the same end is no difference.
    let ended = a.status.is_terminal() && b.status.is_terminal();
    named([
        (Differs::Tool, a.spec.tool != b.spec.tool),
        (Differs::Effect, a.spec.effect != b.spec.effect),
        (Differs::Input, a.spec.input.digest != b.spec.input.digest),
        (Differs::Status, a.status != b.status),
        (Differs::Output, output(a) != output(b)),
        (Differs::Error, !ended && code(a) != code(b)),
    ])
}

fn named<const N: usize>(all: [(Differs, bool); N]) -> Vec<Differs> {
    all.into_iter().filter(|(_, differs)| *differs).map(|(what, _)| what).collect()
}
