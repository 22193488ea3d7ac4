//! One HTTP/1.1 connection and one request at a time on it. No redirects, no retries, no proxies.
//!
//! hyper's connection is driven by whoever waits for its answer, not by a task of its own: a call that
//! is dropped or out of time takes its socket with it at once.

use super::{
    dial::NotSent,
    gate::{Gate, GatedStream, Wire},
    limits::HEAD_BYTES,
};
use bytes::Bytes;
use futures::FutureExt;
use http_body_util::Full;
use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::http1::{Builder, SendRequest},
};
use hyper_util::rt::TokioIo;
use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
};
use tokio::time::{Instant, timeout_at};

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// The remote has certainly seen nothing.
    NotSent(NotSent),
    /// The remote may have seen the request.
    Silent(Silence),
}

/// What came instead of a whole answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// Nothing until the deadline.
    TimedOut,
    /// The end of the connection.
    Dropped(String),
    /// Bytes that are not HTTP, or a head over its limit.
    Malformed(String),
}

impl Silence {
    /// What an error of hyper means once something was sent.
    pub(super) fn of(error: &hyper::Error) -> Self {
        if error.is_parse() {
            return Self::Malformed(error.to_string());
        }
        Self::Dropped(describe(error))
    }
}

/// hyper's own text names the phase; the cause says what happened.
fn describe(error: &hyper::Error) -> String {
    let cause = std::error::Error::source(error).map(|cause| format!(": {cause}"));
    format!("{error}{}", cause.unwrap_or_default())
}

/// A connection to a tool.
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: Driver,
    gate: Gate,
}

impl Connection {
    /// Speaks HTTP on a stream. Writes nothing yet.
    pub(super) async fn over(wire: Box<dyn Wire>) -> Result<Self, NotSent> {
        let gate = Gate::default();
        let stream = TokioIo::new(GatedStream::new(wire, gate.clone()));
        let (sender, connection) = Builder::new()
            .max_buf_size(HEAD_BYTES)
            .title_case_headers(true)
            .handshake::<_, Full<Bytes>>(stream)
            .await
            .map_err(|error| NotSent::Closed(describe(&error)))?;
        // An error of the connection reaches the request that it concerns, so here it is dropped.
        let driver = Driver(Some(Box::pin(connection.map(drop))));
        Ok(Self { sender, driver, gate })
    }

    /// Sends a request and waits for the head of its answer, both until the deadline.
    pub(super) async fn ask(
        &mut self,
        request: Request<Full<Bytes>>,
        deadline: Instant,
    ) -> Result<Response<Incoming>, Unanswered> {
        self.gate.open(deadline);
        let Self { sender, driver, gate } = self;
        let answer = driver.along(sender.send_request(request));
        let error = match timeout_at(deadline, answer).await {
            Ok(Ok(response)) => {
                gate.answered();
                return Ok(response);
            }
            Ok(Err(error)) => Some(error),
            Err(_) => None,
        };
        Err(match (gate.was_sent(), error) {
            (false, Some(error)) if !gate.was_late() => {
                Unanswered::NotSent(NotSent::Closed(describe(&error)))
            }
            (false, _) => Unanswered::NotSent(NotSent::Late),
            (true, Some(error)) if !gate.was_late() => Unanswered::Silent(Silence::of(&error)),
            (true, _) => Unanswered::Silent(Silence::TimedOut),
        })
    }

    /// Waits for something that needs the connection to move, such as the body of an answer.
    pub(super) async fn along<W: Future>(&mut self, work: W) -> W::Output {
        self.driver.along(work).await
    }

    /// Whether another request can follow: the last answer is read whole and both sides keep the
    /// connection open, as far as is known here.
    pub(super) fn is_idle(&mut self) -> bool {
        let Self { sender, driver, .. } = self;
        let ready = driver.along(sender.ready()).now_or_never();
        matches!(ready, Some(Ok(()))) && driver.0.is_some()
    }
}

/// hyper's side of a connection, until it has ended.
struct Driver(Option<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl Driver {
    /// Drives the connection while `work` is waited for.
    async fn along<W: Future>(&mut self, work: W) -> W::Output {
        let mut work = pin!(work);
        poll_fn(|cx| {
            if let Some(driver) = &mut self.0
                && driver.as_mut().poll(cx).is_ready()
            {
                self.0 = None;
            }
            work.as_mut().poll(cx)
        })
        .await
    }
}
