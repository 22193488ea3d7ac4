//! What is in the active segment when the log opens: all of it, less a torn tail, or damage. A reserve behind the
//! last block is neither.
//!
//! Only one block is ever being written, and everything before it was synced first. So a bad block
//! that is not the last, or that lies below the noted length, cannot be the work of a crash.

use super::{
    block::{Block, BlockCursor, Damage, Fault, Head, read_exact},
    index::{Index, Mark},
    reserve,
    segment::{OpenSegment, damaged},
};
use crate::{Error, Result, limits::READ_BYTES};
use bytes::Bytes;
use spine_schemas::{
    mutants::{Mutant, planted},
    time::Micros,
};

/// The sound contents of an active segment, all of it durable.
#[derive(Debug)]
pub(crate) struct Recovered {
    /// Offset of the next record.
    pub(crate) end_offset: u64,
    /// Bytes up to the end of the last block.
    pub(crate) durable_bytes: u64,
    /// Bytes of the file; more than those where space is reserved.
    pub(crate) file_bytes: u64,
    /// Time of the last record, or the segment's floor.
    pub(crate) last_time: Micros,
    /// Its index.
    pub(crate) index: Index,
}

impl Recovered {
    /// A segment of which no block was read yet.
    fn nothing(segment: &OpenSegment) -> Self {
        Self {
            end_offset: segment.header.first_offset,
            durable_bytes: segment.header_bytes,
            file_bytes: segment.header_bytes,
            last_time: Micros(segment.header.floor_micros),
            index: Index::default(),
        }
    }
}

/// Checks the active segment, cuts a torn tail, and makes what is left durable. `noted_bytes` is
/// the length that was durable for certain.
pub(crate) fn recover(segment: &OpenSegment, noted_bytes: u64) -> Result<Recovered> {
    let mut size_bytes = segment.file.size_bytes().map_err(|error| io(segment, error))?;
    let mut noted_bytes = noted_bytes;
    let mut found = Recovered::nothing(segment);
    let mut bad = scan(segment, size_bytes, &mut found)?;
    if planted(Mutant::CutLastBlock) && found.durable_bytes > segment.header_bytes {
        (size_bytes, noted_bytes) = (found.durable_bytes - 1, 0);
        found = Recovered::nothing(segment);
        bad = scan(segment, size_bytes, &mut found)?;
    }
    if size_bytes < noted_bytes {
        return Err(missing_end(segment, &found, size_bytes, noted_bytes));
    }
    found.file_bytes = found.durable_bytes;
    let mut is_cut = false;
    if let Some(damage) = &bad {
        if damage.byte < noted_bytes {
            return Err(damaged(&segment.path, damage));
        }
        let tail = tail(segment, damage.byte, size_bytes)?;
        let is_reserve = reserve::is_reserve(&tail, &segment.header.marker);
        if !is_reserve {
            judge(segment, damage, found.end_offset, &tail)?;
            warn(segment, damage, &tail);
        }
        // Behind a block of which it is not known whether it is durable, the reserve may not be, either.
        is_cut = !is_reserve || noted_bytes < found.durable_bytes;
        if is_cut {
            segment.file.truncate(damage.byte).map_err(|error| io(segment, error))?;
        } else {
            found.file_bytes = size_bytes;
        }
    }
    write_again(segment, noted_bytes, found.durable_bytes)?;
    if is_cut || noted_bytes < found.durable_bytes {
        segment.file.sync_data().map_err(|error| io(segment, error))?;
    }
    Ok(found)
}

/// Reads the durable part of an active segment that another process may be writing. Nothing is cut or
/// written; what lies above the noted length is not looked at.
pub(crate) fn survey(segment: &OpenSegment, noted_bytes: u64) -> Result<Recovered> {
    let size_bytes = segment.file.size_bytes().map_err(|error| io(segment, error))?;
    let mut found = Recovered::nothing(segment);
    let bad = scan(segment, noted_bytes.min(size_bytes), &mut found)?;
    if let Some(damage) = &bad {
        return Err(damaged(&segment.path, damage));
    }
    if size_bytes < noted_bytes {
        return Err(missing_end(segment, &found, size_bytes, noted_bytes));
    }
    Ok(found)
}

/// A sound block and the times of its first and last record.
type Checked = (Block, (Micros, Micros));

/// Reads all blocks into `found` and returns the first bad one, if there is one.
fn scan(segment: &OpenSegment, size_bytes: u64, found: &mut Recovered) -> Result<Option<Damage>> {
    let mut cursor = segment.cursor(None);
    loop {
        match next_checked(segment, &mut cursor, size_bytes) {
            Ok(None) => return Ok(None),
            Ok(Some((block, (first_time, last_time)))) => {
                let mark = Mark { offset: block.first_offset, time: first_time, byte: block.byte };
                found.index.note(mark);
                found.end_offset = block.first_offset + block.count;
                found.durable_bytes = block.end_byte;
                found.last_time = last_time;
            }
            Err(Fault::Damage(damage)) => return Ok(Some(damage)),
            Err(fault @ Fault::Io(_)) => return Err(segment.fault(fault)),
        }
    }
}

fn next_checked(
    segment: &OpenSegment,
    cursor: &mut BlockCursor,
    size_bytes: u64,
) -> std::result::Result<Option<Checked>, Fault> {
    let Some(block) = cursor.next(size_bytes)? else {
        return Ok(None);
    };
    let times = block.check(segment.header.frame().as_ref(), drop).map_err(Fault::Damage)?;
    Ok(Some((block, times)))
}

/// What lies behind the last sound block.
fn tail(segment: &OpenSegment, from_byte: u64, size_bytes: u64) -> Result<Bytes> {
    let len = usize::try_from(size_bytes - from_byte).unwrap_or(usize::MAX);
    read_exact(&*segment.file, from_byte, len).map_err(|error| io(segment, error))
}

/// Refuses a bad block that a crash cannot explain. The block should begin with record `offset`.
fn judge(segment: &OpenSegment, bad: &Damage, offset: u64, tail: &Bytes) -> Result<()> {
    if sound_block_after(segment, bad.byte, offset, tail) {
        return Err(damaged(&segment.path, bad));
    }
    Ok(())
}

/// Whether a sound block lies behind the bad one that begins `tail`. Every place is tried, since
/// the damage may have hit the length or the marker that would lead to the next block. A block of
/// older offsets is not a block of this place but bytes inside a record.
fn sound_block_after(segment: &OpenSegment, bad_byte: u64, offset: u64, tail: &Bytes) -> bool {
    let marker = &segment.header.marker;
    let frame = segment.header.frame();
    (1..tail.len()).any(|start| {
        let head = &tail[start..];
        let Some(total) = Head::parse(head).map(|head| head.total()) else {
            return false;
        };
        if total > head.len() || !head[..total].ends_with(marker) {
            return false;
        }
        let bytes = tail.slice(start..start + total);
        let byte = bad_byte + start as u64;
        let Some(first) = Head::first_offset(&bytes).filter(|first| *first > offset) else {
            return false;
        };
        Block::parse(&bytes, marker, byte, first)
            .is_some_and(|block| block.check(frame.as_ref(), drop).is_ok())
    })
}

fn warn(segment: &OpenSegment, bad: &Damage, tail: &[u8]) {
    tracing::warn!(
        path = %segment.path.display(), byte = bad.byte, offset = bad.offset,
        lost_bytes = reserve::used_bytes(tail, &segment.header.marker), why = bad.why,
        "cut a torn tail that was never acknowledged"
    );
}

/// Writes what lies above the noted length once more. After a failed sync the system may hold it
/// as clean although the disk never got it, and only a new write makes a later sync honest.
fn write_again(segment: &OpenSegment, noted_bytes: u64, end_byte: u64) -> Result<()> {
    let mut at = noted_bytes;
    while at < end_byte {
        let len = (end_byte - at).min(READ_BYTES as u64) as usize;
        let bytes = read_exact(&*segment.file, at, len).map_err(|error| io(segment, error))?;
        if bytes.is_empty() {
            return Err(Error::Unavailable(format!("{} shrinks", segment.path.display())));
        }
        segment.file.write_at(&bytes, at).map_err(|error| io(segment, error))?;
        at += bytes.len() as u64;
    }
    Ok(())
}

fn missing_end(
    segment: &OpenSegment,
    found: &Recovered,
    size_bytes: u64,
    noted_bytes: u64,
) -> Error {
    Error::Damaged(format!(
        "{} is damaged at byte {size_bytes}, record {}: it ends there, but {noted_bytes} bytes \
         were durable",
        segment.path.display(),
        found.end_offset
    ))
}

fn io(segment: &OpenSegment, error: std::io::Error) -> Error {
    super::files::failed("recover", &segment.path)(error)
}
