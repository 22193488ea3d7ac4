//! What a replay did, for people and for scripts.

use crate::{
    adapters::{Comparison, Difference},
    render::{cell::count, color, when::lasting},
};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// What a replay did.
pub(super) struct Outcome {
    /// The store that was made.
    pub(super) to: String,
    /// The store that it was compared with.
    pub(super) with: Option<String>,
    /// Partitions and one past their last replayed offset.
    pub(super) ends: Vec<(u32, u64)>,
    /// Records read.
    pub(super) records: u64,
    /// How long it took.
    pub(super) took_ms: u64,
    /// What the comparison found.
    pub(super) compared: Option<Comparison>,
}

impl Outcome {
    fn per_second(&self) -> u64 {
        self.records.saturating_mul(1000) / self.took_ms.max(1)
    }

    /// What is different, in a few words, if anything is.
    pub(super) fn difference(&self) -> Option<String> {
        let compared = self.compared.as_ref()?;
        if compared.is_equal() && compared.progress.is_empty() {
            return None;
        }
        let with = self.with.as_deref().unwrap_or_default();
        if compared.progress.is_empty() {
            return Some(format!("the replay differs from {with}"));
        }
        Some(format!(
            "{with} is at another offset than the replay; stop its server, or leave --until out"
        ))
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut text = format!(
            "replayed {} into {} in {} ({} records/s)\n",
            count(self.records, "record"),
            self.to,
            lasting(self.took_ms),
            self.per_second()
        );
        let Some(compared) = &self.compared else { return text };
        // Writing to a string cannot fail, here and below.
        for table in &compared.tables {
            let [fresh, live] = table.rows;
            let [digest, _] = &table.digests;
            let digest: String = digest.to_string().chars().take(16).collect();
            let said = match table.differing_buckets {
                0 => format!("{}  {digest}", color::good("equal")),
                buckets => format!("{}  in {buckets} of 256 buckets", color::bad("differs")),
            };
            let rows = if fresh == live {
                count(fresh, "row")
            } else {
                format!("{fresh} against {live} rows")
            };
            let _ = writeln!(text, "  {:<14}{rows:>22}  {said}", table.table);
        }
        for of in &compared.progress {
            let _ = writeln!(
                text,
                "  partition {}: the replay is at {}, the other store at {}",
                of.partition,
                offset(of.left),
                offset(of.right)
            );
        }
        // Rows of stores at different offsets differ rightly: listing them would mislead.
        let listed = if compared.progress.is_empty() { &compared.differences[..] } else { &[] };
        for of in listed {
            let _ = writeln!(text, "  {}", difference_line(of));
        }
        if compared.is_equal() && compared.progress.is_empty() {
            let _ = writeln!(text, "{}", color::good("equal: the store is the fold of the log"));
        }
        text
    }

    /// For scripts, on one line.
    pub(super) fn json(&self) -> String {
        let ends: Vec<Value> = self
            .ends
            .iter()
            .map(|(partition, end)| json!({"partition": partition, "end": end}))
            .collect();
        let compared = self.compared.as_ref().map(|compared| {
            json!({
                "equal": compared.is_equal() && compared.progress.is_empty(),
                "tables": compared.tables.iter().map(|table| json!({
                    "table": table.table,
                    "rows": table.rows,
                    "digests": table.digests,
                    "differing_buckets": table.differing_buckets,
                })).collect::<Vec<_>>(),
                "differences": compared.differences.iter().map(|of| json!({
                    "table": of.table, "key": of.key, "column": of.column,
                    "replayed": of.left, "compared": of.right,
                })).collect::<Vec<_>>(),
                "progress": compared.progress.iter().map(|of| json!({
                    "partition": of.partition, "replayed": of.left, "compared": of.right,
                })).collect::<Vec<_>>(),
            })
        });
        let whole = json!({
            "to": self.to,
            "records": self.records,
            "took_ms": self.took_ms,
            "records_per_second": self.per_second(),
            "partitions": ends,
            "compared": compared,
        });
        format!("{whole}\n")
    }
}

fn offset(at: Option<u64>) -> String {
    at.map_or("nothing".into(), |offset| format!("offset {offset}"))
}

fn difference_line(of: &Difference) -> String {
    let side = |value: &Option<String>| value.clone().unwrap_or_else(|| "no such row".into());
    let column = of.column.as_ref().map(|column| format!(" {column}")).unwrap_or_default();
    format!(
        "{} {}{column}: replayed {}, compared {}",
        of.table,
        of.key,
        side(&of.left),
        side(&of.right)
    )
}
