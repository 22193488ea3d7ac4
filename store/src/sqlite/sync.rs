//! Bringing a file to the disk while it grows, beside whoever fills it, so that little is left to wait for at its end.

use crate::limits;
use rustix::fs::{Advice, fadvise};
use std::{
    fs::File,
    io,
    num::NonZeroU64,
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
};

/// A thread that syncs a file each time it has grown enough.
#[derive(Debug)]
pub(super) struct Syncer {
    running: Mutex<Option<Running>>,
    /// The file's length when it was last asked for.
    asked: AtomicU64,
}

#[derive(Debug)]
struct Running {
    file: Arc<File>,
    wishes: SyncSender<()>,
    thread: JoinHandle<io::Result<()>>,
}

impl Syncer {
    /// Begins with an empty file. Another handle of it may write.
    ///
    /// # Errors
    /// When there is no further handle, or no thread.
    pub(super) fn start(file: &File) -> io::Result<Self> {
        let file = Arc::new(file.try_clone()?);
        let (wishes, asked_for) = sync_channel(1);
        let synced = Arc::clone(&file);
        let sync = move || sync_each(&synced, &asked_for);
        let thread = std::thread::Builder::new().name("store-syncer".into()).spawn(sync)?;
        let running = Mutex::new(Some(Running { file, wishes, thread }));
        Ok(Self { running, asked: AtomicU64::new(0) })
    }

    /// Something was written: asks for a sync if that is enough. Never waits for one.
    pub(super) fn has_grown(&self) {
        let running = self.running();
        let Some(Running { file, wishes, .. }) = &*running else { return };
        // A length that cannot be told is no reason to stop filling: the last sync finds out.
        let Ok(length) = file.metadata().map(|meta| meta.len()) else { return };
        let is_enough = length >= self.asked.load(Ordering::Relaxed) + limits::SYNC_BYTES;
        if is_enough && wishes.try_send(()).is_ok() {
            self.asked.store(length, Ordering::Relaxed);
        }
    }

    /// Waits for what was asked for, and closes the handle.
    ///
    /// # Errors
    /// The first sync that failed. The kernel tells each failure once, so that a later sync would look well.
    pub(super) fn end(&self) -> io::Result<()> {
        let Some(Running { wishes, thread, .. }) = self.running().take() else { return Ok(()) };
        drop(wishes);
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread that syncs panicked")))
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn sync_each(file: &File, asked_for: &Receiver<()>) -> io::Result<()> {
    let mut released = 0;
    while asked_for.recv().is_ok() {
        let length = file.metadata()?.len();
        file.sync_data()?;
        release(file, released..length);
        released = length;
    }
    Ok(())
}

/// Gives back the memory in which the kernel keeps what is on the disk. Most of it is not looked at again, and
/// a replay would push out what others read. Each part only once: what is read after all stays.
fn release(file: &File, part: Range<u64>) {
    let Some(bytes) = part.end.checked_sub(part.start).and_then(NonZeroU64::new) else { return };
    if let Err(error) = fadvise(file, part.start, Some(bytes), Advice::DontNeed) {
        tracing::debug!(%error, "memory of a store that is filled is not given back");
    }
}
