//! Who owns a partition: the newest claim that the store or an owner of this process knows.

use spine_ingest::ClaimHolder;
use spine_store::RunStore;
use spine_workers::VerdictHub;

/// The newest claim that was folded here.
pub(crate) fn folded(hub: &VerdictHub, partition: u32) -> Option<ClaimHolder> {
    hub.claim_of(partition).map(|(claim, address)| ClaimHolder { claim, address })
}

/// The newest claim. A store that does not answer leaves what was folded here.
pub(crate) async fn holder(
    store: &impl RunStore,
    hub: &VerdictHub,
    partition: u32,
) -> Option<ClaimHolder> {
    let progress = store.progress(partition).await.ok().flatten();
    ClaimHolder::newest(progress.as_ref(), folded(hub, partition))
}
