//! The note of a segment's durable length, `<base offset>.durable`.
//!
//! It is written after each sync and never synced itself: after a kill it is exact, after a loss of
//! power it may be old or gone. It is never ahead of what is durable.

use super::disk::DiskFile;
use std::{io, sync::Arc};

const NOTE_BYTES: usize = 12;

/// The open note of the active segment.
#[derive(Debug)]
pub(crate) struct Note {
    file: Arc<dyn DiskFile>,
}

impl Note {
    /// A note in this file, whatever it contains now.
    pub(crate) fn new(file: Arc<dyn DiskFile>) -> io::Result<Self> {
        if file.size_bytes()? > NOTE_BYTES as u64 {
            file.truncate(0)?;
        }
        Ok(Self { file })
    }

    /// Writes down that `durable_bytes` of the segment are durable.
    pub(crate) fn write(&self, durable_bytes: u64) -> io::Result<()> {
        let mut bytes = [0; NOTE_BYTES];
        bytes[..8].copy_from_slice(&durable_bytes.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..8]);
        bytes[8..].copy_from_slice(&crc.to_le_bytes());
        self.file.write_at(&bytes, 0)
    }

    /// What was noted; 0 if that cannot be told, which only makes recovery write more again.
    pub(crate) fn read(file: &dyn DiskFile) -> io::Result<u64> {
        let bytes = super::block::read_exact(file, 0, NOTE_BYTES + 1)?;
        let Ok(bytes) = <[u8; NOTE_BYTES]>::try_from(bytes.as_ref()) else {
            return Ok(0);
        };
        let (length, crc) = bytes.split_at(8);
        let sound = crc == crc32c::crc32c(length).to_le_bytes();
        Ok(length.try_into().map_or(0, u64::from_le_bytes) * u64::from(sound))
    }
}
