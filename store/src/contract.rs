//! The contract of a store as a suite that runs on any adapter. It panics at the first broken promise.
//!
//! What is asked here is what an owner, an operator or a list sees; never how rows are kept.

mod history;
mod letters;
mod lists;
mod owner;
mod progress;
pub mod samples;
mod states;

use crate::RunStore;
use std::future::Future;

/// Makes the stores that the suite runs on.
pub trait Stores {
    /// The adapter.
    type Store: RunStore;

    /// An empty store.
    fn fresh(&self) -> impl Future<Output = Self::Store>;

    /// The same store after the process ended and began again; `None` where nothing can be kept.
    fn reopen(&self, store: Self::Store) -> impl Future<Output = Option<Self::Store>>;
}

/// Runs every check, each on a store of its own.
pub async fn check_all<S: Stores>(stores: &S) {
    progress::moves_from_the_expected_offset_only(&stores.fresh().await).await;
    progress::lost_batch_leaves_nothing(&stores.fresh().await).await;
    progress::partitions_move_apart(&stores.fresh().await).await;
    progress::one_of_two_racing_owners_wins(&stores.fresh().await).await;
    states::loads_what_was_stored(&stores.fresh().await).await;
    states::loads_in_the_order_asked(&stores.fresh().await).await;
    states::writes_changed_steps_only(&stores.fresh().await).await;
    states::same_rows_again_change_nothing(&stores.fresh().await).await;
    states::keeps_large_and_odd_values(&stores.fresh().await).await;
    states::clears_what_became_absent(&stores.fresh().await).await;
    owner::pages_open_runs(&stores.fresh().await).await;
    owner::gives_due_runs_earliest_first(&stores.fresh().await).await;
    owner::moves_and_drops_timers(&stores.fresh().await).await;
    owner::keeps_partitions_apart(&stores.fresh().await).await;
    lists::shows_all_columns(&stores.fresh().await).await;
    lists::filters(&stores.fresh().await).await;
    lists::pages_stay_stable_under_writes(&stores.fresh().await).await;
    lists::refuses_foreign_cursors_and_filters(&stores.fresh().await).await;
    letters::keeps_every_field(&stores.fresh().await).await;
    letters::closes_open_letters_once(&stores.fresh().await).await;
    letters::pages_newest_first(&stores.fresh().await).await;
    history::gives_ranges_of_events(&stores.fresh().await).await;
    history::gives_ranges_of_long_batches(&stores.fresh().await).await;
    history::keeps_every_verdict_and_reason(&stores.fresh().await).await;
    history::keeps_decisions_with_all_fields(&stores.fresh().await).await;
    history::keeps_refusals(&stores.fresh().await).await;
    reopening_keeps_everything(stores).await;
}

/// A process that starts again finds what it had stored.
async fn reopening_keeps_everything<S: Stores>(stores: &S) {
    let store = stores.fresh().await;
    let store_id = store.store_id().to_owned();
    let mut tape = samples::Tape::new(0);
    let run = samples::full_run("default", "kept", 0);
    let mut batch = tape.with([samples::created(&run)]);
    batch.letters.push(samples::letter(0, 0, 1));
    let progress = batch.progress.clone();
    store.apply(batch).await.expect("apply");
    let Some(store) = stores.reopen(store).await else { return };
    assert_eq!(store.store_id(), store_id, "a store keeps its identity");
    assert_eq!(store.progress(0).await.expect("progress"), Some(progress));
    let loaded = store.load_runs(0, std::slice::from_ref(&run.key)).await.expect("load");
    assert_eq!(loaded, [Some(run)]);
    let letter = samples::letter(0, 0, 1);
    assert_eq!(store.letter(&letter.letter_id).await.expect("letter"), Some(letter));
    store.apply(tape.next(1)).await.expect("a reopened store goes on");
}
