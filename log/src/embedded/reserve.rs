//! Space behind the newest block that is in the file before it is needed. To sync a block that makes the
//! file longer the file system changes its own books too, which takes half as long again.
//!
//! To whoever reads the file the space is a block without records, so it is a sound Avro file at any time.
//! It goes when the segment is sealed or the log is closed.

use super::header::MARKER_BYTES;
use crate::limits::{RESERVE_MOST_BYTES, RESERVE_PART};

/// Fewest bytes of a block without records: its count, its padded length, its marker. One more than that,
/// because its contents are of even length.
const LEAST_BYTES: u64 = 1 + 5 + 1 + MARKER_BYTES as u64;

/// Where a file of `file_bytes` ends once a block that ends at `end_byte` is written; `pays` says whether a new
/// reserve does.
pub(crate) fn file_end(end_byte: u64, file_bytes: u64, pays: bool) -> u64 {
    if end_byte + LEAST_BYTES <= file_bytes {
        return file_bytes;
    }
    if pays {
        return end_byte + (end_byte / RESERVE_PART).clamp(LEAST_BYTES, RESERVE_MOST_BYTES);
    }
    // What is left of an older reserve and too short for a block of its own must be covered.
    if end_byte < file_bytes { end_byte + LEAST_BYTES } else { end_byte }
}

/// Appends the head of a block without records that takes `total_bytes`. What lies between this head and the
/// marker are zeros.
///
/// Its length is padded, which Avro's integers allow, so that the contents are of even length: a reader
/// that does not skip a block of no records takes the zeros for more such blocks, two bytes at a time.
pub(crate) fn put_head(out: &mut Vec<u8>, total_bytes: u64) {
    let width = if total_bytes.is_multiple_of(2) { 5 } else { 6 };
    let contents = total_bytes - 1 - width - MARKER_BYTES as u64;
    out.push(0);
    let mut rest = contents << 1;
    for _ in 1..width {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    debug_assert!(rest < 0x80, "a reserve of {total_bytes} bytes");
    out.push(rest as u8);
}

/// Appends a whole block without records.
pub(crate) fn put_whole(out: &mut Vec<u8>, total_bytes: u64, marker: &[u8; MARKER_BYTES]) {
    let end = out.len() + total_bytes as usize;
    put_head(out, total_bytes);
    out.resize(end - MARKER_BYTES, 0);
    out.extend_from_slice(marker);
}

/// Whether what lies behind the last sound block is a reserve, as it was written.
pub(crate) fn is_reserve(tail: &[u8], marker: &[u8; MARKER_BYTES]) -> bool {
    let total_bytes = tail.len() as u64;
    let is_possible = (LEAST_BYTES..=LEAST_BYTES + RESERVE_MOST_BYTES).contains(&total_bytes);
    let whole = || {
        let mut whole = Vec::with_capacity(tail.len());
        put_whole(&mut whole, total_bytes, marker);
        whole
    };
    is_possible && whole() == tail
}

/// Bytes of a tail up to the last that was neither reserved nor the end of a reserve.
pub(crate) fn used_bytes(tail: &[u8], marker: &[u8; MARKER_BYTES]) -> usize {
    let tail = tail.strip_suffix(marker).unwrap_or(tail);
    tail.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARKER: [u8; MARKER_BYTES] = *b"0123456789abcdef";

    fn whole(total_bytes: u64) -> Vec<u8> {
        let mut out = Vec::new();
        put_whole(&mut out, total_bytes, &MARKER);
        out
    }

    /// An integer as any reader of Avro takes it, padded or not.
    fn integer(bytes: &mut &[u8]) -> u64 {
        let mut value = 0;
        for place in 0.. {
            let byte = bytes[0];
            *bytes = &bytes[1..];
            value |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                break;
            }
        }
        value >> 1
    }

    #[test]
    fn a_reserve_is_a_block_of_no_records_and_of_even_length_whatever_it_takes() {
        for total in
            (LEAST_BYTES..LEAST_BYTES + 300).chain([RESERVE_MOST_BYTES - 1, RESERVE_MOST_BYTES])
        {
            let block = whole(total);
            assert_eq!(block.len() as u64, total);
            let mut rest = &block[..];
            assert_eq!(integer(&mut rest), 0);
            let contents = integer(&mut rest) as usize;
            assert!(contents.is_multiple_of(2), "{total}");
            assert!(rest[..contents].iter().all(|byte| *byte == 0), "{total}");
            assert_eq!(rest[contents..], MARKER);
            assert!(is_reserve(&block, &MARKER));
        }
    }

    #[test]
    fn what_is_not_as_it_was_written_is_no_reserve() {
        let good = whole(100);
        for place in 0..good.len() {
            let mut bad = good.clone();
            bad[place] ^= 4;
            assert!(!is_reserve(&bad, &MARKER), "byte {place}");
            assert!(!is_reserve(&good[..place], &MARKER), "cut at {place}");
        }
        assert!(!is_reserve(&[good, vec![0]].concat(), &MARKER));
    }

    #[test]
    fn the_file_always_has_room_for_the_reserve_behind_the_block() {
        let (mut file_bytes, mut made) = (0, 0);
        for end in (1..4_000_000).step_by(7) {
            let then = file_end(end, file_bytes, true);
            assert!((LEAST_BYTES..=RESERVE_MOST_BYTES).contains(&(then - end)), "{end}");
            assert!(then >= file_bytes, "{end}: nothing may be left behind the reserve");
            made += u32::from(then > file_bytes);
            file_bytes = then;
        }
        assert!(made < 300, "{made} reserves");
    }

    #[test]
    fn where_none_pays_only_what_is_left_of_one_is_covered() {
        assert_eq!(file_end(1000, 900, false), 1000);
        assert_eq!(file_end(1000, 1000, false), 1000);
        assert_eq!(file_end(1000, 1000 + LEAST_BYTES, false), 1000 + LEAST_BYTES);
        for left in 1..LEAST_BYTES {
            assert_eq!(file_end(1000, 1000 + left, false), 1000 + LEAST_BYTES);
        }
    }

    #[test]
    fn zeros_and_the_marker_are_not_counted_as_used() {
        assert_eq!(used_bytes(&[], &MARKER), 0);
        assert_eq!(used_bytes(&[&[0; 50][..], &MARKER].concat(), &MARKER), 0);
        assert_eq!(used_bytes(&[&[7, 0, 7][..], &[0; 50], &MARKER].concat(), &MARKER), 3);
    }
}
