//! Wires listeners, and what attempts say, to the owners: those of this process directly, those of other processes by
//! one forward to the address in the claim.

use crate::{
    claims,
    client::{Client, Content, Opened, ServerUrl},
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
use std::time::Duration;
use tokio::time::timeout;

/// How long an owner of this process may take to let somebody in: it may have to load the run.
const WAIT: Duration = Duration::from_secs(10);

/// The listeners of this process, and who owns the rest.
pub(crate) struct WiredStreams<S> {
    streams: Streams,
    hub: VerdictHub,
    store: S,
    /// Where others reach this process.
    address: String,
}

impl<S: RunStore> WiredStreams<S> {
    pub(crate) fn new(streams: Streams, hub: VerdictHub, store: S, address: String) -> Self {
        Self { streams, hub, store, address }
    }

    async fn listen_here(&self, asking: Asking) -> Result<Listening, StreamError> {
        let listener = match timeout(WAIT, self.streams.listen(asking.partition, asking.run)).await
        {
            Ok(Ok(listener)) => listener,
            Ok(Err(ListenError::NoRun)) => return Err(StreamError::NoRun),
            Ok(Err(ListenError::Full)) => return Err(StreamError::Full),
            Ok(Err(error @ ListenError::NoOwner)) => {
                return Err(unavailable(&error.to_string()));
            }
            Err(_) => return Err(unavailable("the owner did not answer in time")),
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
        let holder = claims::holder(&self.store, &self.hub, asking.partition).await;
        let address = holder.map(|holder| holder.address).filter(|of| *of != self.address);
        let address = address.ok_or_else(|| unavailable("no owner is known yet"))?;
        let url = format!("http://{address}").parse::<ServerUrl>();
        let url =
            url.map_err(|_| unavailable(&format!("a claim names no address: '{address}'")))?;
        Ok((Client::of(url), path))
    }

    async fn listen_elsewhere(&self, asking: &Asking) -> Result<Listening, StreamError> {
        let (client, path) = self.elsewhere(asking).await?;
        let opened = client.open(Method::GET, &path, None).await;
        let Opened { status, body } = opened.map_err(|failure| unavailable(&failure.text()))?;
        if status != 200 {
            return Err(refusal(status, None));
        }
        // What the other process says has no end of its own when this one goes.
        let streams = self.streams.clone();
        let gone = async move { streams.closed().await }.boxed();
        Ok(Listening::Elsewhere(body.take_until(gone).boxed()))
    }

    async fn say_elsewhere(&self, asking: &Asking, sent: Bytes) -> Result<usize, StreamError> {
        let (client, path) = self.elsewhere(asking).await?;
        let answer = client.ask(Method::POST, &path, Some(Content::json(sent)), &[]).await;
        let answer = answer.map_err(|failure| unavailable(&failure.text()))?;
        let said: Said = serde_json::from_str(&answer.text).unwrap_or_default();
        match answer.status {
            200 => Ok(said.listeners),
            status => Err(refusal(status, said.live)),
        }
    }
}

/// What another process answers.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Said {
    listeners: usize,
    live: Option<u32>,
}

/// Why another process refuses what this one has checked.
fn refusal(status: u16, live: Option<u32>) -> StreamError {
    match status {
        404 => StreamError::NoRun,
        409 => StreamError::NotLive(NotLive { live }),
        429 => StreamError::Full,
        status => unavailable(&format!("the owner answered {status}")),
    }
}

fn unavailable(why: &str) -> StreamError {
    StreamError::Unavailable(why.to_owned())
}

impl<S: RunStore> spine_ingest::Streams for WiredStreams<S> {
    fn listen(&self, asking: Asking) -> BoxFuture<'_, Result<Listening, StreamError>> {
        async move {
            if self.hub.owns(asking.partition) {
                return self.listen_here(asking).await;
            }
            self.listen_elsewhere(&asking).await
        }
        .boxed()
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
