//! Derived identities: idempotency keys, letter ids, partitions. None is ever derived from time.

use crate::{Digest, RunKey, StepKey, limits};

/// The key that a tool sees: the same across attempts, owners and redrives, new after an edit.
pub fn idempotency_key(installation: &str, run: &RunKey, step: &StepKey, edit: u32) -> Digest {
    Digest::of_parts(&[
        installation.as_bytes(),
        run.tenant.as_bytes(),
        run.run_id.as_bytes(),
        step.scope.as_bytes(),
        step.name.as_bytes(),
        &step.occurrence.to_be_bytes(),
        &edit.to_be_bytes(),
    ])
}

/// The identity of a step's letter.
pub fn step_letter_id(run: &RunKey, step: &StepKey, generation: u32) -> Digest {
    Digest::of_parts(&[
        b"step",
        run.tenant.as_bytes(),
        run.run_id.as_bytes(),
        step.to_string().as_bytes(),
        &generation.to_be_bytes(),
    ])
}

/// The identity of a question about a step; `number` counts the step's questions from 0.
pub fn task_id(run: &RunKey, step: &StepKey, number: u32) -> Digest {
    Digest::of_parts(&[
        b"task",
        run.tenant.as_bytes(),
        run.run_id.as_bytes(),
        step.to_string().as_bytes(),
        &number.to_be_bytes(),
    ])
}

/// The id of the run that an attempt of a step is: that of its parent, as far as there is room, and a hash of
/// the attempt.
pub fn child_run_id(parent: &RunKey, step: &StepKey, attempt: u32) -> String {
    let digest = Digest::of_parts(&[
        b"child",
        parent.tenant.as_bytes(),
        parent.run_id.as_bytes(),
        step.to_string().as_bytes(),
        &attempt.to_be_bytes(),
    ]);
    let hash = &digest.to_string()[..24];
    let most = limits::ID_BYTES - hash.len() - 1;
    let room = parent.run_id.floor_char_boundary(most);
    format!("{}.{hash}", &parent.run_id[..room])
}

/// The identity of what a run tells another because of one of its events, the `index`-th of it.
pub fn message_id(run: &RunKey, offset: u64, index: usize) -> String {
    let (offset, index) = (offset.to_be_bytes(), (index as u64).to_be_bytes());
    Digest::of_parts(&[b"message", run.tenant.as_bytes(), run.run_id.as_bytes(), &offset, &index])
        .to_string()
}

/// The identity of a record's letter.
pub fn record_letter_id(log_id: &str, topic: &str, partition: u32, offset: u64) -> Digest {
    Digest::of_parts(&[
        b"record",
        log_id.as_bytes(),
        topic.as_bytes(),
        &partition.to_be_bytes(),
        &offset.to_be_bytes(),
    ])
}

/// The partition of a record key, by the murmur2 rule of Kafka's Java producer.
pub fn partition_of(key: &[u8], partitions: u32) -> u32 {
    assert!(partitions > 0, "a topic has at least one partition");
    (murmur2(key) & 0x7fff_ffff) % partitions
}

/// Murmur2 as in `org.apache.kafka.common.utils.Utils.murmur2`, seed 0x9747b28c.
fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut hash = 0x9747_b28c_u32 ^ (data.len() as u32);
    let mut chunks = data.chunks_exact(4);
    for chunk in &mut chunks {
        let mut word = u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]);
        word = word.wrapping_mul(M);
        word ^= word >> 24;
        hash = hash.wrapping_mul(M) ^ word.wrapping_mul(M);
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        for (at, &byte) in rest.iter().enumerate() {
            hash ^= u32::from(byte) << (8 * at);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests;
