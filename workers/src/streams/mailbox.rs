//! What waits for one listener: a queue with a bound in bytes. Who is too slow misses something and is told how much,
//! in the place where it is missing; nobody waits for a listener.

use crate::limits;
use spine_runs::Said;
use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// What stands in a mailbox beside the bytes of a part.
const SAID_BYTES: usize = 256;

/// One listener's queue.
#[derive(Debug, Default)]
pub(super) struct Mailbox {
    queue: Mutex<Queue>,
    filled: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Said>,
    bytes: usize,
    /// What did not fit since something last did.
    missed: u64,
    is_closed: bool,
}

impl Mailbox {
    /// Puts something in, or counts it as missed.
    pub(super) fn put(&self, said: Said) {
        let mut queue = self.queue();
        let bytes = bytes_of(&said);
        // Words leave room for turns, which say what becomes of words.
        let most = match said {
            Said::Part(_) => limits::MAILBOX_BYTES,
            _ => 2 * limits::MAILBOX_BYTES,
        };
        if queue.bytes + bytes > most && !queue.waiting.is_empty() {
            queue.missed += 1;
            return;
        }
        queue.tell_missed();
        queue.bytes += bytes;
        queue.waiting.push_back(said);
        drop(queue);
        self.filled.notify_one();
    }

    /// Nothing more comes.
    pub(super) fn close(&self) {
        let mut queue = self.queue();
        queue.tell_missed();
        queue.is_closed = true;
        drop(queue);
        self.filled.notify_one();
    }

    /// The next that was put in; `None` when it is closed and empty.
    pub(super) async fn take(&self) -> Option<Said> {
        loop {
            let filled = self.filled.notified();
            {
                let mut queue = self.queue();
                if queue.waiting.is_empty() {
                    queue.tell_missed();
                }
                if let Some(said) = queue.waiting.pop_front() {
                    queue.bytes -= bytes_of(&said);
                    return Some(said);
                }
                if queue.is_closed {
                    return None;
                }
            }
            filled.await;
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Queue {
    /// The mark of a gap is so small, and so rare, that it always fits.
    fn tell_missed(&mut self) {
        if self.missed > 0 {
            let said = Said::Missed(std::mem::take(&mut self.missed));
            self.bytes += bytes_of(&said);
            self.waiting.push_back(said);
        }
    }
}

fn bytes_of(said: &Said) -> usize {
    match said {
        Said::Part(part) => SAID_BYTES + part.data.len(),
        Said::Listening { live, .. } => SAID_BYTES * (1 + live.len()),
        Said::Began(_)
        | Said::Retried(..)
        | Said::AttemptEnded { .. }
        | Said::RunEnded(_)
        | Said::Missed(_) => SAID_BYTES,
    }
}
