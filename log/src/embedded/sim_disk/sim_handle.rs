//! What a process holds of a simulated disk: open files and locks, void once the process is dead.

use super::{SimDisk, dead, sim_file::SimBytes};
use crate::embedded::{disk::DiskFile, lock};
use std::{io, path::PathBuf};

/// Frees the lock, unless it belongs to a later life.
pub(super) struct SimLock {
    pub(super) disk: SimDisk,
    pub(super) path: PathBuf,
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut world = lock(&self.disk.world);
        if world.locks.get(&self.path).is_some_and(|(life, _)| *life == self.disk.life) {
            world.locks.remove(&self.path);
        }
    }
}

/// An open file of one life of the process.
#[derive(Debug)]
pub(super) struct SimFile {
    pub(super) disk: SimDisk,
    pub(super) id: u64,
}

impl SimFile {
    fn look<T>(&self, look: impl FnOnce(&SimBytes) -> T) -> io::Result<T> {
        self.disk.look(|world| world.files.get(&self.id).map(look).ok_or_else(dead))
    }
}

impl DiskFile for SimFile {
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<usize> {
        self.look(|file| {
            let from = usize::try_from(at).unwrap_or(usize::MAX).min(file.seen.len());
            let len = bytes.len().min(file.seen.len() - from);
            bytes[..len].copy_from_slice(&file.seen[from..from + len]);
            len
        })
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()> {
        let at = usize::try_from(at).map_err(io::Error::other)?;
        self.disk.change(|world| world.write(self.id, bytes, at))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.change(|world| world.sync(self.id))
    }

    fn truncate(&self, size_bytes: u64) -> io::Result<()> {
        let size = usize::try_from(size_bytes).map_err(io::Error::other)?;
        self.disk.change(|world| {
            world.files.get_mut(&self.id).ok_or_else(dead)?.truncate(size);
            Ok(())
        })
    }

    fn size_bytes(&self) -> io::Result<u64> {
        self.look(|file| file.seen.len() as u64)
    }
}
