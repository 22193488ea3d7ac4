//! Are two keyspaces equal? By digests per bucket of rows first, then down to the differing columns.
//!
//! `meta`, `live` and `progress` are left out: they say which store it is and how far it is, not
//! what the log means. Rows come in no order that both share, so a bucket's digest is a sum. Nothing
//! may write meanwhile, or the difference is shown.

use super::{
    blocks,
    cells::Cells,
    fault,
    link::MORE,
    store::CqlStore,
    tables::{
        CLOSINGS, CREATIONS, DECISIONS, EVENT_BUCKETS, EVENTS, HEADS, LETTERS, LETTERS_BY_DAY,
        LISTED, OPEN_RUNS, REFUSALS, RUNS_BY_DAY, STEPS, Table,
    },
};
use crate::{
    Comparison, Difference, Result, TableComparison,
    comparison::{progress_differences, shorten, show_bytes},
    limits::{self, COMPARE_BUCKETS},
};
use scylla::{
    statement::{Consistency, prepared::PreparedStatement},
    value::CqlValue,
};
use sha2::{Digest as _, Sha256};
use spine_schemas::Digest;
use std::collections::BTreeMap;

/// All tables whose rows follow from the log, and columns of theirs that are written apart.
const TABLES: [(Table, &[&str]); 11] = [
    (HEADS, CREATIONS.columns),
    (STEPS, &[]),
    (EVENTS, &[]),
    (EVENT_BUCKETS, &[]),
    (DECISIONS, &[]),
    (LETTERS, CLOSINGS.columns),
    (LETTERS_BY_DAY, &[]),
    (OPEN_RUNS, &[]),
    (REFUSALS, &[]),
    (RUNS_BY_DAY, &[]),
    (LISTED, &[]),
];

/// What is compared of an event, whatever blocks it lies in: its key first, which has this many columns.
const EVENT: [&str; 13] = [
    "tenant",
    "run_id",
    "bucket",
    "offsets",
    "partition",
    "times",
    "kinds",
    "steps",
    "attempts",
    "actors",
    "verdicts",
    "reasons",
    "bytes",
];
const EVENT_KEY: usize = 4;

/// A row as it was read; `None` in a column that was never written.
type Columns = Vec<Option<CqlValue>>;

/// Compares two keyspaces and reports at most `limit` differences.
///
/// # Errors
/// [`crate::Error::Unavailable`] and [`crate::Error::Refused`].
pub async fn compare(left: &CqlStore, right: &CqlStore, limit: usize) -> Result<Comparison> {
    let offsets = |all: Vec<(u32, crate::Progress)>| -> Vec<(u32, u64)> {
        all.into_iter().map(|(partition, progress)| (partition, progress.offset)).collect()
    };
    let progress = progress_differences(
        offsets(left.all_progress().await?),
        offsets(right.all_progress().await?),
    );
    let mut found = Comparison { tables: Vec::new(), differences: Vec::new(), progress };
    for (table, more) in TABLES {
        let is_blocks = table.name == EVENTS.name;
        let (names, key) = if is_blocks {
            (EVENT.to_vec(), EVENT_KEY)
        } else {
            (table.all().chain(more.iter().copied()).collect(), table.key.len())
        };
        let (left, right) = tokio::try_join!(
            Scan::new(left, table.name, &names, is_blocks),
            Scan::new(right, table.name, &names, is_blocks)
        )?;
        let (left_sums, right_sums) = tokio::try_join!(left.sums(key), right.sums(key))?;
        let differs: Vec<usize> = (0..COMPARE_BUCKETS)
            .filter(|at| left_sums.buckets[*at] != right_sums.buckets[*at])
            .collect();
        for bucket in &differs {
            if found.differences.len() >= limit {
                break;
            }
            // One bucket at a time: a part of a table fits in memory where a whole one may not.
            let (left, right) =
                tokio::try_join!(left.rows_of(*bucket, key), right.rows_of(*bucket, key))?;
            found.differences.extend(differences(table.name, &names[key..], &left, &right));
        }
        found.differences.truncate(limit);
        found.tables.push(TableComparison {
            table: table.name,
            rows: [left_sums.rows, right_sums.rows],
            digests: [left_sums.total(), right_sums.total()],
            differing_buckets: differs.len(),
        });
    }
    Ok(found)
}

/// Reads all rows of one table.
struct Scan<'a> {
    store: &'a CqlStore,
    statement: PreparedStatement,
    /// Whether its rows are blocks of events.
    is_blocks: bool,
}

impl<'a> Scan<'a> {
    async fn new(
        store: &'a CqlStore,
        table: &str,
        names: &[&str],
        is_blocks: bool,
    ) -> Result<Self> {
        let (columns, keyspace) = (names.join(", "), store.keyspace());
        let text = format!("SELECT {columns} FROM {keyspace}.{table}");
        let prepared = store.link().session.prepare(text).await;
        let mut statement = prepared.map_err(|error| fault::of_prepare("compare", error))?;
        statement.set_consistency(Consistency::LocalQuorum);
        statement.set_is_idempotent(true);
        statement.set_page_size(limits::CQL_LARGE_PAGE_ROWS);
        Ok(Self { store, statement, is_blocks })
    }

    async fn each(&self, mut each: impl FnMut(Columns) + Send) -> Result<()> {
        let mut newest = Columns::new();
        let read = |row: Cells| {
            if !self.is_blocks {
                each(row.rest().collect());
                return Ok(MORE);
            }
            for event in blocks::events_of(row)? {
                let event: Columns = event.rest().collect();
                // Blocks of a CQL partition come one after the other, and may overlap.
                if is_behind(&event[..EVENT_KEY], &newest) {
                    newest = event[..EVENT_KEY].to_vec();
                    each(event);
                }
            }
            Ok(MORE)
        };
        self.store.link().read("compare", &self.statement, &[], read).await
    }

    async fn sums(&self, key: usize) -> Result<Sums> {
        let mut sums = Sums { rows: 0, buckets: vec![[0; 4]; COMPARE_BUCKETS] };
        self.each(|row| sums.add(bucket(&row[..key]), &digest(&row))).await?;
        Ok(sums)
    }

    /// The rows of one bucket by the text of their keys.
    async fn rows_of(&self, wanted: usize, key: usize) -> Result<BTreeMap<String, Columns>> {
        let mut rows = BTreeMap::new();
        let each = |mut row: Columns| {
            if bucket(&row[..key]) == wanted {
                let values = row.split_off(key);
                let key: Vec<String> = row.iter().map(text_of).collect();
                rows.insert(key.join(" "), values);
            }
        };
        self.each(each).await?;
        Ok(rows)
    }
}

/// Whether an event is of another CQL partition than the newest before it, or of a higher offset.
fn is_behind(event: &[Option<CqlValue>], newest: &[Option<CqlValue>]) -> bool {
    let offset = |key: &[Option<CqlValue>]| match key.last() {
        Some(Some(CqlValue::BigInt(offset))) => Some(*offset),
        _ => None,
    };
    let home = EVENT_KEY - 1;
    newest.get(..home) != Some(&event[..home]) || offset(event) > offset(newest)
}

/// Per bucket, the sum of its rows' digests: the same in whatever order they come.
struct Sums {
    rows: u64,
    buckets: Vec<[u64; 4]>,
}

impl Sums {
    fn add(&mut self, bucket: usize, digest: &[u8; 32]) {
        self.rows += 1;
        let (words, _) = digest.as_chunks::<8>();
        for (sum, word) in self.buckets[bucket].iter_mut().zip(words) {
            *sum = sum.wrapping_add(u64::from_be_bytes(*word));
        }
    }

    fn total(&self) -> Digest {
        let bytes: Vec<u8> =
            self.buckets.iter().flatten().flat_map(|word| word.to_be_bytes()).collect();
        Digest::of_bytes(&bytes)
    }
}

fn bucket(key: &[Option<CqlValue>]) -> usize {
    usize::from(digest(key)[0])
}

/// Type and length go in first, so that no two rows of values give the same bytes.
fn digest(row: &[Option<CqlValue>]) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut add = |kind: u8, bytes: &[u8]| {
        hash.update([kind]);
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    for value in row {
        match value {
            None => add(0, &[]),
            Some(CqlValue::Int(number)) => add(1, &number.to_be_bytes()),
            Some(CqlValue::BigInt(number)) => add(2, &number.to_be_bytes()),
            Some(CqlValue::Double(number)) => add(3, &number.to_bits().to_be_bytes()),
            Some(CqlValue::Text(text)) => add(4, text.as_bytes()),
            Some(CqlValue::Blob(blob)) => add(5, blob),
            Some(other) => add(6, format!("{other:?}").as_bytes()),
        }
    }
    hash.finalize().into()
}

/// Rows that one side lacks, and columns that differ.
fn differences(
    table: &'static str,
    names: &[&'static str],
    left: &BTreeMap<String, Columns>,
    right: &BTreeMap<String, Columns>,
) -> Vec<Difference> {
    let mut found = Vec::new();
    let there = || Some("(row)".to_owned());
    let keys: std::collections::BTreeSet<&String> = left.keys().chain(right.keys()).collect();
    for key in keys {
        let shown = shorten(key.clone());
        let missing =
            |left, right| Difference { table, key: shown.clone(), column: None, left, right };
        match (left.get(key), right.get(key)) {
            (None, None) => {}
            (Some(_), None) => found.push(missing(there(), None)),
            (None, Some(_)) => found.push(missing(None, there())),
            (Some(left), Some(right)) => {
                for (name, (left, right)) in names.iter().zip(left.iter().zip(right)) {
                    if digest(std::slice::from_ref(left)) != digest(std::slice::from_ref(right)) {
                        found.push(Difference {
                            table,
                            key: shown.clone(),
                            column: Some((*name).to_owned()),
                            left: Some(show(left)),
                            right: Some(show(right)),
                        });
                    }
                }
            }
        }
    }
    found
}

/// A value for people, shortened.
fn show(value: &Option<CqlValue>) -> String {
    shorten(text_of(value))
}

fn text_of(value: &Option<CqlValue>) -> String {
    match value {
        None => "null".to_owned(),
        Some(CqlValue::Int(number)) => number.to_string(),
        Some(CqlValue::BigInt(number)) => number.to_string(),
        Some(CqlValue::Double(number)) => number.to_string(),
        Some(CqlValue::Text(text)) => text.clone(),
        Some(CqlValue::Blob(bytes)) => show_bytes(bytes),
        Some(other) => format!("{other:?}"),
    }
}
