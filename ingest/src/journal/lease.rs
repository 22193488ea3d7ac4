//! A lease as agents see it: an opaque text that carries the position of the attempt's start.

use crate::{Code, Problem};

/// The text of a lease.
pub(super) fn text(partition: u32, offset: u64) -> String {
    format!("{partition}-{offset}")
}

/// The offset in the text of a lease of this partition.
pub(super) fn read(text: &str, partition: u32) -> Result<u64, Problem> {
    let parts = text.split_once('-');
    let of_ours = parts.filter(|(of, _)| *of == partition.to_string());
    of_ours.and_then(|(_, offset)| offset.parse().ok()).ok_or_else(|| {
        let detail = format!("lease: '{text}' is not one that begin gave for this run");
        Problem::new(Code::WrongLease, detail).with("field", "lease")
    })
}
