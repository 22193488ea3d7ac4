//! Control events: claims, and records that were set aside or put back.

use super::{Place, Verdict};
use crate::{Answer, ClaimState, PartitionState, Reason};
use spine_schemas::{Claim, Event, PartitionEvent, limits};

pub(super) fn fold(
    partition: &mut PartitionState,
    event: &Event,
    body: &PartitionEvent,
    place: Place,
) -> Verdict {
    match body {
        PartitionEvent::OwnerClaimed(claim) => claimed(partition, claim, place),
        PartitionEvent::RecordDeadLettered { offset, .. } => {
            set_aside(partition, event.claim, *offset, place)
        }
        PartitionEvent::RecordDisposed { letter_id, .. } => {
            if partition.disposed.contains(letter_id) {
                let code = Reason::LetterClosed;
                return Verdict::Refused(code, Answer::Denied { code });
            }
            partition.disposed.push_back(*letter_id);
            while partition.disposed.len() > limits::DISPOSED_RECORDS {
                partition.disposed.pop_front();
            }
            Verdict::Applied(Answer::Ok)
        }
    }
}

/// A claim holds only over the claim that is current at its own position.
fn claimed(partition: &mut PartitionState, claim: &Claim, place: Place) -> Verdict {
    let current = partition.current_claim();
    if claim.over != current {
        return Verdict::Stale(Reason::ClaimLost, None);
    }
    if claim.restored {
        partition.restored_at = Some(place.offset);
    }
    let claim = claim.clone();
    partition.claim = Some(ClaimState { offset: place.offset, at: place.at, claim });
    Verdict::Applied(Answer::Ok)
}

/// One letter for each record: a second decision about the same record changes nothing.
fn set_aside(
    partition: &mut PartitionState,
    claim: Option<u64>,
    offset: u64,
    place: Place,
) -> Verdict {
    let current = partition.current_claim();
    if claim.is_none() || claim > current || offset >= place.offset {
        return Verdict::Illegal(Reason::NoClaim);
    }
    if claim < current {
        return Verdict::Stale(Reason::OlderClaim, None);
    }
    if !partition.set_aside.insert(offset) {
        return Verdict::Stale(Reason::Duplicate, None);
    }
    while partition.set_aside.len() > limits::DISPOSED_RECORDS {
        partition.set_aside.pop_first();
    }
    Verdict::Applied(Answer::Ok)
}
