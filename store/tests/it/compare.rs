//! Comparing two stores: equal ones, and differences down to table, key and column.

use crate::story::{apply_all, batches};
use rusqlite::Connection;
use spine_store::{
    RunStore,
    sqlite::{Comparison, Options, SqliteStore, compare, open_read_only},
};
use std::path::PathBuf;
use tempfile::TempDir;

struct Pair {
    _dir: TempDir,
    left: PathBuf,
    right: PathBuf,
}

impl Pair {
    /// Two stores of the same log; the second one changed by some SQL.
    async fn new(sql: &str) -> Self {
        let dir = TempDir::new().unwrap();
        let (left, right) = (dir.path().join("l.sqlite"), dir.path().join("r.sqlite"));
        for path in [&left, &right] {
            let store = SqliteStore::open(&Options::file(path)).unwrap();
            apply_all(&store, &batches(10)).await;
        }
        Connection::open(&right).unwrap().execute_batch(sql).unwrap();
        Self { _dir: dir, left, right }
    }

    fn compare(&self, limit: usize) -> Comparison {
        compare(&self.left, &self.right, limit).unwrap()
    }
}

/// One line per difference.
fn lines(comparison: &Comparison) -> Vec<String> {
    let part = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".into());
    comparison
        .differences
        .iter()
        .map(|found| {
            let (left, right) = (part(&found.left), part(&found.right));
            format!("{} | {} | {} | {left} | {right}", found.table, found.key, part(&found.column))
        })
        .collect()
}

#[tokio::test]
async fn stores_of_one_log_are_equal_whatever_their_ids() {
    let pair = Pair::new("").await;
    let comparison = pair.compare(10);
    assert!(comparison.is_equal());
    assert_eq!((comparison.differences.len(), comparison.progress.len()), (0, 0));
    let rows: u64 = comparison.tables.iter().map(|table| table.rows[0]).sum();
    assert!(rows > 100, "{rows} rows were compared");
    for table in &comparison.tables {
        assert_eq!(table.digests[0], table.digests[1], "{}", table.table);
    }
    let (left, right) = (open_read_only(&pair.left).unwrap(), open_read_only(&pair.right).unwrap());
    assert_ne!(left.store_id(), right.store_id());
    assert_eq!(left.all_progress().unwrap(), right.all_progress().unwrap());
}

#[tokio::test]
async fn a_changed_column_is_named_with_both_values() {
    let pair = Pair::new(
        "UPDATE steps SET status = 'failed', attempt = 99
           WHERE step = 'a#1' AND run = (SELECT run FROM run_keys WHERE run_id = 'r838')",
    )
    .await;
    let comparison = pair.compare(10);
    assert!(!comparison.is_equal());
    assert_eq!(
        lines(&comparison),
        [
            "steps | default/r838 a#1 | status | scheduled | failed",
            "steps | default/r838 a#1 | attempt | 0 | 99"
        ]
    );
    let differing: Vec<_> = comparison
        .tables
        .iter()
        .filter(|table| table.differing_buckets > 0)
        .map(|table| (table.table, table.differing_buckets))
        .collect();
    assert_eq!(differing, [("steps", 1)]);
}

#[tokio::test]
async fn missing_rows_are_named_on_either_side() {
    let pair = Pair::new(
        "DELETE FROM events WHERE log_offset = 7;
         INSERT INTO refusals VALUES (0, 3, '', '', 'late', '', 0);
         DELETE FROM open_runs WHERE run_id = 'r919'",
    )
    .await;
    assert_eq!(
        lines(&pair.compare(10)),
        [
            "events | default/r919 7 | - | (row) | -",
            "open_runs | 0 default r919 | - | (row) | -",
            "refusals | 0 3 | - | - | (row)",
        ]
    );
}

#[tokio::test]
async fn every_table_is_compared() {
    let changes = [
        ("run_keys", "UPDATE run_keys SET run = run + 1 WHERE run_id = 'r919'"),
        ("run_specs", "UPDATE run_specs SET plan = x'00' WHERE run = 5"),
        ("runs", "UPDATE runs SET output = x'00' WHERE run = 5"),
        ("steps", "UPDATE steps SET input = x'00' WHERE run = 5"),
        ("events", "UPDATE events SET actor = 'x' WHERE log_offset = 5"),
        ("decisions", "UPDATE decisions SET confidence = 0.5 WHERE log_offset = 6"),
        ("dead_letters", "UPDATE dead_letters SET code = 'x' WHERE log_offset = 5"),
        ("timers", "UPDATE timers SET due_at = due_at + 1"),
        ("open_runs", "DELETE FROM open_runs"),
    ];
    for (table, sql) in changes {
        let comparison = Pair::new(sql).await.compare(1);
        assert_eq!(comparison.differences.len(), 1, "{table}");
        assert_eq!(comparison.differences[0].table, table);
    }
}

#[tokio::test]
async fn the_limit_bounds_the_report_but_not_the_counts() {
    let pair = Pair::new("UPDATE events SET actor = 'x'").await;
    let comparison = pair.compare(3);
    assert_eq!(comparison.differences.len(), 3);
    assert!(comparison.tables.iter().any(|table| table.differing_buckets > 3));
    assert!(!pair.compare(0).is_equal());
}

#[tokio::test]
async fn another_progress_is_reported_beside_the_rows() {
    let pair = Pair::new("").await;
    let store = SqliteStore::open(&Options::file(&pair.left)).unwrap();
    store.apply(batches(11).remove(10)).await.unwrap();
    let comparison = pair.compare(1);
    let [progress] = &comparison.progress[..] else { panic!("{comparison:?}") };
    assert_eq!((progress.left, progress.right), (Some(54), Some(49)));
    assert!(!comparison.is_equal());
}
