//! A POST that is no step: to whoever listens, not to whom work is given. Where it may go is checked as
//! for tools.

use super::{
    HttpTools, allowed::refusal, answer, connection::Unanswered, limits::EXCERPT, request,
    retry_after::retry_after_ms, target::Target,
};
use crate::{Clock, SystemClock};
use bytes::Bytes;
use std::time::Duration;
use tokio::time::Instant;

/// What became of a POST.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Posted {
    /// An answer came.
    Answered {
        /// Its status.
        status: u16,
        /// When the remote wants to be asked again.
        retry_after_ms: Option<u64>,
    },
    /// None came: whether the remote has seen it is not known.
    Unanswered(String),
    /// It may not be sent there.
    Refused(String),
}

impl HttpTools {
    /// Posts JSON with further headers, once.
    pub async fn post(
        &self,
        url: &str,
        headers: &[(&'static str, &str)],
        body: Bytes,
        within: Duration,
    ) -> Posted {
        let target = match Target::parse(url) {
            Ok(target) => target,
            Err(why) => return Posted::Refused(why),
        };
        let Some(reach) = self.reach(&target.endpoint) else {
            return Posted::Refused(refusal(&target.endpoint));
        };
        let deadline = Instant::now() + within;
        let build = || request::post(&target, headers, body.clone());
        let (mut connection, response) =
            match self.ask(&build, false, &target, reach, deadline).await {
                Ok(answered) => answered,
                Err(Unanswered::NotSent(why)) => {
                    return Posted::Unanswered(why.error(&target.endpoint).message);
                }
                Err(Unanswered::Silent(why)) => return Posted::Unanswered(format!("{why:?}")),
            };
        let (head, rest) = response.into_parts();
        let until = deadline.min(Instant::now() + EXCERPT);
        answer::read_excerpt(&mut connection, rest, until).await;
        if connection.is_idle() {
            self.keep(&target.endpoint, connection);
        }
        let retry_after_ms = retry_after_ms(&head.headers, SystemClock.now());
        Posted::Answered { status: head.status.as_u16(), retry_after_ms }
    }
}
