//! The file explains itself to any SQLite reader while the store is open.

use crate::story::{apply_all, batches};
use rusqlite::Connection;
use spine_store::{
    RunFilter, RunStore, limits,
    sqlite::{Options, SqliteStore},
};
use std::{path::Path, process::Command};
use tempfile::TempDir;

async fn store(dir: &TempDir) -> (SqliteStore, std::path::PathBuf) {
    let path = dir.path().join("store.sqlite");
    let store = SqliteStore::open(&Options::file(&path)).unwrap();
    apply_all(&store, &batches(5)).await;
    (store, path)
}

#[tokio::test]
async fn tables_and_columns_carry_their_explanation() {
    let dir = TempDir::new().unwrap();
    let (_store, path) = store(&dir).await;
    let raw = Connection::open(path).unwrap();
    let mut select =
        raw.prepare("SELECT name, sql FROM sqlite_master WHERE type IN ('table', 'view')").unwrap();
    let objects = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let objects: Vec<(String, String)> = objects.collect::<Result<_, _>>().unwrap();
    assert_eq!(objects.len(), 17);
    for (name, sql) in objects {
        assert!(sql.contains("\n  -- "), "{name} is explained");
    }
}

#[tokio::test]
async fn views_show_times_and_payloads_as_text() {
    let dir = TempDir::new().unwrap();
    let (_store, path) = store(&dir).await;
    let raw = Connection::open(path).unwrap();
    let text = |sql: &str| raw.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
    let started = text("SELECT started_at FROM runs_readable WHERE run_id = 'r0'");
    assert_eq!(started, "2023-11-14T22:13:20.000Z");
    assert_eq!(text("SELECT ended_at FROM runs_readable WHERE run_id = 'r676'"), "");
    assert_eq!(text("SELECT due_at FROM steps_readable WHERE step = 'a#1' LIMIT 1"), "");
    let id = text("SELECT letter_id FROM dead_letters_readable LIMIT 1");
    assert_eq!(id.len(), 64);
    for view in ["runs", "steps", "events", "decisions", "dead_letters"] {
        let sql = format!("SELECT count(*) = (SELECT count(*) FROM {view}) FROM {view}_readable");
        assert!(raw.query_row(&sql, [], |row| row.get::<_, bool>(0)).unwrap(), "{view}");
    }
}

/// Lists must not sort or scan as the store grows.
#[tokio::test]
async fn lists_follow_indexes() {
    let dir = TempDir::new().unwrap();
    let (_store, path) = store(&dir).await;
    let raw = Connection::open(path).unwrap();
    let cases = [
        ("true", "runs_by_start"),
        ("tenant = 'a'", "runs_by_tenant"),
        ("workflow = 'a'", "runs_by_workflow"),
        ("status = 'failed' AND status <> 'completed'", "runs_by_status"),
    ];
    for (filter, index) in cases {
        let sql = format!(
            "EXPLAIN QUERY PLAN SELECT * FROM runs WHERE {filter} AND (started_at, run) < (9, 9)
             ORDER BY started_at DESC, run DESC LIMIT 5"
        );
        let mut select = raw.prepare(&sql).unwrap();
        let steps = select.query_map([], |row| row.get::<_, String>(3)).unwrap();
        let plan: Vec<String> = steps.collect::<Result<_, _>>().unwrap();
        assert_eq!(plan.len(), 1, "no sorting: {plan:?}");
        assert!(plan[0].contains(&format!("USING INDEX {index} ")), "{filter}: {plan:?}");
    }
}

/// A page looks at so many rows and no more, and the next one goes on behind them.
#[tokio::test]
async fn o5_a_filter_that_nearly_no_row_passes_gives_short_pages() {
    let dir = TempDir::new().unwrap();
    let (store, path) = store(&dir).await;
    let runs = |filter: RunFilter, cursor: Option<String>| {
        let store = store.clone();
        async move { store.list_runs(&filter, cursor.as_deref(), 10).await.unwrap() }
    };
    let some = runs(RunFilter::default(), None).await.rows.swap_remove(0);
    let mut raw = Connection::open(path).unwrap();
    let copies = raw.transaction().unwrap();
    let text = |key: &str| format!("'{key}'");
    copies
        .execute_batch(&format!(
            "CREATE TEMP TABLE one AS SELECT * FROM runs WHERE tenant = {} AND run_id = {};
             UPDATE one SET tenant = 'many', workflow = 'w';",
            text(&some.key.tenant),
            text(&some.key.run_id)
        ))
        .unwrap();
    for at in 1..=limits::LIST_ROWS + 10 {
        let next = "UPDATE one SET run = ?1 + 1000000, started_at = 9000000000000000 + ?1";
        copies.execute(next, [at as i64]).unwrap();
        copies.execute("INSERT INTO runs SELECT * FROM one", []).unwrap();
    }
    copies
        .execute("UPDATE runs SET workflow = 'w' WHERE run_id = ?1", [&*some.key.run_id])
        .unwrap();
    copies.commit().unwrap();
    let (tenant, workflow) = (some.key.tenant.to_string(), "w".to_owned());
    let filter = RunFilter { tenant: Some(tenant), workflow: Some(workflow), status: None };
    let first = runs(filter.clone(), None).await;
    assert_eq!((first.rows.len(), first.next.is_some()), (0, true));
    let second = runs(filter, first.next).await;
    let ids: Vec<&str> = second.rows.iter().map(|row| &*row.key.run_id).collect();
    assert_eq!((ids, second.next), (vec![&*some.key.run_id], None));
}

/// The command-line shell reads the open store, where there is one on this machine.
#[tokio::test]
async fn the_sqlite3_shell_reads_an_open_store() {
    let dir = TempDir::new().unwrap();
    let (_store, path) = store(&dir).await;
    let Some(rows) = shell(&path, "SELECT count(*) FROM runs_readable") else { return };
    assert_eq!(rows.trim(), "5");
    let schema = shell(&path, ".schema runs").unwrap();
    assert!(schema.contains("-- integer micro-units of money"), "{schema}");
    let checked = shell(&path, "PRAGMA integrity_check").unwrap();
    assert_eq!(checked.trim(), "ok");
}

/// What the shell prints; `None` without one.
fn shell(path: &Path, command: &str) -> Option<String> {
    let output = Command::new("sqlite3").arg("-readonly").arg(path).arg(command).output().ok()?;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}
