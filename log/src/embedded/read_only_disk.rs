//! A disk through which nothing can be changed.

use super::disk::{Access, Disk, DiskFile, Lock};
use std::{io, path::Path, sync::Arc};

/// Another disk, for reading only.
#[derive(Debug)]
pub(crate) struct ReadOnlyDisk(pub(crate) Arc<dyn Disk>);

fn refused<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "the log was opened for reading only"))
}

impl Disk for ReadOnlyDisk {
    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        refused()
    }

    fn exists(&self, path: &Path) -> bool {
        self.0.exists(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.0.list(dir)
    }

    fn create(&self, _path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        refused()
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>> {
        match access {
            Access::Read => self.0.open(path, Access::Read),
            Access::Write => refused(),
        }
    }

    fn rename(&self, _from: &Path, _to: &Path) -> io::Result<()> {
        refused()
    }

    fn remove(&self, _path: &Path) -> io::Result<()> {
        refused()
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        refused()
    }

    fn free_bytes(&self, dir: &Path) -> io::Result<u64> {
        self.0.free_bytes(dir)
    }

    fn lock(&self, _path: &Path, _owner: &str) -> io::Result<Lock> {
        refused()
    }
}
