//! Consistency without transactions: crashes between rows and progress, late writers, repeats.

use crate::{
    history::{History, Luck},
    server::live,
};
use spine_schemas::{Driver, RunKey};
use spine_store::{
    Error, LetterClosing, LetterFilter, LetterStatus, RunStore, StoreBatch, VerdictKind,
    contract::samples::{self, Tape, at},
    cql::{CqlStore, compare},
};

async fn load(store: &CqlStore, partition: u32, key: &RunKey) -> Option<spine_runs::RunState> {
    store.load_runs(partition, std::slice::from_ref(key)).await.unwrap().pop().unwrap()
}

/// All that an owner and people see of some runs.
async fn seen(store: &CqlStore, history: &History) -> impl PartialEq + std::fmt::Debug + use<> {
    let mut runs = Vec::new();
    for key in history.keys() {
        let events = store.run_events(&key, 0, 10_000).await.unwrap();
        let decisions = store.run_decisions(&key, 0, 10_000).await.unwrap();
        runs.push((load(store, history.partition, &key).await, events, decisions));
    }
    let open = store.open_runs(history.partition, None, 1000).await.unwrap().rows;
    let due = store.due_runs(history.partition, at(u64::from(u32::MAX)), 1000).await.unwrap();
    let letters = store.list_letters(&LetterFilter::default(), None, 1000).await.unwrap().rows;
    let list = store.list_runs(&Default::default(), None, 1000).await.unwrap().rows;
    (runs, open, due, letters, list)
}

/// A process wrote rows and died before the progress: what is loaded is as of progress, folded
/// again from kept events; and the next owner goes on to the same end.
#[test]
fn rows_ahead_of_progress_are_not_seen() {
    live(async |server| {
        let store = server.fresh().await;
        let history = History::random(0, &mut Luck::new(7), 160);
        let (half, end) = (history.len() / 2, history.len());
        store.apply(history.batch(0..half)).await.unwrap();
        let dead = server.open(store.keyspace()).await;
        dead.write_rows(&history.batch(half..end)).await.unwrap();
        let mut changed = 0;
        for key in history.keys() {
            let as_of_progress = history.run_at(&key, half - 1);
            changed += usize::from(as_of_progress != history.run_at(&key, end - 1));
            assert_eq!(load(&store, 0, &key).await, as_of_progress, "{key}");
        }
        assert!(changed >= 2, "{changed} runs were ahead");
        store.apply(history.batch(half..end)).await.unwrap();
        for key in history.keys() {
            assert_eq!(load(&store, 0, &key).await, history.run_at(&key, end - 1), "{key}");
        }
    });
}

/// Also when it is only the run itself that is ahead, and none of its steps.
#[test]
fn a_head_ahead_of_progress_is_not_seen() {
    live(async |server| {
        let store = server.fresh().await;
        let key = RunKey::new("default", "r");
        let mut history = History::new(0);
        history.create(&key, Driver::Journal);
        let stored = history.len();
        history.decide(&key);
        store.apply(history.batch(0..stored)).await.unwrap();
        store.write_rows(&history.batch(stored..history.len())).await.unwrap();
        let run = load(&store, 0, &key).await;
        assert_eq!(run.as_ref().map(|run| run.decisions), Some(0));
        assert_eq!(run, history.run_at(&key, stored - 1));
    });
}

/// Also when a torn write brought the steps but not the run that they belong to.
#[test]
fn steps_ahead_of_progress_are_not_seen() {
    live(async |server| {
        let store = server.fresh().await;
        let key = RunKey::new("default", "r");
        let mut history = History::new(0);
        history.create(&key, Driver::Plan);
        history.settle(&key, Vec::new());
        let stored = history.len();
        history.outcome(&key, None);
        store.apply(history.batch(0..stored)).await.unwrap();
        let mut torn = history.batch(stored..history.len());
        // The stored version of the run is later than this one, and wins.
        torn.runs.iter_mut().for_each(|change| change.offset = 0);
        store.write_rows(&torn).await.unwrap();
        assert_eq!(load(&store, 0, &key).await, history.run_at(&key, stored - 1));
    });
}

/// A kept event that folds to something else than was recorded is damage with a name.
#[test]
fn a_kept_event_that_folds_otherwise_is_damage() {
    live(async |server| {
        let store = server.fresh().await;
        let history = History::random(0, &mut Luck::new(7), 160);
        let (half, end) = (history.len() / 2, history.len());
        let mut batch = history.batch(0..half);
        let applied = |event: &&mut spine_store::EventRow| event.verdict == VerdictKind::Applied;
        let event = batch.events.iter_mut().filter(applied).nth(1).unwrap();
        event.verdict = VerdictKind::Illegal;
        let (key, offset) = (event.key.clone(), event.offset);
        store.apply(batch).await.unwrap();
        store.write_rows(&history.batch(half..end)).await.unwrap();
        assert_ne!(history.run_at(&key, half - 1), history.run_at(&key, end - 1));
        let damaged = store.load_runs(0, std::slice::from_ref(&key)).await;
        let Err(Error::Damaged(message)) = damaged else { panic!("{damaged:?}") };
        let expected = format!("run {key}: event at offset {offset}: folds to applied");
        assert!(message.starts_with(&expected), "{message}");
    });
}

/// The rows of any batch, written again by another process, change nothing that anybody sees.
#[test]
fn repeated_and_late_rows_change_nothing() {
    live(async |server| {
        let (store, late) = (server.fresh().await, History::random(0, &mut Luck::new(3), 120));
        let other = server.open(store.keyspace()).await;
        let end = late.len();
        let cuts: Vec<u64> = (0..=4).map(|part| part * end / 4).collect();
        for cut in cuts.windows(2) {
            store.apply(late.batch(cut[0]..cut[1])).await.unwrap();
        }
        let before = seen(&store, &late).await;
        for cut in cuts.windows(2).rev() {
            other.write_rows(&late.batch(cut[0]..cut[1])).await.unwrap();
            assert_eq!(seen(&store, &late).await, before);
            let again = other.apply(late.batch(cut[0]..cut[1])).await;
            assert!(matches!(again, Err(Error::Lost { .. })), "{again:?}");
        }
        assert_eq!(seen(&store, &late).await, before);
    });
}

/// Owners cut batches where time cuts them. What one wrote before it died overlaps with what the next one
/// writes; each event is given once, in order, from wherever one begins to read.
#[test]
fn histories_of_owners_that_cut_otherwise_are_one() {
    live(async |server| {
        let store = server.fresh().await;
        let key = RunKey::new("default", "r");
        let mut history = History::new(0);
        history.create(&key, Driver::Journal);
        (0..400).for_each(|_| history.decide(&key));
        let end = history.len();
        let whole = server.fresh().await;
        whole.apply(history.batch(0..end)).await.unwrap();
        let wanted = whole.run_events(&key, 0, 10_000).await.unwrap();
        assert_eq!(wanted.len() as u64, end - 1, "all but the claim");
        let died = server.open(store.keyspace()).await;
        let mut start = 0;
        for (dead_at, next) in [(90, 10), (95, 77), (300, 120), (end, 310), (end, end)] {
            died.write_rows(&history.batch(start..dead_at)).await.unwrap();
            store.apply(history.batch(start..next)).await.unwrap();
            start = next;
        }
        for from in 0..end {
            let found = store.run_events(&key, from, 10_000).await.unwrap();
            let rest = wanted.iter().filter(|event| event.offset >= from);
            assert!(found.iter().eq(rest), "from {from}");
        }
        assert_eq!(load(&store, 0, &key).await, history.run_at(&key, end - 1));
        let compared = compare(&store, &whole, 10).await.unwrap();
        assert_eq!(compared.differences, [], "rows overlap, and say the same");
    });
}

/// Whatever the cuts, repeats and late writers: the tables are those of one clean pass, and every
/// load on the way is one as of progress.
#[test]
fn tables_are_a_function_of_the_log() {
    live(async |server| {
        let (clean, wild) = (server.fresh().await, server.fresh().await);
        let zombie = server.open(wild.keyspace()).await;
        let cases: u32 = std::env::var("SPINE_CASES").map_or(12, |cases| cases.parse().unwrap());
        let (mut letters, mut refused) = (0, 0);
        for case in 0..cases {
            let luck = &mut Luck::new(u64::from(case));
            let history = History::random(case, luck, 90);
            letters += history.letters();
            refused += history.count(VerdictKind::Refused) + history.count(VerdictKind::Stale);
            clean.apply(history.batch(0..history.len())).await.unwrap();
            wild_pass(&wild, &zombie, &history, luck).await;
        }
        assert!(letters > 3 && refused > 10, "{letters} letters, {refused} refused or stale");
        let found = compare(&clean, &wild, 10).await.unwrap();
        assert!(found.is_equal(), "{:#?}", found.differences);
        assert_eq!(found.progress, []);
        let rows: Vec<_> = found.tables.iter().map(|table| (table.table, table.rows)).collect();
        println!("compared {rows:?}");
        assert!(rows.iter().filter(|(_, rows)| rows[0] > 0).count() >= 10, "{rows:?}");
    });
}

/// Applies a history in random cuts by one process, while another writes rows of old and of not
/// yet stored ranges.
async fn wild_pass(store: &CqlStore, zombie: &CqlStore, history: &History, luck: &mut Luck) {
    let mut stored = 0;
    let mut begins = Vec::new();
    while stored < history.len() {
        begins.push(stored);
        let next = (stored + 1 + luck.below(25)).min(history.len());
        let batch: StoreBatch = history.batch(stored..next);
        if luck.below(4) == 0 {
            zombie.write_rows(&batch).await.unwrap();
        }
        if luck.below(3) == 0 {
            // Whoever writes begins behind a progress that it has read.
            let begin = begins[luck.below(begins.len() as u64) as usize];
            let end = (begin + 1 + luck.below(30)).min(history.len());
            zombie.write_rows(&history.batch(begin..end)).await.unwrap();
        }
        if stored > 0 {
            let keys = history.keys();
            let key = &keys[luck.below(keys.len() as u64) as usize];
            let loaded = load(store, history.partition, key).await;
            assert_eq!(loaded, history.run_at(key, stored - 1), "{key} at {}", stored - 1);
        }
        store.apply(batch).await.unwrap();
        stored = next;
    }
}

/// Of several closings the one with the lowest offset wins, in whatever order they come, also
/// before the opening; and one without an opening is not there.
#[test]
fn the_first_closing_wins_in_any_order() {
    live(async |server| {
        let store = server.fresh().await;
        let statuses = [LetterStatus::Redriven, LetterStatus::Resolved, LetterStatus::Discarded];
        let orders = [[0, 1, 2], [2, 1, 0], [1, 0, 2], [2, 0, 1]];
        for (number, order) in (0..).zip(orders) {
            let mut letter = samples::letter(number, 0, number);
            let closing = |at_place: usize| LetterClosing {
                letter_id: letter.letter_id,
                status: statuses[at_place],
                offset: 100 + at_place as u64,
                at: at(100 + at_place as u64),
                by: ["zoe", "max", "ann"][at_place].into(),
                reason: String::new(),
            };
            let first = closing(0);
            for (turn, place) in order.into_iter().enumerate() {
                let mut batch = Tape::new(0).next(200);
                batch.closings.push(closing(place));
                if turn == 1 {
                    batch.letters.push(letter.clone());
                }
                store.write_rows(&batch).await.unwrap();
                if turn == 0 {
                    assert_eq!(store.letter(&letter.letter_id).await.unwrap(), None);
                }
            }
            assert!(letter.close(&first));
            assert_eq!(store.letter(&letter.letter_id).await.unwrap(), Some(letter.clone()));
            let of = async |status| {
                store
                    .list_letters(
                        &LetterFilter { status: Some(status), ..Default::default() },
                        None,
                        10,
                    )
                    .await
                    .unwrap()
                    .rows
            };
            assert!(of(LetterStatus::Redriven).await.contains(&letter));
            assert_eq!(of(LetterStatus::Open).await, []);
        }
    });
}

/// An end stays the end although a late writer opens the run again.
#[test]
fn a_late_writer_does_not_open_an_ended_run() {
    live(async |server| {
        let store = server.fresh().await;
        let run = samples::run("default", "r", 3);
        let ended = samples::ended(run.clone(), spine_runs::RunStatus::Completed, 9);
        let mut tape = Tape::new(0);
        let opening = tape.with([samples::created(&run)]);
        store.apply(opening.clone()).await.unwrap();
        store.apply(tape.with([samples::changed(&ended)])).await.unwrap();
        store.write_rows(&opening).await.unwrap();
        assert_eq!(store.open_runs(0, None, 10).await.unwrap().rows, []);
        let list = store.list_runs(&Default::default(), None, 10).await.unwrap().rows;
        assert_eq!((list.len(), &*list[0].status), (1, "completed"));
        assert_eq!(load(&store, 0, &run.key).await, Some(ended));
    });
}
