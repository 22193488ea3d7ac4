//! `spine runs diff`: how two runs differ.

use super::RunArgs;
use crate::{
    client::{Client, segment},
    exit::Failure,
    output,
    render::cell::{count, short, step},
};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::fmt::Write as _;

/// Characters of a payload that are shown.
const EXCERPT: usize = 80;

/// Arguments of `runs diff`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    of: RunArgs,
    /// The run to compare it with
    other: String,
}

#[derive(Deserialize)]
struct Diff {
    runs: [Run; 2],
    differs: Vec<String>,
    steps: Vec<StepDiff>,
    #[serde(default)]
    more_steps: usize,
    equal_steps: usize,
}

#[derive(Deserialize)]
struct Run {
    run_id: String,
    workflow: String,
    version: String,
    status: String,
    attempts: u64,
    input: Box<RawValue>,
    output: Option<Box<RawValue>>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct StepDiff {
    step: String,
    differs: Vec<String>,
    runs: [Option<Step>; 2],
}

#[derive(Deserialize)]
struct Step {
    status: String,
    attempts: u32,
    #[serde(default)]
    reused: bool,
    tool: String,
    effect: String,
    input: Box<RawValue>,
    output: Option<Box<RawValue>>,
    error: Option<String>,
}

/// Compares the runs.
pub(super) async fn run(args: &Args) -> Result<(), Failure> {
    let path = args.of.path(&format!("/diff/{}", segment(&args.other)));
    let answer = Client::new(&args.of.server).get(&path).await?;
    if args.of.server.json {
        return output::line(&answer.text);
    }
    output::print(&text(&answer.read::<Diff>()?))
}

fn text(diff: &Diff) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail, here and below.
    for (mark, run) in ["-", "+"].iter().zip(&diff.runs) {
        let Run { run_id, workflow, version, status, attempts, .. } = run;
        let attempts = count(*attempts, "attempt");
        let _ = writeln!(text, "{mark} {run_id}  {workflow} v{version}, {status}, {attempts}");
    }
    for name in &diff.differs {
        let _ = writeln!(text, "\n{name}");
        for (mark, run) in ["-", "+"].iter().zip(&diff.runs) {
            let _ = writeln!(text, "  {mark} {}", of_run(run, name));
        }
    }
    for of in &diff.steps {
        text.push_str(&step_text(of));
    }
    if diff.more_steps > 0 {
        let _ = writeln!(text, "\nand {} more that differ", count(diff.more_steps as u64, "step"));
    }
    let equal = count(diff.equal_steps as u64, "step");
    let _ = writeln!(text, "\n{equal} the same in both");
    text
}

fn step_text(of: &StepDiff) -> String {
    let mut text = format!("\nstep {}\n", step(&of.step));
    if of.differs.is_empty() {
        for (mark, side) in ["-", "+"].iter().zip(&of.runs) {
            if let Some(step) = side {
                let attempts = count(u64::from(step.attempts), "attempt");
                let _ = writeln!(text, "  {mark} only here: {}, {attempts}", step.status);
            }
        }
    }
    for name in &of.differs {
        let _ = writeln!(text, "  {name}");
        for (mark, side) in ["-", "+"].iter().zip(&of.runs) {
            let value = side.as_ref().map(|step| of_step(step, name)).unwrap_or_default();
            let _ = writeln!(text, "    {mark} {value}");
        }
    }
    text
}

fn of_run(run: &Run, name: &str) -> String {
    match name {
        "workflow" => run.workflow.clone(),
        "version" => run.version.clone(),
        "input" => short(run.input.get(), EXCERPT),
        "output" => payload(run.output.as_deref()),
        "status" => run.status.clone(),
        "error" => run.error.clone().unwrap_or_else(|| "none".into()),
        other => other.to_owned(),
    }
}

fn of_step(step: &Step, name: &str) -> String {
    match name {
        "tool" => step.tool.clone(),
        "effect" => step.effect.clone(),
        "input" => short(step.input.get(), EXCERPT),
        "output" => payload(step.output.as_deref()),
        "status" if step.reused => format!("{} (taken over)", step.status),
        "status" => step.status.clone(),
        "error" => step.error.clone().unwrap_or_else(|| "none".into()),
        other => other.to_owned(),
    }
}

fn payload(output: Option<&RawValue>) -> String {
    output.map_or_else(|| "none".into(), |output| short(output.get(), EXCERPT))
}
