//! Wires workers of queues to the owners: those of this process directly, those of other processes by a
//! forward to the addresses in their claims, one after the other, so that no more is granted than asked.

use crate::{
    claims,
    client::{Client, Content, ServerUrl, segment},
};
use futures::future::{BoxFuture, FutureExt};
use hyper::Method;
use serde::Deserialize;
use serde_json::{json, value::RawValue};
use spine_ingest::{Leased, Leases, Poll};
use spine_store::RunStore;
use spine_workers::{Ask, Polls, VerdictHub};
use std::{
    collections::BTreeSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, timeout};

/// How long each process is asked first.
const LOOK: Duration = Duration::from_millis(100);
/// How long one process is asked while there are others to ask, after all were asked once.
const TURN: Duration = Duration::from_millis(500);
/// How much longer than it was asked to wait another process may take.
const PATIENCE: Duration = Duration::from_secs(6);
/// How long it is remembered who the other owners are.
const FRESH: Duration = Duration::from_secs(1);

/// The polls of this process, and who owns the rest.
pub(crate) struct WiredLeases<S> {
    polls: Polls,
    hub: VerdictHub,
    store: S,
    partitions: u32,
    /// Where others reach this process.
    address: String,
    /// Counts polls, so that they begin at different owners.
    asked: AtomicUsize,
    others: Mutex<Option<(Instant, Vec<String>)>>,
}

#[derive(Deserialize)]
struct Answer {
    leases: Vec<Box<RawValue>>,
}

impl<S: RunStore> WiredLeases<S> {
    pub(crate) fn new(polls: Polls, hub: VerdictHub, store: S, address: String) -> Self {
        let (asked, others) = (AtomicUsize::new(0), Mutex::default());
        Self { polls, partitions: hub.partitions(), hub, store, address, asked, others }
    }

    async fn here(&self, poll: &Poll, wait: Duration) -> Vec<Leased> {
        let ask = Ask {
            queue: poll.queue.clone(),
            worker: poll.worker.clone(),
            max: poll.max,
            lease_ms: poll.lease_ms,
            tenants: poll.tenants.clone(),
        };
        let leases = self.polls.lease(ask, wait).await;
        leases.into_iter().map(|lease| Leased::Here(Box::new(lease))).collect()
    }

    /// The owners of the partitions that are not owned here, as far as is known.
    async fn others(&self) -> Vec<String> {
        if (0..self.partitions).all(|partition| self.hub.owns(partition)) {
            return Vec::new();
        }
        let known = self.others.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, others)) = known.filter(|(since, _)| since.elapsed() < FRESH) {
            return others;
        }
        let mut others = BTreeSet::new();
        for partition in (0..self.partitions).filter(|partition| !self.hub.owns(*partition)) {
            let newest = claims::holder(&self.store, &self.hub, partition).await;
            others.extend(newest.map(|of| of.address).filter(|of| *of != self.address));
        }
        let others: Vec<String> = others.into_iter().collect();
        let fresh = Some((Instant::now(), others.clone()));
        *self.others.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
        others
    }

    /// Asks here and elsewhere in turn: everybody once without waiting, then each for a while.
    async fn in_turn(&self, poll: &Poll) -> Vec<Leased> {
        let until = Instant::now() + poll.wait;
        let mut turn = self.asked.fetch_add(1, Ordering::Relaxed);
        let mut asked = 0;
        loop {
            let others = self.others().await;
            let left = until.saturating_duration_since(Instant::now());
            if others.is_empty() {
                return self.here(poll, left).await;
            }
            let all = others.len() + 1;
            let wait = if asked < all { LOOK } else { left.min(TURN) };
            let leased = match others.get(turn % all) {
                Some(address) => elsewhere(address, poll, wait).await,
                None => self.here(poll, wait).await,
            };
            (turn, asked) = (turn + 1, asked + 1);
            if self.polls.is_closed() {
                return leased;
            }
            if !leased.is_empty() || (asked >= all && Instant::now() >= until) {
                return leased;
            }
        }
    }
}

impl<S: RunStore> Leases for WiredLeases<S> {
    fn lease(&self, poll: Poll) -> BoxFuture<'_, Vec<Leased>> {
        async move {
            match poll.here {
                true => self.here(&poll, poll.wait).await,
                false => self.in_turn(&poll).await,
            }
        }
        .boxed()
    }
}

/// What the owners of another process grant. One that does not answer grants nothing; what it granted all
/// the same ends by its lease.
async fn elsewhere(address: &str, poll: &Poll, wait: Duration) -> Vec<Leased> {
    let asked = Instant::now();
    let leased = match format!("http://{address}").parse::<ServerUrl>() {
        // One that hangs must not hold up whoever asks all.
        Ok(url) => match timeout(wait + PATIENCE, forward(url, poll, wait)).await {
            Ok(leased) => leased,
            Err(_) => Err("it does not answer".to_owned()),
        },
        Err(_) => Err(format!("the claim names no address: '{address}'")),
    };
    match leased {
        Ok(leases) => leases.into_iter().map(Leased::Elsewhere).collect(),
        Err(why) => {
            tracing::debug!(address, why, "an owner could not be asked for work");
            // A process that is gone must not be asked again and again meanwhile.
            tokio::time::sleep_until(asked + wait).await;
            Vec::new()
        }
    }
}

async fn forward(
    url: ServerUrl,
    poll: &Poll,
    wait: Duration,
) -> Result<Vec<Box<RawValue>>, String> {
    let path = format!("/v1/queues/{}/lease?here=true", segment(&poll.queue));
    let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(0);
    let mut body = json!({"worker": poll.worker, "max": poll.max, "lease_ms": poll.lease_ms,
        "wait_ms": wait_ms});
    if let Some(tenants) = &poll.tenants {
        body["tenants"] = json!(tenants);
    }
    let content = Content::json(body.to_string());
    let answer = Client::of(url).ask(Method::POST, &path, Some(content), &[]).await;
    let answer = answer.map_err(|failure| failure.text())?;
    if answer.status != 200 {
        return Err(format!("it answered {}", answer.status));
    }
    let answer: Answer = serde_json::from_str(&answer.text).map_err(|error| error.to_string())?;
    Ok(answer.leases)
}
