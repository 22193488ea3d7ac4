//! Are two store files equal? By digests per bucket of runs first, then down to the differing columns.
//!
//! `meta` and `progress` are left out: they say which store it is and how far it is, not what the
//! log means. Both files are read in one transaction each, row by row, so that memory stays flat.

use super::{open, read};
use crate::{
    Comparison, Difference, ProgressDifference, Result, TableComparison,
    comparison::{progress_differences, shorten, show_bytes},
    limits::COMPARE_BUCKETS,
};
use rusqlite::{
    Connection, OptionalExtension, Row, Rows, Statement,
    types::{Value, ValueRef},
};
use sha2::{Digest as _, Sha256};
use spine_schemas::Digest;
use std::{cmp::Ordering, path::Path};

/// A table, the number of leading columns that are its key, and how many of these pick the bucket.
struct Table {
    name: &'static str,
    key: usize,
    bucket: usize,
}

/// All tables whose rows follow from the log. The key comes first in each of them.
const TABLES: [Table; 10] = [
    Table { name: "run_keys", key: 2, bucket: 2 },
    Table { name: "run_specs", key: 1, bucket: 1 },
    Table { name: "runs", key: 1, bucket: 1 },
    Table { name: "steps", key: 2, bucket: 1 },
    Table { name: "events", key: 2, bucket: 1 },
    Table { name: "decisions", key: 2, bucket: 1 },
    Table { name: "dead_letters", key: 1, bucket: 1 },
    Table { name: "timers", key: 3, bucket: 3 },
    Table { name: "open_runs", key: 3, bucket: 3 },
    Table { name: "refusals", key: 2, bucket: 2 },
];

/// Compares two store files and reports at most `limit` differences. Blocks; other processes may
/// write meanwhile, each file is seen as it was at one moment.
///
/// # Errors
/// As [`super::open_read_only`].
pub fn compare(left: &Path, right: &Path, limit: usize) -> Result<Comparison> {
    let (left, _) = open::read_only(left)?;
    let (right, _) = open::read_only(right)?;
    let (left, right) = (left.unchecked_transaction()?, right.unchecked_transaction()?);
    let progress = compare_progress(&left, &right)?;
    let mut found = Comparison { tables: Vec::new(), differences: Vec::new(), progress };
    for table in &TABLES {
        let digests = [table_digests(&left, table)?, table_digests(&right, table)?];
        let differs: Vec<bool> = (0..COMPARE_BUCKETS)
            .map(|bucket| digests[0].buckets[bucket] != digests[1].buckets[bucket])
            .collect();
        let differing_buckets = differs.iter().filter(|differs| **differs).count();
        if differing_buckets > 0 && found.differences.len() < limit {
            let walk = Walk { left: &left, right: &right, table, differs };
            walk.collect(limit, &mut found.differences)?;
        }
        found.tables.push(TableComparison {
            table: table.name,
            rows: [digests[0].rows, digests[1].rows],
            digests: [digests[0].total(), digests[1].total()],
            differing_buckets,
        });
    }
    Ok(found)
}

fn compare_progress(left: &Connection, right: &Connection) -> Result<Vec<ProgressDifference>> {
    let offsets = |connection| -> Result<Vec<(u32, u64)>> {
        let all = read::all_progress(connection)?;
        Ok(all.into_iter().map(|(partition, progress)| (partition, progress.offset)).collect())
    };
    Ok(progress_differences(offsets(left)?, offsets(right)?))
}

struct TableDigests {
    rows: u64,
    buckets: Vec<Digest>,
}

impl TableDigests {
    fn total(&self) -> Digest {
        let parts: Vec<&[u8]> = self.buckets.iter().map(|digest| &digest.0[..]).collect();
        Digest::of_parts(&parts)
    }
}

/// Digests of all rows of a table in key order, one per bucket.
fn table_digests(connection: &Connection, table: &Table) -> Result<TableDigests> {
    let mut select = select(connection, table)?;
    let columns = select.column_count();
    let mut rows = 0;
    let mut buckets = vec![Sha256::new(); COMPARE_BUCKETS];
    let mut found = select.query([])?;
    while let Some(row) = found.next()? {
        rows += 1;
        let hash = &mut buckets[bucket(row, table)?];
        for column in 0..columns {
            add(hash, row.get_ref(column)?);
        }
    }
    let buckets = buckets.into_iter().map(|hash| Digest(hash.finalize().into())).collect();
    Ok(TableDigests { rows, buckets })
}

fn select<'c>(connection: &'c Connection, table: &Table) -> Result<Statement<'c>> {
    let order: Vec<String> = (1..=table.key).map(|column| column.to_string()).collect();
    let sql = format!("SELECT * FROM {} ORDER BY {}", table.name, order.join(", "));
    Ok(connection.prepare(&sql)?)
}

fn bucket(row: &Row<'_>, table: &Table) -> Result<usize> {
    let mut hash = Sha256::new();
    for column in 0..table.bucket {
        add(&mut hash, row.get_ref(column)?);
    }
    Ok(usize::from(hash.finalize()[0]))
}

/// Type and length go in first, so that no two rows of values give the same bytes.
fn add(hash: &mut Sha256, value: ValueRef<'_>) {
    let (kind, bytes): (u8, &[u8]) = match value {
        ValueRef::Null => (0, &[]),
        ValueRef::Integer(number) => return add_bytes(hash, 1, &number.to_be_bytes()),
        ValueRef::Real(number) => return add_bytes(hash, 2, &number.to_bits().to_be_bytes()),
        ValueRef::Text(text) => (3, text),
        ValueRef::Blob(blob) => (4, blob),
    };
    add_bytes(hash, kind, bytes);
}

fn add_bytes(hash: &mut Sha256, kind: u8, bytes: &[u8]) {
    hash.update([kind]);
    hash.update((bytes.len() as u64).to_be_bytes());
    hash.update(bytes);
}

/// Two stores' rows of one table, side by side, in the buckets that differ.
struct Walk<'a> {
    left: &'a Connection,
    right: &'a Connection,
    table: &'a Table,
    differs: Vec<bool>,
}

impl Walk<'_> {
    fn collect(&self, limit: usize, found: &mut Vec<Difference>) -> Result<()> {
        let mut left_select = select(self.left, self.table)?;
        let mut right_select = select(self.right, self.table)?;
        let names: Vec<String> = left_select.column_names().map(str::to_owned).collect();
        let (mut left_rows, mut right_rows) = (left_select.query([])?, right_select.query([])?);
        let mut left = self.next(&mut left_rows)?;
        let mut right = self.next(&mut right_rows)?;
        while found.len() < limit {
            let order = match (&left, &right) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(left), Some(right)) => self.order(left, right),
            };
            match order {
                Ordering::Less => found.extend(self.missing(left.as_deref(), true)?),
                Ordering::Greater => found.extend(self.missing(right.as_deref(), false)?),
                Ordering::Equal => {
                    if let (Some(left), Some(right)) = (&left, &right) {
                        found.extend(self.columns(&names, left, right)?);
                    }
                }
            }
            if order != Ordering::Greater {
                left = self.next(&mut left_rows)?;
            }
            if order != Ordering::Less {
                right = self.next(&mut right_rows)?;
            }
        }
        found.truncate(limit);
        Ok(())
    }

    /// The next row in a differing bucket.
    fn next(&self, rows: &mut Rows<'_>) -> Result<Option<Vec<Value>>> {
        while let Some(row) = rows.next()? {
            if self.differs[bucket(row, self.table)?] {
                let columns = row.as_ref().column_count();
                let values = (0..columns).map(|column| row.get(column));
                return Ok(Some(values.collect::<rusqlite::Result<_>>()?));
            }
        }
        Ok(None)
    }

    /// The order of the keys, as SQLite sorts them.
    fn order(&self, left: &[Value], right: &[Value]) -> Ordering {
        let keys = left.iter().zip(right).take(self.table.key);
        keys.map(|(left, right)| order(left, right))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }

    fn missing(&self, row: Option<&[Value]>, in_left: bool) -> Result<Option<Difference>> {
        let Some(row) = row else { return Ok(None) };
        let there = Some("(row)".to_owned());
        let (left, right) = if in_left { (there, None) } else { (None, there) };
        let key = self.key(row)?;
        Ok(Some(Difference { table: self.table.name, key, column: None, left, right }))
    }

    fn columns(
        &self,
        names: &[String],
        left: &[Value],
        right: &[Value],
    ) -> Result<Vec<Difference>> {
        let key = self.key(left)?;
        let columns = names.iter().zip(left.iter().zip(right));
        let differing = columns.filter(|(_, (left, right))| order(left, right).is_ne());
        Ok(differing
            .map(|(name, (left, right))| Difference {
                table: self.table.name,
                key: key.clone(),
                column: Some(name.clone()),
                left: Some(show(left)),
                right: Some(show(right)),
            })
            .collect())
    }

    /// The key as people know it: the number of a run is replaced by its name.
    fn key(&self, row: &[Value]) -> Result<String> {
        let mut parts = Vec::with_capacity(self.table.key);
        for (column, value) in row.iter().take(self.table.key).enumerate() {
            match value {
                Value::Integer(run) if column == 0 && self.table.names_run() => {
                    parts.push(self.run_name(*run)?);
                }
                other => parts.push(show(other)),
            }
        }
        Ok(parts.join(" "))
    }

    fn run_name(&self, run: i64) -> Result<String> {
        for connection in [self.left, self.right] {
            let sql = "SELECT tenant || '/' || run_id FROM runs WHERE run = ?1";
            let mut select = connection.prepare_cached(sql)?;
            if let Some(name) = select.query_row([run], |row| row.get(0)).optional()? {
                return Ok(name);
            }
        }
        Ok(format!("run {run}"))
    }
}

impl Table {
    /// Whether the first column is the number of a run.
    fn names_run(&self) -> bool {
        matches!(self.name, "run_specs" | "runs" | "steps" | "events" | "decisions")
    }
}

/// The order of two values of one column. Strict tables hold one type per column.
fn order(left: &Value, right: &Value) -> Ordering {
    match (left, right) {
        (Value::Integer(left), Value::Integer(right)) => left.cmp(right),
        (Value::Real(left), Value::Real(right)) => left.total_cmp(right),
        (Value::Text(left), Value::Text(right)) => left.cmp(right),
        (Value::Blob(left), Value::Blob(right)) => left.cmp(right),
        (left, right) => left.data_type().to_string().cmp(&right.data_type().to_string()),
    }
}

/// A value for people, shortened.
fn show(value: &Value) -> String {
    let text = match value {
        Value::Null => "null".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        Value::Blob(bytes) => show_bytes(bytes),
    };
    shorten(text)
}
