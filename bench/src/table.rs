//! Rows as text for people: a block for each as it is measured, and one table at the end.

use crate::{
    measure::{Measure, round},
    row::Row,
};
use std::fmt::Write as _;

const HEAD: [&str; 8] = ["job", "on", "measured", "against", "ratio", "must", "want", "met"];

/// What was measured, with all that the figures depend on.
pub fn block(row: &Row) -> String {
    let mut text = format!("{} on {}\n", row.job, row.on);
    write_side(&mut text, &row.measured, &row.rounds);
    if let Some(against) = &row.against {
        write_side(&mut text, against, &row.rounds_against);
    }
    text
}

fn write_side(text: &mut String, side: &Measure, rounds: &[f64]) {
    let mut parts = vec![format!("{}: {}", side.of, figure(side.value, side.unit))];
    if let Some(times) = side.times {
        let (of, p50, p99, max) = (times.times_of, times.p50_ms, times.p99_ms, times.max_ms);
        parts.push(format!("{of}: p50 {p50} ms, p99 {p99} ms, max {max} ms"));
    }
    if side.seconds > 0.0 {
        parts.push(format!("{} in {} s", side.count, round(side.seconds)));
    }
    if rounds.len() > 1 {
        parts.push(format!("rounds {rounds:?}"));
    }
    // Writing into memory cannot fail.
    let _ = writeln!(text, "  {}", parts.join("; "));
    if let Some(usage) = &side.usage {
        let cores: Vec<String> =
            usage.cpu.iter().map(|(name, it)| format!("{name} {it}")).collect();
        let _ = writeln!(text, "    cores: {}; limit: {}", cores.join(", "), usage.bottleneck);
    }
    let _ = writeln!(text, "    durable: {}", side.durability);
    let parameters: Vec<String> =
        side.parameters.iter().map(|(name, value)| format!("{name} {value}")).collect();
    let _ = writeln!(text, "    {}", parameters.join(", "));
}

/// All rows in one table.
pub fn table(rows: &[Row]) -> String {
    let cells: Vec<[String; 8]> = rows.iter().map(cells).collect();
    let mut widths = HEAD.map(str::len);
    for row in &cells {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = line(&HEAD.map(str::to_owned), &widths);
    text.push_str(&line(&widths.map(|width| "-".repeat(width)), &widths));
    for row in &cells {
        text.push_str(&line(row, &widths));
    }
    text
}

fn line(cells: &[String; 8], widths: &[usize; 8]) -> String {
    let padded: Vec<String> =
        cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
    format!("{}\n", padded.join("  ").trim_end())
}

fn cells(row: &Row) -> [String; 8] {
    let goal = |goal: Option<f64>| match (goal, row.sign, row.goal) {
        (Some(goal), Some(sign), Some("ratio")) => format!("{sign} {goal}"),
        (Some(goal), Some(sign), _) => format!("{sign} {}", figure(goal, row.measured.unit)),
        _ => "-".to_owned(),
    };
    [
        row.job.clone(),
        row.on.to_owned(),
        figure(row.measured.value, row.measured.unit),
        row.against.as_ref().map_or_else(
            || "-".to_owned(),
            |against| format!("{}: {}", against.of, figure(against.value, against.unit)),
        ),
        row.ratio.map_or_else(|| "-".to_owned(), |ratio| ratio.to_string()),
        goal(row.must),
        goal(row.want),
        row.met.text().to_owned(),
    ]
}

/// A figure with its unit, large ones in thousands.
fn figure(value: f64, unit: &str) -> String {
    match value {
        value if value >= 10_000.0 => format!("{} k {unit}", round(value / 1000.0)),
        value => format!("{} {unit}", round(value)),
    }
}
