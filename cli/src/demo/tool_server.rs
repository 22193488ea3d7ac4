//! The demo's tools: an HTTP server inside this process.

use super::{
    faults::Faults,
    plan,
    tool_state::{Doing, ToolState},
};
use crate::exit::{Exit, Failure};
use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::post,
};
use futures::stream;
use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{net::TcpListener, sync::Notify};

/// Longer than any caller waits.
const LATE: Duration = Duration::from_millis(2 * plan::TIMEOUT_MS);
/// Longer than the demo lasts.
const NEVER: Duration = Duration::from_secs(600);

/// The running tools.
#[derive(Clone)]
pub(super) struct ToolServer {
    state: Arc<Mutex<ToolState>>,
    held: Arc<Notify>,
    url: String,
}

impl ToolServer {
    /// Starts the tools on a free port.
    ///
    /// # Errors
    /// When there is none.
    pub(super) async fn start(faults: &Faults) -> Result<Self, Failure> {
        let failed = |error: io::Error| {
            Failure::new(Exit::Failed, format!("could not start the demo's tools: {error}"))
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(failed)?;
        let url = format!("http://{}", listener.local_addr().map_err(failed)?);
        let state = ToolState::new(faults, "policy", "refund");
        let tools = Self { state: Arc::new(Mutex::new(state)), held: Arc::default(), url };
        let router = Router::new().route("/{step}", post(call)).with_state(tools.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(tools)
    }

    /// Where the tools are.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// What they remember.
    pub(super) fn state(&self) -> MutexGuard<'_, ToolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a call is held: its effect has happened, and its reply will never come.
    pub(super) async fn held(&self) {
        self.held.notified().await;
    }
}

async fn call(
    State(tools): State<ToolServer>,
    Path(step): Path<String>,
    headers: HeaderMap,
) -> Response {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let attempt = text("spine-attempt").parse().unwrap_or(0);
    let doing = tools.state().take(&step, text("idempotency-key"), attempt);
    match doing {
        Doing::Answer => answer(&step),
        Doing::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "the tool is down").into_response(),
        Doing::Drop => {
            // A body that fails after the head was sent makes the server drop the connection.
            let broken: [io::Result<Bytes>; 1] = [Err(io::Error::other("dropped on purpose"))];
            Body::from_stream(stream::iter(broken)).into_response()
        }
        Doing::Sleep => {
            tokio::time::sleep(LATE).await;
            answer(&step)
        }
        Doing::Hold => {
            tools.held.notify_one();
            tokio::time::sleep(NEVER).await;
            answer(&step)
        }
    }
}

fn answer(step: &str) -> Response {
    let (result, usage) = plan::answer(step);
    let mut response = axum::Json(result).into_response();
    if let Some(usage) = usage.and_then(|usage| usage.to_string().parse().ok()) {
        response.headers_mut().insert("spine-usage", usage);
    }
    response
}
