//! How much may go on at one time: requests, bytes of bodies, parsers. Nothing queues here without a
//! bound; who comes too early is told when to come back.

use crate::{Code, Problem, limits};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The bounds of the surface.
pub(crate) struct InFlight {
    requests: Arc<Semaphore>,
    body_bytes: Arc<Semaphore>,
    parsers: Semaphore,
    polls: Arc<Semaphore>,
}

impl InFlight {
    pub(crate) fn new(requests: usize, body_bytes: usize) -> Self {
        Self {
            requests: Arc::new(Semaphore::new(requests)),
            body_bytes: Arc::new(Semaphore::new(body_bytes)),
            parsers: Semaphore::new(limits::PARSERS),
            polls: Arc::new(Semaphore::new(requests / limits::POLLS_PART)),
        }
    }

    /// A place for one request, until it is dropped.
    pub(crate) fn take_request(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let place = self.requests.clone().try_acquire_owned();
        place.map_err(|_| Problem::new(Code::Busy, "too many requests are being answered"))
    }

    /// A place for one poll, until it is dropped. They wait long, and must leave room for other requests.
    pub(crate) fn take_poll(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let place = self.polls.clone().try_acquire_owned();
        place.map_err(|_| Problem::new(Code::Busy, "too many workers wait for work here"))
    }

    /// A place for so many bytes of a body, until it is dropped.
    pub(crate) fn take_body_bytes(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Problem> {
        let busy = || Problem::new(Code::Busy, "too many bytes of request bodies are held");
        let bytes = u32::try_from(bytes).map_err(|_| busy())?;
        self.body_bytes.clone().try_acquire_many_owned(bytes).map_err(|_| busy())
    }

    /// Runs CPU-heavy work off the threads that answer requests, when there is enough of it to be
    /// worth the way. Those who wait for a parser are bounded by the bytes that they hold.
    pub(crate) async fn parse<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        if bytes <= limits::PARSE_INLINE_BYTES {
            return Ok(work());
        }
        let failed = |what: String| Problem::new(Code::Internal, what);
        let _place = self.parsers.acquire().await.map_err(|error| failed(error.to_string()))?;
        tokio::task::spawn_blocking(work).await.map_err(|error| failed(error.to_string()))
    }
}
