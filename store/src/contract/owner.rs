//! What an owner asks after a claim: open runs, and timers that are due.

use super::samples::{self, Tape, at};
use crate::RunStore;
use spine_runs::{RunState, RunStatus, Steps};
use spine_schemas::{RunKey, time::Micros};

const FAR: Micros = Micros(i64::MAX);

async fn write(store: &impl RunStore, tape: &mut Tape, runs: &[RunState]) {
    let batch = tape.with(runs.iter().map(samples::created));
    store.apply(batch).await.expect("apply");
}

fn due(run_id: &str, due_at: Micros) -> RunState {
    // Every run begins at an offset of its own.
    let run = samples::run("default", run_id, u64::from(run_id.as_bytes()[0]));
    samples::with_step(run, samples::waiting_step("a", 0, due_at))
}

/// Pages of open runs give every open run once, and no ended one.
pub(super) async fn pages_open_runs(store: &impl RunStore) {
    let mut tape = Tape::new(0);
    let mut keys = Vec::new();
    for (tenant, first) in [("b", 0), ("a", 100), ("a-1", 200)] {
        for number in 0..11 {
            let run = samples::run(tenant, &format!("r{number}"), first + number);
            let ended = samples::ended(run.clone(), RunStatus::Failed, first + number + 1);
            let is_open = number % 3 != 0;
            write(store, &mut tape, &[run]).await;
            if is_open {
                keys.push(ended.key);
            } else {
                write(store, &mut tape, &[ended]).await;
            }
        }
    }
    keys.sort();
    for limit in [1, 4, 100] {
        let mut found: Vec<RunKey> = Vec::new();
        let mut cursor = None;
        loop {
            let page = store.open_runs(0, cursor.as_deref(), limit).await.expect("open");
            assert!(page.rows.len() <= limit);
            found.extend(page.rows);
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        found.sort();
        assert_eq!(found, keys, "pages of {limit}");
    }
}

/// Due runs come earliest first, up to and including the asked time.
pub(super) async fn gives_due_runs_earliest_first(store: &impl RunStore) {
    let mut tape = Tape::new(0);
    let runs = [due("c", at(5)), due("a", at(9)), due("b", at(5)), due("d", Micros(-1))];
    write(store, &mut tape, &runs).await;
    write(store, &mut tape, &[samples::run("default", "idle", 0)]).await;
    let found = async |until, limit| {
        let rows = store.due_runs(0, until, limit).await.expect("due");
        rows.into_iter().map(|(at, key)| (at, key.run_id.to_string())).collect::<Vec<_>>()
    };
    let all = [(Micros(-1), "d"), (at(5), "b"), (at(5), "c"), (at(9), "a")]
        .map(|(at, id)| (at, id.to_owned()));
    assert_eq!(found(FAR, 10).await, all);
    assert_eq!(found(at(5), 10).await, all[..3]);
    assert_eq!(found(Micros(at(5).0 - 1), 10).await, all[..1]);
    assert_eq!(found(FAR, 2).await, all[..2]);
}

/// A timer is one row per run: it moves with the run and vanishes with its end.
pub(super) async fn moves_and_drops_timers(store: &impl RunStore) {
    let mut tape = Tape::new(0);
    let found = async || store.due_runs(0, FAR, 10).await.expect("due");
    let key = RunKey::new("default", "r");
    let moved = |due_at, version| samples::at_version(due("r", due_at), version);
    for (due_at, version) in [at(9), at(3), at(3), Micros(0), at(20)].into_iter().zip(200..) {
        write(store, &mut tape, &[moved(due_at, version)]).await;
        assert_eq!(found().await, [(due_at, key.clone())]);
    }
    let mut idle = moved(at(0), 210);
    idle.steps = Steps::default();
    write(store, &mut tape, &[idle]).await;
    assert_eq!(found().await, [], "nothing is due without an event");
    write(store, &mut tape, &[moved(at(4), 211)]).await;
    assert_eq!(found().await, [(at(4), key.clone())]);
    let ended = samples::ended(due("r", at(4)), RunStatus::Cancelled, 212);
    write(store, &mut tape, &[ended]).await;
    assert_eq!(found().await, [], "an ended run has no timer");
    assert_eq!(store.open_runs(0, None, 10).await.expect("open").rows, []);
}

/// Open runs and timers of one partition are not seen from another.
pub(super) async fn keeps_partitions_apart(store: &impl RunStore) {
    let (mut one, mut two) = (Tape::new(0), Tape::new(1));
    write(store, &mut one, &[due("a", at(1)), due("b", at(2))]).await;
    write(store, &mut two, &[due("c", at(1))]).await;
    for (partition, keys) in [(0, vec!["a", "b"]), (1, vec!["c"]), (2, vec![])] {
        let open = store.open_runs(partition, None, 10).await.expect("open");
        assert_eq!(open.rows.iter().map(|key| &*key.run_id).collect::<Vec<_>>(), keys);
        let due = store.due_runs(partition, FAR, 10).await.expect("due");
        assert_eq!(due.iter().map(|(_, key)| &*key.run_id).collect::<Vec<_>>(), keys);
    }
}
