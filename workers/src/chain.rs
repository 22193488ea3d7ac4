//! The hash chain over a partition: each link covers the record as stored and the link before it.

use spine_log::Record;
use spine_schemas::Digest;

/// The link before the first record.
pub(crate) fn origin(log_id: &str, partition: u32) -> Digest {
    Digest::of_parts(&[b"origin", log_id.as_bytes(), &partition.to_be_bytes()])
}

/// The link of a record: a hash over length-prefixed parts, so that no two records collide.
pub(crate) fn link(before: &Digest, log_id: &str, partition: u32, record: &Record) -> Digest {
    let offset = record.offset.to_be_bytes();
    let timestamp = record.timestamp.0.to_be_bytes();
    let partition = partition.to_be_bytes();
    let key = record.key.as_deref();
    let value = record.value.as_deref();
    let presence = [u8::from(key.is_some()), u8::from(value.is_some())];
    let mut parts: Vec<&[u8]> = Vec::with_capacity(8 + 2 * record.headers.len());
    parts.extend([
        before.0.as_slice(),
        log_id.as_bytes(),
        &partition,
        &offset,
        &timestamp,
        &presence,
        key.unwrap_or_default(),
        value.unwrap_or_default(),
    ]);
    for (name, value) in &record.headers {
        parts.extend([name.as_bytes(), value.as_ref()]);
    }
    Digest::of_parts(&parts)
}
