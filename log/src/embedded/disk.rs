//! What the log asks of a disk. Small and synchronous, so that a simulated one can stand in.

use std::{any::Any, fmt, io, path::Path, sync::Arc};

/// A place for files. Names are durable only after [`Disk::sync_dir`] of their directory.
pub trait Disk: fmt::Debug + Send + Sync + 'static {
    /// Makes one directory whose parent exists; nothing happens if it is there already.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Whether a file or directory is there.
    fn exists(&self, path: &Path) -> bool;
    /// Names in a directory, sorted.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Makes a file for reading and writing; an existing one loses its contents.
    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>>;
    /// Opens an existing file.
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn DiskFile>>;
    /// Renames a file, replacing another of that name, at once or not at all.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Bytes that are free for new contents.
    fn free_bytes(&self, dir: &Path) -> io::Result<u64>;
    /// Takes the lock file at `path` and writes the owner's text into it.
    fn lock(&self, path: &Path, owner: &str) -> io::Result<Lock>;
}

/// An open file. Reads and writes name their place, so that one handle serves many readers.
pub trait DiskFile: fmt::Debug + Send + Sync {
    /// Reads up to `bytes.len()` bytes; 0 at the end of the file.
    fn read_at(&self, bytes: &mut [u8], at: u64) -> io::Result<usize>;
    /// Writes all bytes.
    fn write_at(&self, bytes: &[u8], at: u64) -> io::Result<()>;
    /// Makes contents and size durable (fdatasync).
    fn sync_data(&self) -> io::Result<()>;
    /// Cuts the file at `size_bytes`.
    fn truncate(&self, size_bytes: u64) -> io::Result<()>;
    /// Size of the file.
    fn size_bytes(&self) -> io::Result<u64>;
}

/// What a file is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reading only, so that sealed segments may be write-protected.
    Read,
    /// Reading and writing.
    Write,
}

/// The outcome of [`Disk::lock`].
pub enum Lock {
    /// Ours until the value is dropped.
    Held(Box<dyn Any + Send + Sync>),
    /// Held by another; the text that it wrote.
    Busy(String),
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Held(_) => f.write_str("Held"),
            Self::Busy(owner) => f.debug_tuple("Busy").field(owner).finish(),
        }
    }
}

/// Whether an error says that there is no space, and not that the disk is broken.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}
