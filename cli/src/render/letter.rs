//! A dead letter with every attempt, and the list of them.

use super::{
    cell::{count, short, step},
    color,
    table::{Column, table},
    when::{clock, lasting, relative},
};
use crate::views::{Approval, Letter, LetterAttempt};
use spine_runs::approved_so_far;
use spine_schemas::time::Micros;
use std::fmt::Write as _;

/// Characters of a message that are shown.
const EXCERPT: usize = 160;

/// The list, newest first.
pub(crate) fn list(letters: &[Letter], now: Micros) -> String {
    let columns = [
        Column::Text("ID"),
        Column::Status("STATUS"),
        Column::Text("RUN"),
        Column::Text("STEP"),
        Column::Text("ERROR"),
        Column::Number("ATTEMPTS"),
        Column::Text("WHEN"),
    ];
    let rows: Vec<Vec<String>> = letters.iter().map(|letter| row(letter, now)).collect();
    table(&columns, &rows)
}

fn row(letter: &Letter, now: Micros) -> Vec<String> {
    vec![
        letter.id.clone(),
        letter.status.clone(),
        run_of(letter),
        letter.step.as_deref().map_or("-", step).to_owned(),
        format!("{} {}{}", letter.class, letter.code, share(letter)),
        letter.attempt_count.to_string(),
        relative(letter.dead_at.0, now),
    ]
}

/// How many of those who have to approve have done so, where they are more than one.
fn share(letter: &Letter) -> String {
    let several = letter.approval.as_ref().filter(|approval| approval.needed > 1);
    several.map_or_else(String::new, |approval| {
        format!(" {} of {}", approval.approved_by.len(), approval.needed)
    })
}

/// Who has approved of a call, who must not again, and until when others can.
pub(crate) fn approved(approval: &Approval, now: Micros) -> String {
    let Approval { needed, approved_by, expires_at } = approval;
    let until = expires_at.map(|at| format!(", {}", relative(at.0, now))).unwrap_or_default();
    let so_far = approved_so_far(*needed, approved_by).unwrap_or_else(|| match needed {
        1 => "needs one to approve".to_owned(),
        needed => format!("needs {needed} to approve"),
    });
    format!("{so_far}{until} at the latest")
}

fn run_of(letter: &Letter) -> String {
    match (&letter.tenant, &letter.run_id) {
        (Some(tenant), Some(run)) if tenant != "default" => format!("{tenant}/{run}"),
        (_, Some(run)) => run.clone(),
        (_, None) => "-".into(),
    }
}

/// One letter.
pub(crate) fn whole(letter: &Letter, now: Micros) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail, here and below.
    let id = color::strong(&letter.id);
    let what =
        if letter.kind == "task" { "task".to_owned() } else { format!("{} letter", letter.kind) };
    let _ = writeln!(text, "{id}  {}  {what}", color::status(&letter.status));
    if letter.run_id.is_some() {
        let _ = writeln!(text, "  run      {}", run_of(letter));
    }
    if let Some(of) = &letter.step {
        let _ = writeln!(text, "  step     {}", step(of));
    }
    if let Some(tool) = &letter.tool {
        let _ = writeln!(text, "  tool     {tool}");
    }
    let dead = letter.dead_at.0;
    let _ = writeln!(text, "  since    {} ({})", clock(dead), relative(dead, now));
    let message = short(&letter.message, EXCERPT);
    let _ = writeln!(text, "  error    {} {}: {message}", letter.class, letter.code);
    if let Some(approval) = &letter.approval {
        let _ = writeln!(text, "  asked    {}", approved(approval, now));
    }
    let source = &letter.source;
    let _ = writeln!(text, "  original partition {} offset {}", source.partition, source.offset);
    if letter.generation > 0 {
        let times = count(u64::from(letter.generation), "time");
        let _ = writeln!(text, "  redriven {times} before");
    }
    if let Some(closed) = letter.closed_at {
        let by = letter.closed_by.as_deref().unwrap_or("nobody");
        let reason = short(letter.closed_reason.as_deref().unwrap_or_default(), EXCERPT);
        let _ = writeln!(text, "  closed   {} by {by}: {reason}", clock(closed.0));
    }
    if !letter.attempts.is_empty() {
        text.push('\n');
    }
    for attempt in &letter.attempts {
        text.push_str(&attempt_line(attempt, dead));
    }
    text.push_str(&next(letter));
    text
}

fn attempt_line(of: &LetterAttempt, dead: Micros) -> String {
    let before = lasting(dead.ms_since(of.started_at.0));
    let took = of.ended_at.map_or("-".into(), |ended| lasting(ended.0.ms_since(of.started_at.0)));
    let free = if of.charged { "" } else { "  free" };
    let message = short(&of.message, EXCERPT);
    format!(
        "  #{:<3} {before:>6} before the end, took {took:>6}  {} {}: {message}{free}\n",
        of.attempt, of.class, of.code
    )
}

fn next(letter: &Letter) -> String {
    if letter.status != "open" {
        return String::new();
    }
    let id = &letter.id;
    if letter.kind == "task" && letter.code == "approval" {
        return format!(
            "\nDecide whether the call may be made:\n  \
             spine tasks decide {id} --approve --reason '…'\n  \
             spine tasks decide {id} --deny --reason '…'\n"
        );
    }
    if letter.kind == "task" {
        return format!(
            "\nThe step is out of attempts. Decide what is to be done:\n  \
             spine tasks decide {id} --retry --reason '…'      try it again\n  \
             spine tasks decide {id} --complete --reason '…'   it was done by hand\n  \
             spine tasks decide {id} --skip --reason '…'       go on without it\n  \
             spine tasks decide {id} --fail --reason '…'       the run fails\n"
        );
    }
    let then = if letter.kind == "step" { " --then fail|skip" } else { "" };
    format!(
        "\nRepair the cause, then put it back to work:\n  \
         spine dead-letters redrive {id} --reason '…'\nor give it up:\n  \
         spine dead-letters discard {id}{then} --reason '…'\n"
    )
}
