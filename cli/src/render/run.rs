//! A run as a timeline: steps in the order in which they began, their attempts, waits, errors and cost.

use super::{
    cell::{count, money, short, step},
    color, letter,
    when::{after, clock, lasting, relative},
};
use crate::views::{Attempt, Awaits, Held, Payloads, Probe, Run, Step, Time, Why};
use spine_schemas::{BRAIN_DROPPED, time::Micros};
use std::fmt::Write as _;

/// Characters of a payload or message that are shown.
const EXCERPT: usize = 100;

/// All that is known of a run, and the time at which it is looked at.
pub(crate) struct Shown<'a> {
    /// The run.
    pub(crate) run: &'a Run,
    /// What it was given and gave.
    pub(crate) payloads: &'a Payloads,
    /// Its steps, in any order.
    pub(crate) steps: &'a [Step],
    /// Why it is not finished.
    pub(crate) why: &'a Why,
    /// Now.
    pub(crate) now: Micros,
}

/// The timeline.
pub(crate) fn timeline(shown: &Shown<'_>) -> String {
    let mut text = head(shown);
    let mut steps: Vec<&Step> = shown.steps.iter().collect();
    steps.sort_by_key(|step| (begun_at(step), step.scheduled_offset));
    let start = shown.run.row.started_at.0;
    let name = steps.iter().map(|of| step(&of.step).chars().count()).max().unwrap_or(0);
    if !steps.is_empty() {
        text.push('\n');
    }
    for of in steps {
        text.push_str(&step_lines(of, name, start, shown.now));
    }
    let unseen = (shown.run.row.steps.total as usize).saturating_sub(shown.steps.len());
    if unseen > 0 {
        let steps = count(unseen as u64, "step");
        let _ = writeln!(text, "  {}", color::faint(&format!("{steps} not scheduled yet")));
    }
    let _ = writeln!(text, "\n{}", shown.why.why);
    text
}

fn begun_at(step: &Step) -> Time {
    step.attempts.first().map_or(step.scheduled_at, |first| first.started_at)
}

fn head(shown: &Shown<'_>) -> String {
    let Shown { run, payloads, now, .. } = shown;
    let row = &run.row;
    let mut text = String::new();
    // Writing to a string cannot fail, here and below.
    let _ = writeln!(
        text,
        "{}  {}  {} v{}, {} run, tenant {}",
        color::strong(&row.run_id),
        color::status(&row.status),
        row.workflow,
        row.version,
        run.driver,
        row.tenant
    );
    let started = row.started_at.0;
    let took = match row.ended_at {
        Some(ended) => format!("took {}", lasting(ended.0.ms_since(started))),
        None => format!("open for {}", lasting(now.ms_since(started))),
    };
    let _ = writeln!(text, "  started  {} ({}), {took}", clock(started), relative(started, *now));
    if let Some(since) = row.stalled_since {
        let _ = writeln!(text, "  stalled  since {} ({})", clock(since.0), relative(since.0, *now));
    }
    let _ = writeln!(text, "  steps    {}", counts(run));
    if let Some(usage) = usage(run) {
        let _ = writeln!(text, "  usage    {usage}");
    }
    if !run.tags.is_empty() {
        let tags: Vec<String> =
            run.tags.iter().map(|(name, tag)| format!("{name}={tag}")).collect();
        let _ = writeln!(text, "  tags     {}", short(&tags.join(" "), EXCERPT));
    }
    if let Some(brain) = &run.brain {
        let tool = short(&brain.tool, EXCERPT);
        let turn = match brain.turn {
            0 => "not asked yet".to_owned(),
            turn => format!("turn {turn} of at most {}", brain.max_turns),
        };
        let _ = writeln!(text, "  brain    {tool}, {turn}");
    }
    if let Some(fork) = &run.fork {
        let steps = count(u64::from(fork.reused), "step");
        let reason = short(&fork.reason, EXCERPT);
        let _ = writeln!(text, "  fork     of {}, {steps} taken over: {reason}", fork.run_id);
    }
    if let Some(parent) = &run.parent {
        let of = run.caller.as_ref();
        let of = of.map(|of| format!(", attempt {} of its step {}", of.attempt, step(&of.step)));
        let _ = writeln!(text, "  parent   {parent}{}", of.unwrap_or_default());
    }
    if let Some(input) = payloads.input.as_ref().filter(|input| input.get() != "null") {
        let _ = writeln!(text, "  input    {}", short(input.get(), EXCERPT));
    }
    if let Some(output) = &payloads.output {
        let degraded = if output.degraded { " (degraded)" } else { "" };
        let _ = writeln!(text, "  output   {}{degraded}", short(output.data.get(), EXCERPT));
    }
    if let Some(error) = &run.error {
        let message = short(&error.message, EXCERPT);
        let _ = writeln!(text, "  error    {} {}: {message}", error.class, error.code);
    }
    text
}

fn counts(run: &Run) -> String {
    let steps = run.row.steps;
    let mut parts = vec![format!("{} of {} completed", steps.completed, steps.total)];
    for (number, what) in [(steps.failed, "failed"), (steps.dead_lettered, "dead-lettered")] {
        if number > 0 {
            parts.push(format!("{number} {what}"));
        }
    }
    parts.push(count(run.row.attempts, "attempt"));
    if run.decisions > 0 {
        parts.push(count(u64::from(run.decisions), "decision"));
    }
    parts.join(", ")
}

fn usage(run: &Run) -> Option<String> {
    let tokens = run.tokens;
    let numbers = [
        (tokens.input_uncached, "tokens in"),
        (tokens.cache_read, "from cache"),
        (tokens.cache_write, "to cache"),
        (tokens.output_text, "out"),
        (tokens.output_reasoning, "reasoning"),
    ];
    let mut parts = Vec::new();
    if run.row.cost_micros > 0 {
        parts.push(format!("cost {}", money(run.row.cost_micros)));
    }
    let used = numbers.iter().filter(|(number, _)| *number > 0);
    parts.extend(used.map(|(number, what)| format!("{number} {what}")));
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn step_lines(of: &Step, width: usize, start: Micros, now: Micros) -> String {
    let name = step(&of.step);
    let mut text = format!(
        "  {name:<width$}  {}  {}",
        color::status(&format!("{:<13}", of.status)),
        color::faint(&of.effect)
    );
    text.push('\n');
    let mut ended = None;
    for attempt in &of.attempts {
        let waited = ended.map(|ended: Time| attempt.started_at.0.ms_since(ended.0));
        text.push_str(&attempt_line(attempt, waited, start, now));
        ended = attempt.ended_at;
    }
    if of.attempts_omitted > 0 {
        let _ = writeln!(text, "    and {} more", count(u64::from(of.attempts_omitted), "attempt"));
    }
    if let Some(wait) = wait(of, now) {
        let _ = writeln!(text, "    {wait}");
    }
    text
}

fn attempt_line(of: &Attempt, waited: Option<u64>, start: Micros, now: Micros) -> String {
    let took = match of.ended_at {
        Some(ended) => lasting(ended.0.ms_since(of.started_at.0)),
        None => lasting(now.ms_since(of.started_at.0)),
    };
    let mut text = format!(
        "    #{:<3} {:>9}  {took:>6}  {}",
        of.attempt,
        after(of.started_at.0, start),
        color::status(&of.end)
    );
    if let Some(run_id) = &of.run_id {
        let _ = write!(text, "  run {run_id}");
    }
    if let Some(error) = &of.error {
        let message = short(&error.message, EXCERPT);
        let _ = write!(text, "  {} {}: {message}", error.class, error.code);
    }
    if let Some(reason) = &of.reason {
        let _ = write!(text, "  {}", short(reason, EXCERPT));
    }
    if let Some(fault) = &of.injected {
        let _ = write!(text, "  (injected {fault})");
    }
    if let Some(micros) = of.cost_micros.filter(|micros| *micros > 0) {
        let _ = write!(text, "  cost {}", money(micros));
    }
    if of.end == "failed" && !of.charged {
        text.push_str("  free");
    }
    if let Some(waited) = waited {
        text.push_str(&color::faint(&format!("  after {} of waiting", lasting(waited))));
    }
    text.push('\n');
    text
}

fn held_back(held: &Held, now: Micros) -> String {
    match held.by.as_str() {
        "breaker" => format!(
            "held back by its tool's circuit breaker; {} at the earliest",
            relative(held.until.0, now)
        ),
        "rate_limit" => {
            format!(
                "held back: its tool asked for a pause; {} at the earliest",
                relative(held.until.0, now)
            )
        }
        "tool_paused" => "held back: its tool is paused".into(),
        "tenant_paused" => "held back: its tenant is paused".into(),
        by => format!("held back by {by}"),
    }
}

/// What asking its tool came to.
fn probed(probe: &Probe, now: Micros) -> String {
    let answer = probe.answer.as_deref().map(|answer| short(answer, EXCERPT)).unwrap_or_default();
    match probe.due_at {
        Some(due) if probe.asked > 0 => {
            let asked = count(u64::from(probe.asked), "time");
            format!("its tool was asked {asked}, and is again {}: {answer}", relative(due.0, now))
        }
        Some(_) => "its tool is asked whether it happened".into(),
        None => format!("waits for 'spine steps resolve': {answer}"),
    }
}

/// What stands in for a step.
fn left_out(of: &Step) -> String {
    match of.output.as_ref().and_then(|output| output.source.as_deref()) {
        Some("default") => "left out; its default stands in".into(),
        Some("task") => "left out; the output that somebody gave stands in".into(),
        Some(from) => format!("{from} stands in"),
        None => "left out".into(),
    }
}

/// What a step that has not ended waits for, or what is to be said of its end.
fn wait(of: &Step, now: Micros) -> Option<String> {
    let due = |at: Option<Time>| at.map(|at| relative(at.0, now)).unwrap_or_default();
    let held = matches!(of.status.as_str(), "scheduled" | "retry_waiting" | "deferred" | "failed");
    if let Some(paused) = of.paused.as_ref().filter(|_| held) {
        return Some(format!("paused by {}: {}", paused.by, short(&paused.reason, EXCERPT)));
    }
    match of.status.as_str() {
        "running" => Some(match of.attempts.last().and_then(|last| last.run_id.as_ref()) {
            Some(run) => format!("ends with its run; see 'spine runs show {run}'"),
            None => format!("runs; ends {} at the latest", due(of.lease_until)),
        }),
        "retry_waiting" => Some(format!("next attempt {}", due(of.due_at))),
        "deferred" => Some(match &of.held {
            Some(held) => held_back(held, now),
            None => format!("put off free of charge; next attempt {}", due(of.due_at)),
        }),
        "unknown" => Some(match &of.probe {
            Some(probe) => probed(probe, now),
            None => "waits for 'spine steps resolve'".into(),
        }),
        "completed" | "skipped" if of.reused => {
            let from = of.output.as_ref().and_then(|output| output.source.as_deref());
            Some(format!("taken over from {}", from.unwrap_or("the run that this is a fork of")))
        }
        "completed" => match of.output.as_ref()?.source.as_deref()? {
            "probe" => Some("its tool says that it happened".into()),
            "cache" => Some("taken from an equal call, and not called".into()),
            "resolved" => Some("somebody found out that it happened".into()),
            _ => None,
        },
        "awaiting" => Some(match (&of.task, &of.awaits) {
            (Some(task), _) => match &of.approval {
                Some(approval) => format!("task {task}: {}", letter::approved(approval, now)),
                None => format!("task {task}: somebody is asked what to do"),
            },
            (None, Some(Awaits { signal: Some(name), until })) => {
                format!("waits for the signal {name}; no longer than {}", due(Some(*until)))
            }
            (None, Some(Awaits { signal: None, until })) => {
                format!("sleeps; goes on {}", due(Some(*until)))
            }
            (None, None) => "its fallback takes over".into(),
        }),
        "skipped" => match of.error.as_ref().filter(|error| error.code == BRAIN_DROPPED) {
            Some(dropped) => Some(short(&dropped.message, EXCERPT)),
            None => Some(left_out(of)),
        },
        "failed" if of.given_up => Some("given up".into()),
        "dead_lettered" => Some(format!("letter {}", of.letter.as_deref().unwrap_or("unknown"))),
        _ => None,
    }
}
