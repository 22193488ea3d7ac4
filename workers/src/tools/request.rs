//! What does a tool receive? One POST with the step's input and headers that say whose it is.

use super::{ToolCall, target::Target};
use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Uri,
    header::{ACCEPT, CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT},
};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use spine_schemas::{Digest, Trace, payload::JSON};

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const SPINE_RUN: HeaderName = HeaderName::from_static("spine-run");
const SPINE_TENANT: HeaderName = HeaderName::from_static("spine-tenant");
const SPINE_STEP: HeaderName = HeaderName::from_static("spine-step");
const SPINE_ATTEMPT: HeaderName = HeaderName::from_static("spine-attempt");

const AGENT: &str = concat!("spine/", env!("CARGO_PKG_VERSION"));
const ACCEPTED: &str = "application/json, */*;q=0.5";

/// What is percent-encoded in ids. Spaces are, since servers trim them; `%` is, so that decoding is
/// exact. Everything beyond ASCII always is.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

/// Builds the request of one attempt.
pub(super) fn build(call: &ToolCall, target: &Target) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(call.body.clone()));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = Uri::from(target.path.clone());
    let headers = request.headers_mut();
    headers.insert(HOST, target.authority.clone());
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    headers.insert(ACCEPT, HeaderValue::from_static(ACCEPTED));
    headers.insert(CONTENT_TYPE, content_type(&call.content_type));
    identify(call, headers);
    request
}

/// Builds a request of JSON that is no attempt at a tool.
pub(super) fn post(
    target: &Target,
    further: &[(&'static str, &str)],
    body: Bytes,
) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = Uri::from(target.path.clone());
    let headers = request.headers_mut();
    headers.insert(HOST, target.authority.clone());
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
    for (name, value) in further {
        headers.insert(HeaderName::from_static(name), id(value));
    }
    request
}

/// Says whose request it is.
fn identify(call: &ToolCall, headers: &mut HeaderMap) {
    let step = call.step.to_string();
    headers.insert(IDEMPOTENCY_KEY, id(&call.idempotency_key.to_string()));
    headers.insert(TRACEPARENT, id(&traceparent(call)));
    headers.insert(SPINE_TENANT, id(&call.run.tenant));
    headers.insert(SPINE_RUN, id(&call.run.run_id));
    headers.insert(SPINE_STEP, id(&step));
    headers.insert(SPINE_ATTEMPT, HeaderValue::from(call.attempt));
}

fn id(text: &str) -> HeaderValue {
    let encoded = utf8_percent_encode(text, ENCODED).to_string();
    HeaderValue::try_from(encoded).expect("percent-encoded text is printable ASCII")
}

/// A media type that no header can hold says nothing to the remote; the input is JSON by default.
fn content_type(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(JSON))
}

/// The trace to continue: the call's own, or one that is derived from its identity and therefore the
/// same wherever and whenever the attempt is made.
pub(crate) fn traceparent(call: &ToolCall) -> String {
    let given = call.trace.as_ref().filter(|trace| is_valid(trace));
    let (trace_id, span_id) = match given {
        Some(trace) => (trace.trace_id.clone(), trace.span_id.clone()),
        None => derived(call),
    };
    format!("00-{trace_id}-{span_id}-01")
}

fn is_valid(trace: &Trace) -> bool {
    let is_id = |text: &str, digits: usize| {
        text.len() == digits
            && text.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c))
            && text.bytes().any(|c| c != b'0')
    };
    is_id(&trace.trace_id, 32) && is_id(&trace.span_id, 16)
}

/// One trace for the run, one span for the attempt.
fn derived(call: &ToolCall) -> (String, String) {
    let (tenant, run_id) = (call.run.tenant.as_bytes(), call.run.run_id.as_bytes());
    let (step, attempt) = (call.step.to_string(), call.attempt.to_be_bytes());
    let trace = Digest::of_parts(&[b"trace", tenant, run_id]).to_string();
    let span = Digest::of_parts(&[b"span", tenant, run_id, step.as_bytes(), &attempt]).to_string();
    (trace[..32].to_owned(), span[..16].to_owned())
}
