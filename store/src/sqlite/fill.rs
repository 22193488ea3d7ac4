//! Filling a fresh store file at one go, for a replay: no journal, nobody waits for a sync until the end, and
//! nobody else looks at it meanwhile.
//!
//! All is one transaction, in a file beside the one that is meant. Its first page, without which it is
//! no database, is written last; then the file is synced and gets its name. So whatever ends the
//! process leaves nothing that could pass for a store, whole or in part.

use super::{Inner, Lanes, SqliteStore, lane::Lane, open, sync::Syncer, write};
use crate::{Error, Result, StoreBatch, limits};
use rusqlite::Connection;
use std::{
    fs::{File, OpenOptions, TryLockError},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// A store file that is being filled. Dropped before [`Self::finish`], it leaves no file.
#[derive(Debug)]
pub struct Filling {
    store: SqliteStore,
    file: Arc<PartFile>,
}

/// Whether the open transaction may take rows: not once a batch failed within it, nor when it ended.
#[derive(Clone, Debug)]
pub(super) struct Usable {
    is_usable: Arc<AtomicBool>,
    syncer: Arc<Syncer>,
}

/// The file under its other name, locked.
#[derive(Debug)]
struct PartFile {
    file: File,
    part: PathBuf,
    path: PathBuf,
    named: AtomicBool,
    syncer: Arc<Syncer>,
}

impl Filling {
    /// Begins a store that will lie at `path`. Until it is whole it lies beside, as `path` with
    /// `.filling`; what an earlier process left under that name is begun again. Blocks.
    ///
    /// # Errors
    /// [`Error::Refused`] when there is something at `path`, or another process fills it;
    /// [`Error::Unavailable`] when the file cannot be made.
    pub fn begin(path: &Path) -> Result<Self> {
        let file = Arc::new(PartFile::make(path)?);
        let (connection, store_id) = open::filler(&file.part)?;
        let syncer = Arc::clone(&file.syncer);
        let usable = Usable { is_usable: Arc::new(AtomicBool::new(true)), syncer };
        let lane = Lane::start("store-filler", vec![connection], limits::WRITER_QUEUE)?;
        let lanes = Lanes::Filling { lane, usable };
        Ok(Self { store: SqliteStore { inner: Arc::new(Inner { store_id, lanes }) }, file })
    }

    /// The store, for applying batches and for reading back what they held.
    pub fn store(&self) -> &SqliteStore {
        &self.store
    }

    /// Ends the filling: the file is durable and has its name. The store takes no more batches.
    ///
    /// # Errors
    /// [`Error::Refused`] when a batch failed, [`Error::Unavailable`] when the disk did not take it.
    pub async fn finish(self) -> Result<()> {
        let Lanes::Filling { lane, usable } = &self.store.inner.lanes else {
            return Err(Error::Refused("this store is not being filled".into()));
        };
        let (usable, file) = (usable.clone(), Arc::clone(&self.file));
        let finish = move |connection: &mut Connection| {
            usable.end()?;
            connection.execute_batch("COMMIT")?;
            file.name()
        };
        lane.run(finish).await
    }
}

impl Usable {
    /// Applies a batch inside the one transaction.
    pub(super) fn apply(&self, connection: &Connection, batch: &StoreBatch) -> Result<()> {
        self.check()?;
        let outcome = write::write(connection, batch);
        if outcome.is_err() {
            // Without a journal, half a batch cannot be taken back.
            self.is_usable.store(false, Ordering::Release);
        }
        self.syncer.has_grown();
        outcome
    }

    fn check(&self) -> Result<()> {
        match self.is_usable.load(Ordering::Acquire) {
            true => Ok(()),
            false => Err(unusable()),
        }
    }

    fn end(&self) -> Result<()> {
        match self.is_usable.swap(false, Ordering::AcqRel) {
            true => Ok(()),
            false => Err(unusable()),
        }
    }
}

fn unusable() -> Error {
    let message = "a store that was being filled has ended, or failed before: replay again";
    Error::Refused(message.into())
}

impl PartFile {
    fn make(path: &Path) -> Result<Self> {
        refuse_existing(path)?;
        let mut part = path.as_os_str().to_owned();
        part.push(".filling");
        let part = PathBuf::from(part);
        let file = locked(&part)?;
        refuse_existing(path)?;
        // What a process left that was killed.
        file.set_len(0).map_err(failed("empty", &part))?;
        let syncer = Arc::new(Syncer::start(&file).map_err(failed("sync", &part))?);
        Ok(Self { file, part, path: path.to_owned(), named: AtomicBool::new(false), syncer })
    }

    /// Makes the content durable, then the name.
    fn name(&self) -> Result<()> {
        self.syncer.end().map_err(failed("sync", &self.part))?;
        self.file.sync_all().map_err(failed("sync", &self.part))?;
        refuse_existing(&self.path)?;
        std::fs::rename(&self.part, &self.path).map_err(failed("rename", &self.part))?;
        self.named.store(true, Ordering::Release);
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = parent.unwrap_or(Path::new("."));
        let directory = File::open(parent).map_err(failed("open", parent))?;
        directory.sync_all().map_err(failed("sync", parent))
    }
}

impl Drop for PartFile {
    /// What is not whole is worth nothing.
    fn drop(&mut self) {
        if let Err(error) = self.syncer.end() {
            tracing::debug!(%error, "half a store could not be synced");
        }
        if !self.named.load(Ordering::Acquire)
            && let Err(error) = std::fs::remove_file(&self.part)
        {
            tracing::warn!(%error, file = %self.part.display(), "could not remove half a store");
        }
    }
}

/// The file at `part`, made if there is none, and nobody else's as long as it is open.
fn locked(part: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let file = options.open(part).map_err(failed("make", part))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(being_filled(part)),
        Err(TryLockError::Error(error)) => return Err(failed("lock", part)(error)),
    }
    let id = |meta: std::fs::Metadata| (meta.dev(), meta.ino());
    // Whoever held the lock before may have given the file its name: then it is theirs, and whole.
    match file.metadata().map(id).ok() == part.metadata().map(id).ok() {
        true => Ok(file),
        false => Err(being_filled(part)),
    }
}

/// Also what a removed store left beside it: SQLite would take that for a part of the new one.
fn refuse_existing(path: &Path) -> Result<()> {
    for suffix in ["", "-wal", "-journal"] {
        let mut there = path.as_os_str().to_owned();
        there.push(suffix);
        if Path::new(&there).symlink_metadata().is_ok() {
            return Err(Error::Refused(format!(
                "{} is there already; name another file, or remove that one",
                there.display()
            )));
        }
    }
    Ok(())
}

fn being_filled(part: &Path) -> Error {
    let part = part.display();
    Error::Refused(format!("{part} is being filled by another process; name another target"))
}

fn failed<'a>(verb: &'static str, path: &'a Path) -> impl Fn(std::io::Error) -> Error + 'a {
    move |error| Error::Unavailable(format!("could not {verb} {}: {error}", path.display()))
}
