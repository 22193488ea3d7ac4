//! Connections that wait for their next request. Only `pure` and `idempotent` calls take from here: a
//! connection that the remote closes while it waits could turn a request that was never read into an
//! unknown outcome.

use super::{
    connection::Connection,
    limits::{IDLE, IDLE_PER_HOST, IDLE_TOTAL},
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
    by_endpoint: BTreeMap<Endpoint, Vec<Waiting>>,
    /// Whether a task is there that closes what has waited too long.
    is_swept: bool,
}

struct Waiting {
    since: Instant,
    connection: Connection,
}

impl Stash {
    fn len(&self) -> usize {
        self.by_endpoint.values().map(Vec::len).sum()
    }

    fn close_expired(&mut self) {
        let now = Instant::now();
        self.by_endpoint.retain(|_, waiting| {
            waiting.retain(|one| now.duration_since(one.since) < IDLE);
            !waiting.is_empty()
        });
    }
}

impl IdleConnections {
    fn stash(&self) -> MutexGuard<'_, Stash> {
        // Connections may be lost to a panic; the map itself is whole between two statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the connection that was used last, if one is still good.
    pub(super) fn take(&self, endpoint: &Endpoint) -> Option<Connection> {
        loop {
            let newest = self.stash().by_endpoint.get_mut(endpoint)?.pop()?;
            let Waiting { since, mut connection } = newest;
            if since.elapsed() < IDLE && connection.is_idle() {
                return Some(connection);
            }
        }
    }

    /// Keeps a connection for the next call, or closes it where enough are waiting.
    pub(super) fn put(self: &Arc<Self>, endpoint: &Endpoint, connection: Connection) {
        let mut stash = self.stash();
        stash.close_expired();
        if stash.len() >= IDLE_TOTAL {
            return;
        }
        let waiting = stash.by_endpoint.entry(endpoint.clone()).or_default();
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
