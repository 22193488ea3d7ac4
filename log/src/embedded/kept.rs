//! Offsets that consumer groups keep beside a partition: `<group>.next`, a number as text, replaced
//! durably. A file of another form is damage: guessing would pass over records or give all of them again.

use super::{
    disk::{Access, Disk},
    files,
};
use crate::{Error, Result};
use std::path::{Path, PathBuf};

const SUFFIX: &str = ".next";
/// A number of 64 bits has at most 20 digits; one byte more tells that there are too many.
const BYTES: usize = 21;

/// What a group kept last; `None` in one that is new to the partition.
pub(crate) fn get(disk: &dyn Disk, dir: &Path, group: &str) -> Result<Option<u64>> {
    let path = path(dir, group)?;
    if !disk.exists(&path) {
        return Ok(None);
    }
    let file = disk.open(&path, Access::Read).map_err(files::failed("open", &path))?;
    let bytes = super::block::read_exact(&*file, 0, BYTES).map_err(files::failed("read", &path))?;
    let text = std::str::from_utf8(&bytes).ok();
    let next = text.and_then(|text| text.parse().ok());
    next.map(Some).ok_or_else(|| Error::Damaged(format!("{} holds no offset", path.display())))
}

/// Keeps an offset, durably.
pub(crate) fn put(disk: &dyn Disk, dir: &Path, group: &str, next: u64) -> Result<()> {
    let path = path(dir, group)?;
    let kept = files::replace_durably(disk, &path, next.to_string().as_bytes());
    kept.map_err(files::failed("write", &path))
}

/// Names of groups become names of files, so they are plain.
fn path(dir: &Path, group: &str) -> Result<PathBuf> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if group.is_empty() || group.len() > 200 || !group.bytes().all(plain) || group.starts_with('.')
    {
        return Err(Error::Refused(format!("{group:?} cannot name a group")));
    }
    Ok(dir.join(format!("{group}{SUFFIX}")))
}
