//! The segment that is being written: made whole, extended block by block, sealed.

use super::{
    block::BlockBuilder,
    disk::{Access, Disk, is_full},
    files::{self, Kind},
    header::{Header, MARKER_BYTES},
    index::{Index, Mark},
    metrics,
    note::Note,
    partition::Partition,
    recover::{Recovered, recover},
    reserve,
    schema::SegmentSchema,
    segment::{OpenSegment, Segment},
};
use crate::{Result, limits::RESERVE_BLOCK_BYTES};
use spine_schemas::time::Micros;
use std::{io, path::Path, sync::Arc};

/// The active segment in the hands of its only writer.
#[derive(Debug)]
pub(crate) struct Active {
    opened: Arc<OpenSegment>,
    segment: Arc<Segment>,
    note: Note,
    durable_bytes: u64,
    /// Where the file ends: behind the newest block, or behind what is reserved there.
    file_bytes: u64,
    /// Whether what lies behind the durable bytes is a block of which nobody knows whether it is durable.
    is_in_doubt: bool,
    /// Whether there was no space for a reserve: then none is tried any more.
    is_short: bool,
}

impl Active {
    /// Makes an empty segment. Its header is durable before its name appears, so that a segment
    /// with a broken header is damage and never the trace of a crash.
    pub(crate) fn create(partition: &Partition, first_offset: u64, floor: Micros) -> Result<Self> {
        let disk = &*partition.shared.disk;
        let path = partition.dir.join(files::name(first_offset, Kind::Segment));
        let header = Header {
            schema: partition.schema.text.clone(),
            log_id: partition.identity.log_id.clone(),
            topic: partition.identity.topic.to_string(),
            partition: partition.identity.partition,
            first_offset,
            floor_micros: floor.0,
            fingerprint: partition.schema.fingerprint(),
            marker: marker(partition),
        };
        files::replace_durably(disk, &path, &header.encode())
            .map_err(files::failed("create", &path))?;
        metrics::observe_segments_total(&partition.name);
        let opened =
            OpenSegment::open(disk, path, Access::Write, &partition.identity, first_offset)?;
        let durable_bytes = opened.header_bytes;
        Self::new(partition, opened, (durable_bytes, durable_bytes), Index::default())
    }

    /// Opens the newest segment of a partition and makes all of it durable.
    pub(crate) fn recover(partition: &Partition, first_offset: u64) -> Result<(Self, Recovered)> {
        let disk = &*partition.shared.disk;
        let path = partition.dir.join(files::name(first_offset, Kind::Segment));
        let opened =
            OpenSegment::open(disk, path, Access::Write, &partition.identity, first_offset)?;
        let noted_bytes = noted_bytes(disk, &partition.dir, first_offset)?;
        let mut recovered = recover(&opened, noted_bytes)?;
        let index = std::mem::take(&mut recovered.index);
        let bytes = (recovered.durable_bytes, recovered.file_bytes);
        let active = Self::new(partition, opened, bytes, index)?;
        Ok((active, recovered))
    }

    fn new(
        partition: &Partition,
        opened: OpenSegment,
        (durable_bytes, file_bytes): (u64, u64),
        index: Index,
    ) -> Result<Self> {
        let opened = Arc::new(opened);
        let segment = Arc::new(Segment::active(&partition.dir, &opened, durable_bytes, index));
        let path = segment.path(Kind::Note);
        let disk = &*partition.shared.disk;
        let file =
            if disk.exists(&path) { disk.open(&path, Access::Write) } else { disk.create(&path) };
        let note = file.and_then(Note::new).map_err(files::failed("create", &path))?;
        note.write(durable_bytes).map_err(files::failed("write", &path))?;
        let (is_in_doubt, is_short) = (false, false);
        Ok(Self { opened, segment, note, durable_bytes, file_bytes, is_in_doubt, is_short })
    }

    /// The segment as readers see it.
    pub(crate) fn segment(&self) -> Arc<Segment> {
        Arc::clone(&self.segment)
    }

    /// Bytes that are durable; the next block begins there.
    pub(crate) fn durable_bytes(&self) -> u64 {
        self.durable_bytes
    }

    /// Whether the segment was made for this schema.
    pub(crate) fn has_schema(&self, schema: &SegmentSchema) -> bool {
        let header = &self.opened.header;
        header.schema == schema.text && header.fingerprint == schema.fingerprint()
    }

    /// Whether a block belongs into the next segment. An empty segment takes any block.
    pub(crate) fn is_full_for(&self, block_bytes: u64, segment_bytes: u64) -> bool {
        let is_empty = self.durable_bytes == self.opened.header_bytes;
        !is_empty && self.durable_bytes + block_bytes > segment_bytes
    }

    /// Ends a block, writes it behind the durable ones and returns where it ends. Space is reserved behind
    /// it where that pays, which is in a segment of at least `reserve_from` bytes, and the disk has it.
    pub(crate) fn write(&mut self, block: &mut BlockBuilder, reserve_from: u64) -> io::Result<u64> {
        let marker = self.opened.header.marker;
        block.finish(&marker);
        self.is_in_doubt = true;
        let block_bytes = block.bytes().len() as u64;
        let end_byte = self.durable_bytes + block_bytes;
        let pays = block_bytes <= RESERVE_BLOCK_BYTES && end_byte >= reserve_from && !self.is_short;
        let file_end = reserve::file_end(end_byte, self.file_bytes, pays);
        let (reserved, is_there) = (file_end - end_byte, file_end == self.file_bytes);
        let bytes = match reserved {
            0 => block.bytes(),
            _ if is_there => block.bytes_and(|out| reserve::put_first(out, reserved, &marker)),
            _ => block.bytes_and(|out| reserve::put_whole(out, reserved, &marker)),
        };
        let written = self.opened.file.write_at(bytes, self.durable_bytes);
        self.file_bytes = self.file_bytes.max(file_end);
        match written {
            Err(error) if is_full(&error) && reserved > 0 => {
                // There may be space for the block alone. The first try may have brought all of it to the disk,
                // and if the second fails it must not be there.
                self.put_back()?;
                self.sync()?;
                self.is_short = true;
                self.opened.file.write_at(block.bytes(), self.durable_bytes)?;
                (self.file_bytes, self.is_in_doubt) = (end_byte, true);
            }
            written => written?,
        }
        Ok(end_byte)
    }

    /// Makes what was written durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.opened.file.sync_data()
    }

    /// Removes what was written and never synced.
    pub(crate) fn put_back(&mut self) -> io::Result<()> {
        self.opened.file.truncate(self.durable_bytes)?;
        (self.file_bytes, self.is_in_doubt) = (self.durable_bytes, false);
        Ok(())
    }

    /// Gives back what is reserved. What may yet turn out to be durable is left to the next start.
    pub(crate) fn trim(&mut self) -> io::Result<()> {
        let is_reserved = self.file_bytes > self.durable_bytes && !self.is_in_doubt;
        if is_reserved { self.put_back() } else { Ok(()) }
    }

    /// Makes it durable that nothing lies behind the blocks: another segment is to follow. Also where nothing is
    /// reserved by now, since a loss of power could bring back what was given back before.
    pub(crate) fn complete(&mut self) -> io::Result<()> {
        debug_assert!(!self.is_in_doubt, "a segment is completed when all of it is durable");
        self.trim()?;
        self.sync()
    }

    /// Notes that a block is durable, and shows it to readers of the file.
    pub(crate) fn note_durable(&mut self, mark: Mark, end_byte: u64) {
        (self.durable_bytes, self.is_in_doubt) = (end_byte, false);
        if let Err(error) = self.note.write(end_byte) {
            // An old note makes the next start do more work; it loses nothing.
            tracing::warn!(%error, path = %self.opened.path.display(), "durable length not noted");
        }
        self.segment.extend(mark, end_byte);
    }

    /// Removes the note of an empty segment that another is about to replace, durably.
    pub(crate) fn forget_note(self, partition: &Partition) -> Result<()> {
        let disk = &*partition.shared.disk;
        let path = self.segment.path(Kind::Note);
        disk.remove(&path).map_err(files::failed("remove", &path))?;
        disk.sync_dir(&partition.dir).map_err(files::failed("sync", &partition.dir))
    }

    /// Ends the segment, whose successor is durable already: the index replaces the note.
    pub(crate) fn seal(self, partition: &Partition) {
        let disk = &*partition.shared.disk;
        self.segment.store_index(disk, self.durable_bytes);
        if let Err(error) = disk.remove(&self.segment.path(Kind::Note)) {
            tracing::warn!(%error, "could not remove the note of a sealed segment");
        }
    }
}

/// The noted durable length of a segment; 0 without a note.
pub(crate) fn noted_bytes(disk: &dyn Disk, dir: &Path, first_offset: u64) -> Result<u64> {
    let path = dir.join(files::name(first_offset, Kind::Note));
    if !disk.exists(&path) {
        return Ok(0);
    }
    let file = disk.open(&path, Access::Read).map_err(files::failed("open", &path))?;
    Note::read(&*file).map_err(files::failed("read", &path))
}

fn marker(partition: &Partition) -> [u8; MARKER_BYTES] {
    let mut marker = [0; MARKER_BYTES];
    for half in marker.chunks_exact_mut(8) {
        half.copy_from_slice(&(partition.shared.random)().to_le_bytes());
    }
    marker
}
