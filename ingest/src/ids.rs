//! Identities that callers leave out: made by chance, or derived so that a repeat is noticed.

use spine_schemas::{Digest, RunKey};

/// An identity by chance.
pub(crate) fn by_chance(chance: [u8; 16]) -> String {
    hex(&chance)
}

/// The event of a line in a batch that has an `Idempotency-Key`: the same when it is sent again.
pub(crate) fn of_line(key: &str, line: usize) -> String {
    let line = (line as u64).to_be_bytes();
    hex(&Digest::of_parts(&[key.as_bytes(), &line]).0)
}

/// The event of a journal operation: one that is sent again is the same event.
pub(crate) fn of_operation(run: &RunKey, session: &str, op_id: u64) -> String {
    let (run, op_id) = (run.to_string(), op_id.to_be_bytes());
    hex(&Digest::of_parts(&[b"op", run.as_bytes(), session.as_bytes(), &op_id]).0)
}

/// The batch of a journal request: the same operations together are the same batch; any other
/// combination is another one, and so are the same ones behind the creation of their run.
pub(crate) fn of_operations(session: &str, creates: bool, op_ids: &[u64]) -> String {
    let op_ids: Vec<u8> = op_ids.iter().flat_map(|op_id| op_id.to_be_bytes()).collect();
    let what: &[u8] = if creates { b"creating batch" } else { b"batch" };
    hex(&Digest::of_parts(&[what, session.as_bytes(), &op_ids]).0)
}

/// One is made for every line, so this looks digits up rather than formatting them.
fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    text
}
