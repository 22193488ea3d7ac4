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
use spine_ingest::{Asking, Listening, Passed, Spoken, StreamError};
use spine_runs::Part;
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
                return Err(StreamError::Unavailable(error.to_string()));
            }
            Err(_) => {
                return Err(StreamError::Unavailable("the owner did not answer in time".into()));
            }
        };
        let said = futures::stream::unfold(listener, |mut listener: Listener| async {
            let said = listener.next().await?;
            Some((said, listener))
        });
        Ok(Listening::Here(said.boxed()))
    }

    /// Asks the process that claimed the partition.
    async fn elsewhere(
        &self,
        asking: &Asking,
        method: Method,
        content: Option<Content>,
    ) -> Result<Passed, StreamError> {
        let unavailable = |why: String| StreamError::Unavailable(why);
        let Some(path) = &asking.elsewhere else {
            return Err(unavailable("the partition moves to another owner".into()));
        };
        let holder = claims::holder(&self.store, &self.hub, asking.partition).await;
        let address = holder.map(|holder| holder.address).filter(|of| *of != self.address);
        let address = address.ok_or_else(|| unavailable("no owner is known yet".into()))?;
        let url = format!("http://{address}").parse::<ServerUrl>();
        let url = url.map_err(|_| unavailable(format!("a claim names no address: '{address}'")))?;
        let opened = Client::of(url).open(method, path, content).await;
        let Opened { status, media_type, body } =
            opened.map_err(|failure| unavailable(failure.text()))?;
        // What the other process says has no end of its own when this one goes.
        let streams = self.streams.clone();
        let gone = async move { streams.closed().await }.boxed();
        Ok(Passed { status, media_type, body: body.take_until(gone).boxed() })
    }
}

impl<S: RunStore> spine_ingest::Streams for WiredStreams<S> {
    fn listen(&self, asking: Asking) -> BoxFuture<'_, Result<Listening, StreamError>> {
        async move {
            if self.hub.owns(asking.partition) {
                return self.listen_here(asking).await;
            }
            self.elsewhere(&asking, Method::GET, None).await.map(Listening::Elsewhere)
        }
        .boxed()
    }

    fn say(
        &self,
        asking: Asking,
        part: Part,
        sent: Bytes,
    ) -> BoxFuture<'_, Result<Spoken, StreamError>> {
        async move {
            if self.hub.owns(asking.partition) {
                let listeners = self.streams.say(&asking.run, part);
                return listeners.map(Spoken::Here).map_err(StreamError::NotLive);
            }
            let content = Some(Content::json(sent));
            self.elsewhere(&asking, Method::POST, content).await.map(Spoken::Elsewhere)
        }
        .boxed()
    }
}
