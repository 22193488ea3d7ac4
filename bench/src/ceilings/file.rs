//! A file that is written and synced by one writer, in groups.

use crate::error::{Result, tried};
use std::{fs::File, io::Write, path::Path, time::Duration};
use tokio::time::Instant;

/// How long each write of a group with its sync took.
///
/// # Errors
/// When the disk refuses.
pub fn write_and_sync(path: &Path, group: &[u8], measured: Duration) -> Result<Vec<Duration>> {
    let mut file = tried(format!("make {}", path.display()), File::create(path))?;
    let (begun, mut took) = (Instant::now(), Vec::new());
    while begun.elapsed() < measured {
        let before = Instant::now();
        tried("write and sync", file.write_all(group).and_then(|()| file.sync_data()))?;
        took.push(before.elapsed());
    }
    drop(file);
    tried(format!("remove {}", path.display()), std::fs::remove_file(path))?;
    Ok(took)
}
