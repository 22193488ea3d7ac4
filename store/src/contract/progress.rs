//! Progress: compare-and-set per partition, and nothing of a lost batch.

use super::samples::{self, Tape};
use crate::{Error, LetterFilter, RunFilter, RunStore};

/// Progress moves from the expected offset and from no other.
pub(super) async fn moves_from_the_expected_offset_only(store: &impl RunStore) {
    assert_eq!(store.progress(0).await.expect("progress"), None, "a fresh store has none");
    let mut tape = Tape::new(0);
    let early = Tape::new(0).next(5);
    let first = tape.next(3);
    store.apply(first.clone()).await.expect("apply");
    assert_eq!(store.progress(0).await.expect("progress"), Some(first.progress));
    let lost = |expected| Err(Error::Lost { partition: 0, expected, found: Some(2) });
    assert_eq!(store.apply(early).await, lost(None), "the store is not fresh any more");
    let mut wrong = tape.clone().next(1);
    wrong.expected = Some(1);
    assert_eq!(store.apply(wrong).await, lost(Some(1)), "another offset is stored");
    let second = tape.next(4);
    store.apply(second.clone()).await.expect("apply");
    assert_eq!(store.apply(second.clone()).await, {
        Err(Error::Lost { partition: 0, expected: Some(2), found: Some(6) })
    });
    assert_eq!(store.progress(0).await.expect("progress"), Some(second.progress));
    let mut fresh = Tape::new(9).next(1);
    fresh.expected = Some(0);
    assert_eq!(store.apply(fresh).await, {
        Err(Error::Lost { partition: 9, expected: Some(0), found: None })
    });
}

/// A batch of an owner that lost its partition changes nothing at all.
pub(super) async fn lost_batch_leaves_nothing(store: &impl RunStore) {
    let mut tape = Tape::new(0);
    store.apply(tape.next(2)).await.expect("apply");
    let mut late = Tape::new(0).next(1);
    let run = samples::full_run("default", "late", 0);
    late.runs.push(samples::created(&run));
    late.letters.push(samples::letter(0, 0, 0));
    let progress = store.progress(0).await.expect("progress");
    store.apply(late).await.expect_err("the progress is another");
    assert_eq!(store.load_runs(0, &[run.key]).await.expect("load"), [None]);
    assert_eq!(store.open_runs(0, None, 10).await.expect("open").rows, []);
    assert!(store.list_runs(&RunFilter::default(), None, 10).await.expect("list").rows.is_empty());
    assert!(
        store
            .list_letters(&LetterFilter::default(), None, 10)
            .await
            .expect("letters")
            .rows
            .is_empty()
    );
    assert_eq!(store.progress(0).await.expect("progress"), progress);
}

/// Each partition has its own progress.
pub(super) async fn partitions_move_apart(store: &impl RunStore) {
    let (mut one, mut two) = (Tape::new(0), Tape::new(47));
    for events in [3, 1, 5] {
        store.apply(one.next(events)).await.expect("apply");
        store.apply(two.next(2 * events)).await.expect("apply");
    }
    let offset = async |partition| {
        store.progress(partition).await.expect("progress").map(|progress| progress.offset)
    };
    assert_eq!(offset(0).await, Some(8));
    assert_eq!(offset(47).await, Some(17));
    assert_eq!(offset(1).await, None);
}

/// Two owners that follow the same progress: one batch is applied, the other is lost.
pub(super) async fn one_of_two_racing_owners_wins(store: &impl RunStore) {
    let mut tape = Tape::new(0);
    store.apply(tape.next(1)).await.expect("apply");
    for round in 1..20 {
        let batch = tape.next(1);
        let (mut a, mut b) = (batch.clone(), batch);
        let (run_a, run_b) =
            (samples::run("default", "a", round), samples::run("default", "b", round));
        a.runs.push(samples::created(&run_a));
        b.runs.push(samples::created(&run_b));
        let (a, b) = tokio::join!(store.apply(a), store.apply(b));
        assert!(a.is_ok() != b.is_ok(), "exactly one wins: {a:?} {b:?}");
        let keys = [run_a.key.clone(), run_b.key.clone()];
        let loaded = store.load_runs(0, &keys).await.expect("load");
        let winner = if a.is_ok() { (&loaded[0], &run_a) } else { (&loaded[1], &run_b) };
        assert_eq!(winner.0.as_ref(), Some(winner.1));
    }
}
