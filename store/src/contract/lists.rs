//! Lists of runs: newest first, filtered, in stable pages.

use super::samples::{self, Tape};
use crate::{Error, LetterFilter, RunFilter, RunRow, RunStore};
use spine_runs::{RunState, RunStatus, Stall, StepStatus};
use std::{collections::BTreeSet, sync::Arc};

async fn write(store: &impl RunStore, tape: &mut Tape, runs: &[RunState]) {
    let batch = tape.with(runs.iter().map(samples::created));
    store.apply(batch).await.expect("apply");
}

fn ids(rows: &[RunRow]) -> Vec<&str> {
    rows.iter().map(|row| &*row.key.run_id).collect()
}

/// Every column of a listed run is the state's.
pub(super) async fn shows_all_columns(store: &impl RunStore) {
    let mut tape = Tape::new(3);
    let mut step = samples::step("dead", 5);
    step.status = StepStatus::DeadLettered;
    let mut run = samples::with_step(samples::run("t", "r", 5), step);
    run.totals.attempts = 7;
    run.totals.cost_micros = 8;
    run.last_offset = 12;
    let mut row = RunRow {
        key: run.key.clone(),
        workflow: "refund".into(),
        version: "3".into(),
        driver: "journal".into(),
        status: "waiting".into(),
        steps: [1, 0, 0, 1],
        attempts: 7,
        cost_micros: 8,
        started_at: samples::at(5),
        ended_at: None,
        partition: 3,
        last_offset: 12,
        stalled_since: None,
    };
    write(store, &mut tape, std::slice::from_ref(&run)).await;
    let list = async || store.list_runs(&RunFilter::default(), None, 10).await.expect("list").rows;
    assert_eq!(list().await, [row.clone()]);
    let stall = Stall {
        since: samples::at(12),
        moved: 12,
        at: samples::at(15),
        step: None,
        reason: "nobody came".into(),
    };
    run.stalled = Some(Box::new(stall));
    run.last_offset = 15;
    write(store, &mut tape, std::slice::from_ref(&run)).await;
    (row.stalled_since, row.last_offset) = (Some(samples::at(12)), 15);
    assert_eq!(list().await, [row.clone()]);
    run.stalled = None;
    row.stalled_since = None;
    write(store, &mut tape, &[samples::ended(run, RunStatus::Failed, 20)]).await;
    row.status = "failed".into();
    row.ended_at = Some(samples::at(20));
    row.last_offset = 20;
    assert_eq!(list().await, [row]);
}

/// Filters by tenant, workflow and status, alone and together.
pub(super) async fn filters(store: &impl RunStore) {
    let mut tape = Tape::new(0);
    let run = |tenant: &str, id: &str, workflow: &str, at: u64| {
        let mut run = samples::run(tenant, id, at);
        let mut created = (*run.created).clone();
        created.workflow = workflow.into();
        run.created = Arc::new(created);
        run
    };
    let runs = [
        run("a", "1", "w", 1),
        samples::ended(run("a", "2", "w", 2), RunStatus::Completed, 9),
        samples::ended(run("b", "3", "w", 3), RunStatus::Failed, 9),
        samples::ended(run("b", "4", "v", 4), RunStatus::Completed, 9),
    ];
    write(store, &mut tape, &runs).await;
    let cases: [([Option<&str>; 3], &[&str]); 9] = [
        ([None, None, None], &["4", "3", "2", "1"]),
        ([Some("a"), None, None], &["2", "1"]),
        ([None, Some("w"), None], &["3", "2", "1"]),
        ([None, None, Some("completed")], &["4", "2"]),
        ([None, None, Some("running")], &["1"]),
        ([Some("b"), Some("w"), None], &["3"]),
        ([Some("b"), None, Some("completed")], &["4"]),
        ([Some("a"), Some("w"), Some("failed")], &[]),
        ([Some("b"), Some("w"), Some("failed")], &["3"]),
    ];
    for (parts, expected) in cases {
        let [tenant, workflow, status] = parts.map(|part| part.map(str::to_owned));
        let filter = RunFilter { tenant, workflow, status };
        let page = store.list_runs(&filter, None, 10).await.expect("list");
        assert_eq!(ids(&page.rows), expected, "{filter:?}");
        assert_eq!(page.next, None);
    }
    write(store, &mut tape, &[samples::ended(runs[0].clone(), RunStatus::Failed, 9)]).await;
    let filter = RunFilter { status: Some("failed".into()), ..RunFilter::default() };
    let page = store.list_runs(&filter, None, 10).await.expect("list");
    assert_eq!(ids(&page.rows), ["3", "1"], "a run moves with its status");
}

/// While runs are added and change, every run that was there is given exactly once, in order.
pub(super) async fn pages_stay_stable_under_writes(store: &impl RunStore) {
    let mut tape = Tape::new(0);
    // Pairs of equal time, so that pages also end between runs that only the key tells apart.
    let run = |number: u64| {
        let mut run = samples::run("default", &format!("r{number:03}"), number);
        run.created_at = samples::at(number / 2);
        run
    };
    let runs: Vec<RunState> = (0..41).map(run).collect();
    write(store, &mut tape, &runs).await;
    for limit in [1, 2, 7, 100] {
        let (mut cursor, mut found, mut added) = (None, Vec::new(), 100 * limit as u64);
        loop {
            let filter = RunFilter::default();
            let page = store.list_runs(&filter, cursor.as_deref(), limit).await.expect("list");
            assert!(page.rows.len() <= limit);
            found.extend(page.rows);
            added += 1;
            let changed = samples::ended(run(added % 41), RunStatus::Completed, 50);
            write(store, &mut tape, &[run(added + 1000), changed]).await;
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        let old: Vec<&RunRow> =
            found.iter().filter(|row| row.started_at < samples::at(21)).collect();
        let keys: BTreeSet<_> = old.iter().map(|row| row.key.clone()).collect();
        assert_eq!((old.len(), keys.len()), (41, 41), "pages of {limit}: each run once");
        let order = |row: &RunRow| std::cmp::Reverse(row.started_at);
        assert!(found.is_sorted_by_key(order), "pages of {limit}: newest first");
    }
}

/// A cursor that no list gave and a status that does not exist are the caller's mistakes.
pub(super) async fn refuses_foreign_cursors_and_filters(store: &impl RunStore) {
    let mut tape = Tape::new(0);
    let mut batch = tape.next(1);
    batch.letters.extend([samples::letter(0, 0, 0), samples::letter(1, 0, 0)]);
    store.apply(batch).await.expect("apply");
    let letters = store.list_letters(&LetterFilter::default(), None, 1).await.expect("letters");
    let foreign = letters.next.expect("a second page");
    for cursor in ["", "x", "zz", "00", "ffff", "é1", foreign.as_str()] {
        let refused = store.list_runs(&RunFilter::default(), Some(cursor), 10).await;
        assert!(matches!(refused, Err(Error::BadQuery(_))), "{cursor}: {refused:?}");
    }
    let refused = store.list_letters(&LetterFilter::default(), Some("x"), 10).await;
    assert!(matches!(refused, Err(Error::BadQuery(_))), "{refused:?}");
    let filter = RunFilter { status: Some("done".into()), ..RunFilter::default() };
    let refused = store.list_runs(&filter, None, 10).await;
    assert!(matches!(refused, Err(Error::BadQuery(_))), "{refused:?}");
}
