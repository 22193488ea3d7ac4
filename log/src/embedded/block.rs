//! Blocks: one commit group each. Built in one reused buffer, read back in chunks, checked whole.

use super::{
    disk::DiskFile,
    entry::{Entry, Prepared},
    header::MARKER_BYTES,
    schema::FRAME_BYTES,
    varint,
};
use crate::{
    Record,
    limits::{ARENA_BYTES, BLOCK_BYTES, READ_BYTES},
};
use bytes::{Bytes, BytesMut};
use spine_schemas::time::Micros;
use std::{io, ops::Range, sync::Arc};

/// Most bytes of the two integers that open a block.
const HEAD_BYTES: usize = 2 * varint::MAX_BYTES;

/// Why stored bytes cannot be what was written, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    /// Where the bad block begins in the file.
    pub(crate) byte: u64,
    /// The first record that cannot be read.
    pub(crate) offset: u64,
    /// What is wrong.
    pub(crate) why: &'static str,
}

/// Why a block could not be read.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Its bytes are not what was written.
    Damage(Damage),
    /// The disk did not give them.
    Io(io::Error),
}

/// Builds blocks in one buffer. The head is written last, right-aligned in front of the records, so
/// that a block is one slice and one write.
#[derive(Debug)]
pub(crate) struct BlockBuilder {
    buffer: Vec<u8>,
    records: usize,
    /// Where the block lies in the buffer, once it is finished.
    block: Range<usize>,
}

impl BlockBuilder {
    /// An empty block.
    pub(crate) fn new() -> Self {
        Self { buffer: vec![0; HEAD_BYTES], records: 0, block: 0..0 }
    }

    /// Forgets what was built and keeps the memory, unless a rare large block made it huge.
    pub(crate) fn clear(&mut self) {
        self.buffer.truncate(HEAD_BYTES);
        self.buffer.shrink_to(2 * crate::limits::GROUP_BYTES);
        self.records = 0;
    }

    /// Adds a batch at the offsets from `first`.
    pub(crate) fn add(&mut self, batch: &Prepared, first: u64, timestamp: Micros) {
        batch.place(&mut self.buffer, first, timestamp);
        self.records += batch.records.len();
    }

    /// Bytes of the block once it is finished, at most.
    pub(crate) fn len_bytes(&self) -> usize {
        self.buffer.len() + MARKER_BYTES
    }

    /// Ends the block.
    pub(crate) fn finish(&mut self, marker: &[u8; MARKER_BYTES]) {
        let mut head = Vec::with_capacity(HEAD_BYTES);
        varint::put_len(&mut head, self.records);
        varint::put_len(&mut head, self.buffer.len() - HEAD_BYTES);
        let start = HEAD_BYTES - head.len();
        self.buffer[start..HEAD_BYTES].copy_from_slice(&head);
        self.buffer.extend_from_slice(marker);
        self.block = start..self.buffer.len();
    }

    /// The finished block.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer[self.block.clone()]
    }

    /// The finished block and what `put` appends to it.
    pub(crate) fn bytes_and(&mut self, put: impl FnOnce(&mut Vec<u8>)) -> &[u8] {
        self.buffer.truncate(self.block.end);
        put(&mut self.buffer);
        &self.buffer[self.block.start..]
    }
}

/// A block as it stands in the file; its records are not checked yet.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    /// Where it begins in the file.
    pub(crate) byte: u64,
    /// One past its last byte, the marker included.
    pub(crate) end_byte: u64,
    /// Offset that its first record must have.
    pub(crate) first_offset: u64,
    /// Number of records.
    pub(crate) count: u64,
    body: Bytes,
}

impl Block {
    /// Finds a block at the front of `bytes`.
    pub(crate) fn parse(
        bytes: &Bytes,
        marker: &[u8; MARKER_BYTES],
        byte: u64,
        first_offset: u64,
    ) -> Option<Self> {
        let head = Head::parse(bytes)?;
        let body = bytes.get(head.len..head.len + head.body)?;
        let end = bytes.get(head.len + head.body..head.total())?;
        (end == marker).then(|| Self {
            byte,
            end_byte: byte + head.total() as u64,
            first_offset,
            count: head.count,
            body: bytes.slice_ref(body),
        })
    }

    /// Checks every record, calls `each` on it, and returns the time of the first and the last.
    pub(crate) fn check<'a>(
        &'a self,
        frame: Option<&[u8; FRAME_BYTES]>,
        each: impl FnMut(Entry<'a>),
    ) -> Result<(Micros, Micros), Damage> {
        self.walk(|rest| Entry::take(rest, frame), each)
    }

    fn walk<'a>(
        &'a self,
        take: impl Fn(&mut &'a [u8]) -> Option<Entry<'a>>,
        mut each: impl FnMut(Entry<'a>),
    ) -> Result<(Micros, Micros), Damage> {
        let mut rest: &[u8] = &self.body;
        let mut times = None;
        for offset in self.first_offset..self.first_offset.saturating_add(self.count) {
            let entry = take(&mut rest)
                .ok_or_else(|| self.damage(offset, "a record does not match its checksum"))?;
            if entry.offset != offset {
                return Err(self.damage(offset, "a record has the offset of another"));
            }
            times = Some((times.map_or(entry.timestamp, |(first, _)| first), entry.timestamp));
            each(entry);
        }
        match times {
            Some(times) if rest.is_empty() => Ok(times),
            _ => Err(self.damage(self.first_offset, "the block has another length than it says")),
        }
    }

    /// Checks every record, then rebuilds them at the end of `to`.
    pub(crate) fn records(
        &self,
        frame: Option<&[u8; FRAME_BYTES]>,
        to: &mut Vec<Record>,
    ) -> Result<(), Damage> {
        let mut bytes = 0;
        self.check(frame, |entry| bytes += entry.arena_bytes())?;
        to.reserve(usize::try_from(self.count).unwrap_or_default());
        self.rebuild(frame, bytes, |_| true, to)
    }

    /// Checks and rebuilds the records without a key. Of the others no checksum is looked at: whoever
    /// passes over them reads them all in another way.
    pub(crate) fn keyless(
        &self,
        frame: Option<&[u8; FRAME_BYTES]>,
        to: &mut Vec<Record>,
    ) -> Result<(), Damage> {
        let (mut found, mut bytes) = (0, 0);
        self.walk(
            |rest| {
                let entry = Entry::parse(rest, frame)?;
                (!entry.is_keyless() || entry.is_sound(frame)).then_some(entry)
            },
            |entry| {
                if entry.is_keyless() {
                    found += 1;
                    bytes += entry.arena_bytes();
                }
            },
        )?;
        if found == 0 { Ok(()) } else { self.rebuild(frame, bytes, |entry| entry.is_keyless(), to) }
    }

    /// Rebuilds the wanted records, of `bytes` in all, of a block that was checked.
    fn rebuild(
        &self,
        frame: Option<&[u8; FRAME_BYTES]>,
        mut bytes: usize,
        wanted: impl Fn(&Entry<'_>) -> bool,
        to: &mut Vec<Record>,
    ) -> Result<(), Damage> {
        let mut arena = BytesMut::new();
        let mut is_rebuilt = true;
        self.walk(
            |rest| Entry::parse(rest, frame),
            |entry| {
                if !wanted(&entry) {
                    return;
                }
                let needed = entry.arena_bytes();
                if arena.capacity() < needed {
                    arena = BytesMut::with_capacity(bytes.min(ARENA_BYTES).max(needed));
                }
                bytes = bytes.saturating_sub(needed);
                let record = entry.record(frame, &mut arena);
                is_rebuilt &= record.is_some();
                to.extend(record);
            },
        )?;
        match is_rebuilt {
            true => Ok(()),
            false => Err(self.damage(self.first_offset, "a record cannot be rebuilt")),
        }
    }

    fn damage(&self, offset: u64, why: &'static str) -> Damage {
        Damage { byte: self.byte, offset, why }
    }
}

/// The two integers that open a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    count: u64,
    len: usize,
    body: usize,
}

impl Head {
    /// Reads the head; `None` if no block begins so.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let count = varint::take_len(&mut rest).filter(|count| *count > 0)?;
        let body = varint::take_len(&mut rest)?;
        let sane = body <= BLOCK_BYTES && count <= body;
        sane.then(|| Self { count: count as u64, len: bytes.len() - rest.len(), body })
    }

    /// The offset that the block's first record claims.
    pub(crate) fn first_offset(block: &[u8]) -> Option<u64> {
        let mut rest = block.get(Self::parse(block)?.len..)?;
        u64::try_from(varint::take(&mut rest)?).ok()
    }

    /// Bytes of the whole block, the marker included.
    pub(crate) fn total(&self) -> usize {
        self.len + self.body + MARKER_BYTES
    }
}

/// Walks the blocks of one file, a chunk at a time.
#[derive(Debug)]
pub(crate) struct BlockCursor {
    file: Arc<dyn DiskFile>,
    marker: [u8; MARKER_BYTES],
    /// Where the next block begins.
    pub(crate) byte: u64,
    /// The offset of its first record.
    pub(crate) offset: u64,
    chunk: Bytes,
    chunk_byte: u64,
}

impl BlockCursor {
    /// A cursor at a block's beginning.
    pub(crate) fn new(
        file: Arc<dyn DiskFile>,
        marker: [u8; MARKER_BYTES],
        byte: u64,
        offset: u64,
    ) -> Self {
        Self { file, marker, byte, offset, chunk: Bytes::new(), chunk_byte: 0 }
    }

    /// The next block that lies below `limit_byte`, or `None` at the limit.
    pub(crate) fn next(&mut self, limit_byte: u64) -> Result<Option<Block>, Fault> {
        if self.byte >= limit_byte {
            return Ok(None);
        }
        self.load(HEAD_BYTES, limit_byte)?;
        let head = Head::parse(&self.ahead()).ok_or_else(|| self.damage("no block begins here"))?;
        if head.total() as u64 > limit_byte - self.byte {
            return Err(self.damage("the block is cut short"));
        }
        self.load(head.total(), limit_byte)?;
        let block = Block::parse(&self.ahead(), &self.marker, self.byte, self.offset)
            .ok_or_else(|| self.damage("the block does not end in the sync marker"))?;
        self.byte = block.end_byte;
        self.offset += block.count;
        Ok(Some(block))
    }

    /// Whether the next block is, at least in part, in memory already.
    pub(crate) fn is_loaded(&self) -> bool {
        self.byte < self.chunk_byte + self.chunk.len() as u64
    }

    fn ahead(&self) -> Bytes {
        self.chunk.slice(self.kept())
    }

    /// Where in the chunk that lies which is ahead of the cursor.
    fn kept(&self) -> Range<usize> {
        let end = self.chunk.len();
        let skip = self.byte.checked_sub(self.chunk_byte).map(usize::try_from);
        skip.and_then(Result::ok).filter(|skip| *skip < end).unwrap_or(end)..end
    }

    /// Makes sure that `wanted` bytes at the cursor are in memory, or all that lie below the limit.
    fn load(&mut self, wanted: usize, limit_byte: u64) -> Result<(), Fault> {
        let left = usize::try_from(limit_byte - self.byte).unwrap_or(usize::MAX);
        let kept = self.kept();
        if kept.len() >= wanted.min(left) {
            return Ok(());
        }
        let (from, len) = (kept.len(), wanted.max(READ_BYTES).min(left));
        let mut chunk = emptied(std::mem::take(&mut self.chunk), kept, len);
        let read = fill(&*self.file, &mut chunk[from..len], self.byte + from as u64);
        chunk.truncate(from + read.map_err(Fault::Io)?);
        self.chunk = chunk.freeze();
        self.chunk_byte = self.byte;
        if self.chunk.len() < wanted.min(left) {
            return Err(self.damage("the file ends early"));
        }
        Ok(())
    }

    fn damage(&self, why: &'static str) -> Fault {
        Fault::Damage(Damage { byte: self.byte, offset: self.offset, why })
    }
}

/// Memory of at least `len` bytes that begins with what is `kept` of a chunk: the chunk's own, if nobody
/// else holds it. Fresh memory would be zeroed and given back for every chunk.
fn emptied(chunk: Bytes, kept: Range<usize>, len: usize) -> BytesMut {
    let mut memory = match chunk.try_into_mut() {
        Ok(mut memory) => {
            memory.copy_within(kept, 0);
            memory
        }
        Err(held) => BytesMut::from(&held[kept]),
    };
    if memory.len() < len {
        memory.resize(len, 0);
    }
    memory
}

/// Reads `len` bytes, or as many as the file has.
pub(crate) fn read_exact(file: &dyn DiskFile, at: u64, len: usize) -> io::Result<Bytes> {
    let mut bytes = vec![0; len];
    let filled = fill(file, &mut bytes, at)?;
    bytes.truncate(filled);
    Ok(bytes.into())
}

/// Fills a buffer, or as much of it as the file has; gives how much.
fn fill(file: &dyn DiskFile, bytes: &mut [u8], at: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(&mut bytes[filled..], at + filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}
