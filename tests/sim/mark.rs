//! A number that grows, for many to wait for. Whoever has waited longest is woken first; Tokio's `watch` wakes
//! in an order of chance, which no seed decides.

use std::sync::{Arc, Mutex};
use tokio::sync::Notify;

/// Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mark {
    at: Arc<Mutex<u64>>,
    moved: Arc<Notify>,
}

impl Mark {
    pub(crate) fn get(&self) -> u64 {
        *self.at.lock().unwrap()
    }

    pub(crate) fn set(&self, at: u64) {
        *self.at.lock().unwrap() = at;
        self.moved.notify_waiters();
    }

    /// Waits until it is above a number.
    pub(crate) async fn above(&self, bound: u64) {
        loop {
            let mut moved = std::pin::pin!(self.moved.notified());
            moved.as_mut().enable();
            if self.get() > bound {
                return;
            }
            moved.await;
        }
    }
}
