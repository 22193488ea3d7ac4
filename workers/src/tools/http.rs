//! HTTP tools: one attempt is one POST, made once. Whether another follows is decided in `runs`.

use super::{
    Allowed, CallEnd, ToolCall, Tools,
    allowed::{Reach, refusal},
    answer,
    classify::{classify, cut, failure, silence},
    connection::{Connection, Unanswered},
    dial::{NotSent, dial},
    idle::IdleConnections,
    limits::{CONNECT, EXCERPT},
    metrics, request,
    retry_after::retry_after_ms,
    target::{Endpoint, Target},
};
use crate::{Clock, SystemClock};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming};
use spine_schemas::{ErrorClass, Output, StepError, limits::TIMEOUT_MS};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::ring},
};

/// Calls tools over HTTP/1.1, in the clear or inside TLS.
#[derive(Clone)]
pub struct HttpTools {
    shared: Arc<Shared>,
}

struct Shared {
    allowed: Allowed,
    tls: TlsConnector,
    idle: Arc<IdleConnections>,
}

impl HttpTools {
    /// Calls tools on these hosts. Certificates are checked against Mozilla's list as compiled in.
    pub fn new(allowed: Allowed) -> Self {
        Self::with_roots(allowed, webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect())
    }

    /// The same with certificate authorities of one's own.
    pub fn with_roots(allowed: Allowed, roots: RootCertStore) -> Self {
        let mut tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring has what TLS 1.2 and 1.3 need")
            .with_root_certificates(roots)
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let tls = TlsConnector::from(Arc::new(tls));
        Self { shared: Arc::new(Shared { allowed, tls, idle: Arc::default() }) }
    }

    async fn attempt(&self, call: &ToolCall, deadline: Instant) -> CallEnd {
        let target = match Target::parse(&call.tool) {
            Ok(target) => target,
            Err(why) => return refused(ErrorClass::Terminal, "tool_url_invalid", why),
        };
        let Some(reach) = self.reach(&target.endpoint) else {
            let why = refusal(&target.endpoint);
            return refused(ErrorClass::Policy, "tool_host_not_allowed", why);
        };
        match self.answer(call, &target, reach, deadline).await {
            Ok(end) => end,
            // No time will change what the host is; where nothing was sent, this is final all the same.
            Err(Unanswered::NotSent(why @ NotSent::Forbidden(_))) => {
                CallEnd::Failed(why.error(&target.endpoint))
            }
            Err(Unanswered::NotSent(why)) => CallEnd::NeverSent(why.error(&target.endpoint)),
            Err(Unanswered::Silent(why)) => silence(call.effect, &why, call.timeout),
        }
    }

    async fn answer(
        &self,
        call: &ToolCall,
        target: &Target,
        reach: Reach,
        deadline: Instant,
    ) -> Result<CallEnd, Unanswered> {
        let (build, careful) = (|| request::build(call, target), call.effect.is_careful());
        let (mut connection, response) = self.ask(&build, careful, target, reach, deadline).await?;
        let end = conclude(call, &mut connection, response, deadline).await?;
        if connection.is_idle() {
            self.keep(&target.endpoint, connection);
        }
        Ok(end)
    }

    /// Keeps a connection for the next request.
    pub(super) fn keep(&self, endpoint: &Endpoint, connection: Connection) {
        self.shared.idle.put(endpoint, connection);
    }

    /// How far a request to this endpoint may reach; `None` when it is not allowed.
    pub(super) fn reach(&self, endpoint: &Endpoint) -> Option<Reach> {
        self.shared.allowed.reach(endpoint)
    }

    /// Sends the request on a waiting connection where that is safe, else on a fresh one.
    pub(super) async fn ask(
        &self,
        build: &(impl Fn() -> Request<Full<Bytes>> + Sync),
        careful: bool,
        target: &Target,
        reach: Reach,
        deadline: Instant,
    ) -> Result<(Connection, Response<Incoming>), Unanswered> {
        let kept = self.shared.idle.take(&target.endpoint, careful);
        if let Some(mut connection) = kept {
            match connection.ask(build(), deadline).await {
                Ok(response) => return Ok((connection, response)),
                // It had ended while it waited and no byte was written: the call is still to be made.
                Err(Unanswered::NotSent(NotSent::Closed(_))) => {}
                Err(unanswered) => return Err(unanswered),
            }
        }
        let mut connection = self.connect(&target.endpoint, reach, deadline).await?;
        let response = connection.ask(build(), deadline).await?;
        Ok((connection, response))
    }

    async fn connect(
        &self,
        endpoint: &Endpoint,
        reach: Reach,
        deadline: Instant,
    ) -> Result<Connection, Unanswered> {
        let connected_by = deadline.min(Instant::now() + CONNECT);
        let wire = dial(endpoint, reach, &self.shared.tls, connected_by).await;
        let connection = Connection::over(wire.map_err(Unanswered::NotSent)?).await;
        connection.map_err(Unanswered::NotSent)
    }
}

impl Tools for HttpTools {
    async fn call(&self, call: ToolCall) -> CallEnd {
        let started = Instant::now();
        // The limit keeps the addition below from overflowing, whatever the caller asks for.
        let deadline = call.intended_at + call.timeout.min(Duration::from_millis(TIMEOUT_MS));
        let end = self.attempt(&call, deadline).await;
        metrics::observe_tool_call_seconds(&end, started.elapsed());
        metrics::observe_tool_calls_total(&end);
        end
    }

    fn check(&self, tool: &str) -> Result<(), String> {
        self.shared.allowed.check(tool)
    }
}

/// Reads the answer as far as its status makes that worthwhile, and says how the attempt ended.
async fn conclude(
    call: &ToolCall,
    connection: &mut Connection,
    response: Response<Incoming>,
    deadline: Instant,
) -> Result<CallEnd, Unanswered> {
    let (head, body) = response.into_parts();
    let retry_after_ms = retry_after_ms(&head.headers, SystemClock.now());
    let status = head.status.as_u16();
    if let Some(class) = classify(call.effect, &call.not_applied, status, retry_after_ms) {
        let until = deadline.min(Instant::now() + EXCERPT);
        let excerpt = answer::read_excerpt(connection, body, until).await;
        return Ok(failure(class, head.status, retry_after_ms, &excerpt));
    }
    let received = answer::read_result(connection, body, deadline).await;
    let payload = answer::payload(&head.headers, received.map_err(Unanswered::Silent)?);
    Ok(CallEnd::Completed { output: Output::of(payload), usage: answer::usage(&head.headers) })
}

fn refused(class: ErrorClass, code: &str, why: String) -> CallEnd {
    CallEnd::Failed(StepError::new(class, code, cut(why)))
}
