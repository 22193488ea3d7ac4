//! A segment: one Avro file of a partition, with its index and what of it is durable.

use super::{
    block::{BlockCursor, Damage, Fault, read_exact},
    disk::{Access, Disk, DiskFile},
    files::{self, Kind},
    header::{self, Header},
    index::{Index, Mark},
    lock,
};
use crate::{Error, Result};
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock, Weak,
        atomic::{AtomicU64, Ordering},
    },
};

/// Stands for "not yet known" in a segment's durable length.
const UNKNOWN: u64 = u64::MAX;

/// Which partition of which log a file must belong to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The log.
    pub(crate) log_id: String,
    /// The topic.
    pub(crate) topic: Arc<str>,
    /// The partition.
    pub(crate) partition: u32,
}

/// A segment's file, opened, with its checked header.
#[derive(Debug)]
pub(crate) struct OpenSegment {
    /// Where it lies, for messages.
    pub(crate) path: PathBuf,
    /// The file.
    pub(crate) file: Arc<dyn DiskFile>,
    /// What it says about itself.
    pub(crate) header: Header,
    /// Where its first block begins.
    pub(crate) header_bytes: u64,
    /// Its index, once it was asked for. That of an active segment grows, and is kept there.
    index: OnceLock<Index>,
}

impl OpenSegment {
    /// Opens a segment file and checks that it is the one that is meant.
    pub(crate) fn open(
        disk: &dyn Disk,
        path: PathBuf,
        access: Access,
        identity: &Identity,
        first_offset: u64,
    ) -> Result<Self> {
        let file = disk.open(&path, access).map_err(files::failed("open", &path))?;
        let size_bytes = file.size_bytes().map_err(files::failed("read", &path))?;
        let start = read_exact(&*file, 0, header::prefix_bytes(size_bytes))
            .map_err(files::failed("read", &path))?;
        let Some((header, len)) = Header::decode(&start) else {
            let why = "the header is not as it was written";
            return Err(damaged(&path, &Damage { byte: 0, offset: first_offset, why }));
        };
        let found = Identity {
            log_id: header.log_id.clone(),
            topic: header.topic.as_str().into(),
            partition: header.partition,
        };
        if found != *identity || header.first_offset != first_offset {
            let path = path.display();
            return Err(Error::Damaged(format!(
                "{path} is out of place: its header (byte 0) names log {}, {}/{} from record {}",
                found.log_id, found.topic, found.partition, header.first_offset
            )));
        }
        let header_bytes = len as u64;
        Ok(Self { path, file, header, header_bytes, index: OnceLock::new() })
    }

    /// A cursor at the block that the mark names, or at the first.
    pub(crate) fn cursor(&self, from: Option<Mark>) -> BlockCursor {
        let (byte, offset) = from
            .map_or((self.header_bytes, self.header.first_offset), |mark| (mark.byte, mark.offset));
        BlockCursor::new(Arc::clone(&self.file), self.header.marker, byte, offset)
    }

    /// The public form of what went wrong while reading this file.
    pub(crate) fn fault(&self, fault: Fault) -> Error {
        match fault {
            Fault::Damage(damage) => damaged(&self.path, &damage),
            Fault::Io(error) => files::failed("read", &self.path)(error),
        }
    }

    /// Builds the index of all sound blocks below `limit_byte`; says whether that was all of them.
    fn scan(&self, limit_byte: u64) -> Result<(Index, bool)> {
        let frame = self.header.frame();
        let mut index = Index::default();
        let mut cursor = self.cursor(None);
        loop {
            let block = match cursor.next(limit_byte) {
                Ok(Some(block)) => block,
                Ok(None) => return Ok((index, true)),
                Err(Fault::Damage(_)) => return Ok((index, false)),
                Err(fault @ Fault::Io(_)) => return Err(self.fault(fault)),
            };
            let Ok((time, _)) = block.check(frame.as_ref(), drop) else {
                return Ok((index, false));
            };
            index.note(Mark { offset: block.first_offset, time, byte: block.byte });
        }
    }
}

/// Names file, byte and record of damage.
pub(crate) fn damaged(path: &Path, damage: &Damage) -> Error {
    let Damage { byte, offset, why } = damage;
    Error::Damaged(format!("{} is damaged at byte {byte}, record {offset}: {why}", path.display()))
}

/// A segment as readers and the committer share it.
#[derive(Debug)]
pub(crate) struct Segment {
    /// Offset of its first record.
    pub(crate) first_offset: u64,
    directory: PathBuf,
    durable_bytes: AtomicU64,
    opened: Mutex<Weak<OpenSegment>>,
    /// While it is active. A log has many sealed ones: their indexes last as long as somebody reads there.
    index: Mutex<Option<Index>>,
}

impl Segment {
    /// A sealed segment, of which nothing is known but its name.
    pub(crate) fn sealed(directory: &Path, first_offset: u64) -> Self {
        Self {
            first_offset,
            directory: directory.to_owned(),
            durable_bytes: AtomicU64::new(UNKNOWN),
            opened: Mutex::default(),
            index: Mutex::new(None),
        }
    }

    /// The active segment, which the committer extends.
    pub(crate) fn active(
        directory: &Path,
        opened: &Arc<OpenSegment>,
        durable_bytes: u64,
        index: Index,
    ) -> Self {
        Self {
            first_offset: opened.header.first_offset,
            directory: directory.to_owned(),
            durable_bytes: AtomicU64::new(durable_bytes),
            opened: Mutex::new(Arc::downgrade(opened)),
            index: Mutex::new(Some(index)),
        }
    }

    /// Path of one of the segment's files.
    pub(crate) fn path(&self, kind: Kind) -> PathBuf {
        self.directory.join(files::name(self.first_offset, kind))
    }

    /// The opened file, shared by all who read it at the time.
    pub(crate) fn open(&self, disk: &dyn Disk, identity: &Identity) -> Result<Arc<OpenSegment>> {
        let mut opened = lock(&self.opened);
        if let Some(opened) = opened.upgrade() {
            return Ok(opened);
        }
        let path = self.path(Kind::Segment);
        let file = OpenSegment::open(disk, path, Access::Read, identity, self.first_offset)?;
        let file = Arc::new(file);
        *opened = Arc::downgrade(&file);
        Ok(file)
    }

    /// Bytes of the file that may be read: all of a sealed one, the durable ones of the active.
    pub(crate) fn durable_bytes(&self, opened: &OpenSegment) -> Result<u64> {
        match self.durable_bytes.load(Ordering::Acquire) {
            UNKNOWN => opened.file.size_bytes().map_err(files::failed("read", &opened.path)),
            known => Ok(known),
        }
    }

    /// Lets readers see a block that has become durable.
    pub(crate) fn extend(&self, mark: Mark, durable_bytes: u64) {
        if let Some(index) = lock(&self.index).as_mut() {
            index.note(mark);
        }
        self.durable_bytes.store(durable_bytes, Ordering::Release);
    }

    /// Looks something up in the index, which is loaded or built again if need be.
    pub(crate) fn look_up<T>(
        &self,
        disk: &dyn Disk,
        opened: &OpenSegment,
        look: impl FnOnce(&Index) -> T,
    ) -> Result<T> {
        if let Some(index) = &*lock(&self.index) {
            return Ok(look(index));
        }
        if let Some(index) = opened.index.get() {
            return Ok(look(index));
        }
        let size_bytes = self.durable_bytes(opened)?;
        let index = match self.stored_index(disk, size_bytes) {
            Some(index) => index,
            None => self.rebuild_index(disk, opened, size_bytes)?,
        };
        // Where two readers load it at once, theirs are the same.
        Ok(look(opened.index.get_or_init(|| index)))
    }

    /// Writes the index of a segment that is complete, and lets go of it. Failure is harmless: then it is kept, and
    /// can be built again.
    pub(crate) fn store_index(&self, disk: &dyn Disk, segment_bytes: u64) {
        let bytes = lock(&self.index).as_ref().map(|index| index.encode(segment_bytes));
        let Some(bytes) = bytes else { return };
        match files::replace(disk, &self.path(Kind::Index), &bytes) {
            Ok(()) => *lock(&self.index) = None,
            Err(error) => {
                tracing::warn!(%error, segment = self.first_offset, "could not write an index");
            }
        }
    }

    fn stored_index(&self, disk: &dyn Disk, segment_bytes: u64) -> Option<Index> {
        let file = disk.open(&self.path(Kind::Index), Access::Read).ok()?;
        let len = usize::try_from(file.size_bytes().ok()?).ok()?;
        // Every mark stands for many bytes, so a larger index cannot be one.
        let sane = len as u64 <= segment_bytes.saturating_add(1024);
        let bytes = sane.then(|| read_exact(&*file, 0, len))?.ok()?;
        Index::decode(&bytes, segment_bytes)
    }

    fn rebuild_index(
        &self,
        disk: &dyn Disk,
        opened: &OpenSegment,
        size_bytes: u64,
    ) -> Result<Index> {
        let (index, complete) = opened.scan(size_bytes)?;
        tracing::info!(path = %opened.path.display(), complete, "built a segment's index again");
        // The index of a damaged segment serves what lies before the damage, but is not kept.
        if complete
            && let Err(error) =
                files::replace(disk, &self.path(Kind::Index), &index.encode(size_bytes))
        {
            tracing::warn!(%error, segment = self.first_offset, "could not write an index");
        }
        Ok(index)
    }
}
