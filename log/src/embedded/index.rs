//! The sparse index of a segment: some blocks with their first offset, time and place in the file.
//!
//! It only makes seeking fast. It can be lost or garbled at any time and is then built again.

use crate::limits::INDEX_STRIDE_BYTES;
use spine_schemas::time::Micros;

const MAGIC: &[u8; 8] = b"SPINEIX1";
const MARK_BYTES: usize = 24;
const CRC_BYTES: usize = 4;

/// One indexed block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Offset of its first record.
    pub(crate) offset: u64,
    /// Time of its first record.
    pub(crate) time: Micros,
    /// Where it begins in the file.
    pub(crate) byte: u64,
}

/// The indexed blocks of one segment, oldest first. The first block is always among them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Index {
    marks: Vec<Mark>,
}

impl Index {
    /// Notes a block, if it lies far enough behind the last one that was noted.
    pub(crate) fn note(&mut self, mark: Mark) {
        let far = |last: &Mark| mark.byte >= last.byte + INDEX_STRIDE_BYTES;
        if self.marks.last().is_none_or(far) {
            self.marks.push(mark);
        }
    }

    /// The last mark at or before an offset.
    pub(crate) fn before_offset(&self, offset: u64) -> Option<Mark> {
        let behind = self.marks.partition_point(|mark| mark.offset <= offset);
        self.marks.get(behind.checked_sub(1)?).copied()
    }

    /// The last mark that is older than a time: whatever is at or after the time lies behind it.
    pub(crate) fn before_time(&self, time: Micros) -> Option<Mark> {
        let behind = self.marks.partition_point(|mark| mark.time < time);
        self.marks.get(behind.checked_sub(1)?).copied()
    }

    /// The index file of a segment that has `segment_bytes`.
    pub(crate) fn encode(&self, segment_bytes: u64) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&segment_bytes.to_le_bytes());
        for mark in &self.marks {
            out.extend_from_slice(&mark.offset.to_le_bytes());
            out.extend_from_slice(&mark.time.0.to_le_bytes());
            out.extend_from_slice(&mark.byte.to_le_bytes());
        }
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        out
    }

    /// Reads an index file; `None` unless it is whole and was made for a segment of this size.
    pub(crate) fn decode(file: &[u8], segment_bytes: u64) -> Option<Self> {
        let (body, crc) = file.split_at_checked(file.len().checked_sub(CRC_BYTES)?)?;
        if crc != crc32c::crc32c(body).to_le_bytes() {
            return None;
        }
        let body = body.strip_prefix(MAGIC)?.strip_prefix(&segment_bytes.to_le_bytes())?;
        let (marks, rest) = body.as_chunks::<MARK_BYTES>();
        rest.is_empty().then(|| Self { marks: marks.iter().map(mark).collect() })
    }
}

fn mark(bytes: &[u8; MARK_BYTES]) -> Mark {
    let number = |at: usize| {
        bytes[at..at + 8].iter().rev().fold(0_u64, |high, byte| high << 8 | u64::from(*byte))
    };
    Mark { offset: number(0), time: Micros(number(8).cast_signed()), byte: number(16) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index() -> Index {
        let mut index = Index::default();
        for step in 0..4 {
            index.note(Mark {
                offset: step * 10,
                time: Micros(step as i64 * 100 - 50),
                byte: 500 + step * INDEX_STRIDE_BYTES,
            });
        }
        index
    }

    #[test]
    fn blocks_within_a_stride_are_not_noted() {
        let mut index = index();
        index.note(Mark { offset: 31, time: Micros(999), byte: 501 + 3 * INDEX_STRIDE_BYTES });
        assert_eq!(index, self::index());
    }

    #[test]
    fn seeking_finds_the_last_mark_before() {
        let index = index();
        assert_eq!(index.before_offset(9).unwrap().offset, 0);
        assert_eq!(index.before_offset(10).unwrap().offset, 10);
        assert_eq!(index.before_offset(1000).unwrap().offset, 30);
        assert_eq!(index.before_time(Micros(-50)), None);
        assert_eq!(index.before_time(Micros(50)).unwrap().offset, 0);
        assert_eq!(index.before_time(Micros(51)).unwrap().offset, 10);
    }

    #[test]
    fn the_file_form_comes_back_and_no_flipped_bit_goes_unseen() {
        let bytes = index().encode(777);
        assert_eq!(Index::decode(&bytes, 777), Some(index()));
        assert_eq!(Index::decode(&bytes, 778), None);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Index::decode(&flipped, 777), None, "bit {bit}");
        }
    }
}
