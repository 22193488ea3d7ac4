//! Connections that wait for their next request.
//!
//! A connection that the remote closes while it waits could turn a request that was never read into an
//! unknown outcome. So careful calls take only one that answered a moment ago, and only where the remote was
//! seen to keep its connections open; what the kernel knows is asked once more when the first byte is
//! written (see `gate`). A fresh connection is hardly safer: it, too, may end while the request is on its way.

use super::{
    connection::Connection,
    limits::{CAREFUL_IDLE, IDLE, IDLE_PER_HOST, IDLE_TOTAL, KEPT_OPEN},
    target::Endpoint,
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};
use tokio::time::{Instant, sleep};

/// The waiting connections, by endpoint, oldest first.
#[derive(Default)]
pub(super) struct IdleConnections(Mutex<Stash>);

#[derive(Default)]
struct Stash {
    by_endpoint: BTreeMap<Endpoint, Host>,
    /// Whether a task is there that closes what has waited too long.
    is_swept: bool,
}

/// What waits for one endpoint, oldest first.
#[derive(Default)]
struct Host {
    waiting: Vec<Waiting>,
    /// Whether a connection was seen to be open some time after its answer.
    keeps_open: bool,
}

struct Waiting {
    since: Instant,
    connection: Connection,
}

impl Stash {
    fn len(&self) -> usize {
        self.by_endpoint.values().map(|host| host.waiting.len()).sum()
    }

    fn close_expired(&mut self) {
        let now = Instant::now();
        self.by_endpoint.retain(|_, host| {
            host.waiting.retain(|one| now.duration_since(one.since) < IDLE);
            !host.waiting.is_empty()
        });
    }
}

impl Host {
    /// The connection that was used last, if one is still good.
    fn take(&mut self, is_careful: bool) -> Option<Connection> {
        self.learn();
        if is_careful && !self.keeps_open {
            return None;
        }
        while let Some(mut newest) = self.waiting.pop() {
            let waited = newest.since.elapsed();
            if waited >= IDLE {
                continue;
            }
            if !newest.connection.is_idle() {
                self.keeps_open &= waited >= KEPT_OPEN;
            } else if is_careful && waited >= CAREFUL_IDLE {
                self.waiting.push(newest);
                return None;
            } else {
                return Some(newest.connection);
            }
        }
        None
    }

    /// The oldest connection tells how the remote treats them.
    fn learn(&mut self) {
        if let Some(oldest) = self.waiting.first_mut().filter(|_| !self.keeps_open) {
            self.keeps_open = oldest.since.elapsed() >= KEPT_OPEN && oldest.connection.is_idle();
        }
    }
}

impl IdleConnections {
    fn stash(&self) -> MutexGuard<'_, Stash> {
        // Connections may be lost to a panic; the map itself is whole between two statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the connection that was used last, if one is still good, and good enough for a careful call.
    pub(super) fn take(&self, endpoint: &Endpoint, is_careful: bool) -> Option<Connection> {
        self.stash().by_endpoint.get_mut(endpoint)?.take(is_careful)
    }

    /// Keeps a connection for the next call, or closes it where enough are waiting.
    pub(super) fn put(self: &Arc<Self>, endpoint: &Endpoint, connection: Connection) {
        let mut stash = self.stash();
        stash.close_expired();
        if stash.len() >= IDLE_TOTAL {
            return;
        }
        let waiting = &mut stash.by_endpoint.entry(endpoint.clone()).or_default().waiting;
        if waiting.len() >= IDLE_PER_HOST {
            return;
        }
        waiting.push(Waiting { since: Instant::now(), connection });
        if !stash.is_swept {
            stash.is_swept = true;
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }

    /// Closes what has waited too long; `false` when nothing waits any more.
    fn close_expired(&self) -> bool {
        let mut stash = self.stash();
        stash.close_expired();
        stash.is_swept = !stash.by_endpoint.is_empty();
        stash.is_swept
    }
}

/// Closes old connections also when no call comes by. Ends when none is left or their owner is gone.
async fn sweep(of: Weak<IdleConnections>) {
    loop {
        sleep(IDLE).await;
        let still_waiting = of.upgrade().is_some_and(|idle| idle.close_expired());
        if !still_waiting {
            return;
        }
    }
}
