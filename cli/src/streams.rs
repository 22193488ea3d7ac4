//! Wires listeners, and what attempts say, to the owners: those of this process directly, those of other processes by
//! one forward to the address in the claim.

use crate::{
    claims,
    client::{Answer, Client, Content, Opened, ServerUrl},
};
use bytes::Bytes;
use futures::{
    future::{BoxFuture, FutureExt},
    stream::StreamExt,
};
use hyper::Method;
use serde::Deserialize;
use spine_ingest::{Asking, Listening, StreamError};
use spine_runs::{NotLive, Part};
use spine_store::RunStore;
use spine_workers::{ListenError, Listener, Streams, VerdictHub};
use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, sleep, timeout};

/// How long it is tried to find somebody to listen to.
const WAIT: Duration = Duration::from_secs(10);
/// Between two tries.
const LOOK: Duration = Duration::from_millis(200);
/// How long another process may take for something that was said.
const SAID: Duration = Duration::from_secs(3);
/// How long it is remembered who owns a partition.
const FRESH: Duration = Duration::from_secs(1);

/// The listeners of this process, and who owns the rest.
pub(crate) struct WiredStreams<S> {
    streams: Streams,
    hub: VerdictHub,
    store: S,
    /// Where others reach this process.
    address: String,
    /// Who claimed partitions, and when that was asked.
    known: Mutex<BTreeMap<u32, (Instant, Option<String>)>>,
}

impl<S: RunStore> WiredStreams<S> {
    pub(crate) fn new(streams: Streams, hub: VerdictHub, store: S, address: String) -> Self {
        Self { streams, hub, store, address, known: Mutex::default() }
    }

    /// Whoever comes while the partition moves is not sent away at once: a browser would not come back.
    async fn listen_patiently(&self, asking: &Asking) -> Result<Listening, StreamError> {
        let mut last = unavailable("the owner did not answer in time");
        let tries = async {
            loop {
                let listening = match self.hub.owns(asking.partition) {
                    true => self.listen_here(asking).await,
                    false => self.listen_elsewhere(asking).await,
                };
                match listening {
                    Err(error @ StreamError::Unavailable(_)) if asking.elsewhere.is_some() => {
                        last = error;
                    }
                    listening => return listening,
                }
                sleep(LOOK).await;
            }
        };
        let listening = tokio::select! {
            biased;
            () = self.streams.closed() => return Err(unavailable("the server stops")),
            listening = timeout(WAIT, tries) => listening,
        };
        listening.unwrap_or(Err(last))
    }

    async fn listen_here(&self, asking: &Asking) -> Result<Listening, StreamError> {
        let listening = self.streams.listen(asking.partition, asking.run.clone());
        let listener = match listening.await {
            Ok(listener) => listener,
            Err(ListenError::NoRun) => return Err(StreamError::NoRun),
            Err(ListenError::Full) => return Err(StreamError::Full),
            Err(error @ ListenError::NoOwner) => return Err(unavailable(&error.to_string())),
        };
        let said = futures::stream::unfold(listener, |mut listener: Listener| async {
            let said = listener.next().await?;
            Some((said, listener))
        });
        Ok(Listening::Here(said.boxed()))
    }

    /// The process that claimed the partition, and what it is asked.
    async fn elsewhere(&self, asking: &Asking) -> Result<(Client, String), StreamError> {
        let Some(path) = asking.elsewhere.clone() else {
            return Err(unavailable("the partition moves to another owner"));
        };
        let address = self.holder(asking.partition).await;
        let address = address.ok_or_else(|| unavailable("no owner is known yet"))?;
        if address == self.address {
            return Err(unavailable(
                "the newest claim names this server, which does not own the partition now; servers \
                 that share an address each need an --advertise of their own",
            ));
        }
        let url = format!("http://{address}").parse::<ServerUrl>();
        let url =
            url.map_err(|_| unavailable(&format!("a claim names no address: '{address}'")))?;
        Ok((Client::of(url), path))
    }

    async fn listen_elsewhere(&self, asking: &Asking) -> Result<Listening, StreamError> {
        let (client, path) = self.elsewhere(asking).await?;
        let body = match client.open(&path).await {
            Ok(Opened::Stream(body)) => body,
            Ok(Opened::Refused(answer)) => return Err(refusal(&answer)),
            Err(failure) => return Err(unavailable(&failure.text())),
        };
        // What the other process says has no end of its own when this one goes.
        let streams = self.streams.clone();
        let gone = async move { streams.closed().await }.boxed();
        Ok(Listening::Elsewhere(body.take_until(gone).boxed()))
    }

    /// What is said is worth nothing later, so nobody waits long to hear that it was not heard.
    async fn say_elsewhere(&self, asking: &Asking, sent: Bytes) -> Result<usize, StreamError> {
        let (client, path) = self.elsewhere(asking).await?;
        let answer = client.ask(Method::POST, &path, Some(Content::json(sent)), &[]);
        let answer = timeout(SAID, answer).await;
        let answer = answer.map_err(|_| unavailable("the owner does not answer"))?;
        let answer = answer.map_err(|failure| unavailable(&failure.text()))?;
        if answer.status != 200 {
            return Err(refusal(&answer));
        }
        let heard: Heard = serde_json::from_str(&answer.text).unwrap_or_default();
        Ok(heard.listeners)
    }

    /// Where the partition was last claimed. It is asked for anew after a moment, since words are many and claims few.
    async fn holder(&self, partition: u32) -> Option<String> {
        let known =
            self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&partition).cloned();
        if let Some((_, address)) = known.filter(|(since, _)| since.elapsed() < FRESH) {
            return address;
        }
        let holder = claims::holder(&self.store, &self.hub, partition).await;
        let address = holder.map(|holder| holder.address);
        let fresh = (Instant::now(), address.clone());
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(partition, fresh);
        address
    }
}

/// What another process answers.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Heard {
    listeners: usize,
    name: String,
    live: Option<u32>,
}

/// Why another process refuses what this one has checked.
fn refusal(answer: &Answer) -> StreamError {
    let heard: Heard = serde_json::from_str(&answer.text).unwrap_or_default();
    match heard.name.as_str() {
        "run_absent" => StreamError::NoRun,
        "wrong_attempt" => StreamError::NotLive(NotLive { live: heard.live }),
        "busy" => StreamError::Full,
        name => unavailable(&format!("the owner answered {} {name}", answer.status)),
    }
}

fn unavailable(why: &str) -> StreamError {
    StreamError::Unavailable(why.to_owned())
}

impl<S: RunStore> spine_ingest::Streams for WiredStreams<S> {
    fn listen(&self, asking: Asking) -> BoxFuture<'_, Result<Listening, StreamError>> {
        async move { self.listen_patiently(&asking).await }.boxed()
    }

    fn say(
        &self,
        asking: Asking,
        part: Part,
        sent: Bytes,
    ) -> BoxFuture<'_, Result<usize, StreamError>> {
        async move {
            if self.hub.owns(asking.partition) {
                return self.streams.say(&asking.run, part).map_err(StreamError::NotLive);
            }
            self.say_elsewhere(&asking, sent).await
        }
        .boxed()
    }
}
