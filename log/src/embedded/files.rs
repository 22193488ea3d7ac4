//! Names of the log's files, and the two ways in which one is made to appear whole.

use super::disk::{Disk, is_full};
use crate::{Error, Result};
use std::{
    io,
    path::{Path, PathBuf},
};

const OFFSET_DIGITS: usize = 20;
const UNFINISHED: &str = ".tmp";

/// The files that one segment has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The records.
    Segment,
    /// How much of an active segment is durable.
    Note,
    /// The sparse index of a sealed segment.
    Index,
}

impl Kind {
    fn suffix(self) -> &'static str {
        match self {
            Self::Segment => ".avro",
            Self::Note => ".durable",
            Self::Index => ".index",
        }
    }
}

/// The name of a segment's file.
pub(crate) fn name(first_offset: u64, kind: Kind) -> String {
    format!("{first_offset:0OFFSET_DIGITS$}{}", kind.suffix())
}

/// The offset in a name of this kind; `None` for any other name.
pub(crate) fn offset(file_name: &str, kind: Kind) -> Option<u64> {
    let digits = file_name.strip_suffix(kind.suffix())?;
    let plain = digits.len() == OFFSET_DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

/// Whether the file was being made when its maker died.
pub(crate) fn is_unfinished(file_name: &str) -> bool {
    file_name.ends_with(UNFINISHED)
}

/// Writes a file under another name and renames it, so that it is there whole or not at all as long
/// as the process lives. Nothing is synced.
pub(crate) fn replace(disk: &dyn Disk, path: &Path, contents: &[u8]) -> io::Result<()> {
    let unfinished = unfinished(path);
    disk.create(&unfinished)?.write_at(contents, 0)?;
    disk.rename(&unfinished, path)
}

/// Like [`replace`], and durable when it returns: contents first, then the name.
pub(crate) fn replace_durably(disk: &dyn Disk, path: &Path, contents: &[u8]) -> io::Result<()> {
    let unfinished = unfinished(path);
    let file = disk.create(&unfinished)?;
    file.write_at(contents, 0)?;
    file.sync_data()?;
    disk.rename(&unfinished, path)?;
    disk.sync_dir(parent(path))
}

/// Makes a directory and makes its name durable, also if it was there: its maker may have died.
pub(crate) fn make_dir(disk: &dyn Disk, dir: &Path) -> Result<()> {
    let above = parent(dir);
    disk.create_dir(dir).map_err(failed("create", dir))?;
    disk.sync_dir(above).map_err(failed("sync", above))
}

/// Makes a directory with all directories above it.
pub(crate) fn make_dirs(disk: &dyn Disk, dir: &Path) -> Result<()> {
    let above = parent(dir);
    if disk.exists(above) {
        // They may be ours and not durable, or somebody else's and none of our business.
        for outer in above.ancestors().skip(1).filter(|outer| !outer.as_os_str().is_empty()) {
            if let Err(error) = disk.sync_dir(outer) {
                tracing::debug!(%error, path = %outer.display(), "not synced");
            }
        }
    } else if above != dir {
        make_dirs(disk, above)?;
    }
    make_dir(disk, dir)
}

/// Turns an I/O error into the log's, naming what failed on which path.
pub(crate) fn failed(what: &'static str, path: &Path) -> impl Fn(io::Error) -> Error + use<> {
    let path = path.to_owned();
    move |error| {
        let path = path.display().to_string();
        if is_full(&error) {
            return Error::Full { path, free_bytes: 0 };
        }
        Error::Unavailable(format!("could not {what} {path}: {error}"))
    }
}

fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(UNFINISHED);
    name.into()
}

/// The directory that holds the name of `path`.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(above) if !above.as_os_str().is_empty() => above,
        Some(_) | None => Path::new("."),
    }
}
