//! Space behind the newest block that is in the file before it is needed. To sync a block that makes the
//! file longer the file system changes its own books too, which takes half as long again.
//!
//! To whoever reads the file the space is a row of blocks without records, so it is a sound Avro file. All but
//! the first have the shortest form there is; the first is as long as the block before it leaves it. They go when
//! the segment is sealed or the log is closed.

use super::header::MARKER_BYTES;
use crate::limits::{RESERVE_MOST_BYTES, RESERVE_PART};

/// Bytes of a block without records: no count, no length, the marker.
const EMPTY_BYTES: usize = 2 + MARKER_BYTES;
const LEAST_BYTES: u64 = EMPTY_BYTES as u64;

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

/// Appends the first block of a reserve of `total_bytes`; the others are in the file.
pub(crate) fn put_first(out: &mut Vec<u8>, total_bytes: u64, marker: &[u8; MARKER_BYTES]) {
    debug_assert!(total_bytes >= LEAST_BYTES, "a reserve of {total_bytes} bytes");
    let more = (total_bytes % LEAST_BYTES) as usize;
    // Avro's integers may be padded, to ten bytes.
    for width in [1 + more / 2, 1 + more - more / 2] {
        out.resize(out.len() + width - 1, 0x80);
        out.push(0);
    }
    out.extend_from_slice(marker);
}

/// Appends a whole reserve.
pub(crate) fn put_whole(out: &mut Vec<u8>, total_bytes: u64, marker: &[u8; MARKER_BYTES]) {
    put_first(out, total_bytes, marker);
    for _ in 1..total_bytes / LEAST_BYTES {
        out.extend_from_slice(&[0, 0]);
        out.extend_from_slice(marker);
    }
}

/// Whether what lies behind the last sound block is a reserve, as it was written.
pub(crate) fn is_reserve(tail: &[u8], marker: &[u8; MARKER_BYTES]) -> bool {
    let total_bytes = tail.len() as u64;
    let whole = || {
        let mut whole = Vec::with_capacity(tail.len());
        put_whole(&mut whole, total_bytes, marker);
        whole
    };
    (LEAST_BYTES..=RESERVE_MOST_BYTES).contains(&total_bytes) && whole() == tail
}

/// Bytes of a tail before the part of a reserve in which it ends, if it does.
pub(crate) fn used_bytes(tail: &[u8], marker: &[u8; MARKER_BYTES]) -> usize {
    let is_empty = |block: &&[u8]| block[..2] == [0, 0] && block[2..] == *marker;
    tail.len() - tail.rchunks_exact(EMPTY_BYTES).take_while(is_empty).count() * EMPTY_BYTES
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
        let len = bytes.iter().position(|byte| *byte < 0x80).unwrap() + 1;
        assert!(len <= 10, "longer than any integer");
        let (number, rest) = bytes.split_at(len);
        *bytes = rest;
        number.iter().rev().fold(0, |value, byte| value << 7 | u64::from(byte & 0x7f)) >> 1
    }

    #[test]
    fn a_reserve_is_a_row_of_blocks_without_records_whatever_it_takes() {
        for total in (LEAST_BYTES..LEAST_BYTES + 300).chain([RESERVE_MOST_BYTES]) {
            let blocks = whole(total);
            assert_eq!(blocks.len() as u64, total);
            let mut rest = &blocks[..];
            while !rest.is_empty() {
                assert_eq!((integer(&mut rest), integer(&mut rest)), (0, 0), "{total}");
                rest = rest.strip_prefix(&MARKER).unwrap();
            }
            assert!(is_reserve(&blocks, &MARKER));
        }
    }

    #[test]
    fn its_bytes_are_these() {
        assert_eq!(whole(18), [&[0, 0][..], &MARKER].concat());
        assert_eq!(whole(39), [&[0x80, 0, 0x80, 0x80, 0][..], &MARKER, &[0, 0], &MARKER].concat());
    }

    #[test]
    fn a_block_over_its_beginning_leaves_a_reserve_of_what_is_left() {
        let file = whole(200);
        for end in 0..=200 - EMPTY_BYTES {
            let mut written = vec![7; end];
            put_first(&mut written, (200 - end) as u64, &MARKER);
            let after = [&written[..], &file[written.len()..]].concat();
            assert!(is_reserve(&after[end..], &MARKER), "{end}");
        }
    }

    #[test]
    fn what_is_not_as_it_was_written_is_no_reserve() {
        let good = whole(100);
        for place in 0..good.len() {
            let mut bad = good.clone();
            bad[place] ^= 4;
            assert!(!is_reserve(&bad, &MARKER), "byte {place}");
        }
        assert!(!is_reserve(&good[..99], &MARKER));
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
    fn the_end_of_a_reserve_is_not_counted_as_used() {
        assert_eq!(used_bytes(&[], &MARKER), 0);
        assert_eq!(used_bytes(&whole(36), &MARKER), 0);
        assert_eq!(used_bytes(&[&[7, 0, 7][..], &whole(180)].concat(), &MARKER), 3);
        assert_eq!(used_bytes(&[7; 40], &MARKER), 40);
    }
}
