//! What happens to every request before and after its handler: who may come in, how many at a time,
//! for how long, what a fault looks like from outside, and what is measured.

use crate::{App, Code, Problem, Verdicts, hosts, limits, metrics, problem};
use axum::{
    extract::{MatchedPath, Request, State},
    http::{StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use futures::FutureExt;
use spine_log::EventLog;
use spine_store::RunStore;
use std::panic::AssertUnwindSafe;
use tokio::time::{Instant, timeout};

/// Wraps the whole surface.
pub(crate) async fn guard<L: EventLog, S: RunStore, V: Verdicts>(
    State(app): State<App<L, S, V>>,
    request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    let response = match hosts::check(app.settings(), request.uri(), request.headers()) {
        Err(problem) => problem.into_response(),
        Ok(()) if is_for_probes(route) => answer(request, next).await,
        // The place is held until the answer is there.
        Ok(()) => match app.in_flight.take_request() {
            Ok(_place) => answer(request, next).await,
            Err(problem) => problem.into_response(),
        },
    };
    metrics::observe_request(route, response.status().as_u16(), started.elapsed());
    response
}

/// Those who look whether we live are answered under any load.
fn is_for_probes(route: &str) -> bool {
    matches!(route, "/healthz" | "/readyz" | "/metrics")
}

pub(crate) async fn answer(request: Request, next: Next) -> Response {
    let handled = AssertUnwindSafe(next.run(request)).catch_unwind();
    match timeout(limits::REQUEST_TIMEOUT, handled).await {
        Ok(Ok(response)) => as_problem(response),
        Ok(Err(_panic)) => {
            tracing::error!("a handler panicked; the panic stands above");
            Problem::new(Code::Internal, "the request met a fault of the server").into_response()
        }
        Err(_) => {
            let seconds = limits::REQUEST_TIMEOUT.as_secs();
            let detail = format!("there was no answer within {seconds} seconds");
            Problem::new(Code::RequestTimeout, detail).into_response()
        }
    }
}

/// Refusals of the library (no such route, a path that is not UTF-8) get the form of ours.
fn as_problem(response: Response) -> Response {
    let status = response.status();
    let kind = response.headers().get(header::CONTENT_TYPE);
    let ours = kind.is_some_and(|kind| kind.as_bytes() == problem::MEDIA_TYPE.as_bytes());
    if ours || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    let code = match status {
        StatusCode::NOT_FOUND => Code::RouteUnknown,
        StatusCode::METHOD_NOT_ALLOWED => Code::MethodUnknown,
        status if status.is_client_error() => Code::BadRequest,
        _ => Code::Internal,
    };
    let mut answer = Problem::new(code, code.row().title).into_response();
    if let Some(allow) = response.headers().get(header::ALLOW) {
        answer.headers_mut().insert(header::ALLOW, allow.clone());
    }
    answer
}
