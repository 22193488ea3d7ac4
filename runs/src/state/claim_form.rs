//! `Claim` as JSON; `schemas` keeps it free of serde because Avro has its own wire form.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use spine_schemas::Claim;

#[derive(Serialize, Deserialize)]
struct Form {
    worker: String,
    address: String,
    store_id: String,
    log_id: String,
    fold_version: u32,
    partitions: u32,
    over: Option<u64>,
    restored: bool,
}

pub(super) fn serialize<S: Serializer>(claim: &Claim, to: S) -> Result<S::Ok, S::Error> {
    Form {
        worker: claim.worker.clone(),
        address: claim.address.clone(),
        store_id: claim.store_id.clone(),
        log_id: claim.log_id.clone(),
        fold_version: claim.fold_version,
        partitions: claim.partitions,
        over: claim.over,
        restored: claim.restored,
    }
    .serialize(to)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Claim, D::Error> {
    let form = Form::deserialize(from)?;
    Ok(Claim {
        worker: form.worker,
        address: form.address,
        store_id: form.store_id,
        log_id: form.log_id,
        fold_version: form.fold_version,
        partitions: form.partitions,
        over: form.over,
        restored: form.restored,
    })
}
